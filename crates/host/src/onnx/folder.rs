//! ONNX files on disk: alone, in the folder that transformers.js loads, and cached beside the packages.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use webnibble_common::package::{PackageMeta, TOKENIZER};
use webnibble_common::quant::Bits;
use webnibble_models::sentence;

use super::builder::first_bytes;
use super::options::OnnxOptions;
use super::{model, suffix};
use crate::disk::{cache_dir, digest_of, hex, write_whole};
use crate::error::HostError;
use crate::loader::{
    LoadError, Model, OnnxFile, PREPROCESSOR_CONFIG, PackageFile, SUBFOLDER, onnx_names, refuse_stand_in,
};

/// Raised when the same package gives another file than before.
const EXPORT_REVISION: u32 = 1;
/// What transformers.js wants to know of the tokenizer.
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// What our page wants to know of the folder.
const DESCRIPTION: &str = "webnibble.json";

/// An ONNX form of a model, ready to be served.
#[derive(Clone, Debug)]
pub struct OnnxFolder {
    /// Names it among others: what is in it follows from this.
    pub digest: String,
    /// Files by their path in the folder.
    pub files: BTreeMap<String, Content>,
    /// The file with the weights, by its path in the folder.
    pub model_file: String,
    /// Bits of its weights, where the name says so.
    pub bits: Option<Bits>,
    /// Whether it has the very weights of the package, and not those that somebody else quantized.
    pub exported: bool,
}

