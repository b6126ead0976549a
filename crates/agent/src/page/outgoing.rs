//! Frames that wait for the session to open again.

use std::collections::{BTreeSet, VecDeque};

use super::socket::Frame;

/// Sent frames are kept up to this size, oldest given up first. Waiting ones are always kept.
const MAX_SENT_BYTES: usize = 64 << 20;

/// Sent frames are kept this long: a peer that is silent is given up much earlier.
const MAX_SENT_AGE_MS: f64 = 60_000.0;

/// What was sent lately and may have been lost with the socket, followed by what waits.
///
/// A socket that breaks does not say what still arrived. So the answers that were sent since the peer was surely there
/// are sent again after a resume, whole; the host ignores answers to requests that it has an answer to.
#[derive(Default)]
pub(super) struct Outgoing {
    frames: VecDeque<Kept>,
    sent_bytes: usize,
}

struct Kept {
    /// The request.
    id: u64,
    frame: Frame,
    /// When it was sent; `None` while it waits.
    sent_ms: Option<f64>,
}

impl Outgoing {
    /// Keeps a frame about request `id`: sent just now, or waiting.
    pub(super) fn keep(&mut self, id: u64, frame: Frame, now_ms: f64, sent: bool) {
        if sent {
            self.sent_bytes += frame.len();
        }
        self.frames.push_back(Kept { id, frame, sent_ms: sent.then_some(now_ms) });
        while let Some(Kept { frame, sent_ms: Some(sent_ms), .. }) = self.frames.front() {
            if self.sent_bytes <= MAX_SENT_BYTES && now_ms - sent_ms < MAX_SENT_AGE_MS {
                break;
            }
            self.sent_bytes -= frame.len();
            self.frames.pop_front();
        }
    }

    /// What to send on a new socket, in order, with the request that it is about: all that waits, and all answers of
    /// which some was sent after `since_ms`.
    pub(super) fn take_up(&mut self, since_ms: f64) -> Vec<(u64, Frame)> {
        self.sent_bytes = 0;
        let is_due = |kept: &Kept| kept.sent_ms.is_none_or(|sent| sent >= since_ms);
        let due: BTreeSet<u64> = self.frames.iter().filter(|kept| is_due(kept)).map(|kept| kept.id).collect();
        // Frames about no request stand for themselves.
        let again = |kept: &Kept| if kept.id == 0 { is_due(kept) } else { due.contains(&kept.id) };
        self.frames.drain(..).filter(again).map(|kept| (kept.id, kept.frame)).collect()
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    fn keep(outgoing: &mut Outgoing, id: u64, text: &str, now_ms: f64, sent: bool) {
        outgoing.keep(id, Frame::Text(text.to_owned()), now_ms, sent);
    }

    fn texts(frames: Vec<(u64, Frame)>) -> Vec<String> {
        let text = |(_, frame)| match frame {
            Frame::Text(text) => text,
            Frame::Binary(_) => panic!("only texts were kept"),
        };
        frames.into_iter().map(text).collect()
    }

    #[wasm_bindgen_test]
    fn answers_sent_in_part_before_the_line_are_sent_again_whole() {
        let mut outgoing = Outgoing::default();
        keep(&mut outgoing, 0, "log", 0.0, true);
        keep(&mut outgoing, 1, "old", 10.0, true);
        keep(&mut outgoing, 2, "first part", 90.0, true);
        keep(&mut outgoing, 2, "last part", 110.0, true);
        keep(&mut outgoing, 3, "waits", 120.0, false);
        assert_eq!(texts(outgoing.take_up(100.0)), ["first part", "last part", "waits"]);
        assert!(outgoing.take_up(0.0).is_empty());
    }

    #[wasm_bindgen_test]
    fn what_is_old_or_too_much_is_forgotten_unless_it_waits() {
        let mut outgoing = Outgoing::default();
        keep(&mut outgoing, 1, "sent", 0.0, true);
        keep(&mut outgoing, 2, "waits", 0.0, false);
        keep(&mut outgoing, 3, "late", MAX_SENT_AGE_MS, true);
        assert_eq!(texts(outgoing.take_up(0.0)), ["waits", "late"]);
        keep(&mut outgoing, 4, &"x".repeat(MAX_SENT_BYTES), 0.0, true);
        keep(&mut outgoing, 5, "y", 0.0, true);
        assert_eq!(texts(outgoing.take_up(0.0)), ["y"]);
    }
}
