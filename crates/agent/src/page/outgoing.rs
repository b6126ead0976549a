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
