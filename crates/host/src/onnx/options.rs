//! How a model is written as ONNX.

use webnibble_common::options::Platform;

use crate::onnx_file::proto::ElementType;

/// How quantized weights of linear operators are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WeightForm {
    /// onnxruntime's `MatMulNBits`: packed codes in the product itself.
    #[default]
    NBits,
    /// ONNX's `DequantizeLinear` before a product of floats.
    DequantizeLinear,
    /// `DynamicQuantizeLinear` and `MatMulInteger`: activations become 8 bits on the way. For weights of 8 bits with one
    /// scale a row or tensor; others take `MatMulNBits`.
    MatMulInteger,
}

/// How a model is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OnnxOptions {
    /// Form of the weights of linear operators.
    pub form: WeightForm,
    /// Compute in f16: smaller and, with `shader-f16`, often faster, but no longer what the package says: norms and
    /// biases are rounded to f16 too.
    pub half: bool,
    /// `accuracy_level` of `MatMulNBits`: 0 leaves it to the engine, 4 lets it quantize activations to int8.
    pub accuracy_level: u8,
}

impl std::str::FromStr for WeightForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "nbits" => Ok(Self::NBits),
            "dequantize" => Ok(Self::DequantizeLinear),
            "integer" => Ok(Self::MatMulInteger),
            _ => Err(format!("form should be one of nbits, dequantize, integer, found `{text}`")),
        }
    }
}

impl OnnxOptions {
    /// The form that onnxruntime-web runs on a platform: its WebNN takes `MatMulNBits` for 4 bits alone.
    pub fn of(platform: Platform) -> Self {
        let form = if platform == Platform::Webnn { WeightForm::DequantizeLinear } else { WeightForm::NBits };
        Self { form, ..Self::default() }
    }

    /// The type of values that are no codes.
    pub(super) fn float(self) -> ElementType {
        if self.half { ElementType::Float16 } else { ElementType::Float }
    }
}
