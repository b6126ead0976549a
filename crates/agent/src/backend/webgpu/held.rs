//! How much of the device's memory a model holds.

use std::cell::Cell;
use std::rc::Rc;

/// Bytes of a model's weights, of the shapes that it is prepared for and of its conversations, and the most at once.
#[derive(Default)]
pub(super) struct Held {
    weights: u64,
    shapes: Cell<u64>,
    states: Cell<u64>,
    peak: Cell<u64>,
}

impl Held {
    /// Of a model that is prepared for nothing yet.
    pub(super) fn new(weights: u64) -> Self {
        Self { weights, peak: Cell::new(weights), ..Self::default() }
    }

    /// Most bytes at once.
    pub(super) fn peak(&self) -> u64 {
        self.peak.get()
    }

    /// Sets how many bytes the prepared shapes have.
    pub(super) fn set_shapes(&self, bytes: u64) {
        self.shapes.set(bytes);
        self.note_peak();
    }

    /// Counts bytes of a conversation for as long as the answer lives.
    pub(super) fn hold_states(self: &Rc<Self>, bytes: u64) -> HeldStates {
        self.states.update(|all| all + bytes);
        self.note_peak();
        HeldStates { held: Rc::clone(self), bytes }
    }

    fn note_peak(&self) {
        let now = self.weights + self.shapes.get() + self.states.get();
        self.peak.update(|peak| peak.max(now));
    }

    /// Bytes of conversations. For tests.
    #[cfg(test)]
    pub(super) fn states(&self) -> u64 {
        self.states.get()
    }
}

/// Bytes of a conversation that are counted.
pub(super) struct HeldStates {
    held: Rc<Held>,
    bytes: u64,
}

impl Drop for HeldStates {
    fn drop(&mut self) {
        self.held.states.update(|all| all - self.bytes);
    }
}
