//! The context, what it takes, and its errors in the wire's words.

use std::cell::RefCell;
use std::collections::BTreeMap;

use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use webnibble_common::options::ExecutionProvider;
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::webnn::{Limits, Lowering};

use super::sys::{CodedError, JsContext, open_context};
use crate::error::{error, internal};

/// The fastest of what was measured for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fastest {
    pub(super) lowering: Lowering,
    /// Parts that are computed side by side.
    pub(super) parts: usize,
}

/// An `MLContext`, shared by the models that run on it.
pub(crate) struct Context {
    /// The device asked for; the browser's own choice where it is `None`.
    pub(super) requested: Option<ExecutionProvider>,
    /// What it takes.
    pub(super) limits: Limits,
    pub(super) js: JsContext,
    /// What was the fastest for each model that was measured, by what its speed depends on.
    pub(super) fastest: RefCell<BTreeMap<String, Fastest>>,
}

impl Context {
    /// Asks for a context.
    pub(crate) async fn open(requested: Option<ExecutionProvider>) -> Result<Self, RemoteError> {
        let name = requested.map(|device| device.to_string());
        let opened = JsFuture::from(open_context(name.as_deref())).await.map_err(|e| from_js(&e))?;
        let js: JsContext = opened.unchecked_into();
        let limits = js.limits().map_err(|e| from_js(&e))?;
        let limits = Limits::from_json(&limits)
            .ok_or_else(|| internal(format!("opSupportLimits() is not as expected: {limits}")))?;
        Ok(Self { requested, limits, js, fastest: RefCell::default() })
    }

    /// Whether the context was lost: a new one must be opened for new models.
    pub(crate) fn is_lost(&self) -> bool {
        self.js.lost_reason().is_some()
    }

    /// Destroys the context, as a crashed GPU process would. For tests.
    #[cfg(test)]
    pub(crate) fn lose(&self) {
        self.js.close();
    }

    /// Name of the device asked for.
    pub(super) fn requested_name(&self) -> String {
        self.requested.map_or_else(|| "any".to_owned(), |device| device.to_string())
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
        self.js.close();
    }
}

/// An error thrown by `js/webnn.js`.
pub(super) fn from_js(thrown: &JsValue) -> RemoteError {
    let coded: &CodedError = thrown.unchecked_ref();
    let (code, message) = match thrown.is_object() {
        true => (coded.code().as_string(), coded.message()),
        false => (None, None),
    };
    let message = message.unwrap_or_else(|| format!("{thrown:?}"));
    let code = code.and_then(|code| serde_json::from_value(serde_json::Value::String(code)).ok());
    let code = code.unwrap_or(ErrorCode::Internal);
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
