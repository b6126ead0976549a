//! The header of a GGUF file: metadata, and where each tensor lies.
//!
//! `| "GGUF" | version u32 | tensors u64 | values u64 | values … | tensors … | padding | data … |`, little-endian. A string
//! is its length in u64 and its bytes; a value its key, the code of its type, and itself; a tensor its name, the number of its
//! dimensions, these from the innermost out, the code of its type, and where it begins in the data. Every count and length is
//! checked against what is left of the file before memory is taken for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::blocks::{self, BlockType};
use super::error::GgufError;
use super::metadata::{Metadata, Number, Value};
use crate::loader::error::LoadError;

/// First bytes of every file.
pub(super) const MAGIC: [u8; 4] = *b"GGUF";

/// Codes of the types of values that are no numbers.
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Bytes that tensors begin at a multiple of, where the file says nothing else.
const ALIGNMENT: u64 = 32;
const ALIGNMENT_KEY: &str = "general.alignment";

/// GGML's most dimensions of a tensor.
const MOST_DIMENSIONS: u64 = 4;

/// The least bytes of a value (key, type, one byte), and of a tensor (name, dimensions, type, place).
const LEAST_VALUE: u64 = 8 + 4 + 1;
const LEAST_TENSOR: u64 = 8 + 4 + 4 + 8;

/// What a file says of itself.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) metadata: Metadata,
    /// By their names in the file.
    pub(super) tensors: BTreeMap<String, Tensor>,
    /// SHA-256 of the header, the file's length and its time of change.
    pub(super) digest: Sha256,
}

/// Where a tensor lies, and what it is.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    /// Dimensions, outermost first.
    pub(super) shape: Vec<usize>,
    pub(super) kind: BlockType,
    /// First byte, counted from the start of the file.
    pub(super) begin: u64,
    /// One past the last byte.
    pub(super) end: u64,
}

impl Header {
    /// Reads and checks it.
    ///
    /// # Errors
    /// When the file cannot be read, is no GGUF file of a version that is read, or says of itself what cannot be.
    pub(super) fn read(path: &Path) -> Result<Self, LoadError> {
        let io = |error| LoadError::io(path, error);
        let file = File::open(path).map_err(io)?;
        let about = file.metadata().map_err(io)?;
        if !about.is_file() {
            return Err(LoadError::not_a_model(path, "expected a file"));
        }
        let mut digest = Sha256::new();
        let changed = about.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        digest.update(changed.map_or(0, |time| time.as_nanos()).to_le_bytes());
        digest.update(about.len().to_le_bytes());
        let mut reader = Reader { file: BufReader::new(file), at: 0, length: about.len(), digest };
        header(&mut reader).map_err(|fault| match fault {
            Fault::Io(error) => LoadError::io(path, error),
            Fault::Gguf(error) => LoadError::Gguf { path: path.to_owned(), error },
        })
    }
}

impl Tensor {
    /// The values as f32, row-major. Blocks are read a few at a time: beside the values little memory is taken.
    ///
    /// # Errors
    /// `Ok(None)` for a type that is not read; the system's where the file cannot be.
    pub(super) fn read(&self, path: &Path) -> std::io::Result<Option<Vec<f32>>> {
        /// Blocks that are read at once.
        const AT_ONCE: usize = 4096;
        let BlockType { elements, bytes, decode: Some(decode), .. } = self.kind else { return Ok(None) };
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.begin))?;
        let mut values = vec![0.0; self.shape.iter().product()];
        let mut buffer = vec![0; AT_ONCE * bytes];
        for values in values.chunks_mut(AT_ONCE * elements) {
            let blocks = &mut buffer[..values.len() / elements * bytes];
            file.read_exact(blocks)?;
            let pairs = blocks.chunks_exact(bytes).zip(values.chunks_exact_mut(elements));
            pairs.for_each(|(block, values)| decode(block, values));
        }
        Ok(Some(values))
    }
}

/// What went wrong while a header was read.
enum Fault {
    Io(std::io::Error),
    Gguf(GgufError),
}

impl From<GgufError> for Fault {
    fn from(error: GgufError) -> Self {
        Self::Gguf(error)
    }
}

/// Reads on, knowing what is left of the file.
struct Reader {
    file: BufReader<File>,
    at: u64,
    length: u64,
    digest: Sha256,
}

