//! What a context takes: `opSupportLimits()`, read once.

use std::collections::BTreeMap;

use serde_json::Value;

use super::operand::DataType;
use super::program::Operation;

/// Types and ranks that each operand of each operator may have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Most bytes of a tensor.
    pub max_tensor_bytes: Option<u64>,
    operators: BTreeMap<String, BTreeMap<String, OperandLimits>>,
    /// `input` and `constant`, which are operands themselves.
    direct: BTreeMap<String, OperandLimits>,
}

#[derive(Clone, Debug, PartialEq)]
struct OperandLimits {
    data_types: Vec<String>,
    /// Smallest and largest rank.
    ranks: Option<(u64, u64)>,
}

impl Limits {
    /// Reads `JSON.stringify(context.opSupportLimits())`; `None` when that is not an object.
    pub fn from_json(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let mut limits = Self { max_tensor_bytes: value.get("maxTensorByteLength")?.as_u64(), ..Self::default() };
        for (name, operands) in value.as_object()? {
            let Some(operands) = operands.as_object() else { continue };
            if operands.contains_key("dataTypes") {
                limits.direct.extend(OperandLimits::from_value(&value[name]).map(|found| (name.clone(), found)));
                continue;
            }
            let read = operands.iter().filter_map(|(key, v)| Some((key.clone(), OperandLimits::from_value(v)?)));
            limits.operators.insert(name.clone(), read.collect());
        }
        Some(limits)
    }

    /// Whether `operator`'s `operand` may have that type and rank. An operand that the context says nothing about may:
    /// names differ between versions of the specification, and `build()` has the last word.
    pub fn takes(&self, operator: &str, operand: &str, dtype: DataType, rank: usize) -> bool {
        match self.operators.get(operator) {
            None => false,
            Some(operands) => operands.get(operand).is_none_or(|limits| limits.takes(dtype, rank)),
        }
    }

    /// Whether there is such an operator.
    pub fn has(&self, operator: &str) -> bool {
        self.operators.contains_key(operator)
    }

    /// Whether inputs may have that type.
    pub fn takes_input(&self, dtype: DataType) -> bool {
        self.direct.get("input").is_none_or(|limits| limits.takes(dtype, 2))
    }

    /// Whether constants may have that type.
    pub fn takes_constant(&self, dtype: DataType) -> bool {
        self.direct.get("constant").is_none_or(|limits| limits.takes(dtype, 2))
    }

    /// Whether a constant of type `from` can be turned into floats of type `to` by `dequantizeLinear`.
    pub fn dequantizes(&self, from: DataType, to: DataType) -> bool {
        let takes = |operand, dtype| self.takes("dequantizeLinear", operand, dtype, 2);
        self.takes_constant(from) && takes("input", from) && takes("zeroPoint", from) && takes("scale", to)
    }

    /// The first operand of `operation` that the context does not take, given each operand's type and rank.
    pub(super) fn refuses(
        &self,
        operation: &Operation,
        describe: impl Fn(super::Operand) -> (DataType, usize),
    ) -> Option<(&'static str, DataType, usize)> {
        operation.operands().into_iter().find_map(|(name, operand)| {
            let (dtype, rank) = describe(operand);
            (!self.takes(operation.name(), name, dtype, rank)).then_some((name, dtype, rank))
        })
    }
}

impl OperandLimits {
    fn from_value(value: &Value) -> Option<Self> {
        let data_types = value.get("dataTypes")?.as_array()?;
        let ranks =
            value.get("rankRange").and_then(|range| Some((range.get("min")?.as_u64()?, range.get("max")?.as_u64()?)));
        Some(Self { data_types: data_types.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(), ranks })
    }

    fn takes(&self, dtype: DataType, rank: usize) -> bool {
        let rank = rank as u64;
        self.data_types.iter().any(|name| name == dtype.name())
            && self.ranks.is_none_or(|(min, max)| (min..=max).contains(&rank))
    }
}
