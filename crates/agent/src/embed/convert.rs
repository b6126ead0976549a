//! Between JavaScript values and ours.

use js_sys::{Array, Error, Float32Array, JSON, Object, Reflect, Uint32Array};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;
use webnibble_common::prompt::PromptChoice;
use webnibble_common::tensor::{Tensor, TensorError};
use webnibble_common::wire::{ErrorCode, RemoteError};

use super::sys::{NamedTensors, TensorInput, WebnibbleError};
use crate::error::{error, internal};
use crate::model::Input;

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

/// Reads plain options; nothing at all stands for the defaults.
pub(super) fn options<T: DeserializeOwned + Default>(value: &JsValue) -> Result<T, RemoteError> {
    if value.is_undefined() || value.is_null() {
        return Ok(T::default());
    }
    let text = JSON::stringify(value).map_or_else(|_| String::new(), String::from);
    serde_json::from_str(&text).map_err(|e| bad(format!("options: {e}")))
}

/// Reads a `ModelInput`.
pub(super) fn input(value: &JsValue, truncate: bool, prompt: PromptChoice) -> Result<Input, RemoteError> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Plain {
        Text(String),
        Texts(Vec<String>),
        Ids { ids: Vec<Vec<u32>> },
    }
    if let Some(named) = value.is_object().then(|| value.unchecked_ref::<NamedTensors>().tensors()).flatten() {
        return Ok(Input::Tensors(tensors(&named)?));
    }
    let text = JSON::stringify(value).map_or_else(|_| String::new(), String::from);
    match serde_json::from_str(&text) {
        Ok(Plain::Text(text)) => Ok(Input::Texts { texts: vec![text], truncate, prompt }),
        Ok(Plain::Texts(texts)) => Ok(Input::Texts { texts, truncate, prompt }),
        Ok(Plain::Ids { ids }) => Ok(Input::Ids { rows: ids, truncate }),
        Err(_) => Err(bad("an input should be a string, strings, `{ ids }` or `{ tensors }`".to_owned())),
    }
}

fn tensors(named: &Object) -> Result<Vec<(String, Tensor)>, RemoteError> {
    let entries = Object::entries(named).to_vec();
    let entries = entries.iter().map(Array::from);
    entries
        .map(|entry| {
            let name = entry.get(0).as_string().unwrap_or_default();
            let tensor = tensor(&name, &entry.get(1))?;
            Ok((name, tensor))
        })
        .collect()
}

fn tensor(name: &str, value: &JsValue) -> Result<Tensor, RemoteError> {
    let expected = || bad(format!("tensor `{name}` should be {{ shape: number[], data: Float32Array | Uint32Array }}"));
    if !value.is_object() {
        return Err(expected());
    }
    let value: &TensorInput = value.unchecked_ref();
    let extents = value.shape().into_iter().map(|extent| extent.as_f64().map(|extent| extent as usize));
    let shape: Vec<usize> = extents.collect::<Option<_>>().ok_or_else(expected)?;
    let data = value.data();
    let made = match (data.dyn_ref::<Float32Array>(), data.dyn_ref::<Uint32Array>()) {
        (Some(floats), _) => Tensor::f32(shape, floats.to_vec()),
        (_, Some(integers)) => Tensor::u32(shape, integers.to_vec()),
        _ => return Err(expected()),
    };
    made.map_err(|e: TensorError| bad(format!("tensor `{name}`: {e}")))
}

/// `RunResult.outputs`.
pub(super) fn outputs(tensors: &[(String, Tensor)]) -> Result<Object, RemoteError> {
    let outputs = Object::new();
    for (name, tensor) in tensors {
        let data: JsValue = match (tensor.as_f32(), tensor.as_u32()) {
            (Ok(values), _) => Float32Array::from(values).into(),
            (_, Ok(values)) => Uint32Array::from(values).into(),
            (Err(problem), Err(_)) => return Err(internal(problem.to_string())),
        };
        let shape: Array = tensor.shape().iter().map(|extent| JsValue::from_f64(*extent as f64)).collect();
        set(&outputs, name, &object(&[("shape", shape.into()), ("data", data)])?.into())?;
    }
    Ok(outputs)
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

fn bad(message: String) -> RemoteError {
    error(ErrorCode::BadInput, message, "")
}
