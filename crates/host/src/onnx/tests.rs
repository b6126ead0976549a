//! Files taken apart again: the stored values are those of the package to the last bit.

use prost::Message as _;
use webnibble_common::graph::Op;
use webnibble_common::quant::{Bits, Granularity, QTensor, Scheme};
use webnibble_common::weights::WeightData;

use super::{OnnxOptions, model, suffix};
use crate::loader::ModelFolder;
use crate::onnx_file::proto::{ModelProto, NodeProto, TensorProto};
use crate::quantizer::{QuantizeOptions, Quantized, quantize};

fn golden(options: &QuantizeOptions) -> (ModelFolder, Quantized) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/goldens/bert");
    let folder = ModelFolder::open(&path, "bert").unwrap();
    let quantized = quantize(&folder, options, &mut |_| {}).unwrap();
    (folder, quantized)
}

fn exported(options: &QuantizeOptions) -> (Quantized, ModelProto) {
    let (folder, quantized) = golden(options);
    let bytes = model(&folder.graph, &quantized.weights, &quantized.meta, OnnxOptions::default()).unwrap();
    (quantized, ModelProto::decode(&bytes[..]).unwrap())
}

#[test]
fn attention_that_is_not_exported_yet_is_an_error() {
    let (mut folder, quantized) = golden(&QuantizeOptions::default());
    for node in &mut folder.graph.nodes {
        if let Op::Attention(attention) = &mut node.op {
            attention.causal = true;
        }
    }
    let error = model(&folder.graph, &quantized.weights, &quantized.meta, OnnxOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "attention that is causal is not exported to ONNX yet");
}

fn constant<'a>(file: &'a ModelProto, name: &str) -> &'a TensorProto {
    file.graph.as_ref().unwrap().initializer.iter().find(|tensor| tensor.name == name).unwrap()
}

fn number(node: &NodeProto, name: &str) -> usize {
    node.attribute.iter().find(|attribute| attribute.name == name).unwrap().i.unwrap() as usize
}

/// Values of a `MatMulNBits` as its documentation has them: `scale · (code − zero point)`.
fn dequantized(file: &ModelProto, node: &NodeProto) -> Vec<f32> {
    let [rows, cols, bits, block] = ["N", "K", "bits", "block_size"].map(|name| number(node, name));
    let blocks = cols.div_ceil(block);
    let codes = &constant(file, &node.input[1]).raw_data;
    let scales: Vec<f32> =
        constant(file, &node.input[2]).raw_data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let zeros = node.input.get(3).map(|name| &constant(file, name).raw_data);
    let field = |bytes: &[u8], index: usize| bytes[index * bits / 8] >> (index * bits % 8) & ((1u16 << bits) - 1) as u8;
    let zero_bytes = (blocks * bits).div_ceil(8);
    let mut values = Vec::new();
    for row in 0..rows {
        let row_codes = &codes[row * blocks * block * bits / 8..];
        for col in 0..cols {
            let zero = zeros.map_or(1 << (bits - 1), |zeros| field(&zeros[row * zero_bytes..], col / block));
            let difference = i16::from(field(row_codes, col)) - i16::from(zero);
            values.push(scales[row * blocks + col / block] * f32::from(difference));
        }
    }
    values
}

fn matrix<'a>(quantized: &'a Quantized, name: &str) -> &'a QTensor {
    match &quantized.weights[name] {
        WeightData::Matrix(matrix) => matrix,
        WeightData::Vector(_) => panic!("{name} is a vector"),
    }
}

#[test]
fn packed_weights_keep_their_values_to_the_last_bit() {
    for bits in [Bits::B8, Bits::B4, Bits::B2] {
        for scheme in [Scheme::Symmetric, Scheme::Asymmetric] {
            for granularity in
                [Granularity::Group(16), Granularity::Group(48), Granularity::Channel, Granularity::Tensor]
            {
                let options = QuantizeOptions { bits, scheme, granularity, ..QuantizeOptions::default() };
                let (quantized, file) = exported(&options);
                let nodes = &file.graph.as_ref().unwrap().node;
                let products: Vec<_> = nodes.iter().filter(|node| node.op_type == "MatMulNBits").collect();
                assert!(!products.is_empty());
                for node in products {
                    let expected = matrix(&quantized, &node.input[1]).dequantize();
                    assert!(dequantized(&file, node) == expected, "{bits} {scheme:?} {granularity:?} {}", node.name);
                }
            }
        }
    }
}

#[test]
fn a_file_says_what_it_needs() {
    let (_, file) = exported(&QuantizeOptions::default());
    let sets: Vec<_> = file.opset_import.iter().map(|set| (set.domain.as_str(), set.version)).collect();
    assert_eq!(sets, [("", 21), ("com.microsoft", 1)]);
    let (_, file) = exported(&QuantizeOptions::reference());
    assert_eq!(file.opset_import.len(), 1, "nothing of onnxruntime's own");
    let graph = file.graph.unwrap();
    let inputs: Vec<_> = graph.input.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(inputs, ["input_ids", "attention_mask", "token_type_ids"]);
    assert_eq!(graph.output[0].name, "last_hidden_state");
}

#[test]
fn names_of_files_say_the_precision() {
    let of = |bits, half| suffix(bits, OnnxOptions { half, ..OnnxOptions::default() });
    assert_eq!([of(Bits::B32, false), of(Bits::B16, false), of(Bits::B8, false)], ["", "_fp16", "_quantized"]);
    assert_eq!([of(Bits::B4, false), of(Bits::B4, true), of(Bits::B2, false)], ["_q4", "_q4f16", "_q2"]);
}
