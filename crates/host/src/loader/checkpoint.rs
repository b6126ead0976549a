//! The tensors of a checkpoint in safetensors: one file, or shards with an index. Headers are read and checked when it is
//! opened; tensors are read when asked for, so that a model is never in memory as a whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use webnibble_common::safetensors::{RawHeader, RawParsed, RawTensor};

use super::error::LoadError;
use super::source::{SourceTensor, WeightSource, missing};
use super::text_file::read_text_if_there;

/// The file of a checkpoint that is not sharded.
pub(super) const SINGLE: &str = "model.safetensors";
/// The index of a sharded one.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// A checkpoint, open for reading.
#[derive(Debug)]
pub struct Checkpoint {
    /// The file, or the folder of the shards.
    pub path: PathBuf,
    /// Every tensor, by its name in the files.
    pub tensors: BTreeMap<String, SourceTensor>,
    digest: Sha256,
}

impl Checkpoint {
    /// Opens the checkpoint of a model folder: `model.safetensors`, or the shards of `model.safetensors.index.json`.
    pub fn open_folder(folder: &Path) -> Result<Checkpoint, LoadError> {
        let single = folder.join(SINGLE);
        if single.exists() {
            return Checkpoint::open_file(&single);
        }
        let index = folder.join(INDEX);
        let Some(text) = read_text_if_there(&index)? else {
            let others = weight_files(folder);
            let found = if others.is_empty() { "no weights".to_owned() } else { others.join(", ") };
            let own_path = if found.contains(".gguf") { "; a GGUF file is given by its own path" } else { "" };
            let message = format!("expected {SINGLE} or {INDEX}, found {found}{own_path}");
            return Err(LoadError::not_a_model(folder, message));
        };
        let shards = shard_names(&text).map_err(|message| LoadError::Json { path: index.clone(), message })?;
        let mut checkpoint = Checkpoint::empty(folder);
        for (shard, expected) in shards {
            // A name from a file: it may not lead out of the folder.
            if Path::new(&shard).components().count() != 1 || shard.contains(['/', '\\']) || shard == ".." {
                return Err(LoadError::Json { path: index, message: format!("`{shard}` is not the name of a shard") });
            }
            checkpoint.add_file(&folder.join(&shard))?;
            if let Some(tensor) = expected.into_iter().find(|tensor| !checkpoint.tensors.contains_key(tensor)) {
                let message = format!("`{tensor}` should be in {shard}, which does not have it");
                return Err(LoadError::Json { path: index, message });
            }
        }
        Ok(checkpoint)
    }

    /// Opens one safetensors file.
    pub fn open_file(path: &Path) -> Result<Checkpoint, LoadError> {
        let mut checkpoint = Checkpoint::empty(path);
        checkpoint.add_file(path)?;
        Ok(checkpoint)
    }

    fn empty(path: &Path) -> Checkpoint {
        Checkpoint { path: path.to_owned(), tensors: BTreeMap::new(), digest: Sha256::new() }
    }

    fn add_file(&mut self, path: &Path) -> Result<(), LoadError> {
        let mut file = File::open(path).map_err(|error| LoadError::io(path, error))?;
        let (header, length) = read_header(&mut file, path, &mut self.digest)?;
        for (name, tensor) in check_ranges(path, &header, length)? {
            if let Some(other) = self.tensors.insert(name.clone(), tensor) {
                let message = format!("tensor `{name}` is in {} too", other.file.display());
                return Err(LoadError::not_a_model(path, message));
            }
        }
        Ok(())
    }
}

impl WeightSource for Checkpoint {
    fn path(&self) -> &Path {
        &self.path
    }

    fn tensors(&self) -> &BTreeMap<String, SourceTensor> {
        &self.tensors
    }

    fn types(&self) -> &'static str {
        "F64, F32, F16 or BF16"
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, LoadError> {
        let tensor = self.tensors.get(name).ok_or_else(|| missing(self, name, "a tensor", &[name.to_owned()]))?;
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&tensor.file)?;
            file.seek(SeekFrom::Start(tensor.begin))?;
            let mut bytes = vec![0; tensor.bytes() as usize];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        // Before reading: the type may be one of a large table that nobody wants.
        let convert = converter(&tensor.dtype).ok_or_else(|| LoadError::DType {
            path: tensor.file.clone(),
            tensor: name.to_owned(),
            expected: self.types(),
            found: tensor.dtype.clone(),
        })?;
        let bytes = read().map_err(|error| LoadError::io(&tensor.file, error))?;
        Ok(convert(&bytes))
    }

    /// Over every header with its file's length and time of change.
    fn digest(&self) -> Sha256 {
        self.digest.clone()
    }
}

