//! What the two CPU executors share: checked inputs and weights, the values between operators, and errors.
//!
//! [`crate::reference`] is the oracle, [`crate::cpu`] the fast one. Both compute an operator from its own struct and
//! [`operands::Operands`], so that neither knows how values are kept.

pub(crate) mod check;
pub(crate) mod error;
pub(crate) mod finite;
pub(crate) mod int8;
pub(crate) mod operands;
pub(crate) mod run;

pub use check::{check_inputs, check_weights};
pub use error::ExecError;
pub use finite::{first_non_finite, first_non_finite_of};
pub use int8::{Int8, Int8Linears};
pub use run::Outputs;
