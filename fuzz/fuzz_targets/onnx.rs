#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| webnibble_fuzz::run("onnx", data));
