//! The fast executor: the `wasm` platform in the page and, natively, f32 references in reasonable time.
//!
//! Natively products are the `gemm` crate's, with the SIMD that the machine has, on every core; in wasm they are our own
//! tiles. Weights stay in their format: a panel of rows is dequantized at a time, and never a whole large matrix.
//! Everything is in f32, in an order of summation that depends on the machine; [`crate::reference`] judges it.

pub(crate) mod activation;
pub(crate) mod codes;
pub(crate) mod math;
pub(crate) mod observed;
#[cfg(target_arch = "wasm32")]
pub(crate) mod panel;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod product;
pub(crate) mod real;
pub(crate) mod simd;
pub(crate) mod strip;
pub(crate) mod threads;
#[cfg(any(target_arch = "wasm32", test))]
pub(crate) mod tiles;
pub(crate) mod view;

use webnibble_common::graph::{Graph, Op};
use webnibble_common::state::StateSet;
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::WeightMap;

use crate::exec::error::ExecError;
use crate::exec::int8::Int8Linears;
use crate::exec::run::{Outputs, Run};
use crate::ops;

pub use observed::Observed;
pub use threads::{Helper, Threads};

/// A run of a graph that goes one operator at a time, so that its caller can yield, cancel or report in between.
///
/// ```
/// # use webnibble_common::{graph::{Graph, Norm, Normalization, Role}, tensor::{DType, Tensor}, weights::{WeightData, WeightMap}};
/// use webnibble_kernels::cpu::Executor;
///
/// # let mut graph = Graph::default();
/// # let x = graph.input("x", DType::F32, [2.into()]);
/// # let weight = graph.weight("w", [2], Role::Vector, &["w"]);
/// # let bias = graph.weight("b", [2], Role::Vector, &["b"]);
/// # let y = graph.push("y", Norm { x, by: Normalization::layer(weight, bias, 1e-12) });
/// # graph.output(y);
/// # let ones = ("w".to_owned(), WeightData::Vector(vec![1.0; 2]));
/// # let weights = WeightMap::from([ones, ("b".to_owned(), WeightData::Vector(vec![0.0; 2]))]);
/// let inputs = [("x", Tensor::f32([2], vec![1.0, 3.0])?)];
/// let mut executor = Executor::new(&graph, &weights, &inputs)?;
/// while executor.step()? {
///     // Between operators.
/// }
/// let outputs = executor.outputs()?;
/// assert_eq!(outputs[0].1.as_f32()?, [-1.0, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Executor<'a> {
    run: Run<'a>,
    threads: Threads,
}

impl<'a> Executor<'a> {
    /// Checks graph, weights and inputs; runs nothing yet. Natively a run has every core, in the page one thread.
    ///
    /// # Errors
    /// When they do not fit each other, or an input holds what the graph cannot take (see [`crate::exec::check_inputs`]).
    pub fn new<S: AsRef<str>>(
        graph: &'a Graph,
        weights: &'a WeightMap,
        inputs: &'a [(S, Tensor)],
    ) -> Result<Self, ExecError> {
        #[cfg(not(target_arch = "wasm32"))]
        let threads = Threads::of_machine();
        #[cfg(target_arch = "wasm32")]
        let threads = Threads::single();
        Ok(Self { run: Run::new(graph, weights, inputs)?, threads })
    }

    /// The same run on these threads.
    pub fn on(self, threads: &Threads) -> Self {
        Self { threads: threads.clone(), ..self }
    }

    /// The same run with some linear operators in int8, as [`crate::reference::run_int8`] computes them.
    pub fn with_activations(self, int8: &'a Int8Linears) -> Self {
        Self { run: self.run.with_int8(int8), ..self }
    }

    /// The same run in a conversation: it writes what the graph keeps of its inputs to `states`. Their positions count once the
    /// last operator has run; until then the conversation is what it was.
    ///
    /// # Errors
    /// When the states are of another batch, or have no room.
    pub fn with_states(self, states: &'a mut StateSet) -> Result<Self, ExecError> {
        Ok(Self { run: self.run.with_states(states)?, ..self })
    }

    /// Runs the next operator; `true` while there are more.
    ///
    /// # Errors
    /// When the operator makes a NaN or an infinity, or keeps states and has none. The run cannot go on after that.
    pub fn step(&mut self) -> Result<bool, ExecError> {
        self.run.step(|op, operands| ops::cpu(op, operands, &self.threads))
    }

    /// Runs the next operator and, where that is a linear one, shows what went in and what came out.
    ///
    /// # Errors
    /// As [`Executor::step`].
    pub fn step_observed(&mut self, observe: &mut dyn FnMut(Observed<'_>)) -> Result<bool, ExecError> {
        self.run.step(|op, operands| match op {
            Op::Linear(op) => ops::linear::cpu::compute_observed(op, operands, &self.threads, observe).into(),
            _ => ops::cpu(op, operands, &self.threads),
        })
    }

    /// Runs the operators that are left, and gives the graph's outputs in its order.
    ///
    /// # Errors
    /// As [`Executor::step`].
    pub fn outputs(mut self) -> Result<Outputs, ExecError> {
        while self.step()? {}
        Ok(self.run.into_outputs())
    }
}

/// Runs `graph` on `inputs` in one go.
///
/// # Errors
/// As [`Executor::new`] and [`Executor::step`].
pub fn run<S: AsRef<str>>(graph: &Graph, weights: &WeightMap, inputs: &[(S, Tensor)]) -> Result<Outputs, ExecError> {
    Executor::new(graph, weights, inputs)?.outputs()
}
