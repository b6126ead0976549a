//! Golden bytes, malformed frames, and assembling.

use super::*;
use crate::tensor::DType;

fn info(name: &str, dtype: DType, shape: &[usize]) -> TensorInfo {
    TensorInfo { name: name.into(), dtype, shape: shape.to_vec() }
}

const GOLDEN: [u8; 28] = [
    0x57, 0x4e, 0x42, 0x31, // magic "WNB1"
    1, 2, 0, 0, // version, kind output, reserved
    0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, // id
    0x0c, 0x0b, 0x0a, 0x09, // part
    4, 0, 0, 0, // length
    0xde, 0xad, 0xbe, 0xef,
];

#[test]
fn golden_bytes_in_both_directions() {
    let frame = Frame {
        kind: FrameKind::Output,
        id: 0x0102_0304_0506_0708,
        part: 0x090a_0b0c,
        payload: &[0xde, 0xad, 0xbe, 0xef],
    };
    assert_eq!(encode(frame).unwrap(), GOLDEN);
    assert_eq!(decode(&GOLDEN).unwrap(), frame);
}

#[test]
fn golden_bytes_of_an_empty_input() {
    let frame = Frame { kind: FrameKind::Input, id: 1, part: 0, payload: &[] };
    let golden = [b'W', b'N', b'B', b'1', 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(encode(frame).unwrap(), golden);
    assert_eq!(decode(&golden).unwrap(), frame);
}

/// The golden frame with one byte changed.
fn altered(offset: usize, byte: u8) -> Result<(), FrameError> {
    let mut bytes = GOLDEN;
    bytes[offset] = byte;
    decode(&bytes).map(|_| ())
}

#[test]
fn malformed_frames_are_refused_by_name() {
    assert_eq!(altered(0, b'X'), Err(FrameError::Magic { found: *b"XNB1" }));
    assert_eq!(altered(4, 2), Err(FrameError::Version { found: 2 }));
    assert_eq!(altered(5, 0), Err(FrameError::Kind { found: 0 }));
    assert_eq!(altered(5, 3), Err(FrameError::Kind { found: 3 }));
    assert_eq!(altered(7, 1), Err(FrameError::Reserved { found: 256 }));
    assert_eq!(altered(20, 3), Err(FrameError::Length { declared: 3, found: 4 }));
    assert_eq!(altered(23, 0xff), Err(FrameError::Length { declared: 0xff00_0004, found: 4 }));
    assert_eq!(decode(&GOLDEN[..27]), Err(FrameError::Length { declared: 4, found: 3 }));
    for found in 0..HEADER_BYTES {
        assert_eq!(decode(&GOLDEN[..found]), Err(FrameError::Short { found }));
    }
}

#[test]
fn frames_over_the_limit_are_refused_both_ways() {
    let payload = vec![0; MAX_PAYLOAD_BYTES + 1];
    let too_large = Err(FrameError::TooLarge { found: MAX_BINARY_BYTES + 1 });
    assert_eq!(encode(Frame { kind: FrameKind::Input, id: 1, part: 0, payload: &payload }), too_large);
    assert!(matches!(decode(&vec![0; MAX_BINARY_BYTES + 1]), Err(FrameError::TooLarge { .. })));
}

#[test]
fn tensors_are_cut_and_gathered() {
    let long: Vec<u32> = (0..(MAX_PAYLOAD_BYTES as u32 / 4) + 3).collect();
    let tensors = [
        Tensor::u32([long.len()], long).unwrap(),
        Tensor::f32([0, 4], vec![]).unwrap(),
        Tensor::f32([1], vec![2.5]).unwrap(),
    ];
    let infos: Vec<_> = tensors.iter().map(|t| info("t", t.dtype(), t.shape())).collect();
    let mut assembler = FrameAssembler::new(FrameKind::Input, 3);
    let mut frames = 0;
    for (part, tensor) in tensors.iter().enumerate() {
        assert!(!assembler.is_complete(&infos), "tensor {part} is still to come");
        for bytes in split(FrameKind::Input, 3, part as u32, &tensor.to_le_bytes()) {
            assembler.push(decode(&bytes).unwrap()).unwrap();
            frames += 1;
        }
    }
    assert_eq!(frames, 4, "two for the long tensor, one for each other");
    assert!(assembler.is_complete(&infos));
    assert_eq!(assembler.finish(&infos).unwrap(), tensors);
}

#[test]
fn parts_out_of_order_are_refused() {
    let frame = |part| Frame { kind: FrameKind::Output, id: 9, part, payload: &[0; 4] };
    let mut assembler = FrameAssembler::new(FrameKind::Output, 9);
    assert_eq!(assembler.push(frame(1)), Err(FrameError::OutOfOrder { id: 9, expected: 0, or_next: None, found: 1 }));
    assembler.push(frame(0)).unwrap();
    assembler.push(frame(1)).unwrap();
    let error = assembler.push(frame(0)).unwrap_err();
    assert_eq!(error.to_string(), "request 9: tensor 0 came out of order, expected tensor 1 or 2");
}

#[test]
fn stray_and_oversize_frames_are_refused() {
    let mut assembler = FrameAssembler::with_limit(FrameKind::Output, 9, 8);
    let frame = Frame { kind: FrameKind::Output, id: 9, part: 0, payload: &[0; 6] };
    assert!(matches!(assembler.push(Frame { id: 8, ..frame }), Err(FrameError::Stray { found_id: 8, .. })));
    assert!(matches!(assembler.push(Frame { kind: FrameKind::Input, ..frame }), Err(FrameError::Stray { .. })));
    assembler.push(frame).unwrap();
    assert_eq!(assembler.push(frame), Err(FrameError::RequestTooLarge { id: 9, limit: 8, found: 12 }));
}

#[test]
fn bytes_that_do_not_fit_the_message_are_refused() {
    let gathered = || {
        let mut assembler = FrameAssembler::new(FrameKind::Output, 9);
        assembler.push(Frame { kind: FrameKind::Output, id: 9, part: 0, payload: &[0; 8] }).unwrap();
        assembler
    };
    assert_eq!(gathered().finish(&[]), Err(FrameError::Count { id: 9, expected: 0, found: 1 }));
    let error = gathered().finish(&[info("hidden", DType::F32, &[3])]).unwrap_err();
    assert_eq!(error.to_string(), "request 9: tensor `hidden`: shape [3] holds 3 elements, found 2");
    let lying = [info("hidden", DType::F32, &[usize::MAX, 2])];
    assert!(!gathered().is_complete(&lying));
    assert!(matches!(gathered().finish(&lying), Err(FrameError::Tensor { .. })));
}
