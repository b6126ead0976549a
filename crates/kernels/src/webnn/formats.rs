//! Which lowerings suit a model.

use webnibble_common::graph::Graph;
use webnibble_common::quant::{Bits, Format, Granularity, Scheme};

use super::error::WebNnError;
use super::limits::Limits;
use super::lowering::Lowering;
use super::operand::DataType;
use super::ranges::Ranges;
use crate::plan::weights::Formats;

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
    graph
        .linears()
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
pub(crate) fn stored(format: Format, limits: &Limits) -> Option<DataType> {
    let dtype = match format.bits {
        Bits::B8 => DataType::Int8,
        Bits::B4 => DataType::Int4,
        _ => return None,
    };
    limits.dequantizes(dtype, DataType::Float32).then_some(dtype)
}

/// Whether weights of `format` can be those of a linear operator in int8: one scale a row or in all, and no zero points.
pub(crate) fn chains(format: Format, limits: &Limits) -> bool {
    format.bits == Bits::B8
        && format.scheme == Scheme::Symmetric
        && !matches!(format.granularity, Granularity::Group(_))
        && limits.dequantizes(DataType::Int8, DataType::Float32)
        && limits.dequantizes(DataType::Int32, DataType::Float32)
        && limits.takes("quantizeLinear", "input", DataType::Float32, 2)
        && limits.takes("quantizeLinear", "zeroPoint", DataType::Int8, 2)
}
