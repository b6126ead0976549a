//! Conversations: what a model keeps between their runs, wherever it runs.

use webnibble_common::state::StateSet;

use super::webgpu;

/// What one conversation keeps. Two conversations over one model are two of these.
pub(crate) enum States {
    WebGpu(webgpu::States),
    Cpu(StateSet),
}

#[cfg_attr(not(test), expect(dead_code, reason = "models that generate text will drop what they said in vain"))]
impl States {
    /// Positions that count: the next run's are written behind them.
    pub(crate) fn past(&self) -> usize {
        match self {
            States::WebGpu(states) => states.past(),
            States::Cpu(states) => states.past(),
        }
    }

    /// Has the first `past` positions count alone, of those that do; the next run's are written over the others.
    pub(crate) fn set_past(&mut self, past: usize) {
        match self {
            States::WebGpu(states) => states.set_past(past),
            States::Cpu(states) => states.set_past(past.min(states.past())),
        }
    }
}
