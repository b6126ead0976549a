//! Binary frames: a 24-byte header and raw bytes.
//!
//! ```text
//! 0  magic "WNB1"   4  version u8   5  kind u8   6  reserved u16 = 0
//! 8  id u64 LE     16  part u32 LE (tensor index)   20  length u32 LE (bytes after the header)
//! ```
//! A tensor longer than one frame is cut: frames of the same id and part follow one another in order.
//! A tensor without elements is one frame without bytes, so that every part is seen.
//!
//! ```
//! use webnibble_common::tensor::{DType, Tensor};
//! use webnibble_common::wire::{TensorInfo, frame};
//!
//! let tensor = Tensor::f32([2], vec![1.0, 2.0])?;
//! let mut assembler = frame::FrameAssembler::new(frame::FrameKind::Output, 7);
//! for bytes in frame::split(frame::FrameKind::Output, 7, 0, &tensor.to_le_bytes()) {
//!     assembler.push(frame::decode(&bytes)?)?;
//! }
//! let info = TensorInfo { name: "embeddings".into(), dtype: DType::F32, shape: vec![2] };
//! assert_eq!(assembler.finish(&[info])?, [tensor]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::io::TensorInfo;
use crate::tensor::{Tensor, TensorError};

/// Largest binary frame, header included, in bytes. Longer tensors travel in parts.
pub const MAX_BINARY_BYTES: usize = 8 << 20;

/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"WNB1";

/// Version of the frame's layout; not that of the messages.
pub const FRAME_VERSION: u8 = 1;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 24;

/// Most bytes that one frame carries after its header.
pub const MAX_PAYLOAD_BYTES: usize = MAX_BINARY_BYTES - HEADER_BYTES;

/// Most bytes of all tensors of one request: an image batch or a logits tensor fits, a runaway peer does not.
pub const MAX_REQUEST_BYTES: usize = 1 << 30;

/// Whose bytes a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// Inputs of a `run`, from the host.
    Input = 1,
    /// Outputs of a `run`, from the agent.
    Output = 2,
}

/// One frame, its payload borrowed from the message that it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Inputs or outputs.
    pub kind: FrameKind,
    /// Id of the request.
    pub id: u64,
    /// Index of the tensor in the request's list.
    pub part: u32,
    /// Raw little-endian elements.
    pub payload: &'a [u8],
}

/// What can be wrong with a frame, or with a row of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Shorter than a header.
    #[error("a frame has a header of {HEADER_BYTES} bytes, found {found} bytes in all")]
    Short {
        /// Bytes of the message.
        found: usize,
    },
    /// Larger than [`MAX_BINARY_BYTES`].
    #[error("a frame has at most {MAX_BINARY_BYTES} bytes, found {found}; cut the tensor into more frames")]
    TooLarge {
        /// Bytes of the message.
        found: usize,
    },
    /// Does not begin with [`MAGIC`].
    #[error("a frame begins with {MAGIC:02x?}, found {found:02x?}")]
    Magic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// Another layout.
    #[error(
        "expected frame version {FRAME_VERSION}, found {found}; reload the page, so that both sides are of one build"
    )]
    Version {
        /// The version of the frame.
        found: u8,
    },
    /// Neither input nor output.
    #[error("a frame's kind is 1 (input) or 2 (output), found {found}")]
    Kind {
        /// The kind of the frame.
        found: u8,
    },
    /// The reserved bytes are in use.
    #[error("a frame's reserved bytes are 0, found {found}")]
    Reserved {
        /// The two bytes.
        found: u16,
    },
    /// The header's length is not what follows it.
    #[error("the frame's header says {declared} bytes, {found} follow it")]
    Length {
        /// Bytes by the header.
        declared: usize,
        /// Bytes there are.
        found: usize,
    },
    /// A frame of another request or direction.
    #[error("expected frames of {expected:?} for request {expected_id}, found {found:?} for request {found_id}")]
    Stray {
        /// The kind that was waited for.
        expected: FrameKind,
        /// The request that was waited for.
        expected_id: u64,
        /// The frame's kind.
        found: FrameKind,
        /// The frame's request.
        found_id: u64,
    },
    /// A part that is not the one at hand nor the next one.
    #[error("request {id}: tensor {found} came out of order, expected tensor {expected}{}", .or_next.map(|n| format!(" or {n}")).unwrap_or_default())]
    OutOfOrder {
        /// The request.
        id: u64,
        /// The part at hand.
        expected: u32,
        /// The part after it, once the one at hand has begun.
        or_next: Option<u32>,
        /// The frame's part.
        found: u32,
    },
    /// More bytes than a request may have.
    #[error("request {id}: its tensors have at most {limit} bytes in all, found {found} or more")]
    RequestTooLarge {
        /// The request.
        id: u64,
        /// The limit.
        limit: usize,
        /// Bytes with the frame that went over it.
        found: usize,
    },
    /// Fewer or more tensors than the message lists.
    #[error("request {id}: the message lists {expected} tensors, the frames carried {found}")]
    Count {
        /// The request.
        id: u64,
        /// Tensors in the message.
        expected: usize,
        /// Tensors in the frames.
        found: usize,
    },
    /// The bytes do not fit the shape.
    #[error("request {id}: tensor `{name}`: {source}")]
    Tensor {
        /// The request.
        id: u64,
        /// Name of the tensor.
        name: String,
        /// What does not fit.
        source: TensorError,
    },
}

