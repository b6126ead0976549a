//! The same model with the same quantized weights as ONNX, so that other engines run exactly what ours runs.
//!
//! [`model`] makes the file, [`write`] puts it where it is to lie: alone, or in the folder that transformers.js loads.
//! Operators are ONNX's own (opset 21) and, for packed weights, onnxruntime's `MatMulNBits`; `docs/export.md` says which
//! form is for whom. Weights keep their values to the last bit.

use prost::Message as _;
use webnibble_common::graph::{Graph, Op, Pool};
use webnibble_common::package::PackageMeta;
use webnibble_common::quant::Bits;
use webnibble_common::weights::WeightMap;
use webnibble_models::bert::{LAST_HIDDEN_STATE, POOLING_MASK};

mod builder;
mod error;
mod folder;
mod lower;
mod options;
#[cfg(test)]
mod tests;
mod weights;

pub use folder::{Content, OnnxFolder, Written, exported, is_export, outputs, prepare, write};

pub use builder::OPSET;
pub use error::{LARGEST_FILE_BYTES, OnnxError};
pub use options::{OnnxOptions, WeightForm};

/// The graph to hidden states and to the answer alone.
fn answering(graph: &Graph) -> Graph {
    let kept: Vec<&str> = [LAST_HIDDEN_STATE].into_iter().chain(graph.output_names().take(1)).collect();
    graph.only(&kept)
}

/// The graph without a mask of its own for pooling: other engines know no such input, so they pool prompts too.
fn pooled_whole(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let find = |name: &str| graph.inputs.iter().copied().find(|id| graph.value_of(*id).name == name);
    let (Some(of_text), Some(whole)) = (find(POOLING_MASK), find("attention_mask")) else { return graph };
    graph.inputs.retain(|id| *id != of_text);
    for node in &mut graph.nodes {
        if let Op::Pool(Pool { mask, .. }) = &mut node.op {
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
    let graph = pooled_whole(&answering(graph));
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
