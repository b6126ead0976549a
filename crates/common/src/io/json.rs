//! Tensors in JSON, as `--input` takes them: nested lists, or a shape with its elements.

use serde::Deserialize;
use serde_json::{Number, Value};

use super::NamedTensors;
use crate::tensor::{DType, Tensor};

/// Why JSON holds no tensors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonTensorError {
    /// The document has another form.
    #[error("expected tensors by the names of the model's inputs, {EXAMPLE}, found {found}")]
    Document {
        /// What it is.
        found: String,
    },
    /// A tensor has another form.
    #[error("input `{name}`: {reason}")]
    Tensor {
        /// The input.
        name: String,
        /// What was expected, and what was found.
        reason: String,
    },
}

const EXAMPLE: &str = r#"such as {"input_ids": [[101, 7592, 102]]}"#;
const FORMS: &str = r#"nested lists of numbers or {"shape": […], "data": […]}"#;

/// A shape with its elements.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flat {
    shape: Vec<usize>,
    data: Vec<Number>,
    dtype: Option<DType>,
}

/// Tensors by name: `{"input_ids": [[101, 7592, 102]], "x": {"shape": [2], "data": [0.5, 1.5]}}`.
///
/// # Errors
/// For another document, and for what [`tensor_from_json`] refuses.
pub fn tensors_from_json(document: &Value) -> Result<NamedTensors, JsonTensorError> {
    let found = || JsonTensorError::Document { found: kind_of(document) };
    let named = document.as_object().filter(|named| !named.is_empty()).ok_or_else(found)?;
    let tensor = |(name, value): (&String, &Value)| match tensor_from_json(value) {
        Ok(tensor) => Ok((name.clone(), tensor)),
        Err(reason) => Err(JsonTensorError::Tensor { name: name.clone(), reason }),
    };
    named.iter().map(tensor).collect()
}

/// One tensor: nested lists, or `{"shape": […], "data": […]}`. Its elements are u32 where all are written as whole numbers
/// from 0 on, else f32; a `"dtype"` beside shape and data says otherwise.
///
/// # Errors
/// Says what was expected and what was found, for lists of different lengths, numbers that do not fit the type, and a shape
/// with another number of elements.
pub fn tensor_from_json(value: &Value) -> Result<Tensor, String> {
    let Flat { shape, data, dtype } = match value {
        Value::Array(_) => nested(value)?,
        Value::Object(_) => Flat::deserialize(value).map_err(|error| format!("expected {FORMS}: {error}"))?,
        other => return Err(format!("expected {FORMS}, found {}", kind_of(other))),
    };
    let whole = data.iter().all(Number::is_u64);
    let made = match dtype.unwrap_or(if whole { DType::U32 } else { DType::F32 }) {
        DType::U32 => Tensor::u32(shape, data.iter().map(whole_number).collect::<Result<_, _>>()?),
        DType::F32 => Tensor::f32(shape, data.iter().map(float).collect::<Result<_, _>>()?),
        other => return Err(format!("expected dtype f32 or u32, found {other}")),
    };
    made.map_err(|error| error.to_string())
}

/// Nested lists: the first of each depth says how long the others have to be.
fn nested(value: &Value) -> Result<Flat, String> {
    let (mut shape, mut first) = (Vec::new(), Some(value));
    while let Some(Value::Array(items)) = first {
        shape.push(items.len());
        first = items.first();
    }
    let mut data = Vec::new();
    collect(value, &shape, &mut String::new(), &mut data)?;
    Ok(Flat { shape, data, dtype: None })
}