/// Shards of an index and the tensors that each should have.
pub(super) fn shard_names(index: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let Index { weight_map } = serde_json::from_str(index).map_err(|error| error.to_string())?;
    let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, shard) in weight_map {
        shards.entry(shard).or_default().push(tensor);
    }
    if shards.is_empty() { Err("`weight_map` names no shards".to_owned()) } else { Ok(shards) }
}

/// Files that may hold weights in a form that is not read.
fn weight_files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<String> = names
        .filter(|name| [".bin", ".safetensors", ".gguf", ".onnx", ".h5"].iter().any(|end| name.ends_with(end)))
        .collect();
    found.sort();
    found
}

/// The header, and the length of the file.
fn read_header(file: &mut File, path: &Path, digest: &mut Sha256) -> Result<(RawHeader, u64), LoadError> {
    let io = |error| LoadError::io(path, error);
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(LoadError::not_a_model(path, "expected a file"));
    }
    let length = metadata.len();
    let mut prefix = Vec::new();
    loop {
        match RawHeader::parse(&prefix).map_err(|error| LoadError::header(path, error))? {
            RawParsed::Header(header) => {
                digest.update(&prefix);
                digest.update(length.to_le_bytes());
                let changed = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
                digest.update(changed.map_or(0, |time| time.as_nanos()).to_le_bytes());
                return Ok((header, length));
            }
            RawParsed::NeedMore { bytes } if bytes as u64 > length => {
                return Err(LoadError::TruncatedHeader {
                    path: path.to_owned(),
                    expected: bytes as u64,
                    found: length,
                });
            }
            RawParsed::NeedMore { bytes } => {
                let more = bytes - prefix.len();
                file.take(more as u64).read_to_end(&mut prefix).map_err(io)?;
            }
        }
    }
}

/// Checks that the tensors lie one after the other, each as long as its shape, and fill the file.
fn check_ranges(path: &Path, header: &RawHeader, length: u64) -> Result<Vec<(String, SourceTensor)>, LoadError> {
    let mut tensors: Vec<(&String, &RawTensor)> = header.tensors.iter().collect();
    tensors.sort_by_key(|(_, tensor)| tensor.data_offsets);
    let data_bytes = length - header.data_start;
    let mut expected = 0;
    let mut checked = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let (begin, end) = tensor.data_offsets;
        check_range(tensor, expected, data_bytes).map_err(|message| LoadError::Range {
            path: path.to_owned(),
            tensor: name.clone(),
            begin,
            end,
            message,
        })?;
        expected = end;
        checked.push((
            name.clone(),
            SourceTensor {
                file: path.to_owned(),
                dtype: tensor.dtype.clone(),
                is_float: converter(&tensor.dtype).is_some(),
                // Checked with the range.
                shape: tensor.shape.iter().map(|extent| *extent as usize).collect(),
                begin: header.data_start + begin,
                end: header.data_start + end,
            },
        ));
    }
    if expected != data_bytes {
        let expected = header.data_start + expected;
        return Err(LoadError::TrailingBytes { path: path.to_owned(), expected, found: length });
    }
    Ok(checked)
}

/// `expected` is the end of the tensor before.
fn check_range(tensor: &RawTensor, expected: u64, data_bytes: u64) -> Result<(), String> {
    let (begin, end) = tensor.data_offsets;
    if end < begin {
        return Err("it ends before it begins".to_owned());
    }
    if end > data_bytes {
        return Err(format!("it ends outside the file, whose data has {data_bytes} bytes"));
    }
    if begin < expected {
        return Err(format!("it overlaps the tensor before it, which ends at {expected}"));
    }
    if begin > expected {
        return Err(format!("it leaves a gap after the tensor before it, which ends at {expected}"));
    }
    let Some(count) = tensor.elements().filter(|_| tensor.shape.iter().all(|extent| usize::try_from(*extent).is_ok()))
    else {
        return Err(format!("nothing holds as many elements as {:?} has", tensor.shape));
    };
    match dtype_bytes(&tensor.dtype) {
        Some(bytes) if count.checked_mul(bytes) != Some(end - begin) => {
            Err(format!("{} {:?} has another length", tensor.dtype, tensor.shape))
        }
        // Of types that nobody reads here only the place counts.
        _ => Ok(()),
    }
}

/// Bytes of an element; `None` for types that are not known, or smaller than a byte.
fn dtype_bytes(dtype: &str) -> Option<u64> {
    match dtype {
        "F64" | "I64" | "U64" => Some(8),
        "F32" | "I32" | "U32" => Some(4),
        "F16" | "BF16" | "I16" | "U16" => Some(2),
        "I8" | "U8" | "BOOL" | "F8_E4M3" | "F8_E5M2" => Some(1),
        _ => None,
    }
}

