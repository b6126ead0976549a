//! What comes over the socket.

use webnibble_common::tensor::Tensor;
use webnibble_common::wire::frame::{Frame, FrameAssembler, FrameKind, decode, encode};
use webnibble_common::wire::{AgentMessage, Envelope, HostMessage, TensorInfo};

/// Bytes of a request's tensors, at most.
const LIMIT: usize = 1 << 16;

/// The input is a frame; or the JSON of a list of tensors, a line's end, and frames, each after its length in two bytes.
pub(crate) fn frames(data: &[u8]) {
    check_frame(data);
    let (list, mut rest) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let Ok(tensors) = serde_json::from_slice::<Vec<TensorInfo>>(list) else { return };
    rest = rest.get(1..).unwrap_or_default();
    let mut assembler = FrameAssembler::with_limit(FrameKind::Output, 1, LIMIT);
    let mut carried = Vec::new();
    while let Some((length, more)) = rest.split_first_chunk::<2>() {
        let (message, after) = more.split_at(more.len().min(usize::from(u16::from_le_bytes(*length))));
        rest = after;
        match check_frame(message).map(|frame| (assembler.push(frame), frame.payload)) {
            Some((Ok(()), payload)) => carried.extend_from_slice(payload),
            Some((Err(error), _)) => return assert!(!error.to_string().is_empty()),
            None => return,
        }
    }
    finish(assembler, &tensors, &carried);
}

/// A frame that was read is written again as it was.
fn check_frame(message: &[u8]) -> Option<Frame<'_>> {
    match decode(message) {
        Ok(frame) => {
            assert_eq!(encode(frame).expect("it was within the limits"), message);
            Some(frame)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

/// Tensors have the shapes that were listed and the bytes that came.
fn finish(assembler: FrameAssembler, tensors: &[TensorInfo], carried: &[u8]) {
    let complete = assembler.is_complete(tensors);
    match assembler.finish(tensors) {
        Ok(found) => {
            assert!(complete, "what can be finished is complete");
            assert!(found.iter().zip(tensors).all(|(tensor, info)| tensor.shape() == info.shape));
            assert!(found.iter().all(|tensor| tensor.len() * 4 == tensor.to_le_bytes().len()));
            let bytes: Vec<u8> = found.iter().flat_map(Tensor::to_le_bytes).collect();
            assert_eq!(bytes, carried);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The input is a text frame.
pub(crate) fn messages(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check_message::<HostMessage>(text);
    check_message::<AgentMessage>(text);
}

/// A message that was read can be written, and what was written is read again.
fn check_message<M: serde::Serialize + serde::de::DeserializeOwned>(text: &str) {
    match Envelope::<M>::from_text(text) {
        Ok(message) => {
            let Ok(written) = message.to_text() else { return };
            let again = Envelope::<M>::from_text(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
            assert_eq!(again.id, message.id);
        }
        Err(error) => assert!(!error.message.is_empty()),
    }
}
