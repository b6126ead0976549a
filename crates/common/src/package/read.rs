//! From the planes of a package to weights.

use sha2::{Digest, Sha256};

use super::parse::hex;
use super::{Header, PackageError, Part, Plane};
use crate::quant::{Layout, QTensor};
use crate::weights::{WeightData, WeightMap};

/// Every weight of a package whose whole file is in memory. Each plane's digest is checked.
///
/// # Errors
/// [`PackageError::FileLength`], [`PackageError::Digest`], and [`PackageError::Quant`] for scales that are not finite.
pub fn read_weights(header: &Header, file: &[u8]) -> Result<WeightMap, PackageError> {
    header.check_length(file.len() as u64)?;
    let bytes = |tensor: &str, part| match header.plane(tensor, part) {
        Some(plane) => plane.slice(file),
        None => Ok(&[][..]),
    };
    let names = header.meta.tensors.keys();
    names
        .map(|name| {
            let (packed, scale, zero) =
                (bytes(name, Part::Packed)?, bytes(name, Part::Scale)?, bytes(name, Part::Zero)?);
            Ok((name.clone(), header.weight(name, packed.to_vec(), scale, zero)?))
        })
        .collect()
}

impl Header {
    /// Checks that a file or stream is as long as the header says.
    pub fn check_length(&self, found: u64) -> Result<(), PackageError> {
        if found == self.total_bytes {
            return Ok(());
        }
        Err(PackageError::FileLength { expected: self.total_bytes, found })
    }

    /// A weight of the bytes of its planes, whose digests the caller has checked; `scale` and `zero` are empty where the
    /// tensor has no such plane.
    ///
    /// # Errors
    /// [`PackageError::Tensor`] for a name that the package does not have, [`PackageError::Quant`] when the planes are
    /// too long or short, or hold scales or zero points that cannot be.
    pub fn weight(&self, tensor: &str, packed: Vec<u8>, scale: &[u8], zero: &[u8]) -> Result<WeightData, PackageError> {
        let wrong = |message: String| PackageError::Tensor { tensor: tensor.to_owned(), message };
        let Some(meta) = self.tensor(tensor) else { return Err(wrong("the package does not have it".into())) };
        match meta.shape[..] {
            [rows, cols] => QTensor::from_planes(Layout::new(meta.format, rows, cols), packed, scale, zero)
                .map(WeightData::Matrix)
                .map_err(|error| PackageError::Quant { tensor: tensor.to_owned(), error }),
            [len] if packed.len() / 4 >= len => {
                let values = packed.chunks_exact(4).take(len).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                Ok(WeightData::Vector(values.collect()))
            }
            [len] => Err(wrong(format!("its plane should have at least {} bytes, found {}", len * 4, packed.len()))),
            _ => Err(wrong(format!("shape {:?} is neither a matrix nor a vector", meta.shape))),
        }
    }

    /// The bytes of an extra, such as [`super::TOKENIZER`], of a file in memory, without padding; its digest is checked.
    /// `None` when the package has no such extra.
    pub fn extra<'a>(&self, name: &str, file: &'a [u8]) -> Result<Option<&'a [u8]>, PackageError> {
        let (Some(plane), Some(bytes)) = (self.plane(name, Part::Extra), self.extras.get(name)) else {
            return Ok(None);
        };
        self.check_length(file.len() as u64)?;
        Ok(Some(&plane.slice(file)?[..*bytes as usize]))
    }
}

impl Plane {
    /// Number of bytes.
    pub fn bytes(&self) -> u64 {
        self.end - self.begin
    }

    /// Name in the file.
    pub fn name(&self) -> String {
        super::planes::plane_name(&self.tensor, self.part)
    }

    /// Checks the plane's bytes against its digest.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), PackageError> {
        self.verify_digest(&Sha256::digest(bytes))
    }

    /// Checks a SHA-256 that was taken while the bytes came.
    pub fn verify_digest(&self, sha256: &[u8]) -> Result<(), PackageError> {
        let found = hex(sha256);
        if found == self.sha256 {
            return Ok(());
        }
        Err(PackageError::Digest { plane: self.name(), expected: self.sha256.clone(), found })
    }

    /// The plane's bytes of a file whose length was checked, with their digest checked.
    fn slice<'a>(&self, file: &'a [u8]) -> Result<&'a [u8], PackageError> {
        let bytes = &file[self.begin as usize..self.end as usize];
        self.verify(bytes)?;
        Ok(bytes)
    }
}
