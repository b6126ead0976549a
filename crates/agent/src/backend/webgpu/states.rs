//! A conversation on the device: what it keeps, where it is, and the bind groups that touch either.

use std::rc::{Rc, Weak};

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;
use web_sys::{GpuBindGroup, GpuBuffer, gpu_buffer_usage};
use webnibble_common::graph::{Bindings, Graph, State, Written};
use webnibble_common::state::{BLOCK_POSITIONS, StateError};
use webnibble_common::tensor::element_count;
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::plan::{BufferKind, Sampling, Step, seen_bytes};
use webnibble_models::generate;

use super::dispatches::Dispatched;
use super::errors::thrown;
use super::held::{Held, HeldStates};
use super::memory::{Buffer, Memory};
use super::recorded::Recorded;
use crate::error::{error, internal};

const STATE_USAGE: u32 = gpu_buffer_usage::STORAGE | gpu_buffer_usage::COPY_DST | gpu_buffer_usage::COPY_SRC;

/// Bytes of the step that are written here before each run; the device writes the others.
const HOST_STEP_BYTES: usize = 8;

/// Byte of the step at which the token lies that was chosen last.
pub(super) const TOKEN_AT: u32 = 8;

/// What one conversation keeps. Its buffers are freed with it.
pub(crate) struct States {
    memory: Rc<Memory>,
    held: Rc<Held>,
    batch: usize,
    /// Positions that count.
    past: usize,
    /// What chooses the tokens of a text, while there is one.
    text: Option<Text>,
    /// Blocks of positions that every state has memory for.
    blocks: usize,
    states: Vec<Kept>,
    step: Buffer,
    /// Where the step is handed over: browsers need not take views of a shared wasm memory.
    step_bytes: Uint8Array,
    bound: Vec<Bound>,
}

/// A state of a conversation.
struct Kept {
    name: String,
    capacity: usize,
    /// Of a block of every item of the batch.
    block_bytes: usize,
    memory: Option<StateMemory>,
}

struct StateMemory {
    buffer: Buffer,
    bytes: usize,
    _held: HeldStates,
}

/// A text whose tokens the device chooses.
struct Text {
    draws: bool,
    /// Tokens that were chosen, as far as they were asked for.
    chosen: u32,
    sampling: Buffer,
    seen: Buffer,
    _held: HeldStates,
}

/// Bind groups over the states as they are, for one recording.
struct Bound {
    recorded: Weak<Recorded>,
    groups: Vec<GpuBindGroup>,
    /// What chooses a token, where that was asked for.
    choice: Option<Dispatched>,
}

impl States {
    /// An empty conversation of `batch` items; memory comes as it grows.
    pub(super) fn new(memory: &Rc<Memory>, held: &Rc<Held>, graph: &Graph, batch: usize) -> Result<Self, RemoteError> {
        let states = graph.states.iter().map(|state| Kept::new(state, batch)).collect::<Result<_, StateError>>();
        let step_bytes = Uint8Array::new_with_length(HOST_STEP_BYTES as u32);
        Ok(Self {
            memory: Rc::clone(memory),
            held: Rc::clone(held),
            batch,
            past: 0,
            text: None,
            blocks: 0,
            states: states.map_err(|error| refused(&error))?,
            step: memory.buffer("step", size_of::<Step>(), STATE_USAGE)?,
            step_bytes,
            bound: Vec::new(),
        })
    }

    /// Positions that count: the next run's are written behind them.
    pub(crate) fn past(&self) -> usize {
        self.past
    }

    /// Has fewer positions count, `past` of those that do: the next run's are written over the others. Inferences in flight are
    /// what they were.
    pub(crate) fn set_past(&mut self, past: usize) {
        self.past = past.min(self.past);
    }

    /// Positions that there is room for at most; `None` where nothing is kept.
    pub(super) fn capacity(&self) -> Option<usize> {
        self.states.iter().map(|state| state.capacity).min()
    }

    /// Whether they are those of the model with that memory.
    pub(super) fn are_of(&self, memory: &Rc<Memory>) -> bool {
        Rc::ptr_eq(&self.memory, memory)
    }

    /// Makes memory and bind groups for a run of `recorded`, which writes so much. The conversation is what it was when that
    /// fails.
    ///
    /// # Errors
    /// `bad_input` for another batch and for more positions than there is room for, and what the device says.
    pub(super) async fn make_ready(&mut self, recorded: &Rc<Recorded>, run: Written) -> Result<(), RemoteError> {
        if run.batch != self.batch {
            return Err(refused(&StateError::Batch { expected: self.batch, found: run.batch }));
        }
        let wanted = self.past + run.positions;
        if let Some(Kept { name, capacity, .. }) = self.states.iter().find(|state| state.capacity < wanted) {
            return Err(refused(&StateError::Full { state: name.clone(), capacity: *capacity, wanted }));
        }
        self.grow(wanted.div_ceil(BLOCK_POSITIONS)).await?;
        self.bind(recorded).await
    }

