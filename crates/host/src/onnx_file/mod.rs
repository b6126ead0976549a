//! ONNX files as they are: their messages, and what can be told of somebody's file.

mod bits;
pub(crate) mod proto;

pub(crate) use bits::bits_in;
