//! The recording: plain data that a backend replays.

use webnibble_common::tensor::DType;

use crate::shaders::Kernel;

/// Uniform blocks begin at multiples of this: the largest alignment that an adapter may ask for.
pub const UNIFORM_ALIGNMENT: usize = 256;

/// Index of a buffer in [`Recording::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub usize);

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferKind {
    /// Index in the weight plan's buffers; it belongs to the model and not to the recording.
    Weights(usize),
    /// Written by the caller.
    Input,
    /// Between operators or within one; used again for others.
    Scratch,
    /// Read back by the caller.
    Output,
    /// The [`Step`](super::Step) of the run: written before it, or advanced by the run before it. It belongs to a conversation
    /// and not to the recording.
    Step,
    /// Index in the graph's states. It belongs to a conversation, which has as many blocks of the buffer's size as its
    /// positions need: where a position lies does not depend on how many these are, so that all of them are one recording's.
    State(usize),
    /// The [`Sampling`](super::Sampling) of a text. It belongs to a conversation.
    Sampling,
    /// A bit for each token that the text or its prompt has. It belongs to a conversation.
    Seen,
    /// What was found in outputs that is no number: [`FOUND_WORDS`](super::FOUND_WORDS) words each, of 0 before a run.
    Found,
}

/// A buffer of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// For GPU labels and messages.
    pub label: String,
    /// Size in bytes, a multiple of 16.
    pub bytes: usize,
    /// What it is for.
    pub kind: BufferKind,
}

/// What a binding number of a dispatch is bound to. Sizes and offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// `@binding` number in group 0.
    pub number: u32,
    /// The buffer; `None` is the recording's uniform arena.
    pub buffer: Option<BufferId>,
    /// First byte.
    pub offset: usize,
    /// Number of bytes.
    pub bytes: usize,
}

/// One dispatch.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// Name of the value that it makes.
    pub operator: String,
    /// The pipeline.
    pub kernel: Kernel,
    /// What it reads and writes.
    pub bindings: Vec<Binding>,
    /// Workgroups in x, y and z.
    pub workgroups: [u32; 3],
}

/// Dispatches that choose by the scores of a recording, of which one is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Takes the likeliest.
    pub likeliest: Dispatch,
    /// Draws.
    pub drawn: Dispatch,
    /// Scores that it chooses from.
    pub tokens: usize,
}

/// An input or an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name in the graph.
    pub name: String,
    /// Its buffer.
    pub buffer: BufferId,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
}

/// An inference for concrete shapes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Every buffer.
    pub buffers: Vec<Buffer>,
    /// The uniform arena's bytes.
    pub uniforms: Vec<u8>,
    /// Dispatches in order.
    pub dispatches: Vec<Dispatch>,
    /// What to write before.
    pub inputs: Vec<Port>,
    /// What may be read after.
    pub outputs: Vec<Port>,
    /// Of each output the dispatches that look for NaN and infinity in it; none for integers. They write to the buffer of
    /// [`BufferKind::Found`], and need not run for an output that is looked at after it was read.
    pub checks: Vec<Vec<Dispatch>>,
    /// What chooses a token by the first output, where that scores what may come next in a conversation of one item. It runs
    /// where it is asked for.
    pub choice: Option<Choice>,
}

impl BufferKind {
    /// Whether the buffer is a conversation's: two of them replay one recording over buffers of their own.
    pub fn is_of_conversation(self) -> bool {
        matches!(self, BufferKind::Step | BufferKind::State(_) | BufferKind::Sampling | BufferKind::Seen)
    }
}

impl Recording {
    /// Whether a dispatch reads or writes what belongs to a conversation.
    pub fn is_of_conversation(&self, dispatch: &Dispatch) -> bool {
        let mut buffers = dispatch.bindings.iter().filter_map(|binding| binding.buffer);
        buffers.any(|id| self.buffers[id.0].kind.is_of_conversation())
    }

    /// Every dispatch, those of the checks too.
    pub(super) fn into_every_dispatch(self) -> impl Iterator<Item = Dispatch> {
        let choice = self.choice.into_iter().flat_map(|choice| [choice.likeliest, choice.drawn]);
        self.dispatches.into_iter().chain(self.checks.into_iter().flatten()).chain(choice)
    }

    /// Bytes of the buffers that belong to the recording: inputs, scratch, outputs and uniforms.
    pub fn activation_bytes(&self) -> usize {
        let of_others = |kind: BufferKind| matches!(kind, BufferKind::Weights(_)) || kind.is_of_conversation();
        let own = self.buffers.iter().filter(|b| !of_others(b.kind));
        own.map(|b| b.bytes).sum::<usize>() + self.uniforms.len()
    }
}
