//! The operators, a folder each: WGSL, the plan that dispatches it, its two twins on the CPU, its WebNN operations and its
//! problems.
//!
//! To add one: its folder, and its line among the modules here; its operands, shape and checks stand in
//! `webnibble_common::graph`, whose list of operators makes everything below.

pub(crate) mod attention;
pub(crate) mod class_token;
pub(crate) mod embedding;
pub(crate) mod gate;
pub(crate) mod linear;
pub(crate) mod norm;
pub(crate) mod patches;
pub(crate) mod pool;
pub(crate) mod rotary;

use webnibble_common::for_each_op;
use webnibble_common::graph::{Node, Op};
use webnibble_common::tensor::Data;

use crate::cpu::threads::Threads;
use crate::exec::operands::Operands;
use crate::plan::error::PlanError;
use crate::plan::recorder::Recorder as PlanRecorder;
use crate::problems::problem::Problem;
use crate::webnn::error::WebNnError;
use crate::webnn::operand::Operand;
use crate::webnn::recorder::Recorder as WebNnRecorder;

macro_rules! dispatch {
    ($($Operator:ident $module:ident,)*) => {
        /// Records the dispatches of a node.
        pub(crate) fn plan(recorder: &mut PlanRecorder<'_>, node: &Node) -> Result<(), PlanError> {
            match &node.op {
                $(Op::$Operator(op) => $module::plan::record(recorder, op, node.output),)*
            }
        }

        /// Records the WebNN operations of an operator; gives what it makes, `[rows, columns]`.
        pub(crate) fn webnn(recorder: &mut WebNnRecorder<'_>, op: &Op) -> Result<Operand, WebNnError> {
            match op {
                $(Op::$Operator(op) => $module::webnn::record(recorder, op),)*
            }
        }

        /// The output, as the oracle computes it.
        pub(crate) fn reference(op: &Op, operands: Operands<'_>) -> Data {
            match op {
                $(Op::$Operator(op) => $module::reference::compute(op, operands).into(),)*
            }
        }

        /// The output, as the fast executor computes it.
        pub(crate) fn cpu(op: &Op, operands: Operands<'_>, threads: &Threads) -> Data {
            match op {
                $(Op::$Operator(op) => $module::cpu::compute(op, operands, threads).into(),)*
            }
        }

        /// The problems of every operator.
        pub(crate) fn problems() -> Vec<Problem> {
            [$($module::problems::problems()),*].concat()
        }
    };
}
for_each_op!(dispatch);
