//! The operators, one file each: its operands, its shape and its checks.
//!
//! To add one: its file here, its line in [`for_each_op`](crate::for_each_op), its folder in the crate of kernels.

mod attention;
mod class_token;
mod embedding;
mod gate;
mod linear;
mod norm;
mod patches;
mod pool;
mod rotary;

use super::operator::{Operator, Read};
use super::value::ValueId;

pub use attention::{Attention, Cache};
pub use class_token::ClassToken;
pub use embedding::Embedding;
pub use gate::Gate;
pub use linear::{Activation, Linear};
pub use norm::{Norm, NormKind, Normalization};
pub use patches::Patches;
pub use pool::{Pool, Pooling};
pub use rotary::{Rotary, RotaryStyle};

/// The one list of operators: expands `$then! { Operator module, … }`, with the operator's type and the name of its file or
/// folder. Whatever has to know every operator is made by it.
#[macro_export]
macro_rules! for_each_op {
    ($then:ident) => {
        $then! {
            Linear linear,
            Norm norm,
            Attention attention,
            Embedding embedding,
            Pool pool,
            Rotary rotary,
            Gate gate,
            Patches patches,
            ClassToken class_token,
        }
    };
}

macro_rules! define_op {
    ($($Operator:ident $module:ident,)*) => {
        /// An operator.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Op {
            $(#[doc = concat!("See [`", stringify!($Operator), "`].")] $Operator($Operator),)*
        }

        $(impl From<$Operator> for Op {
            fn from(op: $Operator) -> Self {
                Op::$Operator(op)
            }
        })*

        impl Op {
            /// What the operator says about itself.
            pub fn operator(&self) -> &dyn Operator {
                match self {
                    $(Op::$Operator(op) => op,)*
                }
            }
        }
    };
}
for_each_op!(define_op);

impl Op {
    /// Name of the operator, which is also that of its kernels.
    pub fn name(&self) -> &'static str {
        self.operator().name()
    }

    /// Values that the operator reads, each once.
    pub fn inputs(&self) -> Vec<ValueId> {
        let mut inputs = Vec::new();
        for Read { value, .. } in self.operator().reads() {
            if !inputs.contains(&value) {
                inputs.push(value);
            }
        }
        inputs
    }
}
