//! Lowerings: the ways in which weights are given to a graph, and which of them suit a model.

use std::fmt;
use std::str::FromStr;

use webnibble_common::graph::{Graph, Op};
use webnibble_common::quant::{Bits, Format, Granularity, Scheme};

use super::{DataType, Limits, Ranges, WebNnError};
use crate::plan::Formats;

/// How weights are given to a graph, and what is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lowering {
    /// Every matrix dequantized once, when the graph is built; computed in single precision.
    Float32,
    /// Matrices that are stored in half precision stay in it and are cast in the graph; computed in single precision.
    Float16,
    /// Everything in half precision. Loses digits, and overflows where single precision does not.
    HalfCompute,
    /// Integer codes, dequantized in the graph at every inference: the memory of the format, at the price of time.
    Dequantize,
    /// Linear operators in int8, with static ranges of activations; the rest in single precision.
    Int8,
}

impl Lowering {
    /// Every lowering.
    pub const ALL: [Lowering; 5] =
        [Lowering::Float32, Lowering::Float16, Lowering::HalfCompute, Lowering::Dequantize, Lowering::Int8];

    /// Its name in options and results.
    pub const fn name(self) -> &'static str {
        match self {
            Lowering::Float32 => "float32",
            Lowering::Float16 => "float16",
            Lowering::HalfCompute => "float16-compute",
            Lowering::Dequantize => "dequantize",
            Lowering::Int8 => "int8",
        }
    }

    /// What values between operators are computed in.
    pub(super) const fn compute(self) -> DataType {
        match self {
            Lowering::HalfCompute => DataType::Float16,
            _ => DataType::Float32,
        }
    }
}

impl fmt::Display for Lowering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Lowering {
    type Err = WebNnError;

    fn from_str(text: &str) -> Result<Self, WebNnError> {
        let found = Self::ALL.into_iter().find(|lowering| lowering.name() == text);
        found.ok_or_else(|| WebNnError::Lowering {
            expected: Self::ALL.map(Self::name).join(", "),
            found: text.to_owned(),
        })
    }
}

/// A lowering that suits a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The lowering.
    pub lowering: Lowering,
    /// Whether results are those of the stored weights, computed in single precision.
    pub exact: bool,
}

/// What the caller asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// This lowering and no other.
    pub lowering: Option<Lowering>,
    /// Formats that WebNN takes, but that are not known to be good: int4.
    pub experimental: bool,
    /// Linear operators in int8.
    pub int8_activations: bool,
}

/// The lowerings to choose from for a model, most exact first; at least one.
///
/// # Errors
/// [`WebNnError::Format`] for weights of fewer than 8 bits, save 4 bits under `experimental` on a context that has
/// int4; [`WebNnError::Lowering`] when the lowering asked for cannot run.
pub fn candidates(
    graph: &Graph,
    formats: &Formats,
    ranges: &Ranges,
    limits: &Limits,
    request: Request,
) -> Result<Vec<Candidate>, WebNnError> {
    let linears = linears(graph, formats)?;
    for (name, format) in &linears {
        check_bits(name, *format, limits, request.experimental)?;
    }
    let has = |test: &dyn Fn(Format) -> bool| linears.iter().any(|(_, format)| test(*format));
    let fits_chain = |(name, format): &(&str, Format)| ranges.contains_key(*name) && chains(*format, limits);
    let can = |lowering: Lowering| match lowering {
        Lowering::Float32 => true,
        Lowering::Float16 => has(&|format| format.bits == Bits::B16) && limits.takes_constant(DataType::Float16),
        Lowering::HalfCompute => limits.takes("gemm", "a", DataType::Float16, 2),
        Lowering::Dequantize => has(&|format| stored(format, limits).is_some()),
        Lowering::Int8 => linears.iter().any(fits_chain),
    };
    let candidate = |lowering| Candidate {
        lowering,
        exact: matches!(lowering, Lowering::Float32 | Lowering::Float16 | Lowering::Dequantize),
    };
    if let Some(lowering) = request.lowering {
        if can(lowering) {
            return Ok(vec![candidate(lowering)]);
        }
        let names = Lowering::ALL.into_iter().filter(|other| can(*other)).map(Lowering::name);
        let expected = format!("one that this model and context have: {}", names.collect::<Vec<_>>().join(", "));
        return Err(WebNnError::Lowering { expected, found: lowering.name().to_owned() });
    }
    let wanted: &[Lowering] = if request.int8_activations && can(Lowering::Int8) {
        &[Lowering::Int8]
    } else if has(&|format| format.bits == Bits::B4) {
        // Four bits are asked for because of what int4 is: not to be run as something else.
        &[Lowering::Dequantize]
    } else if has(&|format| format.bits == Bits::B16) {
        &[Lowering::Float32, Lowering::Float16, Lowering::HalfCompute]
    } else {
        &[Lowering::Float32, Lowering::Dequantize]
    };
    Ok(wanted.iter().copied().filter(|lowering| can(*lowering)).map(candidate).collect())
}

/// Name and format of each linear operator's weight.
fn linears<'a>(graph: &'a Graph, formats: &Formats) -> Result<Vec<(&'a str, Format)>, WebNnError> {
    let weights = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Linear { weight, .. } => Some(graph.weight_of(*weight).name.as_str()),
        _ => None,
    });
    weights
        .map(|name| {
            let format = formats.get(name).ok_or_else(|| WebNnError::MissingWeight(name.to_owned()))?;
            Ok((name, *format))
        })
        .collect()
}

fn check_bits(name: &str, format: Format, limits: &Limits, experimental: bool) -> Result<(), WebNnError> {
    let reason = match format.bits {
        Bits::B8 | Bits::B16 | Bits::B32 => return Ok(()),
        Bits::B2 => "it has no 2-bit type".to_owned(),
        Bits::B4 if !experimental => "int4 is only used under --experimental-precision".to_owned(),
        Bits::B4 if !limits.dequantizes(DataType::Int4, DataType::Float32) => {
            "this context's dequantizeLinear does not take int4".to_owned()
        }
        Bits::B4 => return Ok(()),
    };
    Err(WebNnError::Format { name: name.to_owned(), format: format.to_string(), reason })
}

/// The type that codes of `format` are stored in where they are dequantized in the graph, if they can be.
pub(super) fn stored(format: Format, limits: &Limits) -> Option<DataType> {
    let dtype = match format.bits {
        Bits::B8 => DataType::Int8,
        Bits::B4 => DataType::Int4,
        _ => return None,
    };
    limits.dequantizes(dtype, DataType::Float32).then_some(dtype)
}

/// Whether weights of `format` can be those of a linear operator in int8: one scale a row or in all, and no zero points.
pub(super) fn chains(format: Format, limits: &Limits) -> bool {
    format.bits == Bits::B8
        && format.scheme == Scheme::Symmetric
        && !matches!(format.granularity, Granularity::Group(_))
        && limits.dequantizes(DataType::Int8, DataType::Float32)
        && limits.dequantizes(DataType::Int32, DataType::Float32)
        && limits.takes("quantizeLinear", "input", DataType::Float32, 2)
        && limits.takes("quantizeLinear", "zeroPoint", DataType::Int8, 2)
}
