//! Frames that wait for the session to open again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use webnibble_common::wire::{AgentMessage, ErrorCode};

use super::socket::Frame;
use crate::error::error;

/// Sent frames are kept up to this size, oldest given up first. Waiting ones are always kept.
const MAX_SENT_BYTES: usize = 64 << 20;

/// Sent frames are kept this long: a peer that is silent is given up much earlier.
const MAX_SENT_AGE_MS: f64 = 60_000.0;

/// What was sent lately and may have been lost with the socket, followed by what waits.
///
/// A socket that breaks does not say what still arrived. So the answers that were sent since the peer was surely there
/// are sent again after a resume, whole; the host ignores answers to requests that it has an answer to. An answer that is too
/// large to be kept is never sent in part: an error takes its place.
#[derive(Default)]
pub(super) struct Outgoing {
    frames: VecDeque<Kept>,
    sent_bytes: usize,
    /// Answers that are not kept, by their requests, and when something of them was sent last.
    given_up: BTreeMap<u64, f64>,
}

struct Kept {
    /// The request.
    id: u64,
    frame: Frame,
    /// When it was sent; `None` while it waits.
    sent_ms: Option<f64>,
}

impl Kept {
    /// Bytes that count against the limit.
    fn sent_bytes(&self) -> usize {
        if self.sent_ms.is_some() { self.frame.len() } else { 0 }
    }
}

impl Outgoing {
    /// Keeps a frame about request `id`: sent just now, or waiting.
    pub(super) fn keep(&mut self, id: u64, frame: Frame, now_ms: f64, sent: bool) {
        self.given_up.retain(|_, sent_ms| now_ms - *sent_ms < MAX_SENT_AGE_MS);
        if let Some(sent_ms) = self.given_up.get_mut(&id) {
            *sent_ms = now_ms;
            return;
        }
        let kept = Kept { id, frame, sent_ms: sent.then_some(now_ms) };
        self.sent_bytes += kept.sent_bytes();
        self.frames.push_back(kept);
        while let Some(&Kept { id, sent_ms: Some(sent_ms), .. }) = self.frames.front() {
            let is_old = now_ms - sent_ms >= MAX_SENT_AGE_MS;
            if !is_old && self.sent_bytes <= MAX_SENT_BYTES {
                break;
            }
            let oldest = self.frames.pop_front().map_or(0, |oldest| oldest.sent_bytes());
            self.sent_bytes -= oldest;
            let in_parts = self.frames.iter().any(|kept| kept.id == id);
            // Frames about no request stand for themselves, and nothing of an old answer is in doubt.
            if id != 0 && (in_parts || !is_old) {
                self.give_up(id, now_ms);
            }
        }
    }

    fn give_up(&mut self, id: u64, now_ms: f64) {
        self.frames.retain(|kept| kept.id != id);
        self.sent_bytes = self.frames.iter().map(Kept::sent_bytes).sum();
        self.given_up.insert(id, now_ms);
    }

    /// What to send on a new socket, in order, with the request that it is about: all that waits, and all answers of
    /// which some was sent after `since_ms`; of those that were not kept, that they are lost.
    pub(super) fn take_up(&mut self, since_ms: f64) -> Vec<(u64, Frame)> {
        self.sent_bytes = 0;
        let is_due = |kept: &Kept| kept.sent_ms.is_none_or(|sent| sent >= since_ms);
        let due: BTreeSet<u64> = self.frames.iter().filter(|kept| is_due(kept)).map(|kept| kept.id).collect();
        // Frames about no request stand for themselves.
        let again = |kept: &Kept| if kept.id == 0 { is_due(kept) } else { due.contains(&kept.id) };
        let kept = self.frames.drain(..).filter(again).map(|kept| (kept.id, kept.frame));
        let given_up = std::mem::take(&mut self.given_up).into_iter().filter(|(_, sent_ms)| *sent_ms >= since_ms);
        kept.chain(given_up.map(|(id, _)| (id, lost(id)))).collect()
    }
}

/// What is sent in place of an answer that was not kept.
fn lost(id: u64) -> Frame {
    let megabytes = MAX_SENT_BYTES >> 20;
    let message = format!("the answer may be lost with its socket: it has more than the {megabytes} MiB that are kept");
    let problem = error(ErrorCode::Disconnected, message, "ask again, for fewer items at once");
    Frame::of(id, AgentMessage::Error { error: problem })
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
    fn what_is_old_is_forgotten_unless_it_waits() {
        let mut outgoing = Outgoing::default();
        keep(&mut outgoing, 1, "sent", 0.0, true);
        keep(&mut outgoing, 2, "waits", 0.0, false);
        keep(&mut outgoing, 3, "late", MAX_SENT_AGE_MS, true);
        assert_eq!(texts(outgoing.take_up(0.0)), ["waits", "late"]);
    }

    #[wasm_bindgen_test]
    fn an_answer_that_is_too_large_to_be_kept_is_lost_whole() {
        let large = "x".repeat(MAX_SENT_BYTES / 2);
        let mut outgoing = Outgoing::default();
        for part in 0..4 {
            keep(&mut outgoing, 4, &large, f64::from(part), true);
        }
        keep(&mut outgoing, 4, "the rest waits", 4.0, false);
        keep(&mut outgoing, 5, "y", 4.0, true);
        let again = texts(outgoing.take_up(2.0));
        assert_eq!((again.len(), again[0].as_str()), (2, "y"));
        assert!(again[1].contains(r#""id":4,"type":"error","error":{"code":"disconnected""#), "{}", again[1]);
        assert!(outgoing.take_up(0.0).is_empty());
        // What has surely arrived is not lost.
        (0..4).for_each(|part| keep(&mut outgoing, 6, &large, f64::from(part), true));
        assert!(outgoing.take_up(10.0).is_empty());
    }

    #[wasm_bindgen_test]
    fn an_answer_that_took_long_is_not_sent_again_in_part() {
        let mut outgoing = Outgoing::default();
        keep(&mut outgoing, 1, "first part", 0.0, true);
        keep(&mut outgoing, 1, "last part", MAX_SENT_AGE_MS, true);
        let again = texts(outgoing.take_up(1.0));
        assert!(again.len() == 1 && again[0].contains("disconnected"), "{again:?}");
    }
}
