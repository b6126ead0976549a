//! A gate: one half of the columns decides how much of the other half goes on.

pub(crate) mod cpu;
pub(crate) mod plan;
pub(crate) mod problems;
pub(crate) mod reference;
pub(crate) mod webnn;