impl OnnxFolder {
    /// The same for onnxruntime-web alone, without transformers.js around it.
    pub(crate) fn for_runtime(mut self) -> Self {
        if let Some(Content::Bytes(bytes)) = self.files.get_mut(DESCRIPTION) {
            let mut description: Value = serde_json::from_slice(bytes).expect("it was written here");
            description["runtime"] = "onnxruntime-web".into();
            *bytes = pretty(&description);
        }
        self.digest.push_str("-ort");
        self
    }
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file on disk.
    File(PathBuf),
    /// Bytes at hand.
    Bytes(Vec<u8>),
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The ONNX file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// The files that [`write`] would make of a model with weights of so many bits.
pub fn outputs(out: &Path, bits: Bits, options: OnnxOptions) -> Vec<PathBuf> {
    if is_one_file(out) {
        return vec![out.to_owned()];
    }
    let others = [TOKENIZER, TOKENIZER_CONFIG, PREPROCESSOR_CONFIG].into_iter();
    let sentence = sentence::FILES.into_iter();
    let small = std::iter::once("config.json").chain(others).chain(sentence).map(|name| out.join(name));
    small.chain([out.join(file_name(bits, options))]).collect()
}

/// Whether all weights of a folder were exported by webnibble: it may be exported to again.
pub fn is_export(folder: &Path) -> bool {
    let of = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let ends_in =
        |path: &PathBuf, ends: &[&str]| path.extension().is_some_and(|end| ends.iter().any(|one| end == *one));
    let files: Vec<PathBuf> = of(folder.to_owned()).chain(of(folder.join(SUBFOLDER))).collect();
    let mut models = files.iter().filter(|path| ends_in(path, &["onnx"])).peekable();
    let others = files.iter().any(|path| ends_in(path, &["safetensors", "bin", "gguf", "h5", "pt", "onnx_data"]));
    models.peek().is_some() && !others && models.all(|path| is_ours(path))
}

fn is_ours(path: &Path) -> bool {
    let expected = first_bytes();
    let mut first = vec![0; expected.len()];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok() && first == expected
}

fn is_one_file(out: &Path) -> bool {
    out.extension().is_some_and(|end| end == "onnx")
}

/// Writes the ONNX form of a package to `out`: one file where that ends in `.onnx`, else a folder with `config.json`, the
/// tokenizer's files, those of sentence-transformers and `onnx/model….onnx`, as transformers.js and sentence-transformers
/// load it.
///
/// # Errors
/// When the package cannot be read, the model not be written.
pub fn write(package: &PackageFile, options: OnnxOptions, out: &Path) -> Result<Written, HostError> {
    let meta = &package.header.meta;
    let bytes = model(&package.graph, &package.read_weights()?, meta, options)?;
    let path = if is_one_file(out) {
        out.to_owned()
    } else {
        for (name, content) in small_files(package)? {
            write_file(&out.join(name), &content)?;
        }
        out.join(file_name(bits_of(meta), options))
    };
    write_file(&path, &bytes)?;
    Ok(Written { path, bytes: bytes.len() as u64 })
}

/// The ONNX form of a model: the one in its own folder where that has the package's bits, else the package's own weights,
/// exported once and kept in webnibble's cache. Reads and computes for long: not for a task of the runtime.
///
/// # Errors
/// When there is neither, with the reason.
pub fn prepare(model: &Model, package: &PackageFile, options: OnnxOptions) -> Result<OnnxFolder, HostError> {
    let bits = bits_of(&package.header.meta);
    match model {
        Model::Onnx(only) => {
            let file = only.file(bits).ok_or_else(|| only.not_native())?;
            own_form(&only.path, only.tokenizer.as_deref(), file.clone(), package)
        }
        Model::Folder(folder) => match own_file(&folder.transformer, bits) {
            Some(file) => own_form(&folder.transformer, folder.tokenizer.as_deref(), file, package),
            None => exported(package, options),
        },
        Model::Package(_) => exported(package, options),
    }
}

/// The package's own weights as ONNX, from the cache or made now.
///
/// # Errors
/// When the package cannot be read, the model not be written.
pub fn exported(package: &PackageFile, options: OnnxOptions) -> Result<OnnxFolder, HostError> {
    let meta = &package.header.meta;
    let digest = key_of(package, options);
    let cached = cache_dir().join("onnx").join(&digest);
    let model_file = file_name(bits_of(meta), options);
    if !is_whole(&cached.join(&model_file)) {
        let written = write(package, options, &cached)?;
        let failed = HostError::io(format!("reading {}", written.path.display()));
        let digest = digest_of(&written.path).map_err(failed)?;
        write_file(&digest_path(&written.path), digest.as_bytes())?;
    }
    let mut files: BTreeMap<_, _> =
        small_files(package)?.into_iter().map(|(name, bytes)| (name, Content::Bytes(bytes))).collect();
    files.insert(model_file.clone(), Content::File(cached.join(&model_file)));
    let bits = Bits::try_from(meta.quantization.bits).ok();
    files.insert(DESCRIPTION.into(), description(package, &model_file, &files));
    Ok(OnnxFolder { digest, files, model_file, bits, exported: true })
}

/// Whether a file has the digest that lies beside it. ONNX has none of its own.
fn is_whole(path: &Path) -> bool {
    let Ok(found) = digest_of(path) else { return false };
    let is_whole = std::fs::read(digest_path(path)).is_ok_and(|expected| expected == found.as_bytes());
    if !is_whole {
        tracing::debug!("{} has not the digest that lies beside it: it is written again", path.display());
    }
    is_whole
}

/// Where the digest of a cached file lies.
fn digest_path(path: &Path) -> PathBuf {
    path.with_added_extension("digest")
}

fn key_of(package: &PackageFile, options: OnnxOptions) -> String {
    let mut key = Sha256::new();
    key.update(&package.header.digest);
    key.update(EXPORT_REVISION.to_le_bytes());
    key.update(format!("{options:?}"));
    hex(&key.finalize()[..16])
}

/// Path of the model in a folder, as transformers.js looks for it.
fn file_name(bits: Bits, options: OnnxOptions) -> String {
    format!("{SUBFOLDER}/model{}.onnx", suffix(bits, options))
}

fn bits_of(meta: &PackageMeta) -> Bits {
    Bits::try_from(meta.quantization.bits).unwrap_or(Bits::B32)
}

/// Everything but the model.
fn small_files(package: &PackageFile) -> Result<Vec<(String, Vec<u8>)>, HostError> {
    let meta = &package.header.meta;
    let mut files = vec![("config.json".to_owned(), pretty(&meta.config))];
    if let Some(preprocessor) = &meta.preprocessor_config {
        files.push((PREPROCESSOR_CONFIG.to_owned(), pretty(preprocessor)));
    }
    if let Some(tokenizer) = package.read_extra(TOKENIZER)? {
        files.push((TOKENIZER_CONFIG.to_owned(), pretty(&tokenizer_config(package, &tokenizer))));
        files.push((TOKENIZER.to_owned(), tokenizer));
    }
    if let Some(sentence) = &meta.sentence {
        let of_sentence = sentence::files(sentence, package.config.hidden_size()).into_iter();
        files.extend(of_sentence.map(|(name, value)| (name.to_owned(), pretty(&value))));
    }
    Ok(files)
}

/// The little that transformers.js takes from this file for an encoder. Packages keep `tokenizer.json` alone.
fn tokenizer_config(package: &PackageFile, tokenizer: &[u8]) -> Value {
    let tokenizer: Value = serde_json::from_slice(tokenizer).unwrap_or_default();
    let has = |token: &str| {
        let added = tokenizer["added_tokens"].as_array();
        added.is_some_and(|tokens| tokens.iter().any(|entry| entry["content"] == token))
    };
    // The class that takes tokenizer.json as it is.
    let mut config = json!({ "model_max_length": max_length(package), "tokenizer_class": "PreTrainedTokenizerFast" });
    let special = [
        ("unk_token", "[UNK]"),
        ("sep_token", "[SEP]"),
        ("pad_token", "[PAD]"),
        ("cls_token", "[CLS]"),
        ("mask_token", "[MASK]"),
    ];
    for (role, token) in special.into_iter().filter(|(_, token)| has(token)) {
        config[role] = token.into();
    }
    let normalizer = &tokenizer["normalizer"];
    if package.header.meta.family == "bert" && normalizer["type"] == "BertNormalizer" {
        config["tokenizer_class"] = "BertTokenizer".into();
        // Python's class makes its own normalizer of these, and would lowercase where they are missing.
        for (setting, field) in [
            ("do_lower_case", "lowercase"),
            ("strip_accents", "strip_accents"),
            ("tokenize_chinese_chars", "handle_chinese_chars"),
        ] {
            config[setting] = normalizer[field].clone();
        }
    }
    config
}

fn max_length(package: &PackageFile) -> usize {
    package.header.meta.max_tokens(package.config.max_positions())
}

/// What the page has to know besides what transformers.js reads itself.
fn description(package: &PackageFile, model_file: &str, files: &BTreeMap<String, Content>) -> Content {
    let has_tokenizer = files.contains_key(TOKENIZER) && files.contains_key(TOKENIZER_CONFIG);
    Content::Bytes(pretty(&json!({ "file": model_file, "sentence": package.header.meta.sentence,
        "max_length": max_length(package), "tokenizer": has_tokenizer })))
}

fn pretty(value: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("JSON values have string keys")
}

/// An ONNX form that lies in the model's own folder.
fn own_form(
    folder: &Path,
    tokenizer: Option<&[u8]>,
    OnnxFile { name: model_file, bits }: OnnxFile,
    package: &PackageFile,
) -> Result<OnnxFolder, HostError> {
    let path = folder.join(&model_file);
    refuse_stand_in(&path)?;
    let mut files = BTreeMap::from([(model_file.clone(), Content::File(path.clone()))]);
    for name in ["config.json", TOKENIZER_CONFIG] {
        let path = folder.join(name);
        if path.is_file() {
            files.insert(name.to_owned(), Content::File(path));
        }
    }
    if let Some(tokenizer) = tokenizer {
        let config = || Content::Bytes(pretty(&tokenizer_config(package, tokenizer)));
        files.entry(TOKENIZER_CONFIG.to_owned()).or_insert_with(config);
        files.insert(TOKENIZER.to_owned(), Content::Bytes(tokenizer.to_vec()));
    }
    for (name, path) in external_data(&path, &model_file) {
        files.insert(name, Content::File(path));
    }
    files.insert(DESCRIPTION.into(), description(package, &model_file, &files));
    let digest = digest_of(&path).map_err(|error| LoadError::io(&path, error))?;
    Ok(OnnxFolder { digest, files, model_file, bits: Some(bits), exported: false })
}

/// The file of a folder that has weights of so many bits, by transformers.js's names.
fn own_file(folder: &Path, bits: Bits) -> Option<OnnxFile> {
    let name = onnx_names(bits).find(|name| folder.join(name).is_file())?;
    Some(OnnxFile { name, bits })
}

/// Files beside an ONNX file that hold its weights.
fn external_data(path: &Path, model_file: &str) -> Vec<(String, PathBuf)> {
    let candidates = std::iter::once("_data".to_owned()).chain((1..100).map(|index| format!("_data_{index}")));
    candidates
        .map(|end| (format!("{model_file}{end}"), PathBuf::from(format!("{}{end}", path.display()))))
        .take_while(|(_, path)| path.is_file())
        .collect()
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), HostError> {
    write_whole(path, |file| file.write_all(bytes)).map_err(HostError::io(format!("writing {}", path.display())))
}
