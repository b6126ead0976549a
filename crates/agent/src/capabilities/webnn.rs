//! What WebNN can do: a context for each kind of device, or its error.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use js_sys::{Array, Object, Reflect};
use wasm_bindgen::prelude::*;
use webnibble_common::capabilities::{WebNn, WebNnDevice};

use crate::backend::webnn::sys::{ML, Ml, MlContext, MlGraphBuilder};
use crate::error::describe;
use crate::sys::object;
use crate::tasks::within;

/// A driver that hangs must not keep the page from saying hello.
const DEVICE_TIMEOUT_MS: f64 = 5000.0;

/// Keys of `opSupportLimits()` that are not operators.
const NOT_OPERATORS: [&str; 5] = ["preferredInputLayout", "maxTensorByteLength", "input", "constant", "output"];

/// Asks for a context on each kind of device. `navigator.ml` alone says nothing: it may have no backend behind it.
pub(super) async fn detect() -> WebNn {
    let Some(ml) = ML.with(Option::clone) else { return WebNn::default() };
    let asked = ["cpu", "gpu", "npu"].map(|name| ask(&ml, name));
    WebNn { present: true, devices: join_all(asked).await.into_iter().collect() }
}

/// What one kind of device answers, by its name.
async fn ask(ml: &Ml, name: &str) -> (String, WebNnDevice) {
    let answer = within(DEVICE_TIMEOUT_MS, device(ml, name)).await;
    let answer = answer.unwrap_or_else(|| Err(format!("no answer within {DEVICE_TIMEOUT_MS} ms").into()));
    let failed = |thrown: JsValue| WebNnDevice { error: Some(describe(&thrown)), ..WebNnDevice::default() };
    (name.to_owned(), answer.unwrap_or_else(failed))
}

async fn device(ml: &Ml, name: &str) -> Result<WebNnDevice, JsValue> {
    let context = ml.create_context(&object([("deviceType", name.into())])).await?;
    let operators = context.op_support_limits().map(|limits| operators(&limits)).unwrap_or_default();
    let claimed_devices = claimed_devices(&context).await.unwrap_or_default();
    // Browsers that cannot destroy a context collect it.
    let _ = context.destroy();
    Ok(WebNnDevice { created: true, error: None, claimed_devices, operators })
}

/// Data types that each operator takes for its first operand.
pub(super) fn operators(limits: &Object) -> BTreeMap<String, Vec<String>> {
    let entries = Object::entries(limits).iter().map(|entry| Array::from(&entry)).collect::<Vec<_>>();
    let named = entries.iter().filter_map(|entry| Some((entry.get(0).as_string()?, entry.get(1))));
    named
        .filter(|(name, _)| !NOT_OPERATORS.contains(&name.as_str()))
        .filter_map(|(name, operands)| Some((name, first_operand_types(operands.dyn_ref()?)?)))
        .collect()
}

fn first_operand_types(operands: &Object) -> Option<Vec<String>> {
    let keys = Object::keys(operands).to_vec().into_iter().filter_map(|key| key.as_string());
    // Dictionaries come in order of the alphabet: `output` may stand before `x`, `bias` before `input`.
    let rank = |key: &String| ["a", "input", "inputs", "condition"].iter().position(|first| first == key).unwrap_or(9);
    let first = keys.filter(|key| !key.starts_with("output")).min_by_key(rank)?;
    let types = Reflect::get(&Reflect::get(operands, &first.into()).ok()?, &"dataTypes".into()).ok()?;
    Some(Array::from(&types).iter().filter_map(|name| name.as_string()).collect())
}

/// Builds the smallest graph and reads where the browser says that it landed.
async fn claimed_devices(context: &MlContext) -> Result<Option<Vec<String>>, JsValue> {
    let builder = MlGraphBuilder::new(context)?;
    let descriptor = object([("dataType", "float32".into()), ("shape", Array::of1(&1.into()).into())]);
    let x = builder.input("x", &descriptor)?;
    let y = builder.add(&x, &x)?;
    let graph = builder.build(&object([("y", y)])).await?;
    Ok(graph.devices().map(|names| names.iter().filter_map(|name| name.as_string()).collect()))
}
