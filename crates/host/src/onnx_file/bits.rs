//! How many bits the weights of somebody's ONNX file have.

use std::path::Path;

use prost::Message as _;
use webnibble_common::quant::Bits;

use super::proto::{ElementType, GraphProto, ModelProto, NodeProto};

/// Weights of a matrix with fewer elements say nothing: scales and constants are as small.
const LEAST_ELEMENTS: i64 = 1024;

/// Fewest bits of the matrices of an ONNX file; `None` for a file that is not there or cannot be read.
pub(crate) fn bits_in(path: &Path) -> Option<Bits> {
    bits_of_file(&std::fs::read(path).ok()?)
}

/// The same of the file's bytes, whatever they are.
pub(crate) fn bits_of_file(bytes: &[u8]) -> Option<Bits> {
    bits_of(&ModelProto::decode(bytes).ok()?.graph?)
}

fn bits_of(graph: &GraphProto) -> Option<Bits> {
    let packed = graph.node.iter().filter(|node| node.op_type == "MatMulNBits").filter_map(packed_bits);
    // Files may hold anything: a product of lengths need not fit.
    let elements = |dims: &[i64]| dims.iter().fold(1_i64, |all, length| all.saturating_mul(*length));
    let is_matrix = |dims: &[i64]| dims.len() >= 2 && elements(dims) >= LEAST_ELEMENTS;
    let matrices = graph.initializer.iter().filter(|tensor| is_matrix(&tensor.dims));
    // Codes of packed products are bytes that hold several.
    let of = |kind: &i32| match *kind {
        kind if kind == ElementType::Float as i32 => Some(Bits::B32),
        kind if kind == ElementType::Float16 as i32 => Some(Bits::B16),
        kind if kind == ElementType::Int8 as i32 || kind == ElementType::Uint8 as i32 => Some(Bits::B8),
        kind if kind == ElementType::Int4 as i32 || kind == ElementType::Uint4 as i32 => Some(Bits::B4),
        _ => None,
    };
    packed.chain(matrices.filter_map(|tensor| of(&tensor.data_type))).min()
}

fn packed_bits(node: &NodeProto) -> Option<Bits> {
    let bits = node.attribute.iter().find(|attribute| attribute.name == "bits")?.i?;
    Bits::try_from(u8::try_from(bits).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::proto::{Attribute, TensorProto};
    use super::*;

    fn matrix(kind: ElementType, rows: i64) -> TensorProto {
        TensorProto { dims: vec![rows, 64], data_type: kind as i32, ..TensorProto::default() }
    }

    #[test]
    fn matrices_say_how_many_bits_and_small_constants_do_not() {
        let of = |initializer: &[TensorProto]| {
            bits_of(&GraphProto { initializer: initializer.to_vec(), ..GraphProto::default() })
        };
        assert_eq!(of(&[matrix(ElementType::Float, 64)]), Some(Bits::B32));
        assert_eq!(of(&[matrix(ElementType::Float, 64), matrix(ElementType::Int8, 64)]), Some(Bits::B8));
        assert_eq!(of(&[matrix(ElementType::Float, 64), matrix(ElementType::Int8, 4)]), Some(Bits::B32));
        assert_eq!(of(&[matrix(ElementType::Float16, 64), matrix(ElementType::Int64, 64)]), Some(Bits::B16));
        assert_eq!(of(&[]), None);
        let attribute = vec![Attribute::int("bits", 4)];
        let node = vec![NodeProto { op_type: "MatMulNBits".into(), attribute, ..NodeProto::default() }];
        let initializer = vec![matrix(ElementType::Uint8, 64)];
        assert_eq!(bits_of(&GraphProto { node, initializer, ..GraphProto::default() }), Some(Bits::B4));
    }
}