/// One frame as bytes. Fails where `payload` is over [`MAX_PAYLOAD_BYTES`]: see [`split`].
pub fn encode(frame: Frame<'_>) -> Result<Vec<u8>, FrameError> {
    if frame.payload.len() > MAX_PAYLOAD_BYTES {
        return Err(FrameError::TooLarge { found: HEADER_BYTES + frame.payload.len() });
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + frame.payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[FRAME_VERSION, frame.kind as u8, 0, 0]);
    bytes.extend_from_slice(&frame.id.to_le_bytes());
    bytes.extend_from_slice(&frame.part.to_le_bytes());
    bytes.extend_from_slice(&(frame.payload.len() as u32).to_le_bytes());
    debug_assert_eq!(bytes.len(), HEADER_BYTES, "the header's fields make its size");
    bytes.extend_from_slice(frame.payload);
    Ok(bytes)
}

/// Reads one binary message as a frame.
pub fn decode(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    if bytes.len() > MAX_BINARY_BYTES {
        return Err(FrameError::TooLarge { found: bytes.len() });
    }
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(FrameError::Short { found: bytes.len() });
    };
    let magic: [u8; 4] = field(header, 0);
    if magic != MAGIC {
        return Err(FrameError::Magic { found: magic });
    }
    if header[4] != FRAME_VERSION {
        return Err(FrameError::Version { found: header[4] });
    }
    let kind = match header[5] {
        1 => FrameKind::Input,
        2 => FrameKind::Output,
        found => return Err(FrameError::Kind { found }),
    };
    let reserved = u16::from_le_bytes(field(header, 6));
    if reserved != 0 {
        return Err(FrameError::Reserved { found: reserved });
    }
    let declared = u32::from_le_bytes(field(header, 20)) as usize;
    if declared != payload.len() {
        return Err(FrameError::Length { declared, found: payload.len() });
    }
    let (id, part) = request_of(header);
    Ok(Frame { kind, id, part, payload })
}

/// Request and tensor of a frame by its header alone, for those who only pass it on. Checks nothing.
pub fn request_of(header: &[u8; HEADER_BYTES]) -> (u64, u32) {
    (u64::from_le_bytes(field(header, 8)), u32::from_le_bytes(field(header, 16)))
}

/// The `N` bytes of the header from `offset` on.
fn field<const N: usize>(header: &[u8; HEADER_BYTES], offset: usize) -> [u8; N] {
    std::array::from_fn(|i| header[offset + i])
}

