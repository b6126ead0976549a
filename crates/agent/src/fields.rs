//! Reading what browsers give, leniently: a field that a browser does not have, or that throws, is nothing.

use js_sys::Reflect;
use wasm_bindgen::JsValue;

/// The field, unless it is missing, null or undefined.
pub(crate) fn field(object: &JsValue, name: &str) -> Option<JsValue> {
    Reflect::get(object, &name.into()).ok().filter(|value| !value.is_null() && !value.is_undefined())
}

/// The field, if it is a string.
pub(crate) fn text(object: &JsValue, name: &str) -> Option<String> {
    field(object, name)?.as_string()
}

/// The field, if it is a number.
pub(crate) fn number(object: &JsValue, name: &str) -> Option<f64> {
    field(object, name)?.as_f64()
}

/// The strings of a set or an array, sorted.
pub(crate) fn sorted_names(set: &JsValue) -> Vec<String> {
    let mut names: Vec<String> = match js_sys::try_iter(set) {
        Ok(Some(names)) => names.filter_map(|name| name.ok()?.as_string()).collect(),
        _ => Vec::new(),
    };
    names.sort();
    names
}
