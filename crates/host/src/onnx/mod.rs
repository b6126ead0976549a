//! The same model with the same quantized weights as ONNX, so that other engines run exactly what ours runs.
//!
//! [`model`] makes the file, [`write`] puts it where it is to lie: alone, or in the folder that transformers.js loads.
//! Operators are ONNX's own (opset 21) and, for packed weights, onnxruntime's `MatMulNBits`; `docs/export.md` says which
//! form is for whom. Weights keep their values to the last bit.

use std::path::PathBuf;

use prost::Message as _;
use webnibble_common::graph::{Graph, Op};
use webnibble_common::options::Platform;
use webnibble_common::package::PackageMeta;
use webnibble_common::quant::Bits;
use webnibble_common::weights::WeightMap;
use webnibble_models::bert::POOLING_MASK;

mod bits;
mod builder;
mod folder;
mod lower;
mod proto;
#[cfg(test)]
mod tests;
mod weights;

pub(crate) use folder::digest_of;
pub use folder::{Content, OnnxFolder, Written, exported, is_export, outputs, prepare, write};

pub(crate) use bits::bits_in;
pub use builder::OPSET;
use builder::first_bytes;
use proto::ElementType;

/// Protobuf, and with it every reader of ONNX, ends at 2 GiB.
pub const LARGEST_FILE_BYTES: usize = i32::MAX as usize;

/// How quantized weights of linear operators are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WeightForm {
    /// onnxruntime's `MatMulNBits`: packed codes in the product itself.
    #[default]
    NBits,
    /// ONNX's `DequantizeLinear` before a product of floats.
    DequantizeLinear,
    /// `DynamicQuantizeLinear` and `MatMulInteger`: activations become 8 bits on the way. For weights of 8 bits with one
    /// scale a row or tensor; others take `MatMulNBits`.
    MatMulInteger,
}

/// How a model is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OnnxOptions {
    /// Form of the weights of linear operators.
    pub form: WeightForm,
    /// Compute in f16: smaller and, with `shader-f16`, often faster, but no longer what the package says: norms and
    /// biases are rounded to f16 too.
    pub half: bool,
    /// `accuracy_level` of `MatMulNBits`: 0 leaves it to the engine, 4 lets it quantize activations to int8.
    pub accuracy_level: u8,
}

impl std::str::FromStr for WeightForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "nbits" => Ok(Self::NBits),
            "dequantize" => Ok(Self::DequantizeLinear),
            "integer" => Ok(Self::MatMulInteger),
            _ => Err(format!("form should be one of nbits, dequantize, integer, found `{text}`")),
        }
    }
}

impl OnnxOptions {
    /// The form that onnxruntime-web runs on a platform: its WebNN takes `MatMulNBits` for 4 bits alone.
    pub fn of(platform: Platform) -> Self {
        let form = if platform == Platform::Webnn { WeightForm::DequantizeLinear } else { WeightForm::NBits };
        Self { form, ..Self::default() }
    }

    fn float(self) -> ElementType {
        if self.half { ElementType::Float16 } else { ElementType::Float }
    }
}

/// Why there is no ONNX file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A weight of the graph is missing, or of another kind.
    #[error("weight `{name}` should be {expected}; the package has none such")]
    Weight {
        /// Its name.
        name: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The model does not fit one file.
    #[error("an ONNX file holds at most {LARGEST_FILE_BYTES} bytes, this model takes {bytes}")]
    TooLarge {
        /// Bytes that it takes.
        bytes: usize,
    },
    /// An ONNX form of a model lacks a file.
    #[error("{}: expected {expected}, found none", .folder.display())]
    Incomplete {
        /// The folder.
        folder: PathBuf,
        /// What is missing.
        expected: String,
    },
}

/// The graph without a mask of its own for pooling: other engines know no such input, so they pool prompts too.
fn pooled_whole(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let find = |name: &str| graph.inputs.iter().copied().find(|id| graph.value_of(*id).name == name);
    let (Some(of_text), Some(whole)) = (find(POOLING_MASK), find("attention_mask")) else { return graph };
    graph.inputs.retain(|id| *id != of_text);
    for node in &mut graph.nodes {
        if let Op::Pool { mask, .. } = &mut node.op {
            *mask = mask.map(|mask| if mask == of_text { whole } else { mask });
        }
    }
    graph
}

/// The bytes of the ONNX file of a model.
///
/// # Errors
/// When the weights are not the graph's, or the file would be too large.
pub fn model(
    graph: &Graph,
    weights: &WeightMap,
    meta: &PackageMeta,
    options: OnnxOptions,
) -> Result<Vec<u8>, OnnxError> {
    let graph = pooled_whole(graph);
    let builder = lower::Lowering::new(&graph, weights, options, &meta.name).run()?;
    let made = &meta.quantization;
    let metadata = vec![("webnibble.bits".to_owned(), made.bits.to_string())];
    let file = builder.finish(metadata);
    let bytes = file.encoded_len();
    if bytes > LARGEST_FILE_BYTES {
        return Err(OnnxError::TooLarge { bytes });
    }
    Ok(file.encode_to_vec())
}

/// The end of a file's name by which transformers.js knows how its weights are stored: `_q4`, `_fp16`.
pub fn suffix(bits: Bits, options: OnnxOptions) -> &'static str {
    match (bits, options.half) {
        (Bits::B32, false) => "",
        (Bits::B32 | Bits::B16, _) => "_fp16",
        (Bits::B8, _) => "_quantized",
        (Bits::B4, false) => "_q4",
        (Bits::B4, true) => "_q4f16",
        (Bits::B2, false) => "_q2",
        (Bits::B2, true) => "_q2f16",
    }
}
