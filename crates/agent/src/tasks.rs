//! Time and turns: timers, giving way to the event loop.

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::sys;

/// A timer that is cleared when it is dropped.
pub(crate) struct Timer {
    id: JsValue,
    _handler: Closure<dyn FnMut()>,
}

impl Timer {
    /// Calls `handler` once after `delay_ms`.
    pub(crate) fn after(delay_ms: f64, handler: impl FnOnce() + 'static) -> Self {
        let handler = Closure::once(handler);
        // Browsers take delays as 32-bit integers, and fire at once what is longer.
        let id = sys::set_timeout(handler.as_ref().unchecked_ref(), delay_ms.min(f64::from(i32::MAX)));
        Self { id, _handler: handler }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        sys::clear_timeout(&self.id);
    }
}

/// Waits for `delay_ms`.
pub(crate) async fn sleep(delay_ms: f64) {
    let (sender, receiver) = oneshot::channel();
    let _timer = Timer::after(delay_ms, move || {
        // The waiter may be gone, and then nobody needs it.
        let _ = sender.send(());
    });
    // The sender lives in the timer.
    let _ = receiver.await;
}

/// Lets what waits for values that are there already go on with them, before anything else does.
pub(crate) async fn give_way() {
    // A promise of nothing cannot fail.
    let _ = JsFuture::from(js_sys::Promise::resolve(&JsValue::UNDEFINED)).await;
}

/// What `work` gives, or `None` when it takes longer than `limit_ms`; it is dropped then.
pub(crate) async fn within<T>(limit_ms: f64, work: impl Future<Output = T>) -> Option<T> {
    match select(Box::pin(work), Box::pin(sleep(limit_ms))).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// Gives way to events once the work since the last pause took long enough, so that a cancel can come in.
pub(crate) struct Pacer {
    resumed_ms: f64,
}

impl Pacer {
    /// How long to compute before giving way.
    const TURN_MS: f64 = 50.0;

    /// Begins a turn.
    pub(crate) fn new() -> Self {
        Self { resumed_ms: sys::now_ms() }
    }

    /// Lets waiting events run if the turn is over.
    pub(crate) async fn pause(&mut self) {
        if sys::now_ms() - self.resumed_ms >= Self::TURN_MS {
            sys::next_task().await;
            self.resumed_ms = sys::now_ms();
        }
    }
}
