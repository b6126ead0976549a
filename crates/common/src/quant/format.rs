//! How weights are stored: bits, scheme, granularity.

use std::fmt;

use half::f16;

/// Bits of a stored weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Bits {
    /// Four levels.
    B2,
    /// Sixteen levels.
    B4,
    /// 256 levels.
    B8,
    /// IEEE half precision.
    B16,
    /// IEEE single precision: the reference.
    B32,
}

impl Bits {
    /// The number of bits.
    pub const fn count(self) -> usize {
        match self {
            Bits::B2 => 2,
            Bits::B4 => 4,
            Bits::B8 => 8,
            Bits::B16 => 16,
            Bits::B32 => 32,
        }
    }

    /// Whether values are codes with scales, and not floats.
    pub const fn is_integer(self) -> bool {
        self.count() <= 8
    }

    /// The largest code, `2^bits − 1`; 0 for floats, which have no codes.
    pub const fn largest_code(self) -> u8 {
        match self {
            Bits::B2 => 3,
            Bits::B4 => 15,
            Bits::B8 => 255,
            Bits::B16 | Bits::B32 => 0,
        }
    }

    /// The code of zero in the symmetric scheme, `2^(bits − 1)`; 0 for floats.
    pub const fn symmetric_zero(self) -> u8 {
        match self {
            Bits::B2 => 2,
            Bits::B4 => 8,
            Bits::B8 => 128,
            Bits::B16 | Bits::B32 => 0,
        }
    }

    /// The largest magnitude that can be stored; larger is an error. Of codes, the largest f16 scale times their longer side.
    pub fn largest_value(self) -> f32 {
        match self {
            Bits::B2 | Bits::B4 | Bits::B8 => f16::MAX.to_f32() * f32::from(self.symmetric_zero()),
            Bits::B16 => f16::MAX.to_f32(),
            Bits::B32 => f32::MAX,
        }
    }
}

impl From<Bits> for u8 {
    fn from(bits: Bits) -> u8 {
        bits.count() as u8
    }
}

impl TryFrom<u8> for Bits {
    type Error = String;

    fn try_from(count: u8) -> Result<Self, String> {
        match count {
            2 => Ok(Bits::B2),
            4 => Ok(Bits::B4),
            8 => Ok(Bits::B8),
            16 => Ok(Bits::B16),
            32 => Ok(Bits::B32),
            _ => Err(format!("bits should be 2, 4, 8, 16 or 32, found {count}")),
        }
    }
}

impl std::str::FromStr for Bits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let count: u8 = text.parse().map_err(|_| format!("bits should be 2, 4, 8, 16 or 32, found `{text}`"))?;
        Bits::try_from(count)
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.count())
    }
}

/// Where zero lies among the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// Zero maps to code `2^(bits−1)`: −8…7 at 4 bits.
    #[default]
    Symmetric,
    /// Each scale has a zero point.
    Asymmetric,
}

/// How many weights share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// The whole tensor.
    Tensor,
    /// Each output channel (row).
    Channel,
    /// Each run of that many columns in a row: a multiple of 16, so that no 32-bit word straddles two groups.
    /// The last group of a row may be shorter.
    Group(usize),
}

/// How a matrix is stored. Scheme and granularity say nothing at 16 and 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Format {
    /// Bits a weight.
    pub bits: Bits,
    /// Zero point or none.
    pub scheme: Scheme,
    /// Weights a scale.
    pub granularity: Granularity,
}

impl Format {
    /// Single precision.
    pub const F32: Format = Format::float(Bits::B32);
    /// Half precision.
    pub const F16: Format = Format::float(Bits::B16);

    const fn float(bits: Bits) -> Format {
        Format { bits, scheme: Scheme::Symmetric, granularity: Granularity::Channel }
    }

    /// Whether there is a plane of zero points.
    pub fn has_zeros(self) -> bool {
        self.bits.is_integer() && self.scheme == Scheme::Asymmetric
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.bits.is_integer() {
            return write!(f, "f{}", self.bits);
        }
        let scheme = match self.scheme {
            Scheme::Symmetric => "sym",
            Scheme::Asymmetric => "asym",
        };
        match self.granularity {
            Granularity::Tensor => write!(f, "q{}-{scheme}-tensor", self.bits),
            Granularity::Channel => write!(f, "q{}-{scheme}-channel", self.bits),
            Granularity::Group(size) => write!(f, "q{}-{scheme}-g{size}", self.bits),
        }
    }
}