impl Reader {
    /// Checks that `needed` bytes are left for something, which `what` names.
    fn check(&self, needed: u64, what: &dyn Fn() -> String) -> Result<(), GgufError> {
        let left = self.length - self.at;
        if needed <= left { Ok(()) } else { Err(GgufError::Short { what: what(), needed, left }) }
    }

    fn bytes(&mut self, count: u64, what: &dyn Fn() -> String) -> Result<Vec<u8>, Fault> {
        self.check(count, what)?;
        // No more than the file has; a `usize` has 32 bits on small machines.
        let mut bytes = vec![0; usize::try_from(count).map_err(|_| GgufError::header("it is beyond this machine"))?];
        self.file.read_exact(&mut bytes).map_err(Fault::Io)?;
        self.digest.update(&bytes);
        self.at += count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, what: &dyn Fn() -> String) -> Result<[u8; N], Fault> {
        Ok(self.bytes(N as u64, what)?.try_into().expect("as many bytes as were asked for"))
    }

    fn u32(&mut self, what: &dyn Fn() -> String) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &dyn Fn() -> String) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn string(&mut self, what: &dyn Fn() -> String) -> Result<String, Fault> {
        let length = self.u64(what)?;
        let bytes = self.bytes(length, what)?;
        String::from_utf8(bytes).map_err(|_| GgufError::header(format!("{} is not UTF-8", what())).into())
    }
}

/// Reads a whole header.
fn header(reader: &mut Reader) -> Result<Header, Fault> {
    check_start(reader)?;
    let n_tensors = reader.u64(&|| "the number of tensors".into())?;
    let n_values = reader.u64(&|| "the number of values".into())?;
    reader.check(n_values.saturating_mul(LEAST_VALUE), &|| format!("the metadata, of {n_values} values,"))?;
    let mut metadata = Metadata::default();
    for index in 0..n_values {
        let key = reader.string(&|| format!("the key of value {index}"))?;
        let value = value(reader, &key)?;
        if metadata.0.insert(key.clone(), value).is_some() {
            return Err(GgufError::header(format!("metadata `{key}` is there twice")).into());
        }
    }
    reader.check(n_tensors.saturating_mul(LEAST_TENSOR), &|| format!("the table of {n_tensors} tensors"))?;
    let mut described = BTreeMap::new();
    for index in 0..n_tensors {
        let name = reader.string(&|| format!("the name of tensor {index}"))?;
        let tensor = describe(reader, &name)?;
        if described.insert(name.clone(), tensor).is_some() {
            return Err(GgufError::tensor(&name, "it is there twice").into());
        }
    }
    let alignment = alignment(&metadata)?;
    // An empty file of metadata alone may end before its data would begin.
    let start = reader.at.next_multiple_of(alignment);
    let tensors = place(described, start, alignment, reader.length)?;
    Ok(Header { metadata, tensors, digest: reader.digest.clone() })
}

/// Magic and version.
fn check_start(reader: &mut Reader) -> Result<(), Fault> {
    let first = reader.bytes(reader.length.min(4), &String::new)?;
    if first != MAGIC {
        let found = if first.is_empty() { "an empty file".into() } else { format!("`{}`", first.escape_ascii()) };
        return Err(GgufError::NotGguf { found }.into());
    }
    match reader.u32(&|| "the version".into())? {
        2 | 3 => Ok(()),
        version if [1, 2, 3].contains(&version.swap_bytes()) => Err(GgufError::BigEndian.into()),
        found => Err(GgufError::Version { found }.into()),
    }
}

fn value(reader: &mut Reader, key: &str) -> Result<Value, Fault> {
    let what = || format!("metadata `{key}`");
    let code = reader.u32(&what)?;
    match code {
        STRING => Ok(Value::Text(reader.string(&what)?)),
        ARRAY => array(reader, key),
        _ => {
            let number = number(code, key)?;
            let bytes = reader.bytes(number.bytes() as u64, &what)?;
            Ok(number.value(&bytes))
        }
    }
}

fn array(reader: &mut Reader, key: &str) -> Result<Value, Fault> {
    let what = || format!("metadata `{key}`");
    let (code, count) = (reader.u32(&what)?, reader.u64(&what)?);
    if code != STRING {
        let number = number(code, key)?;
        let what = || format!("metadata `{key}`, of {count} numbers,");
        return Ok(Value::Numbers(number, reader.bytes(count.saturating_mul(number.bytes() as u64), &what)?));
    }
    // Each string has its length at least.
    reader.check(count.saturating_mul(8), &|| format!("metadata `{key}`, of {count} strings,"))?;
    let mut texts = Vec::new();
    for index in 0..count {
        texts.push(reader.string(&|| format!("string {index} of metadata `{key}`"))?);
    }
    Ok(Value::Texts(texts))
}

