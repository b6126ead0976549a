//! Conversations: what a model keeps between their runs, wherever it runs.

use webnibble_common::state::StateSet;
use webnibble_common::wire::RemoteError;
use webnibble_models::generate::Sampling;

use super::webgpu;

/// What one conversation keeps. Two conversations over one model are two of these.
pub(crate) enum States {
    WebGpu(webgpu::States),
    Cpu(StateSet),
}

impl States {
    /// Begins a text whose tokens are chosen where their scores are, as `sampling` says, behind those of `prompt`; `tokens` are
    /// all that there are. Whether they are: elsewhere the scores are to be read.
    ///
    /// # Errors
    /// What the device says.
    pub(crate) async fn begin_text(
        &mut self,
        sampling: &Sampling,
        prompt: &[u32],
        tokens: usize,
    ) -> Result<bool, RemoteError> {
        match self {
            States::WebGpu(states) => states.begin_text(sampling, prompt, tokens).await.map(|()| true),
            States::Cpu(_) => Ok(false),
        }
    }

    /// Positions that count: the next run's are written behind them.
    #[cfg_attr(not(test), expect(dead_code, reason = "conversations of several turns will go on from what they hold"))]
    pub(crate) fn past(&self) -> usize {
        match self {
            States::WebGpu(states) => states.past(),
            States::Cpu(states) => states.past(),
        }
    }

    /// Has the first `past` positions count alone, of those that do; the next run's are written over the others.
    #[cfg_attr(not(test), expect(dead_code, reason = "conversations of several turns will go on from what they hold"))]
    pub(crate) fn set_past(&mut self, past: usize) {
        match self {
            States::WebGpu(states) => states.set_past(past),
            States::Cpu(states) => states.set_past(past.min(states.past())),
        }
    }
}
