//! ONNX files of a model's folder, by the names that transformers.js gives them.

use std::path::Path;

use webnibble_common::quant::Bits;

use super::folder::weights_folder;

/// Where transformers.js looks for ONNX files.
pub(crate) const SUBFOLDER: &str = "onnx";

/// Bits by the ends of names that transformers.js gives files.
const ENDS: [(Bits, &[&str]); 5] = [
    (Bits::B32, &[""]),
    (Bits::B16, &["_fp16"]),
    (Bits::B8, &["_quantized", "_int8", "_uint8"]),
    (Bits::B4, &["_q4", "_bnb4"]),
    (Bits::B2, &["_q2"]),
];

/// Names that a file with weights of so many bits may have in a model's folder, the likeliest first.
pub(crate) fn onnx_names(bits: Bits) -> impl Iterator<Item = String> {
    let ends = ENDS.iter().filter(move |(of, _)| *of == bits).flat_map(|(_, ends)| ends.iter());
    ends.flat_map(|end| [format!("{SUBFOLDER}/model{end}.onnx"), format!("model{end}.onnx")])
}

/// The files among `names` that hold a model whole, each with the bits that its name stands for.
pub(super) fn onnx_files<'a>(names: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = OnnxFile> + 'a {
    let all = ENDS.iter().flat_map(|(bits, _)| onnx_names(*bits).map(|name| OnnxFile { name, bits: *bits }));
    all.filter(move |file| names(&file.name))
}

/// One ONNX file of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxFile {
    /// Path in the model's folder.
    pub name: String,
    /// Bits of its weights.
    pub bits: Bits,
}

/// Files of a model on the hub that are not fetched yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnHub {
    /// The hub's name of the model.
    pub id: String,
    /// ONNX files, and files with weights that belong to them.
    pub files: Vec<String>,
}

/// Whether a folder has an ONNX form.
pub(super) fn has_onnx(path: &Path) -> bool {
    let folder = weights_folder(path);
    onnx_files(|name| folder.join(name).is_file()).next().is_some()
}
