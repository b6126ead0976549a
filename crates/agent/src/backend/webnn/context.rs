//! The context, what it takes, and its errors in the wire's words.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::future::pending;
use std::pin::pin;

use futures_util::FutureExt;
use futures_util::future::{Either, LocalBoxFuture, Shared, select};
use js_sys::{JSON, RangeError};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use webnibble_common::options::ExecutionProvider;
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::webnn::{Limits, WebNnError};

use super::memory::Fastest;
use super::sys::{ML, MlContext, MlContextLostInfo};
use crate::error::{describe, error, internal};
use crate::sys::object;

/// An `MLContext`, shared by the models that run on it.
pub(crate) struct Context {
    /// The device asked for; the browser's own choice where it is `None`.
    pub(super) requested: Option<ExecutionProvider>,
    /// What it takes.
    pub(super) limits: Limits,
    pub(super) ml: MlContext,
    loss: Loss,
    /// What was the fastest for each model that was measured, by what its speed depends on.
    pub(super) fastest: RefCell<BTreeMap<String, Fastest>>,
}

impl Context {
    /// Asks for a context.
    pub(crate) async fn open(requested: Option<ExecutionProvider>) -> Result<Self, RemoteError> {
        let ml = create(requested).await?;
        let limits = limits_json(&ml)?;
        let limits = Limits::from_json(&limits)
            .ok_or_else(|| internal(format!("opSupportLimits() is not as expected: {limits}")))?;
        Ok(Self { requested, limits, loss: Loss::of(&ml), ml, fastest: RefCell::default() })
    }

    /// Whether the context was lost: a new one must be opened for new models.
    pub(crate) fn is_lost(&self) -> bool {
        self.loss.reason().is_some()
    }

    /// Name of the device asked for.
    pub(super) fn requested_name(&self) -> String {
        self.requested.map_or_else(|| "any".to_owned(), |device| device.to_string())
    }

    /// What a call of the browser gives; `what` says in messages what failed.
    pub(super) fn call<T>(&self, what: &str, call: impl FnOnce() -> Result<T, JsValue>) -> Result<T, RemoteError> {
        match self.loss.reason() {
            Some(reason) => Err(lost_error(&reason)),
            None => call().map_err(|thrown| self.failure(&thrown, what)),
        }
    }

    /// What the browser gives later. Once the context is lost this is an error: what was asked of it need never settle.
    pub(super) async fn wait<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, JsValue>>,
    ) -> Result<T, RemoteError> {
        match select(self.loss.told.clone(), pin!(work)).await {
            Either::Left((reason, _)) => Err(lost_error(&reason)),
            Either::Right((given, _)) => given.map_err(|thrown| self.failure(&thrown, what)),
        }
    }

    fn failure(&self, thrown: &JsValue, what: &str) -> RemoteError {
        self.loss.guess(thrown);
        if let Some(reason) = self.loss.reason() {
            return lost_error(&reason);
        }
        let message = format!("{what}: {}", describe(thrown));
        let code = if is_about_memory(thrown, &message) { ErrorCode::OutOfMemory } else { ErrorCode::Validation };
        coded(code, message)
    }
}

/// The browser's context on that device, or on what it chooses.
async fn create(device: Option<ExecutionProvider>) -> Result<MlContext, RemoteError> {
    let Some(ml) = ML.with(Option::clone) else {
        return Err(coded(ErrorCode::WebnnUnavailable, "this browser has no navigator.ml"));
    };
    let name = device.map(|device| device.to_string());
    let options = object(name.iter().map(|name| ("deviceType", name.into())));
    ml.create_context(&options).await.map_err(|thrown| {
        let asked = name.as_deref().unwrap_or("any device");
        let message = format!("createContext() failed for {asked}: {}", describe(&thrown));
        coded(ErrorCode::WebnnUnavailable, message)
    })
}

/// `opSupportLimits()`, as JSON.
pub(super) fn limits_json(ml: &MlContext) -> Result<String, RemoteError> {
    let text = ml.op_support_limits().and_then(|limits| JSON::stringify(&limits));
    text.map(String::from).map_err(|thrown| internal(format!("opSupportLimits() failed: {}", describe(&thrown))))
}

