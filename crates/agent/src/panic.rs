//! Panics: a bug, but never a silent one.

use std::panic::{PanicHookInfo, set_hook};

use wasm_bindgen::JsValue;

/// Writes each panic to the console and gives it to `report`. The instance is of no more use after it.
pub(crate) fn install(report: fn(&str)) {
    set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let message = info.to_string();
        web_sys::console::error_1(&message.as_str().into());
        report(&message);
    }));
}

/// Throws each panic as what `make` makes of its message, so that it leaves the instance with its reason, and not as a
/// bare trap. The instance is of no more use after it.
pub(crate) fn throw(make: fn(String) -> JsValue) {
    // The tests' runner has a hook of its own, which tells it of assertions that failed.
    if cfg!(not(test)) {
        set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            let message = info.to_string();
            web_sys::console::error_1(&message.as_str().into());
            wasm_bindgen::throw_val(make(message));
        }));
    }
}