/// Little-endian bytes of a type to f32.
type Convert = fn(&[u8]) -> Vec<f32>;

/// How the bytes of a type become f32; `None` for types that weights do not have.
fn converter(dtype: &str) -> Option<Convert> {
    fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| value(*chunk)).collect()
    }
    match dtype {
        "F64" => Some(|bytes| each(bytes, |b| f64::from_le_bytes(b) as f32)),
        "F32" => Some(|bytes| each(bytes, f32::from_le_bytes)),
        "F16" => Some(|bytes| each(bytes, |b| f16::from_le_bytes(b).to_f32())),
        "BF16" => Some(|bytes| each(bytes, |b| bf16::from_le_bytes(b).to_f32())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{checkpoint_bytes, write};
    use super::*;

    fn open(bytes: &[u8]) -> Result<Checkpoint, LoadError> {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), SINGLE, bytes);
        Checkpoint::open_folder(folder.path())
    }

    fn error(bytes: &[u8]) -> String {
        let message = open(bytes).unwrap_err().to_string();
        // The folder is another one each time.
        message[message.find(SINGLE).unwrap()..].to_owned()
    }

    fn with_header(json: &str, data: &[u8]) -> Vec<u8> {
        [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), data].concat()
    }

    #[test]
    fn every_float_type_becomes_f32() {
        let folder = tempfile::tempdir().unwrap();
        let json = r#"{"a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]},
            "b": {"dtype":"F16","shape":[2],"data_offsets":[8,12]},
            "c": {"dtype":"BF16","shape":[1,2],"data_offsets":[12,16]},
            "d": {"dtype":"I64","shape":[1],"data_offsets":[16,24]},
            "f": {"dtype":"F64","shape":[2],"data_offsets":[24,40]}}"#;
        let mut data = Vec::new();
        [1.5f32, -0.1].iter().for_each(|v| data.extend(v.to_le_bytes()));
        [1.5f32, -0.1].iter().for_each(|v| data.extend(f16::from_f32(*v).to_le_bytes()));
        [1.5f32, -0.1].iter().for_each(|v| data.extend(bf16::from_f32(*v).to_le_bytes()));
        data.extend([0; 8]);
        [1.5f64, -0.1].iter().for_each(|v| data.extend(v.to_le_bytes()));
        write(folder.path(), SINGLE, &with_header(json, &data));
        let checkpoint = Checkpoint::open_folder(folder.path()).unwrap();
        assert_eq!(checkpoint.read_f32("a").unwrap(), [1.5, -0.1]);
        assert_eq!(checkpoint.read_f32("b").unwrap(), [1.5, -0.099975586]);
        assert_eq!(checkpoint.read_f32("c").unwrap(), [1.5, -0.100_097_656]);
        assert_eq!(checkpoint.tensors["c"].shape, [1, 2]);
        assert_eq!(checkpoint.read_f32("f").unwrap(), [1.5, -0.1]);
        let error = checkpoint.read_f32("d").unwrap_err().to_string();
        assert!(error.ends_with("tensor `d` should be F64, F32, F16 or BF16, found I64"), "{error}");
        let error = checkpoint.read_f32("e").unwrap_err().to_string();
        assert!(error.contains("tensor `e` is missing") && error.contains("5 others, such as a, b, c"), "{error}");
    }

    #[test]
    fn shards_are_found_by_their_index() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "one.safetensors", &checkpoint_bytes(&[("a", &[2], &[1.0, 2.0])]));
        write(folder.path(), "two.safetensors", &checkpoint_bytes(&[("b", &[1], &[3.0])]));
        let index =
            |map: &str| write(folder.path(), INDEX, format!(r#"{{"metadata":{{}},"weight_map":{map}}}"#).as_bytes());
        index(r#"{"a": "one.safetensors", "b": "two.safetensors"}"#);
        let checkpoint = Checkpoint::open_folder(folder.path()).unwrap();
        assert_eq!((checkpoint.read_f32("a").unwrap(), checkpoint.read_f32("b").unwrap()), (vec![1.0, 2.0], vec![3.0]));
        let error = || Checkpoint::open_folder(folder.path()).unwrap_err().to_string();
        index(r#"{"a": "one.safetensors", "c": "two.safetensors"}"#);
        assert!(error().ends_with("`c` should be in two.safetensors, which does not have it"), "{}", error());
        index(r#"{"a": "three.safetensors"}"#);
        assert!(error().ends_with("three.safetensors: there is no such file or folder"), "{}", error());
        index(r#"{"a": "../one.safetensors"}"#);
        assert!(error().ends_with("`../one.safetensors` is not the name of a shard"), "{}", error());
        index("{}");
        assert!(error().ends_with("`weight_map` names no shards"), "{}", error());
    }

    #[test]
    fn a_folder_without_weights_says_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let error = || Checkpoint::open_folder(folder.path()).unwrap_err().to_string();
        assert!(error().ends_with("expected model.safetensors or model.safetensors.index.json, found no weights"));
        write(folder.path(), "pytorch_model.bin", b"PK");
        assert!(error().ends_with("found pytorch_model.bin"));
        write(folder.path(), "model.gguf", b"GGUF");
        assert!(error().ends_with("found model.gguf, pytorch_model.bin; a GGUF file is given by its own path"));
    }

    #[test]
    fn headers_that_are_cut_or_lie_are_refused() {
        let whole = checkpoint_bytes(&[("a", &[2], &[1.0, 2.0])]);
        assert_eq!(error(&[]), "model.safetensors: the header should have 8 bytes, the file has 0: it is truncated");
        let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) + 8;
        assert_eq!(
            error(&whole[..20]),
            format!("model.safetensors: the header should have {header} bytes, the file has 20: it is truncated")
        );
        let lying = [&u64::MAX.to_le_bytes()[..], &whole[8..]].concat();
        assert!(error(&lying).ends_with("this is not a safetensors file"));
        let lying = [&1_000_000u64.to_le_bytes()[..], &whole[8..]].concat();
        assert!(error(&lying).contains("the header should have 1000008 bytes"));
        assert!(error(&with_header("{]", &[])).contains("the header should be safetensors JSON"));
    }

    #[test]
    fn what_took_the_files_place_is_named() {
        let pointer = error(b"version https://git-lfs.github.com/spec/v1\noid sha256:01\nsize 90868376\n");
        assert_eq!(pointer, "model.safetensors: this is a Git LFS pointer, and not the file itself");
        let page = error(b"<!doctype html><title>Sign in</title>");
        assert_eq!(page, "model.safetensors: this is an HTML page, and not the file itself");
    }

    #[test]
    fn ranges_that_cannot_be_are_named() {
        let two = |a: &str, b: &str, bytes: usize| {
            let entry = |offsets| format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":{offsets}}}"#);
            error(&with_header(&format!(r#"{{"a": {}, "b": {}}}"#, entry(a), entry(b)), &vec![0; bytes]))
        };
        let tensor = "model.safetensors: tensor";
        assert_eq!(
            two("[0,4]", "[2,6]", 8),
            format!("{tensor} `b`, bytes 2..6 of the data: it overlaps the tensor before it, which ends at 4")
        );
        assert_eq!(
            two("[0,4]", "[4,8]", 7),
            format!("{tensor} `b`, bytes 4..8 of the data: it ends outside the file, whose data has 7 bytes")
        );
        assert_eq!(
            two("[0,4]", "[6,10]", 10),
            format!(
                "{tensor} `b`, bytes 6..10 of the data: it leaves a gap after the tensor before it, which ends at 4"
            )
        );
        assert_eq!(two("[4,0]", "[4,8]", 8), format!("{tensor} `a`, bytes 4..0 of the data: it ends before it begins"));
        assert_eq!(
            two("[0,4]", "[4,12]", 12),
            format!("{tensor} `b`, bytes 4..12 of the data: F32 [1] has another length")
        );
        assert!(two("[0,4]", "[4,8]", 9).contains("the header's tensors end at byte"));
        // Also of a type that nobody reads, whose length nobody knows.
        for dtype in ["F32", "F4"] {
            let huge = format!(r#"{{"a": {{"dtype":"{dtype}","shape":[{0},{0}],"data_offsets":[0,4]}}}}"#, u64::MAX);
            let error = error(&with_header(&huge, &[0; 4]));
            assert!(
                error.ends_with("nothing holds as many elements as [18446744073709551615, 18446744073709551615] has")
            );
        }
    }

    #[test]
    fn the_digest_is_of_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let digest = |values: &[f32]| {
            write(folder.path(), SINGLE, &checkpoint_bytes(&[("a", &[values.len()], values)]));
            Checkpoint::open_folder(folder.path()).unwrap().digest().finalize()
        };
        let first = digest(&[1.0, 2.0]);
        assert_ne!(first, digest(&[1.0, 2.0, 3.0]));
        let again = Checkpoint::open_folder(folder.path()).unwrap().digest().finalize();
        assert_eq!(again, Checkpoint::open_folder(folder.path()).unwrap().digest().finalize());
    }
}
