//! From a graph to a WebNN program: constants, operators and their order, as plain data.
//!
//! [`lower`] makes a [`Program`] for concrete shapes, and [`lower_parts`] several that run side by side; a backend
//! gives its constants ([`ConstantMaker::bytes`]) to an `MLGraphBuilder` and makes its calls
//! ([`Operation::arguments`]). Nothing in here needs a browser: what one takes is told by [`Limits`].
//!
//! Every float value between operators is two-dimensional, `[rows, columns]`: WebNN's `gemm` takes no more, and what
//! attention and pooling need is a reshape away. How weights are given to the graph is a [`Lowering`].

mod bucket;
pub(crate) mod constants;
mod cut;
pub(crate) mod error;
mod finite;
pub(crate) mod formats;
mod infer;
pub(crate) mod limits;
mod lower;
pub(crate) mod lowering;
pub(crate) mod operand;
pub(crate) mod program;
mod ranges;
pub(crate) mod recorder;
mod schedule;
pub(crate) mod target;
#[cfg(test)]
mod tests;

pub use bucket::{Bucket, bucket_of, copy_rows, longest};
pub use constants::{Bytes, CodePart, Constant, ConstantMaker, Int8Part, Sign, Source};
pub use error::WebNnError;
pub use finite::{FOUND, finite_check, may_be_not_finite};
pub use formats::{Candidate, Request, candidates};
pub use limits::Limits;
pub use lower::lower;
pub use lowering::Lowering;
pub use operand::{DataType, Operand};
pub use program::{Argument, Arguments, Call, Operation, Port, Program};
pub use ranges::Ranges;
pub use schedule::{Schedule, lower_parts};
pub use target::Target;