/// Whether a context was lost, and why.
struct Loss {
    /// The browser's reason, once it tells.
    told: Shared<LocalBoxFuture<'static, String>>,
    /// What a call said that failed before the browser told.
    guessed: OnceCell<String>,
}

impl Loss {
    fn of(context: &MlContext) -> Self {
        let lost = context.lost().map(JsFuture::from);
        let told = async move {
            let Some(lost) = lost else { return pending().await };
            let info = lost.await.ok().filter(JsValue::is_object);
            let message = info.and_then(|info| info.unchecked_into::<MlContextLostInfo>().message());
            message.filter(|message| !message.is_empty()).unwrap_or_else(|| "no reason given".to_owned())
        };
        Self { told: told.boxed_local().shared(), guessed: OnceCell::new() }
    }

    fn reason(&self) -> Option<String> {
        self.told.clone().now_or_never().or_else(|| self.guessed.get().cloned())
    }

    /// Takes a failed call for a loss: calls fail before the browser tells, and nothing else makes a tensor in use invalid.
    fn guess(&self, thrown: &JsValue) {
        if let Some(error) = thrown.dyn_ref::<js_sys::Error>().filter(|error| error.name() == "InvalidStateError") {
            // The first reason stands.
            let _ = self.guessed.set(error.message().into());
        }
    }
}

/// A device other than the one asked for counts as failed.
pub(crate) fn check_devices(asked: Option<ExecutionProvider>, reported: Option<&[String]>) -> Result<(), RemoteError> {
    let (Some(asked), Some(reported)) = (asked, reported) else { return Ok(()) };
    let asked = asked.to_string();
    if reported.is_empty() || reported.contains(&asked) {
        return Ok(());
    }
    let message = format!("WebNN should run the graph on {asked}, and the browser reports {}", reported.join(", "));
    let hint = "ask for another --execution-provider, or for none";
    Err(error(ErrorCode::Unsupported, message, hint))
}

impl Drop for Context {
    fn drop(&mut self) {
        // Browsers that cannot destroy a context collect it.
        let _ = self.ml.destroy();
    }
}

fn is_about_memory(thrown: &JsValue, message: &str) -> bool {
    let message = message.to_lowercase();
    thrown.is_instance_of::<RangeError>()
        || ["memory", "allocat", "too large"].iter().any(|word| message.contains(word))
}

fn lost_error(reason: &str) -> RemoteError {
    coded(ErrorCode::DeviceLost, format!("the WebNN context was lost ({reason})"))
}

fn coded(code: ErrorCode, message: impl Into<String>) -> RemoteError {
    error(code, message, hint(code))
}

fn hint(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::WebnnUnavailable => {
            "use Chrome or Edge with --enable-features=WebMachineLearningNeuralNetwork (distributions build Chromium \
             without a backend for it; on Linux scripts/fetch-webnn-browser.sh fetches one that has it), or another \
             --platform"
        }
        ErrorCode::OutOfMemory => "use a smaller model, a smaller batch or shorter texts",
        ErrorCode::DeviceLost => "the model must be loaded again; if it happens again, use shorter inputs",
        ErrorCode::Validation => "try another --execution-provider, and report the operator and the browser's version",
        _ => "",
    }
}

/// Why a model cannot be lowered for the context.
pub(super) fn from_webnn(problem: &WebNnError) -> RemoteError {
    let (code, hint) = match problem {
        WebNnError::MissingWeight(_) | WebNnError::Int8 { .. } => (ErrorCode::BadPackage, "quantize the model again"),
        WebNnError::Format { .. } => (ErrorCode::Unsupported, "use 8 or 16 bits on WebNN, or another --platform"),
        WebNnError::Unsupported { .. } => (ErrorCode::Unsupported, "use another --platform"),
        WebNnError::Operator { .. } => (ErrorCode::Unsupported, "try another --execution-provider or --platform"),
        WebNnError::TooLarge { .. } => (ErrorCode::Unsupported, "use a smaller batch, shorter texts or fewer bits"),
        WebNnError::Lowering { .. } => (ErrorCode::Unsupported, "leave the choice to measuring: give no lowering"),
        WebNnError::Graph(_) | WebNnError::Empty(_) | WebNnError::Positions { .. } => (ErrorCode::BadInput, ""),
        _ => (ErrorCode::Internal, ""),
    };
    error(code, problem.to_string(), hint)
}
