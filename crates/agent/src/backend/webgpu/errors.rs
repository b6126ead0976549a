//! Errors of the device: whose work made them, and what they are in the wire's words.

use js_sys::JsNullable;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{GpuDevice, GpuError, GpuErrorFilter, GpuOutOfMemoryError};
use webnibble_common::wire::{ErrorCode, RemoteError};

use crate::error::{describe, error};
use crate::fields::text;

/// Work on the device whose errors are waited for.
pub(super) struct Watched {
    /// In the order in which errors count.
    scopes: [JsFuture<JsNullable<GpuError>>; 3],
}

/// Does `work` on the device, and watches for the errors that it makes there: models share a device, and an error is
/// whose work made it.
pub(super) fn watch<T>(device: &GpuDevice, work: impl FnOnce() -> T) -> (T, Watched) {
    let filters = [GpuErrorFilter::Internal, GpuErrorFilter::OutOfMemory, GpuErrorFilter::Validation];
    filters.into_iter().for_each(|filter| device.push_error_scope(filter));
    let done = work();
    let scopes = filters.map(|_| JsFuture::from(device.pop_error_scope()));
    (done, Watched { scopes })
}

impl Watched {
    /// The first error, once the device has taken the work.
    pub(super) async fn error(self) -> Option<GpuError> {
        let mut first = None;
        for scope in self.scopes {
            // A lost device tells of itself.
            let error = scope.await.ok()?.into_option();
            first = first.or(error);
        }
        first
    }
}

/// An error of the device, told as `message`.
pub(super) fn refused(error: &GpuError, message: impl Into<String>) -> RemoteError {
    let code = match error.is_instance_of::<GpuOutOfMemoryError>() {
        true => ErrorCode::OutOfMemory,
        false => ErrorCode::Validation,
    };
    gpu_error(code, message)
}

/// What a call threw that should not throw.
pub(super) fn thrown(value: &JsValue) -> RemoteError {
    gpu_error(ErrorCode::Internal, message_of(value))
}

/// The message of a thrown value.
pub(super) fn message_of(thrown: &JsValue) -> String {
    text(thrown, "message").unwrap_or_else(|| describe(thrown))
}

/// A failure of WebGPU, and what to do about it.
pub(super) fn gpu_error(code: ErrorCode, message: impl Into<String>) -> RemoteError {
    let hint = match code {
        ErrorCode::WebgpuUnavailable => {
            "start the browser with WebGPU enabled (Chromium without a GPU: --enable-unsafe-webgpu \
             --use-webgpu-adapter=swiftshader), or ask for --platform wasm"
        }
        ErrorCode::OutOfMemory => "use fewer bits, a smaller batch or shorter texts",
        ErrorCode::DeviceLost => {
            "the model must be loaded again; if it happens again, use fewer bits or shorter inputs"
        }
        ErrorCode::Validation => "try --portable-kernels, and report the kernel's name and the adapter",
        _ => "",
    };
    error(code, message, hint)
}
