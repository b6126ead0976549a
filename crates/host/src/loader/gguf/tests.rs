//! GGUF files from their bytes to a model.

use std::path::{Path, PathBuf};

use super::*;
use crate::loader::source::WeightSource as _;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/gguf").join(name)
}

#[test]
fn every_type_has_the_values_of_the_reference_bit_for_bit() {
    let weights = tensors(&data("blocks.gguf")).unwrap();
    let kinds = ["f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k"];
    assert_eq!(weights.tensors().len(), 2 * kinds.len());
    for kind in kinds {
        assert_eq!(weights.tensors()[kind].dtype.to_lowercase(), kind);
        let bits = |name: &str| -> Vec<u32> { weights.read_f32(name).unwrap().into_iter().map(f32::to_bits).collect() };
        let (found, expected) = (bits(kind), bits(&format!("expected.{kind}")));
        assert!(found.len() >= 256 && found.iter().any(|bits| *bits != 0), "{kind}");
        assert_eq!(found, expected, "{kind}");
    }
}
