//! Binary frames: a 24-byte header and raw bytes.
//!
//! ```text
//! 0  magic "WNB1"   4  version u8   5  kind u8   6  reserved u16 = 0
//! 8  id u64 LE     16  part u32 LE (tensor index)   20  length u32 LE (bytes after the header)
//! ```
//! A tensor longer than one frame is cut: frames of the same id and part follow one another in order.