/// The numbers of a list of `shape`, which stands at `place`.
fn collect(value: &Value, shape: &[usize], place: &mut String, data: &mut Vec<Number>) -> Result<(), String> {
    match (value, shape) {
        (Value::Number(number), []) => data.push(number.clone()),
        (Value::Array(items), [extent, inner @ ..]) if items.len() == *extent => {
            for (index, item) in items.iter().enumerate() {
                let length = place.len();
                place.push_str(&format!("[{index}]"));
                collect(item, inner, place, data)?;
                place.truncate(length);
            }
        }
        (found, []) => return Err(format!("expected a number at {place}, found {}", kind_of(found))),
        (found, [extent, ..]) => {
            let found = kind_of(found);
            return Err(format!("expected a list of {extent} at {place}, as the first one beside it, found {found}"));
        }
    }
    Ok(())
}

fn whole_number(number: &Number) -> Result<u32, String> {
    let value = number.as_f64().filter(|value| value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(value));
    value.map(|value| value as u32).ok_or_else(|| format!("expected whole numbers up to {}, found {number}", u32::MAX))
}

fn float(number: &Number) -> Result<f32, String> {
    let value = number.as_f64().map(|value| value as f32).filter(|value| value.is_finite());
    value.ok_or_else(|| format!("expected numbers of 32 bits, found {number}"))
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(fields) => format!("an object of {} fields", fields.len()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_give_the_same_tensor() {
        let ids = Tensor::u32([2, 3], vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(tensor_from_json(&json!([[1, 2, 3], [4, 5, 6]])), Ok(ids.clone()));
        assert_eq!(tensor_from_json(&json!({"shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]})), Ok(ids));
        let floats = Tensor::f32([1, 1, 2], vec![1.0, -2.5]).unwrap();
        assert_eq!(tensor_from_json(&json!([[[1, -2.5]]])), Ok(floats));
        let asked = |dtype: &str| tensor_from_json(&json!({"shape": [2], "data": [1.0, 2], "dtype": dtype})).unwrap();
        assert_eq!((asked("u32").dtype(), asked("f32").dtype()), (DType::U32, DType::F32));
        assert_eq!(tensor_from_json(&json!([[]])).unwrap().shape(), [1, 0]);
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_place() {
        for (value, reason) in [
            (json!([[1, 2, 3], [4, 5]]), "expected a list of 3 at [1], as the first one beside it, found a list of 2"),
            (
                json!([[[1], [2]], [[3], 4]]),
                "expected a list of 1 at [1][1], as the first one beside it, found the number 4",
            ),
            (json!([1, [2]]), "expected a number at [1], found a list of 1"),
            (json!([[1, "two"]]), "expected a number at [0][1], found the text \"two\""),
            (json!([4_294_967_296_u64]), "expected whole numbers up to 4294967295, found 4294967296"),
            (json!([1e39]), "expected numbers of 32 bits, found 1e+39"),
            (json!({"shape": [1], "data": [-1], "dtype": "u32"}), "expected whole numbers up to 4294967295, found -1"),
            (json!({"shape": [2, 2], "data": [1, 2, 3]}), "shape [2, 2] holds 4 elements, found 3"),
        ] {
            assert_eq!(tensor_from_json(&value).unwrap_err(), reason, "{value}");
        }
        let error = tensor_from_json(&json!({"shape": [1], "data": [1], "type": "u32"})).unwrap_err();
        assert!(error.contains("unknown field `type`"), "{error}");
        let error = tensor_from_json(&json!({"shape": [1], "data": [1], "dtype": "i64"})).unwrap_err();
        assert!(error.contains("`i64`") && error.contains("`u32`"), "{error}");
    }

    #[test]
    fn a_document_holds_tensors_by_name() {
        let read = tensors_from_json(&json!({"input_ids": [[1, 2]], "attention_mask": [[1, 1]]})).unwrap();
        let mut names: Vec<&str> = read.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["attention_mask", "input_ids"]);
        let error = |document| tensors_from_json(&document).unwrap_err().to_string();
        assert!(error(json!([[1]])).ends_with("found a list of 1"));
        assert!(error(json!({})).contains("\"input_ids\""));
        assert_eq!(error(json!({"x": true})), format!("input `x`: expected {FORMS}, found true"));
    }
}
