//! One file a command: what it is given, whom it calls, what it prints.

pub(crate) mod doctor;
pub(crate) mod serve;