    /// Makes room for that many blocks: larger buffers, into which the device copies what is there to where it was.
    async fn grow(&mut self, needed: usize) -> Result<(), RemoteError> {
        if needed <= self.blocks {
            return Ok(());
        }
        // By half of what there is, so that all copies together are no more than a few of each position.
        let most = self.most_blocks(needed)?;
        let blocks = needed.max(self.blocks + self.blocks / 2).min(most);
        let grown = self.states.iter().map(|state| self.grown(state, blocks)).collect::<Result<Vec<_>, _>>()?;
        self.memory.request("copies of states".to_owned(), || self.copy_to(&grown)).map_err(|e| thrown(&e))?;
        self.memory.check().await?;
        for (state, memory) in self.states.iter_mut().zip(grown) {
            state.memory = Some(memory);
        }
        self.blocks = blocks;
        self.bound.clear();
        Ok(())
    }

    /// Blocks that the capacity and the adapter have room for.
    fn most_blocks(&self, needed: usize) -> Result<usize, RemoteError> {
        let caps = &self.memory.gpu.caps;
        let limit = caps.storage_binding_bytes.min(caps.buffer_bytes);
        if let Some(state) = self.states.iter().find(|state| state.block_bytes.saturating_mul(needed) > limit) {
            let (name, positions) = (&state.name, needed * BLOCK_POSITIONS);
            let bytes = state.block_bytes as u64 * needed as u64;
            let message =
                format!("{positions} positions of state `{name}` take {bytes} bytes, and the adapter binds {limit}");
            return Err(error(ErrorCode::Unsupported, message, "use a smaller batch, or begin a new conversation"));
        }
        let most = |state: &Kept| (limit / state.block_bytes.max(1)).min(state.capacity.div_ceil(BLOCK_POSITIONS));
        Ok(self.states.iter().map(most).min().unwrap_or(needed))
    }

    fn grown(&self, state: &Kept, blocks: usize) -> Result<StateMemory, RemoteError> {
        let bytes = state.block_bytes * blocks;
        let held = self.held.hold_states(bytes as u64);
        Ok(StateMemory { buffer: self.memory.buffer(&state.name, bytes, STATE_USAGE)?, bytes, _held: held })
    }

    fn copy_to(&self, grown: &[StateMemory]) -> Result<(), JsValue> {
        let encoder = self.memory.gpu.device.create_command_encoder();
        for (state, to) in self.states.iter().zip(grown) {
            if let Some(from) = &state.memory {
                let bytes = from.bytes as f64;
                encoder.copy_buffer_to_buffer_with_u32_and_f64_and_f64(&from.buffer, 0, &to.buffer, 0.0, bytes)?;
            }
        }
        self.memory.gpu.queue.submit(&[encoder.finish()]);
        Ok(())
    }

    /// Makes the bind groups of a recording, unless they are there.
    async fn bind(&mut self, recorded: &Rc<Recorded>) -> Result<(), RemoteError> {
        self.bound.retain(|bound| bound.recorded.strong_count() > 0);
        if self.groups(recorded).is_some() {
            return Ok(());
        }
        let groups = recorded.bind_conversation(|kind| self.buffer(kind))?;
        self.memory.check().await?;
        self.bound.push(Bound { recorded: Rc::downgrade(recorded), groups, choice: None });
        Ok(())
    }

    fn buffer(&self, kind: BufferKind) -> Option<&GpuBuffer> {
        match kind {
            BufferKind::Step => Some(&self.step),
            BufferKind::Sampling => self.text.as_ref().map(|text| &*text.sampling),
            BufferKind::Seen => self.text.as_ref().map(|text| &*text.seen),
            BufferKind::State(index) => self.states.get(index)?.memory.as_ref().map(|memory| &*memory.buffer),
            _ => None,
        }
    }

    /// The bind groups of a recording that a run was made ready for.
    pub(super) fn groups(&self, recorded: &Rc<Recorded>) -> Option<&[GpuBindGroup]> {
        self.bound_to(recorded).map(|bound| &bound.groups[..])
    }

    fn bound_to(&self, recorded: &Rc<Recorded>) -> Option<&Bound> {
        self.bound.iter().find(|bound| std::ptr::eq(bound.recorded.as_ptr(), Rc::as_ptr(recorded)))
    }

