//! Type and shape of what an operation makes.

use super::operand::{DataType, Operand};
use super::program::Operation;

/// Type and shape of an operand.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Desc {
    pub(super) dtype: DataType,
    pub(super) shape: Vec<usize>,
}

/// Type and shape of what `operation` makes of operands that are described by `of`.
pub(super) fn infer<'a>(operation: &Operation, of: impl Fn(Operand) -> &'a Desc) -> Desc {
    let with_shape = |like: &Operand, shape: Vec<usize>| Desc { dtype: of(*like).dtype, shape };
    match operation {
        Operation::Add { a, b } | Operation::Sub { a, b } | Operation::Mul { a, b } | Operation::Div { a, b } => {
            with_shape(a, broadcast(&of(*a).shape, &of(*b).shape))
        }
        Operation::Matmul { a, b } => {
            let (a_shape, b_shape) = (&of(*a).shape, &of(*b).shape);
            let rank = a_shape.len();
            let mut shape = broadcast(&a_shape[..rank - 2], &b_shape[..rank - 2]);
            shape.extend([a_shape[rank - 2], b_shape[rank - 1]]);
            with_shape(a, shape)
        }
        Operation::Gemm { a, b, b_transpose, .. } => {
            with_shape(a, vec![of(*a).shape[0], of(*b).shape[usize::from(!b_transpose)]])
        }
        Operation::Concat { inputs, axis } => {
            let mut shape = of(inputs[0]).shape.clone();
            shape[*axis] = inputs.iter().map(|input| of(*input).shape[*axis]).sum();
            with_shape(&inputs[0], shape)
        }
        Operation::Gather { input, indices } => {
            with_shape(input, [&of(*indices).shape[..], &of(*input).shape[1..]].concat())
        }
        Operation::Cast { input, to } => Desc { dtype: *to, shape: of(*input).shape.clone() },
        Operation::Clamp { input, .. }
        | Operation::Gelu { input }
        | Operation::Relu { input }
        | Operation::Sigmoid { input }
        | Operation::Tanh { input }
        | Operation::Sqrt { input }
        | Operation::Reciprocal { input }
        | Operation::Softmax { input, .. }
        | Operation::LayerNormalization { input, .. } => of(*input).clone(),
        Operation::ReduceMax { input, axes }
        | Operation::ReduceMean { input, axes }
        | Operation::ReduceSum { input, axes }
        | Operation::ReduceL2 { input, axes } => {
            let mut shape = of(*input).shape.clone();
            axes.iter().for_each(|axis| shape[*axis] = 1);
            with_shape(input, shape)
        }
        Operation::Reshape { input, shape } => with_shape(input, shape.clone()),
        Operation::Slice { input, sizes, .. } => with_shape(input, sizes.clone()),
        Operation::Transpose { input, permutation } => {
            with_shape(input, permutation.iter().map(|axis| of(*input).shape[*axis]).collect())
        }
        Operation::QuantizeLinear { input, zero_point, .. } => {
            Desc { dtype: of(*zero_point).dtype, shape: of(*input).shape.clone() }
        }
        Operation::DequantizeLinear { input, scale, .. } => {
            Desc { dtype: of(*scale).dtype, shape: of(*input).shape.clone() }
        }
    }
}

/// The shape that two shapes broadcast to, aligned at their last dimensions.
fn broadcast(a: &[usize], b: &[usize]) -> Vec<usize> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let mut shape = long.to_vec();
    let offset = long.len() - short.len();
    for (extent, other) in shape[offset..].iter_mut().zip(short) {
        if *extent == 1 {
            *extent = *other;
        }
    }
    shape
}
