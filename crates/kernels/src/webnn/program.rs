//! The program: what a backend builds a WebNN graph of.

use std::collections::BTreeMap;

use webnibble_common::tensor::DType;

use super::constants::Constant;
use super::operand::{DataType, Operand};

/// A method of `MLGraphBuilder` and its arguments; each makes one operand. See <https://www.w3.org/TR/webnn/#api-mlgraphbuilder>.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the specification")]
pub enum Operation {
    Add {
        a: Operand,
        b: Operand,
    },
    Sub {
        a: Operand,
        b: Operand,
    },
    Mul {
        a: Operand,
        b: Operand,
    },
    Div {
        a: Operand,
        b: Operand,
    },
    Matmul {
        a: Operand,
        b: Operand,
    },
    /// `a · b (transposed) + c`, alpha and beta 1.
    Gemm {
        a: Operand,
        b: Operand,
        c: Option<Operand>,
        b_transpose: bool,
    },
    Concat {
        inputs: Vec<Operand>,
        axis: usize,
    },
    Gather {
        input: Operand,
        indices: Operand,
    },
    Cast {
        input: Operand,
        to: DataType,
    },
    Clamp {
        input: Operand,
        min: Option<f64>,
        max: Option<f64>,
    },
    Gelu {
        input: Operand,
    },
    Relu {
        input: Operand,
    },
    Sigmoid {
        input: Operand,
    },
    Tanh {
        input: Operand,
    },
    Sqrt {
        input: Operand,
    },
    Reciprocal {
        input: Operand,
    },
    Softmax {
        input: Operand,
        axis: usize,
    },
    LayerNormalization {
        input: Operand,
        scale: Operand,
        bias: Option<Operand>,
        axes: Vec<usize>,
        epsilon: f64,
    },
    ReduceMax {
        input: Operand,
        axes: Vec<usize>,
    },
    ReduceMean {
        input: Operand,
        axes: Vec<usize>,
    },
    ReduceSum {
        input: Operand,
        axes: Vec<usize>,
    },
    ReduceL2 {
        input: Operand,
        axes: Vec<usize>,
    },
    Reshape {
        input: Operand,
        shape: Vec<usize>,
    },
    Slice {
        input: Operand,
        starts: Vec<usize>,
        sizes: Vec<usize>,
    },
    Transpose {
        input: Operand,
        permutation: Vec<usize>,
    },
    QuantizeLinear {
        input: Operand,
        scale: Operand,
        zero_point: Operand,
    },
    DequantizeLinear {
        input: Operand,
        scale: Operand,
        zero_point: Operand,
    },
}

impl Operation {
    /// The method's name, which is also its key in `opSupportLimits()`.
    pub const fn name(&self) -> &'static str {
        match self {
            Operation::Add { .. } => "add",
            Operation::Sub { .. } => "sub",
            Operation::Mul { .. } => "mul",
            Operation::Div { .. } => "div",
            Operation::Matmul { .. } => "matmul",
            Operation::Gemm { .. } => "gemm",
            Operation::Concat { .. } => "concat",
            Operation::Gather { .. } => "gather",
            Operation::Cast { .. } => "cast",
            Operation::Clamp { .. } => "clamp",
            Operation::Gelu { .. } => "gelu",
            Operation::Relu { .. } => "relu",
            Operation::Sigmoid { .. } => "sigmoid",
            Operation::Tanh { .. } => "tanh",
            Operation::Sqrt { .. } => "sqrt",
            Operation::Reciprocal { .. } => "reciprocal",
            Operation::Softmax { .. } => "softmax",
            Operation::LayerNormalization { .. } => "layerNormalization",
            Operation::ReduceMax { .. } => "reduceMax",
            Operation::ReduceMean { .. } => "reduceMean",
            Operation::ReduceSum { .. } => "reduceSum",
            Operation::ReduceL2 { .. } => "reduceL2",
            Operation::Reshape { .. } => "reshape",
            Operation::Slice { .. } => "slice",
            Operation::Transpose { .. } => "transpose",
            Operation::QuantizeLinear { .. } => "quantizeLinear",
            Operation::DequantizeLinear { .. } => "dequantizeLinear",
        }
    }

    /// What the method is called with.
    pub fn arguments(&self) -> Arguments<'_> {
        match self {
            Operation::Add { a, b }
            | Operation::Sub { a, b }
            | Operation::Mul { a, b }
            | Operation::Div { a, b }
            | Operation::Matmul { a, b } => Arguments::new([("a", a.into()), ("b", b.into())]),
            Operation::Gemm { a, b, c, b_transpose } => Arguments::new([("a", a.into()), ("b", b.into())])
                .option("c", c.as_ref())
                .option("bTranspose", Some(b_transpose)),
            Operation::Concat { inputs, axis } => Arguments::new([("inputs", inputs.into()), ("axis", axis.into())]),
            Operation::Gather { input, indices } => {
                Arguments::new([("input", input.into()), ("indices", indices.into())]).option("axis", Some(&0))
            }
            Operation::Cast { input, to } => Arguments::new([("input", input.into()), ("type", to.into())]),
            // An absent bound is an absent key: null would be taken for 0.
            Operation::Clamp { input, min, max } => Arguments::new([("input", input.into())])
                .option("minValue", min.as_ref())
                .option("maxValue", max.as_ref()),
            Operation::Gelu { input }
            | Operation::Relu { input }
            | Operation::Sigmoid { input }
            | Operation::Tanh { input }
            | Operation::Sqrt { input }
            | Operation::Reciprocal { input } => Arguments::new([("input", input.into())]),
            Operation::Softmax { input, axis } => Arguments::new([("input", input.into()), ("axis", axis.into())]),
            Operation::LayerNormalization { input, scale, bias, axes, epsilon } => {
                Arguments::new([("input", input.into())])
                    .option("scale", Some(scale))
                    .option("bias", bias.as_ref())
                    .option("axes", Some(axes))
                    .option("epsilon", Some(epsilon))
            }
            Operation::ReduceMax { input, axes }
            | Operation::ReduceMean { input, axes }
            | Operation::ReduceSum { input, axes }
            | Operation::ReduceL2 { input, axes } => Arguments::new([("input", input.into())])
                .option("axes", Some(axes))
                .option("keepDimensions", Some(&true)),
            Operation::Reshape { input, shape } => {
                Arguments::new([("input", input.into()), ("newShape", shape.into())])
            }
            Operation::Slice { input, starts, sizes } => {
                Arguments::new([("input", input.into()), ("starts", starts.into()), ("sizes", sizes.into())])
            }
            Operation::Transpose { input, permutation } => {
                Arguments::new([("input", input.into())]).option("permutation", Some(permutation))
            }
            Operation::QuantizeLinear { input, scale, zero_point }
            | Operation::DequantizeLinear { input, scale, zero_point } => {
                Arguments::new([("input", input.into()), ("scale", scale.into()), ("zeroPoint", zero_point.into())])
            }
        }
    }

    /// What it reads, by the names in `opSupportLimits()`.
    pub fn operands(&self) -> Vec<(&'static str, Operand)> {
        let Arguments { given, options } = self.arguments();
        let arguments = given.into_iter().chain(options);
        arguments.flat_map(|(name, argument)| argument.operands().iter().map(move |one| (name, *one))).collect()
    }
}

