//! Panics: a bug, but never a silent one.

use std::panic::{PanicHookInfo, set_hook};

/// Writes each panic to the console and gives it to `report`. The instance is of no more use after it.
pub(crate) fn install(report: fn(&str)) {
    set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let message = info.to_string();
        web_sys::console::error_1(&message.as_str().into());
        report(&message);
    }));
}
