//! A class token before a sequence, and positions added to it.

pub(crate) mod cpu;
pub(crate) mod plan;
pub(crate) mod problems;
pub(crate) mod reference;
pub(crate) mod webnn;
