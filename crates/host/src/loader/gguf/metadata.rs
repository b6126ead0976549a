//! What a GGUF file says of its model: values by their keys.

use std::collections::BTreeMap;

use super::error::GgufError;

/// Types of numbers, by their codes in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    U64,
    I64,
    F64,
}

impl Number {
    /// By its code; `None` for strings, arrays and what is not known.
    pub(super) fn of(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of one.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// One of its little-endian bytes, of which there are [`Number::bytes`].
    pub(super) fn value(self, bytes: &[u8]) -> Value {
        fn of<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.try_into().expect("as many bytes as the type has")
        }
        match self {
            Self::Bool => Value::Flag(bytes[0] != 0),
            Self::F32 => Value::Float(f32::from_le_bytes(of(bytes)).into()),
            Self::F64 => Value::Float(f64::from_le_bytes(of(bytes))),
            Self::U8 => Value::Integer(bytes[0].into()),
            Self::I8 => Value::Integer(i8::from_le_bytes(of(bytes)).into()),
            Self::U16 => Value::Integer(u16::from_le_bytes(of(bytes)).into()),
            Self::I16 => Value::Integer(i16::from_le_bytes(of(bytes)).into()),
            Self::U32 => Value::Integer(u32::from_le_bytes(of(bytes)).into()),
            Self::I32 => Value::Integer(i32::from_le_bytes(of(bytes)).into()),
            Self::U64 => Value::Integer(u64::from_le_bytes(of(bytes)).into()),
            Self::I64 => Value::Integer(i64::from_le_bytes(of(bytes)).into()),
        }
    }
}

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Integer(i128),
    Float(f64),
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
    /// Numbers as they lie in the file: no more memory than the file has bytes.
    Numbers(Number, Vec<u8>),
}

impl Value {
    /// The value for people, at most a few words.
    fn shown(&self) -> String {
        match self {
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Flag(value) => value.to_string(),
            Self::Text(text) => format!("`{}`", text.chars().take(60).collect::<String>()),
            Self::Texts(texts) => format!("{} strings", texts.len()),
            Self::Numbers(number, bytes) => format!("{} numbers ({number:?})", bytes.len() / number.bytes()),
        }
    }

    fn numbers(&self) -> Option<impl Iterator<Item = Value>> {
        match self {
            Self::Numbers(number, bytes) => Some(bytes.chunks_exact(number.bytes()).map(|bytes| number.value(bytes))),
            _ => None,
        }
    }

    fn integer(&self) -> Option<i128> {
        if let Self::Integer(value) = self { Some(*value) } else { None }
    }

    fn float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Integer(value) => Some(*value as f64),
            _ => None,
        }
    }
}

/// Every value, by its key.
#[derive(Clone, Debug, Default)]
pub(super) struct Metadata(pub(super) BTreeMap<String, Value>);

impl Metadata {
    fn get<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| GgufError::metadata(key, expected, value.shown()))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        match value {
            Value::Text(text) => Ok(Some(text)),
            other => Err(GgufError::metadata(key, "a string", other.shown())),
        }
    }

    pub(super) fn texts(&self, key: &str) -> Result<Option<&[String]>, GgufError> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        match value {
            Value::Texts(texts) => Ok(Some(texts)),
            other => Err(GgufError::metadata(key, "an array of strings", other.shown())),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.get(key, "true or false", |value| if let Value::Flag(flag) = value { Some(*flag) } else { None })
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f64>, GgufError> {
        self.get(key, "a number", Value::float)
    }

    /// A whole number from 0 on. An array of one number a layer is read where all are the same.
    pub(super) fn count(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.get(key, "a whole number from 0 on, the same for every layer", |value| {
            let same = |first: i128| value.numbers()?.all(|next| next.integer() == Some(first)).then_some(first);
            let number = value.integer().or_else(|| value.numbers()?.next()?.integer().and_then(same));
            number.and_then(|number| u64::try_from(number).ok())
        })
    }

    /// A count that has to be there.
    pub(super) fn required_count(&self, key: &str) -> Result<u64, GgufError> {
        self.count(key)?.ok_or_else(|| GgufError::metadata(key, "a whole number", "nothing"))
    }

    pub(super) fn integers(&self, key: &str) -> Result<Option<Vec<i128>>, GgufError> {
        self.get(key, "an array of whole numbers", |value| value.numbers()?.map(|one| one.integer()).collect())
    }

    pub(super) fn floats(&self, key: &str) -> Result<Option<Vec<f64>>, GgufError> {
        self.get(key, "an array of numbers", |value| value.numbers()?.map(|one| one.float()).collect())
    }
}
