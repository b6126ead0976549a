//! How fields of a `config.json` are read.

use std::ops::RangeInclusive;

use serde_json::Value;
use webnibble_common::graph::Activation;

use crate::error::ModelError;

/// Largest width or number of rows that is taken. The products of two are held in 64 bits, and no table has more rows.
pub(crate) const MOST: usize = i32::MAX as usize;

/// Most layers that are taken: a graph grows with them, and a model in ONNX form has no checkpoint that would bound them.
pub(crate) const MOST_LAYERS: usize = 1024;

/// Reads fields of a `config.json`: absent or `null` gives the family's default, another type is an error.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a Value);

impl<'a> Fields<'a> {
    fn get(self, field: &str) -> Option<&'a Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// A count in a range.
    pub(crate) fn count(
        self,
        field: &'static str,
        range: RangeInclusive<usize>,
        default: usize,
    ) -> Result<usize, ModelError> {
        Ok(self.count_if_there(field, range)?.unwrap_or(default))
    }

    /// A count in a range, of which other fields say what it is where it is absent.
    pub(crate) fn count_if_there(
        self,
        field: &'static str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let count = value.as_u64().and_then(|n| usize::try_from(n).ok());
        let count = count.filter(|n| range.contains(n)).ok_or_else(|| {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            wrong(field, expected, value.to_string())
        });
        count.map(Some)
    }

    /// Height and width: one count for both, or a list of the two.
    pub(crate) fn sides(
        self,
        field: &'static str,
        range: RangeInclusive<usize>,
        default: usize,
    ) -> Result<[usize; 2], ModelError> {
        let Some(Value::Array(sides)) = self.get(field) else { return Ok([self.count(field, range, default)?; 2]) };
        let side = |side: &Value| side.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| range.contains(n));
        match sides.iter().map(side).collect::<Option<Vec<_>>>().as_deref() {
            Some(&[height, width]) => Ok([height, width]),
            _ => {
                let expected = format!("one or two whole numbers from {} to {}", range.start(), range.end());
                Err(wrong(field, expected, Value::from(sides.clone()).to_string()))
            }
        }
    }

    /// A positive, finite number.
    pub(crate) fn positive(self, field: &'static str, default: f32) -> Result<f32, ModelError> {
        let Some(value) = self.get(field) else { return Ok(default) };
        let number = value.as_f64().map(|n| n as f32);
        number
            .filter(|n| n.is_finite() && *n > 0.0)
            .ok_or_else(|| wrong(field, "a positive number".to_owned(), value.to_string()))
    }

    /// A finite number from 0 on, where it is there.
    pub(crate) fn number_if_there(self, field: &'static str) -> Result<Option<f32>, ModelError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let number = value.as_f64().map(|n| n as f32).filter(|n| n.is_finite() && *n >= 0.0);
        number.map(Some).ok_or_else(|| wrong(field, "a number from 0 on".to_owned(), value.to_string()))
    }

    /// A string.
    pub(crate) fn text(self, field: &'static str, default: &'a str) -> Result<&'a str, ModelError> {
        let Some(value) = self.get(field) else { return Ok(default) };
        value.as_str().ok_or_else(|| wrong(field, "a string".to_owned(), value.to_string()))
    }

    /// The activation that transformers' `ACT2FN` has under that name.
    pub(crate) fn activation(self, field: &'static str, default: &'a str) -> Result<Activation, ModelError> {
        Ok(match self.text(field, default)? {
            "gelu" | "gelu_python" => Activation::Gelu,
            // Three spellings of one formula.
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            "silu" | "swish" => Activation::Silu,
            "tanh" => Activation::Tanh,
            "linear" => Activation::Identity,
            name => {
                let known = "gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu, silu, tanh or linear";
                return Err(wrong(field, known.to_owned(), format!("`{name}`")));
            }
        })
    }

    /// The fields of an object; `None` where there is none.
    pub(crate) fn object(self, field: &'static str) -> Result<Option<Fields<'a>>, ModelError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        if value.is_object() {
            Ok(Some(Fields(value)))
        } else {
            Err(wrong(field, "an object".into(), value.to_string()))
        }
    }

    /// The first of `architectures`, where it is a name.
    pub(crate) fn architecture(self) -> Option<&'a str> {
        self.get("architectures")?.as_array()?.first()?.as_str()
    }

    /// A boolean.
    pub(crate) fn flag(self, field: &'static str, default: bool) -> Result<bool, ModelError> {
        let Some(value) = self.get(field) else { return Ok(default) };
        value.as_bool().ok_or_else(|| wrong(field, "true or false".to_owned(), value.to_string()))
    }
}

/// A [`ModelError::Field`].
pub(crate) fn wrong(field: &'static str, expected: String, found: String) -> ModelError {
    ModelError::Field { field, expected, found }
}
