//! Images cut into squares, each a row.

pub(crate) mod cpu;
pub(crate) mod plan;
pub(crate) mod problems;
pub(crate) mod reference;
pub(crate) mod webnn;
