//! The tensors of a GGUF file as weights: under the names of checkpoints, dequantized, their rows in a checkpoint's order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::Sha256;

use super::blocks;
use super::error::GgufError;
use super::file::{Header, Tensor};
use super::names::{self, Heads, ROPE_FREQS};
use crate::loader::error::LoadError;
use crate::loader::source::{SourceTensor, WeightSource, missing};

/// The weights of a file, whose values are read when they are asked for.
#[derive(Debug)]
pub struct GgufWeights {
    path: PathBuf,
    /// By the names of checkpoints.
    tensors: BTreeMap<String, SourceTensor>,
    places: BTreeMap<String, Tensor>,
    /// Heads of queries and of keys, by which rows are put in order.
    heads: [usize; 2],
    digest: Sha256,
}

impl GgufWeights {
    /// Those of a LLaMA.
    pub(super) fn of_llama(path: &Path, header: Header) -> Result<Self, GgufError> {
        let queries = header.metadata.required_count("llama.attention.head_count")?;
        let keys = header.metadata.count("llama.attention.head_count_kv")?.unwrap_or(queries);
        let heads = [queries, keys].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let named = header.tensors.into_iter().map(|(name, tensor)| Ok((names::checkpoint_name(&name)?, tensor)));
        Ok(Self::new(path, named.collect::<Result<_, _>>()?, heads, header.digest))
    }

    /// Those of any model, under their own names and in their own order.
    pub(super) fn as_they_are(path: &Path, header: Header) -> Self {
        Self::new(path, header.tensors, [0, 0], header.digest)
    }

    fn new(path: &Path, places: BTreeMap<String, Tensor>, heads: [usize; 2], digest: Sha256) -> Self {
        let source = |tensor: &Tensor| SourceTensor {
            file: path.to_owned(),
            dtype: tensor.kind.name.to_owned(),
            is_float: tensor.kind.decode.is_some(),
            shape: tensor.shape.clone(),
            begin: tensor.begin,
            end: tensor.end,
        };
        let tensors = places.iter().map(|(name, tensor)| (name.clone(), source(tensor))).collect();
        Self { path: path.to_owned(), tensors, places, heads, digest }
    }
}

impl WeightSource for GgufWeights {
    fn path(&self) -> &Path {
        &self.path
    }

    fn tensors(&self) -> &BTreeMap<String, SourceTensor> {
        &self.tensors
    }

    fn types(&self) -> &'static str {
        blocks::READ
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, LoadError> {
        let place = self.places.get(name).ok_or_else(|| missing(self, name, "a tensor", &[name.to_owned()]))?;
        let mut values = read(&self.path, name, place)?;
        let heads = match names::heads_of(name) {
            Some(Heads::Queries) => self.heads[0],
            Some(Heads::Keys) => self.heads[1],
            None => 0,
        };
        split_halves(&mut values, place.shape[0], heads);
        Ok(values)
    }

    /// Over the header with the file's length and time of change.
    fn digest(&self) -> Sha256 {
        self.digest.clone()
    }
}

/// The values of `rope_freqs.weight`, where the file has it.
pub(super) fn rope_factors(path: &Path, header: &Header) -> Result<Option<Vec<f32>>, LoadError> {
    header.tensors.get(ROPE_FREQS).map(|tensor| read(path, ROPE_FREQS, tensor)).transpose()
}

fn read(path: &Path, name: &str, tensor: &Tensor) -> Result<Vec<f32>, LoadError> {
    let values = tensor.read(path).map_err(|error| LoadError::io(path, error))?;
    values.ok_or_else(|| LoadError::DType {
        path: path.to_owned(),
        tensor: name.to_owned(),
        expected: blocks::READ,
        found: tensor.kind.name.to_owned(),
    })
}

/// Puts the rows of each head in the order of checkpoints. GGUF has the two columns that turn together side by side (rows 0, 1;
/// 2, 3; …), checkpoints have them half a head apart: first all the first ones, then all the second ones.
fn split_halves(values: &mut [f32], rows: usize, heads: usize) {
    let per_head = rows.checked_div(heads).unwrap_or(0);
    // Of counts that do not go together the model's shapes tell.
    if per_head < 2 || !per_head.is_multiple_of(2) || !rows.is_multiple_of(heads) {
        return;
    }
    let width = values.len() / rows;
    let mut head = vec![0.0; per_head * width];
    for values in values.chunks_exact_mut(per_head * width) {
        head.copy_from_slice(values);
        let pairs = head.chunks_exact(2 * width);
        let (firsts, seconds) = values.split_at_mut(per_head / 2 * width);
        let halves = firsts.chunks_exact_mut(width).zip(seconds.chunks_exact_mut(width));
        for (pair, (first, second)) in pairs.zip(halves) {
            first.copy_from_slice(&pair[..width]);
            second.copy_from_slice(&pair[width..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_side_by_side_come_half_a_head_apart() {
        let mut values: Vec<f32> = (0..16).map(|value| value as f32).collect();
        split_halves(&mut values, 8, 2);
        let halves = [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15].map(|value| value as f32);
        assert_eq!(values, halves);
        // Nothing to put in order, and counts that do not go together.
        for (rows, heads) in [(8, 0), (8, 3), (8, 8), (8, usize::MAX)] {
            split_halves(&mut values, rows, heads);
            assert_eq!(values, halves);
        }
    }
}
