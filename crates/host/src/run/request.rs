//! What to run, and who hears how far it is.

use std::sync::Arc;

pub use webnibble_common::io::Input;
use webnibble_common::io::NamedTensors;
use webnibble_common::options::{Engine, Options, Platform};
use webnibble_common::record::{InputInfo, TokensKept};
use webnibble_common::wire::Stage;

use crate::reference::WantedInF32;

/// What to run.
#[derive(Clone)]
pub struct RunRequest {
    /// A name, folder or package, as [`find`](crate::loader::find) takes it.
    pub model: String,
    /// What the caller chose.
    pub options: Options,
    /// What to run the model on.
    pub input: Input,
    /// The model's outputs that are read, by name; where none is named, what its answer is made of.
    pub outputs: Vec<String>,
    /// Has the model go on from the input, a text or a row of ids, as `options.generation` says, in place of one pass over it.
    pub generate: bool,
    /// Compares the answer with that of the model in f32 however large that is; otherwise only where it is cheap, which is
    /// up to [`CHEAP_F32_BYTES`](crate::reference::CHEAP_F32_BYTES).
    pub compare_f32: bool,
    /// Passes the browser's output and its console on to the log.
    pub verbose: bool,
    /// Revision of this build, for the record; empty where it is not known.
    pub revision: String,
    /// Hears how far the run is, from any thread.
    pub progress: Option<RunProgressSink>,
}

impl RunRequest {
    /// What of a model in f32 the answer to these tensors is compared with.
    pub(super) fn wanted_of<'a>(&'a self, tensors: &'a Arc<NamedTensors>) -> WantedInF32<'a> {
        WantedInF32 { tensors, outputs: &self.outputs, asked: self.compare_f32 }
    }

    /// The platform that is asked for.
    pub(super) fn platform(&self) -> Platform {
        self.options.platform.unwrap_or(Platform::Webgpu)
    }

    /// The engine that is asked for.
    pub(super) fn engine(&self) -> Engine {
        self.options.engine.unwrap_or(Engine::Native)
    }
}

/// What is known of an input; lengths of texts are known once they are tokenized.
pub(super) fn input_info(input: &Input, tokens_kept: &[TokensKept]) -> InputInfo {
    let batch = match input {
        Input::Text { texts, .. } => texts.len(),
        Input::Ids { ids, .. } => ids.len(),
        Input::Image { images } => images.len(),
        Input::Tensors { tensors } => {
            tensors.first().and_then(|(_, tensor)| tensor.shape().first().copied()).unwrap_or(1)
        }
    };
    let longest = match (input, tokens_kept) {
        (Input::Ids { ids, .. }, []) => ids.iter().map(Vec::len).max(),
        _ => tokens_kept.iter().map(|tokens| tokens.kept).max(),
    };
    InputInfo {
        kind: input.kind().into(),
        batch,
        sequence_length: longest,
        size: image_size(input),
        seconds: None,
        tokens_kept: (!tokens_kept.is_empty()).then(|| tokens_kept.to_vec()),
        prompt_name: None,
    }
}

/// Width and height of images, where they have the same.
fn image_size(input: &Input) -> Option<[u32; 2]> {
    let Input::Image { images } = input else { return None };
    let mut sizes = images.iter().map(|(_, pixels)| match pixels.shape() {
        &[height, width] => Some([u32::try_from(width).ok()?, u32::try_from(height).ok()?]),
        _ => None,
    });
    let first = sizes.next()??;
    sizes.all(|size| size == Some(first)).then_some(first)
}

/// Hears how far a run is.
pub type RunProgressSink = Arc<dyn Fn(RunProgress<'_>) + Send + Sync>;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunProgress<'a> {
    /// A step on this machine, in bytes or weights; a total of 0 is unknown.
    Host {
        /// What is being done.
        what: &'a str,
        /// Done so far.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// A piece of what is generated.
    Part {
        /// Its text; empty where it is still open, and of a model without tokenizer.
        text: &'a str,
        /// Its tokens.
        tokens: &'a [u32],
    },
    /// A step in the page.
    Page {
        /// What is being done.
        stage: Stage,
        /// Done so far.
        done: u64,
        /// Of how many.
        total: u64,
    },
}

/// Tells who asked what is being done on this machine.
pub(super) fn tell(request: &RunRequest, what: &str, done: u64, total: u64) {
    if let Some(progress) = &request.progress {
        progress(RunProgress::Host { what, done, total });
    }
}