fn number(code: u32, key: &str) -> Result<Number, GgufError> {
    let unknown = || GgufError::metadata(key, "a number, a string or an array of these", format!("type {code}"));
    Number::of(code).ok_or_else(unknown)
}

fn alignment(metadata: &Metadata) -> Result<u64, GgufError> {
    let alignment = metadata.count(ALIGNMENT_KEY)?.unwrap_or(ALIGNMENT);
    // Beyond 2^32 nothing would be left of any file.
    match alignment.is_power_of_two() && alignment <= 1 << 32 {
        true => Ok(alignment),
        false => Err(GgufError::metadata(ALIGNMENT_KEY, "a power of two", alignment.to_string())),
    }
}

/// A tensor as the table has it, before anything but its own numbers is known.
struct Described {
    shape: Vec<usize>,
    kind: BlockType,
    bytes: u64,
    /// Counted from the start of the data.
    offset: u64,
}

fn describe(reader: &mut Reader, name: &str) -> Result<Described, Fault> {
    let what = || format!("tensor `{name}` in the table");
    let n_dimensions = u64::from(reader.u32(&what)?);
    if !(1..=MOST_DIMENSIONS).contains(&n_dimensions) {
        let message = format!("expected 1 to {MOST_DIMENSIONS} dimensions, found {n_dimensions}");
        return Err(GgufError::tensor(name, message).into());
    }
    let mut extents = Vec::new();
    for _ in 0..n_dimensions {
        extents.push(reader.u64(&what)?);
    }
    let (code, offset) = (reader.u32(&what)?, reader.u64(&what)?);
    let unknown = || GgufError::tensor(name, format!("expected a type such as {}, found type {code}", blocks::READ));
    let kind = BlockType::of(code).ok_or_else(unknown)?;
    let bytes = bytes_of(&extents, kind).map_err(|message| GgufError::tensor(name, message))?;
    // Each extent is at most what was counted.
    let shape = extents.iter().rev().map(|extent| *extent as usize).collect();
    Ok(Described { shape, kind, bytes, offset })
}

/// Bytes of a tensor, its extents innermost first.
fn bytes_of(extents: &[u64], kind: BlockType) -> Result<u64, String> {
    let count = extents.iter().try_fold(1u64, |count, extent| count.checked_mul(*extent));
    let count = count.filter(|count| *count > 0 && usize::try_from(*count).is_ok());
    let count = count.ok_or_else(|| format!("expected extents that something holds, found {extents:?}"))?;
    if !extents[0].is_multiple_of(kind.elements as u64) {
        let (name, elements) = (kind.name, kind.elements);
        return Err(format!("expected rows of a multiple of {elements} values for {name}, found {}", extents[0]));
    }
    (count / kind.elements as u64)
        .checked_mul(kind.bytes as u64)
        .ok_or_else(|| format!("expected extents that a file holds, found {extents:?}"))
}

/// Checks that every tensor lies in the file, at a multiple of the alignment, and over no other.
fn place(
    described: BTreeMap<String, Described>,
    start: u64,
    alignment: u64,
    length: u64,
) -> Result<BTreeMap<String, Tensor>, GgufError> {
    let mut placed = BTreeMap::new();
    let mut ranges = Vec::with_capacity(described.len());
    for (name, Described { shape, kind, bytes, offset }) in described {
        if !offset.is_multiple_of(alignment) {
            let message =
                format!("expected it to begin at a multiple of {alignment} bytes of the data, found {offset}");
            return Err(GgufError::tensor(&name, message));
        }
        let begin = start.checked_add(offset);
        let range = begin.and_then(|begin| Some((begin, begin.checked_add(bytes)?))).filter(|(_, end)| *end <= length);
        let Some((begin, end)) = range else {
            let found = format!("found the file's end at {length}: it is cut short, or its header is damaged");
            let message = format!("expected {bytes} bytes at {offset} of the data, which begin at {start}; {found}");
            return Err(GgufError::tensor(&name, message));
        };
        ranges.push((begin, end, name.clone()));
        placed.insert(name, Tensor { shape, kind, begin, end });
    }
    ranges.sort_unstable();
    match ranges.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        Some(pair) => Err(GgufError::tensor(&pair[1].2, format!("it overlaps tensor `{}`", pair[0].2))),
        None => Ok(placed),
    }
}
