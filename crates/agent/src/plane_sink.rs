//! Where the planes of a package go.

use js_sys::Uint8Array;
use webnibble_common::package::Plane;
use webnibble_common::wire::{ErrorCode, RemoteError};

use crate::error::error;

/// Takes the planes of a package one by one, in file order.
pub(crate) trait PlaneSink {
    /// A view of exactly the plane's length, to be filled.
    fn begin_plane(&mut self, plane: &Plane) -> Result<Uint8Array, RemoteError>;
    /// Takes the filled view.
    fn finish_plane(&mut self, plane: &Plane, view: &Uint8Array) -> Result<(), RemoteError>;
}

/// A JavaScript buffer of the plane's length.
pub(crate) fn buffer(plane: &Plane) -> Result<Uint8Array, RemoteError> {
    let length = u32::try_from(plane.bytes()).map_err(|_| {
        let message = format!("plane `{}` should have less than 4 GiB, found {} bytes", plane.name(), plane.bytes());
        error(ErrorCode::BadPackage, message, "")
    })?;
    Ok(Uint8Array::new_with_length(length))
}