/// What a method is called with, by the names of the specification. Those of operands are also the names in
/// `opSupportLimits()`.
#[derive(Clone, Debug, PartialEq)]
pub struct Arguments<'a> {
    /// In the method's order.
    pub given: Vec<(&'static str, Argument<'a>)>,
    /// Fields of the dictionary that comes last.
    pub options: Vec<(&'static str, Argument<'a>)>,
}

impl<'a> Arguments<'a> {
    fn new<const N: usize>(given: [(&'static str, Argument<'a>); N]) -> Self {
        Self { given: given.into(), options: Vec::new() }
    }

    /// With a field more, where it has a value.
    fn option<T>(mut self, name: &'static str, value: Option<&'a T>) -> Self
    where
        Argument<'a>: From<&'a T>,
    {
        self.options.extend(value.map(|value| (name, value.into())));
        self
    }
}

/// A value that a method is called with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument<'a> {
    /// A number that may have a fraction.
    Number(&'a f64),
    /// An axis.
    Axis(&'a usize),
    /// Axes, or extents or places along each of them.
    Axes(&'a [usize]),
    /// Yes or no.
    Flag(&'a bool),
    /// An element type.
    DataType(&'a DataType),
    /// An operand.
    Operand(&'a Operand),
    /// Operands, one after the other.
    Operands(&'a [Operand]),
}

impl<'a> Argument<'a> {
    /// The operands that it is.
    pub fn operands(self) -> &'a [Operand] {
        match self {
            Argument::Operand(operand) => std::slice::from_ref(operand),
            Argument::Operands(operands) => operands,
            _ => &[],
        }
    }
}

/// Arguments are the fields of an [`Operation`].
macro_rules! argument_from_field {
    ($($kind:ident: $field:ty;)*) => {$(
        impl<'a> From<&'a $field> for Argument<'a> {
            fn from(field: &'a $field) -> Self {
                Argument::$kind(field)
            }
        }
    )*};
}

argument_from_field! {
    Number: f64;
    Axis: usize;
    Axes: Vec<usize>;
    Flag: bool;
    DataType: DataType;
    Operand: Operand;
    Operands: Vec<Operand>;
}

/// An operation and the operand that it makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What it makes.
    pub output: Operand,
    /// What is called.
    pub operation: Operation,
}

/// An input or an output of the program.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Name of its tensor: that of the value, with the part's number in brackets where it is one of several.
    pub name: String,
    /// The operand.
    pub operand: Operand,
    /// Its element type in WebNN, of as many bytes as the value's.
    pub data_type: DataType,
    /// Its shape in WebNN.
    pub shape: Vec<usize>,
    /// Name of the graph's value.
    pub value: String,
    /// The value's element type in the graph.
    pub dtype: DType,
    /// The value's shape in the graph; as many elements as `shape`, or more where this is a part of it.
    pub value_shape: Vec<usize>,
    /// The element of the value that the first of this one is; the others follow.
    pub offset: usize,
}

/// A graph, lowered for concrete shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Values known when the graph is built; their bytes are made one by one ([`super::ConstantMaker`]).
    pub constants: Vec<Constant>,
    /// What is given for each run: the graph's inputs that are read.
    pub inputs: Vec<Port>,
    /// In order of execution.
    pub calls: Vec<Call>,
    /// What each run gives.
    pub outputs: Vec<Port>,
    /// How many linear operators get their weights in which way: `float32`, `float16`, `int8`, `int4`, `int8 chain`.
    pub linears: BTreeMap<&'static str, usize>,
    /// Which part of several it computes; `None` for all of them.
    pub part: Option<usize>,
}

impl Program {
    /// Bytes of all constants: what the built graph holds at least.
    pub fn constant_bytes(&self) -> u64 {
        self.constants.iter().map(Constant::size_bytes).sum()
    }

    /// How often each operator is in the program.
    pub fn operators(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for call in &self.calls {
            *counts.entry(call.operation.name().to_owned()).or_default() += 1;
        }
        counts
    }
}
