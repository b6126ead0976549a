//! What JavaScript gets.

use js_sys::{Array, Error, Float32Array, Int8Array, JSON, Object, Reflect, Uint32Array};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use webnibble_common::tensor::{Data, Tensor};
use webnibble_common::wire::RemoteError;

use super::sys::WebnibbleError;
use crate::error::internal;

/// The thrown form of a failure.
pub(super) fn thrown(problem: &RemoteError) -> JsValue {
    let made = Error::new(&problem.message);
    made.set_name("WebnibbleError");
    let made: WebnibbleError = made.unchecked_into();
    made.set_code(&plain(&problem.code));
    made.set_hint(&problem.hint);
    made.into()
}

/// A plain JavaScript value of what has a wire form.
pub(super) fn plain(value: &impl Serialize) -> JsValue {
    let text = serde_json::to_string(value).expect("wire types have string keys");
    JSON::parse(&text).expect("serde writes JSON")
}

/// `RunResult.outputs`.
pub(super) fn outputs(tensors: &[(String, Tensor)]) -> Result<Object, RemoteError> {
    let outputs = Object::new();
    for (name, tensor) in tensors {
        let data: JsValue = match tensor.data() {
            Data::F32(values) => Float32Array::from(&values[..]).into(),
            // Not every browser has a `Float16Array`.
            Data::F16(values) => {
                Float32Array::from(&values.iter().map(|value| value.to_f32()).collect::<Vec<_>>()[..]).into()
            }
            Data::U32(values) => Uint32Array::from(&values[..]).into(),
            Data::I8(values) => Int8Array::from(&values[..]).into(),
        };
        let shape: Array = tensor.shape().iter().map(|extent| JsValue::from_f64(*extent as f64)).collect();
        set(&outputs, name, &object(&[("shape", shape.into()), ("data", data)])?.into())?;
    }
    Ok(outputs)
}

/// `RunResult.output`: the answer as the record has it, of the `outputs` that were made for `RunResult.outputs`.
pub(super) fn answer<'a>(
    outputs: &Object,
    embeddings: Option<impl Iterator<Item = &'a [f32]>>,
) -> Result<Object, RemoteError> {
    let (kind, value): (_, JsValue) = match embeddings {
        Some(rows) => ("embeddings", rows.map(|row| JsValue::from(Float32Array::from(row))).collect::<Array>().into()),
        None => ("tensors", outputs.into()),
    };
    object(&[("kind", kind.into()), (kind, value)])
}

/// A plain object.
pub(super) fn object(fields: &[(&str, JsValue)]) -> Result<Object, RemoteError> {
    let object = Object::new();
    fields.iter().try_for_each(|(name, value)| set(&object, name, value))?;
    Ok(object)
}

fn set(object: &Object, name: &str, value: &JsValue) -> Result<(), RemoteError> {
    match Reflect::set(object, &name.into(), value) {
        Ok(_) => Ok(()),
        Err(_) => Err(internal(format!("a new object does not take the field `{name}`"))),
    }
}
