//! GGUF files for tests: whole ones, and such as lie.

use std::path::Path;

use crate::loader::Checkpoint;
use crate::loader::source::WeightSource as _;

/// Codes of types of values.
pub(super) const U32: u32 = 4;
pub(super) const F32: u32 = 6;
pub(super) const BOOL: u32 = 7;
pub(super) const STRING: u32 = 8;
pub(super) const ARRAY: u32 = 9;

/// A file as it is to be written.
#[derive(Clone)]
pub(super) struct Builder {
    pub(super) version: u32,
    /// Keys, codes of types and bytes of values.
    pub(super) values: Vec<(String, u32, Vec<u8>)>,
    pub(super) tensors: Vec<Written>,
}

/// A tensor as it is to be written.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) name: String,
    /// Innermost first.
    pub(super) extents: Vec<u64>,
    pub(super) kind: u32,
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

pub(super) fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// An array of strings.
pub(super) fn strings(texts: &[&str]) -> Vec<u8> {
    let head = [&STRING.to_le_bytes()[..], &(texts.len() as u64).to_le_bytes()].concat();
    texts.iter().fold(head, |all, text| [all, string(text)].concat())
}

/// An array of numbers of four bytes.
pub(super) fn numbers(code: u32, numbers: &[[u8; 4]]) -> Vec<u8> {
    [&code.to_le_bytes()[..], &(numbers.len() as u64).to_le_bytes(), &numbers.concat()].concat()
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { version: 3, values: Vec::new(), tensors: Vec::new() }
    }

    /// Sets a value, in the place of one of the same key.
    pub(super) fn set(mut self, key: &str, code: u32, bytes: impl AsRef<[u8]>) -> Self {
        self.values.retain(|(other, ..)| other != key);
        self.values.push((key.to_owned(), code, bytes.as_ref().to_vec()));
        self
    }

    pub(super) fn text(self, key: &str, text: &str) -> Self {
        self.set(key, STRING, string(text))
    }

    pub(super) fn count(self, key: &str, count: u32) -> Self {
        self.set(key, U32, count.to_le_bytes())
    }

    /// Adds a tensor of f32, its shape outermost first, behind those that are there.
    pub(super) fn tensor(mut self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        let offset = self.tensors.last().map_or(0, |last| (last.offset + last.bytes.len() as u64).next_multiple_of(32));
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let extents = shape.iter().rev().map(|extent| *extent as u64).collect();
        self.tensors.push(Written { name: name.to_owned(), extents, kind: 0, offset, bytes });
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend([self.tensors.len(), self.values.len()].iter().flat_map(|count| (*count as u64).to_le_bytes()));
        for (key, code, value) in &self.values {
            bytes.extend([string(key), code.to_le_bytes().to_vec(), value.clone()].concat());
        }
        for tensor in &self.tensors {
            bytes.extend(string(&tensor.name));
            bytes.extend((tensor.extents.len() as u32).to_le_bytes());
            bytes.extend(tensor.extents.iter().flat_map(|extent| extent.to_le_bytes()));
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend(tensor.offset.to_le_bytes());
        }
        for tensor in &self.tensors {
            bytes.resize(bytes.len().next_multiple_of(32), 0);
            bytes.extend(&tensor.bytes);
        }
        bytes
    }
}

/// The folder of the golden LLaMA.
pub(super) fn golden_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/goldens/llama")
}

/// The golden LLaMA as a GGUF file without a tokenizer.
pub(super) fn golden() -> Builder {
    let float = |value: f32| value.to_le_bytes();
    let mut file = Builder::new()
        .text("general.architecture", "llama")
        .text("general.name", "golden")
        .set("llama.rope.freq_base", F32, float(1e4))
        .set("llama.attention.layer_norm_rms_epsilon", F32, float(1e-6));
    let counts = [
        ("block_count", 3),
        ("context_length", 128),
        ("embedding_length", 64),
        ("feed_forward_length", 128),
        ("attention.head_count", 8),
        ("attention.head_count_kv", 4),
        ("rope.dimension_count", 8),
    ];
    for (key, count) in counts {
        file = file.count(&format!("llama.{key}"), count);
    }
    let checkpoint = Checkpoint::open_folder(&golden_folder()).unwrap();
    for (name, tensor) in &checkpoint.tensors {
        let values = checkpoint.read_f32(name).unwrap();
        file = file.tensor(&gguf_name(name), &tensor.shape, &side_by_side(name, values, tensor.shape[0]));
    }
    file
}

fn gguf_name(name: &str) -> String {
    let parts = [
        ("model.layers.", "blk."),
        ("post_attention_layernorm", "ffn_norm"),
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.", "ffn_"),
        ("_proj", ""),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.embed_tokens", "token_embd"),
    ];
    parts.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// Rows in GGUF's order: of heads of 8 rows, row `i` and row `i + 4` side by side.
fn side_by_side(name: &str, values: Vec<f32>, rows: usize) -> Vec<f32> {
    if !name.contains("q_proj") && !name.contains("k_proj") {
        return values;
    }
    let width = values.len() / rows;
    let order = (0..rows).map(|row| row / 8 * 8 + row % 2 * 4 + row % 8 / 2);
    order.flat_map(|row| values[row * width..][..width].to_vec()).collect()
}
