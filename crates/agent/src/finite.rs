//! NaN and infinity are never a result.

use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::exec::first_non_finite_of;
use webnibble_kernels::plan::Found;

use crate::error::error;

/// Fails for the first tensor with a NaN or an infinity.
pub(crate) fn check_finite(outputs: &[(String, Tensor)]) -> Result<(), RemoteError> {
    outputs.iter().try_for_each(|(name, tensor)| match look(tensor) {
        Some(found) => Err(not_finite(name, tensor.len(), found)),
        None => Ok(()),
    })
}

/// That an output of `len` elements has what was found in it.
pub(crate) fn not_finite(output: &str, len: usize, found: Found) -> RemoteError {
    let Found { count, first, value } = found;
    refused(format!(
        "output `{output}` should be finite numbers, found {count} of {len} that are not, the first {value} at {first}"
    ))
}

/// That an output has something that is no finite number, as the device found where it chose by it.
pub(crate) fn no_number(output: &str) -> RemoteError {
    refused(format!(
        "output `{output}` should be finite numbers, found one that is not: no token could be chosen by it"
    ))
}

fn refused(message: String) -> RemoteError {
    error(ErrorCode::NotFinite, message, "try more bits, or --portable-kernels to rule out a kernel variant")
}

fn look(tensor: &Tensor) -> Option<Found> {
    let (first, value) = first_non_finite_of(tensor)?;
    let count = tensor.as_f32().map_or(1, |values| values.iter().filter(|value| !value.is_finite()).count());
    Some(Found { count, first, value })
}