    /// Tells the device where the conversation is.
    pub(super) fn write_step(&self) -> Result<(), JsValue> {
        let count = self.text.as_ref().map_or(0, |text| text.chosen);
        let step = Step { past: self.past as u32, count, ..Step::default() };
        self.step_bytes.copy_from(&step.bytes()[..HOST_STEP_BYTES]);
        self.memory.gpu.queue.write_buffer_with_u32_and_u8_array(&self.step, 0, &self.step_bytes)
    }

    /// After a run was submitted that writes so many positions, and chooses a token or does not.
    pub(super) fn advance(&mut self, positions: usize, chose: bool) {
        self.past += positions;
        if let Some(text) = self.text.as_mut().filter(|_| chose) {
            text.chosen += 1;
        }
    }

    /// Begins a text of `tokens` that there are, chosen as `sampling` says; `prompt` has those that were there before.
    pub(crate) async fn begin_text(
        &mut self,
        sampling: &generate::Sampling,
        prompt: &[u32],
        tokens: usize,
    ) -> Result<(), RemoteError> {
        let sampling = &device_sampling(sampling);
        let mut seen = vec![0_u8; seen_bytes(tokens)];
        for token in prompt.iter().map(|token| *token as usize).filter(|token| *token < tokens) {
            seen[token / 8] |= 1 << (token % 8);
        }
        let seen = self.memory.filled("seen", &seen, gpu_buffer_usage::STORAGE)?;
        let how = self.memory.filled("sampling", bytemuck::bytes_of(sampling), gpu_buffer_usage::STORAGE)?;
        self.memory.check().await?;
        let held = self.held.hold_states((size_of::<Sampling>() + seen_bytes(tokens)) as u64);
        self.text = Some(Text { draws: sampling.draws(), chosen: 0, sampling: how, seen, _held: held });
        self.bound.iter_mut().for_each(|bound| bound.choice = None);
        Ok(())
    }

    /// Makes what chooses a token by the scores of `recorded`, which a run was made ready for, unless it is there.
    pub(super) async fn make_choice(&mut self, recorded: &Rc<Recorded>) -> Result<(), RemoteError> {
        if self.choice(recorded).is_some() {
            return Ok(());
        }
        let Some(draws) = self.text.as_ref().map(|text| text.draws) else {
            return Err(internal("a token is to be chosen, and no text was begun"));
        };
        let choice = recorded.bind_choice(draws, |kind| self.buffer(kind)).await?;
        self.memory.check().await?;
        let is_its = |bound: &&mut Bound| std::ptr::eq(bound.recorded.as_ptr(), Rc::as_ptr(recorded));
        if let Some(bound) = self.bound.iter_mut().find(is_its) {
            bound.choice = Some(choice);
        }
        Ok(())
    }

    /// What chooses a token by the scores of a recording, once it is made.
    pub(super) fn choice(&self, recorded: &Rc<Recorded>) -> Option<&Dispatched> {
        self.bound_to(recorded)?.choice.as_ref()
    }

    /// Where the step lies, with the token that was chosen last.
    pub(super) fn step(&self) -> &GpuBuffer {
        &self.step
    }

    /// Blocks that there is memory for. For tests.
    #[cfg(test)]
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// Recordings that it has bind groups for. For tests.
    #[cfg(test)]
    pub(crate) fn bound(&self) -> usize {
        self.bound.len()
    }
}

impl Kept {
    fn new(state: &State, batch: usize) -> Result<Self, StateError> {
        let bindings = Bindings::new([("batch", batch)]);
        let error = |error| StateError::Dim { state: state.name.clone(), error };
        let shape = bindings.extents(&state.shape).map_err(error)?;
        let capacity = bindings.extent(&state.capacity).map_err(error)?;
        let block_bytes = element_count(&shape) * state.dtype.size_bytes() * BLOCK_POSITIONS * batch;
        Ok(Self { name: state.name.clone(), capacity, block_bytes, memory: None })
    }
}

/// As the kernel reads it.
fn device_sampling(sampling: &generate::Sampling) -> Sampling {
    let generate::Sampling { temperature, top_k, top_p, min_p, repetition_penalty, seed } = *sampling;
    let (seed_low, seed_high) = (seed as u32, (seed >> 32) as u32);
    let top_k = u32::try_from(top_k).unwrap_or(0);
    Sampling { temperature, top_k, top_p, min_p, repetition_penalty, seed_low, seed_high, reserved: 0 }
}

fn refused(why: &StateError) -> RemoteError {
    error(ErrorCode::BadInput, why.to_string(), "")
}
