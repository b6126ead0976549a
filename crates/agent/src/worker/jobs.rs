//! What the Worker works on, one at a time: measured runs share the machine with nothing of ours.

use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::lock::Mutex;
use webnibble_common::generate::Part;
use webnibble_common::io::Input;
use webnibble_common::options::Engine;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{AgentMessage, ErrorCode, LoadOptions, RemoteError, RunOptions, take_times};

use super::outbox;
use crate::backend::Devices;
use crate::capabilities;
use crate::error::error;
use crate::model::{LoadRequest, LoadedModel, Ran};
use crate::stop::Stop;
use crate::transformers_js;

/// A piece of work.
pub(super) enum Job {
    /// Find out what the browser can do.
    Detect,
    /// Load a package.
    Load { model: String, url: String, digest: String, options: LoadOptions },
    /// Run a model.
    Run { model: String, input: Input, options: RunOptions },
    /// Free a model.
    Unload { model: String },
}

/// What a job gave.
pub(super) struct Answer {
    /// Sent before the message.
    pub(super) tensors: Vec<(String, Tensor)>,
    /// Ends the request.
    pub(super) message: AgentMessage,
}

/// A model and who computes it.
enum Loaded {
    Native(Box<LoadedModel>),
    TransformersJs(transformers_js::Model),
}

/// Devices and loaded models. The job at hand owns them; between jobs they are the session's.
#[derive(Default)]
pub(super) struct Workshop {
    devices: Mutex<Devices>,
    models: BTreeMap<String, Loaded>,
}

impl Workshop {
    /// Does a job.
    pub(super) async fn work(&mut self, id: u64, job: Job, stop: &Stop) -> Result<Answer, RemoteError> {
        stop.check()?;
        match job {
            Job::Detect => {
                let capabilities = Box::new(capabilities::detect(self.devices.get_mut()).await);
                Ok(Answer::of(AgentMessage::Capabilities { capabilities }))
            }
            Job::Load { model, url, digest, options } => {
                let request = LoadRequest { url: &url, digest: Some(&digest), options: &options };
                self.load(id, model, request, stop).await
            }
            Job::Run { model, input, options } => self.run(id, &model, input, &options, stop).await,
            Job::Unload { model } => match self.models.remove(&model) {
                Some(_) => Ok(Answer::of(AgentMessage::Done)),
                None => Err(self.unknown_model(&model)),
            },
        }
    }

    async fn load(
        &mut self,
        id: u64,
        model: String,
        request: LoadRequest<'_>,
        stop: &Stop,
    ) -> Result<Answer, RemoteError> {
        // A model of the same name gives its memory back before the new one takes any.
        self.models.remove(&model);
        let progress = Rc::new(progress_of(id, stop));
        let (loaded, report) = match request.options.engine {
            Engine::Native => {
                let (loaded, report) = LoadedModel::load(request, &self.devices, stop, progress).await?;
                (Loaded::Native(Box::new(loaded)), report)
            }
            Engine::TransformersJs => {
                let LoadRequest { url, options, .. } = request;
                let devices = self.devices.get_mut();
                let (loaded, report) = transformers_js::Model::load(url, options, devices, stop, progress).await?;
                (Loaded::TransformersJs(loaded), report)
            }
        };
        // Nobody would unload a model whose request was answered with an error.
        stop.check()?;
        self.models.insert(model, loaded);
        Ok(Answer::of(AgentMessage::Loaded { report: Box::new(report) }))
    }

    async fn run(
        &mut self,
        id: u64,
        model: &str,
        input: Input,
        options: &RunOptions,
        stop: &Stop,
    ) -> Result<Answer, RemoteError> {
        let progress = progress_of(id, stop);
        let Some(loaded) = self.models.get_mut(model) else { return Err(self.unknown_model(model)) };
        let ran = match (loaded, &options.generate) {
            (Loaded::Native(model), None) => model.run(input, options, stop, progress).await?,
            (Loaded::Native(model), Some(generate)) => {
                model.generate(&input, generate, stop, progress, parts_of(id, stop)).await?
            }
            (Loaded::TransformersJs(model), None) => model.run(input, options, stop, progress).await?,
            (Loaded::TransformersJs(_), Some(_)) => return Err(generates_nothing()),
        };
        let Ran { outputs: mut tensors, mut report } = ran;
        let (times, measured) = take_times(&mut report);
        tensors.extend(times.iter().map(|info| info.name.clone()).zip(measured));
        Ok(Answer { tensors, message: AgentMessage::Ran { report: Box::new(report), times } })
    }

    fn unknown_model(&self, model: &str) -> RemoteError {
        let names: Vec<&str> = self.models.keys().map(String::as_str).collect();
        let loaded = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let message = format!("no model `{model}` is loaded in the page; loaded: {loaded}");
        error(ErrorCode::UnknownModel, message, "load it first; a page that was restarted has lost its models")
    }
}

impl Answer {
    fn of(message: AgentMessage) -> Self {
        Self { tensors: Vec::new(), message }
    }
}

fn generates_nothing() -> RemoteError {
    let message = "transformers.js generates no text here yet";
    error(ErrorCode::Unsupported, message, "leave out --engine transformers-js")
}

/// Sends the pieces of what is generated until the request is stopped.
fn parts_of(id: u64, stop: &Stop) -> impl FnMut(Part) + use<> {
    let (stop, mut index) = (stop.clone(), 0);
    move |part| {
        if stop.check().is_ok() {
            outbox::part(id, index, part);
            index += 1;
        }
    }
}

/// Sends progress until the request is stopped: after its answer nothing more comes for it.
fn progress_of(id: u64, stop: &Stop) -> impl Fn(webnibble_common::wire::Stage, u64, u64) + use<> {
    let stop = stop.clone();
    move |stage, done, total| {
        if stop.check().is_ok() {
            outbox::progress(id, stage, done, total);
        }
    }
}
