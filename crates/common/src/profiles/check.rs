//! Options that contradict themselves, or are out of range.

use crate::fallback::Fallback;
use crate::options::{Options, Settings};
use crate::quant::{Bits, Granularity, Scheme};

/// Options that contradict themselves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// Two options exclude one another.
    #[error("`{one}` and `{other}` exclude one another; leave one of them out")]
    Conflict {
        /// As on the command line.
        one: &'static str,
        /// As on the command line.
        other: &'static str,
    },
    /// A value that no package can have.
    #[error("`{option}` is not offered: {reason}")]
    NotOffered {
        /// As on the command line.
        option: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// A value is out of its range.
    #[error("`{option}` should be {expected}, found {found}")]
    Range {
        /// As on the command line.
        option: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A request that cannot be kept, where nothing else is to take its place.
    #[error(
        "`{request}` was asked for and cannot be kept: {reason}; without `--no-fallback`, `{instead}` takes its place"
    )]
    NotKept {
        /// The option and the value that was asked for, as the record has them.
        request: String,
        /// What it would be otherwise.
        instead: String,
        /// Why.
        reason: String,
    },
}

impl OptionsError {
    /// What a fallback says, where none is allowed.
    pub fn not_kept(fallback: &Fallback) -> Self {
        let Fallback { from, to, reason, .. } = fallback.clone();
        Self::NotKept { request: from, instead: to, reason }
    }
}

pub(super) fn check(options: &Options) -> Result<(), OptionsError> {
    let settings = &options.settings;
    if settings.mixed_precision == Some(false) && settings.attention_bits.is_some() {
        return Err(OptionsError::Conflict { one: "--attention-bits", other: "--no-mixed-precision" });
    }
    if settings.quantization == Some(false) && settings.bits.is_some_and(|bits| bits != Bits::B32) {
        return Err(OptionsError::Conflict { one: "--no-quantization", other: "--bits" });
    }
    if let Some(Granularity::Group(size)) = settings.granularity
        && (size == 0 || !size.is_multiple_of(16))
    {
        let expected = "a positive multiple of 16";
        return Err(OptionsError::Range { option: "--group-size", expected, found: size.to_string() });
    }
    if settings.skip_layernorm == Some(false) {
        let reason = "packages hold normalizations in f32; they are less than a thousandth of a model's weights";
        return Err(OptionsError::NotOffered { option: "--no-skip-layernorm", reason });
    }
    check_activations(settings)?;
    if settings.threads == Some(0) {
        return Err(OptionsError::Range { option: "--threads", expected: "at least 1", found: "0".into() });
    }
    if let Some(size) = settings.workgroup_size
        && !(size[0].is_power_of_two() && size[1..] == [1, 1])
    {
        let expected = "X,1,1 with X a power of two, since the kernels that take it have one dimension";
        let found = size.map(|extent| extent.to_string()).join(",");
        return Err(OptionsError::Range { option: "--workgroup-size", expected, found });
    }
    if options.measure.runs == Some(0) {
        return Err(OptionsError::Range { option: "--runs", expected: "at least 1", found: "0".into() });
    }
    Ok(())
}

/// Activations of 8 bits go with weights of 8 bits, symmetric, with one scale a channel or tensor.
fn check_activations(settings: &Settings) -> Result<(), OptionsError> {
    let conflict = |other| Err(OptionsError::Conflict { one: "--activation-bits 8", other });
    match settings.activation_bits {
        None | Some(Bits::B32) => return Ok(()),
        Some(Bits::B8) => {}
        Some(other) => {
            let (expected, found) = ("8, or 32 for floats", other.to_string());
            return Err(OptionsError::Range { option: "--activation-bits", expected, found });
        }
    }
    let other_than_8 = |bits: Option<Bits>| bits.is_some_and(|bits| bits != Bits::B8);
    if other_than_8(settings.bits) {
        return conflict("--bits other than 8");
    }
    if other_than_8(settings.attention_bits) {
        return conflict("--attention-bits other than 8");
    }
    if settings.scheme == Some(Scheme::Asymmetric) {
        return conflict("--scheme asymmetric");
    }
    if matches!(settings.granularity, Some(Granularity::Group(_))) {
        return conflict("--group-size");
    }
    if settings.quantization == Some(false) {
        return conflict("--no-quantization");
    }
    Ok(())
}
