//! How a call ends before its work does: by a deadline, by its caller's signal, or since its model is gone.

use std::pin::pin;

use futures_util::future::{Either, select};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::AbortSignal;
use webnibble_common::wire::{ErrorCode, RemoteError};

use super::sys::Abortable;
use crate::error::error;
use crate::stop::Stop;

pub(super) fn disposed() -> RemoteError {
    error(ErrorCode::UnknownModel, "the model was disposed of", "load it again")
}

/// What `work` gives; the reason to stop as soon as there is one, though a browser may still be at work on what it was
/// given. `work` then ends by itself, and frees what it holds.
pub(super) async fn unless_stopped<T: 'static>(
    stop: &Stop,
    work: impl Future<Output = Result<T, RemoteError>> + 'static,
) -> Result<T, RemoteError> {
    match select(Box::pin(work), pin!(stop.stopped())).await {
        Either::Left((done, _)) => done,
        Either::Right((Some(reason), work)) => {
            spawn_local(async { drop(work.await) });
            Err(reason)
        }
        // The caller keeps `stop` until the end.
        Either::Right((None, work)) => work.await,
    }
}

/// Stops a request when its caller's signal is aborted; listens until it is dropped.
pub(super) struct Watch {
    signal: AbortSignal,
    handler: Closure<dyn FnMut()>,
}

impl Watch {
    pub(super) fn of(signal: Option<AbortSignal>, stop: &Stop) -> Option<Self> {
        let signal = signal?;
        let stop = stop.clone();
        let abort = move || stop.because(error(ErrorCode::Cancelled, "the request was aborted", ""));
        if signal.aborted() {
            abort();
            return None;
        }
        let handler = Closure::<dyn FnMut()>::new(abort);
        signal.unchecked_ref::<Abortable>().add_event_listener("abort", handler.as_ref().unchecked_ref());
        Some(Self { signal, handler })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let handler = self.handler.as_ref().unchecked_ref();
        self.signal.unchecked_ref::<Abortable>().remove_event_listener("abort", handler);
    }
}