/// The frames of one tensor, in order: one at least, each of [`MAX_PAYLOAD_BYTES`] at most.
pub fn split(kind: FrameKind, id: u64, part: u32, bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let empty: &[u8] = &[];
    let pieces = bytes.chunks(MAX_PAYLOAD_BYTES).chain(bytes.is_empty().then_some(empty));
    pieces.map(move |payload| encode(Frame { kind, id, part, payload }).expect("pieces are cut to the limit"))
}

/// Gathers the frames of one request into its tensors.
#[derive(Debug)]
pub struct FrameAssembler {
    kind: FrameKind,
    id: u64,
    limit: usize,
    total: usize,
    parts: Vec<Vec<u8>>,
}

impl FrameAssembler {
    /// For the frames of `kind` of request `id`, [`MAX_REQUEST_BYTES`] in all.
    pub fn new(kind: FrameKind, id: u64) -> Self {
        Self::with_limit(kind, id, MAX_REQUEST_BYTES)
    }

    /// As [`FrameAssembler::new`], with another limit of bytes in all.
    pub fn with_limit(kind: FrameKind, id: u64, limit: usize) -> Self {
        Self { kind, id, limit, total: 0, parts: Vec::new() }
    }

    /// Takes one frame: more of the tensor at hand, or the beginning of the next one.
    pub fn push(&mut self, frame: Frame<'_>) -> Result<(), FrameError> {
        if (frame.kind, frame.id) != (self.kind, self.id) {
            let (found, found_id) = (frame.kind, frame.id);
            return Err(FrameError::Stray { expected: self.kind, expected_id: self.id, found, found_id });
        }
        let next = self.parts.len() as u32;
        let at_hand = next.checked_sub(1);
        if frame.part != next && Some(frame.part) != at_hand {
            let (expected, or_next) = at_hand.map_or((next, None), |part| (part, Some(next)));
            return Err(FrameError::OutOfOrder { id: self.id, expected, or_next, found: frame.part });
        }
        let found = self.total + frame.payload.len();
        if found > self.limit {
            return Err(FrameError::RequestTooLarge { id: self.id, limit: self.limit, found });
        }
        self.total = found;
        if frame.part == next {
            self.parts.push(Vec::with_capacity(frame.payload.len()));
        }
        self.parts[frame.part as usize].extend_from_slice(frame.payload);
        Ok(())
    }

    /// Whether every tensor of `tensors` is there in full: what the agent waits for after a `run` message.
    pub fn is_complete(&self, tensors: &[TensorInfo]) -> bool {
        self.parts.len() >= tensors.len()
            && self.parts.iter().zip(tensors).all(|(part, info)| part.len() >= byte_count(info))
    }

    /// The tensors that the message lists, from the bytes that came.
    pub fn finish(self, tensors: &[TensorInfo]) -> Result<Vec<Tensor>, FrameError> {
        let (id, expected, found) = (self.id, tensors.len(), self.parts.len());
        if expected != found {
            return Err(FrameError::Count { id, expected, found });
        }
        let tensor_from = |(bytes, info): (&Vec<u8>, &TensorInfo)| {
            tensor_from(info, bytes).map_err(|source| FrameError::Tensor { id, name: info.name.clone(), source })
        };
        self.parts.iter().zip(tensors).map(tensor_from).collect()
    }
}

/// The tensor that `info` describes. Looks at the length first, since the shape comes from the peer and may overflow.
fn tensor_from(info: &TensorInfo, bytes: &[u8]) -> Result<Tensor, TensorError> {
    let size = info.dtype.size_bytes();
    if byte_count(info) != bytes.len() {
        let (expected, found) = (byte_count(info) / size, bytes.len() / size);
        return Err(TensorError::Length { shape: info.shape.clone(), expected, found });
    }
    Tensor::from_le_bytes(info.dtype, info.shape.clone(), bytes)
}

/// Bytes of a tensor, saturating: a lying shape must not overflow.
fn byte_count(info: &TensorInfo) -> usize {
    info.shape.iter().fold(info.dtype.size_bytes(), |product, &extent| product.saturating_mul(extent))
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
