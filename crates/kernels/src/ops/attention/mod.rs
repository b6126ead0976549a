//! `softmax(q · kᵀ · scale, masked) · v`, head by head.

pub(crate) mod cpu;
mod operands;
pub(crate) mod plan;
pub(crate) mod problems;
pub(crate) mod reference;
pub(crate) mod step;
pub(crate) mod webnn;
