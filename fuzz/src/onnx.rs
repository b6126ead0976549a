//! ONNX files.

#[path = "../../crates/host/src/onnx_file/proto.rs"]
#[expect(dead_code, reason = "what only the writer of ONNX files needs")]
mod proto;
// By its path, since the host with all that it brings would take minutes to compile with instrumentation.
#[path = "../../crates/host/src/onnx_file/bits.rs"]
#[expect(dead_code, reason = "what opens a file")]
mod bits;

/// The input is an ONNX file.
pub(crate) fn onnx(data: &[u8]) {
    let _ = bits::bits_of_file(data);
}
