//! `activation(x · weightᵀ + bias) + residual`.

pub(crate) mod cpu;
mod operands;
pub(crate) mod plan;
pub(crate) mod problems;
pub(crate) mod reference;
mod reference_int8;
pub(crate) mod webnn;
