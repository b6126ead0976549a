//! The command line and the host against real browsers.

mod arguments;
mod faults;
mod fidelity;
mod run;
mod serve;
