//! The fast executor: the `wasm` platform in the page and, natively, f32 references in reasonable time.
//!
//! Natively products are the `gemm` crate's, with the SIMD that the machine has, on every core; in wasm they are our own
//! tiles. Weights stay in their format: a panel of rows is dequantized at a time, and never a whole large matrix.
//! Everything is in f32, in an order of summation that depends on the machine; [`crate::reference`] judges it.

mod activation;
mod attention;
mod codes;
mod dynamic;
mod embedding;
#[cfg(target_arch = "wasm32")]
mod floats;
mod int8;
mod layer_norm;
#[cfg(not(target_arch = "wasm32"))]
mod linear;
mod math;
#[cfg(target_arch = "wasm32")]
mod panel;
mod pool;
#[cfg(not(target_arch = "wasm32"))]
mod product;
mod simd;
mod strip;
mod threads;
#[cfg(any(target_arch = "wasm32", test))]
mod tiles;
mod view;

pub use threads::{Helper, Threads};
use webnibble_common::graph::{Activation, Graph};
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::WeightMap;

use crate::exec::{ExecError, Int8, Int8Linears, Linear, Operands, Outputs, State};

/// A run of a graph that goes one operator at a time, so that its caller can yield, cancel or report in between.
///
/// ```
/// # use webnibble_common::{graph::{Graph, Norm, Op, Role}, tensor::{DType, Tensor}, weights::{WeightData, WeightMap}};
/// use webnibble_kernels::cpu::Executor;
///
/// # let mut graph = Graph::default();
/// # let x = graph.input("x", DType::F32, [2.into()]);
/// # let weight = graph.weight("w", [2], Role::Vector, &["w"]);
/// # let bias = graph.weight("b", [2], Role::Vector, &["b"]);
/// # let y = graph.push("y", Op::LayerNorm { x, norm: Norm { weight, bias, eps: 1e-12 } });
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
    state: State<'a>,
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
        Ok(Self { state: State::new(graph, weights, inputs)?, threads })
    }

    /// The same run on these threads.
    pub fn on(self, threads: &Threads) -> Self {
        Self { threads: threads.clone(), ..self }
    }

    /// The same run with some linear operators in int8, as [`crate::reference::run_int8`] computes them.
    pub fn with_activations(self, int8: &'a Int8Linears) -> Self {
        Self { state: self.state.with_int8(int8), ..self }
    }

    /// Runs the next operator; `true` while there are more.
    ///
    /// # Errors
    /// When the operator makes a NaN or an infinity. The run cannot go on after that.
    pub fn step(&mut self) -> Result<bool, ExecError> {
        self.state.step(|operands| compute(operands, &self.threads))
    }

    /// Runs the next operator and, where that is a linear one, shows what went in and what came out.
    ///
    /// # Errors
    /// As [`Executor::step`].
    pub fn step_observed(&mut self, observe: &mut dyn FnMut(Observed<'_>)) -> Result<bool, ExecError> {
        self.state.step(|operands| match operands {
            Operands::Linear(op) => observed(op, &self.threads, observe),
            _ => compute(operands, &self.threads),
        })
    }

    /// Runs the operators that are left, and gives the graph's outputs in its order.
    ///
    /// # Errors
    /// As [`Executor::step`].
    pub fn outputs(mut self) -> Result<Outputs, ExecError> {
        while self.step()? {}
        Ok(self.state.into_outputs())
    }
}

/// A linear operator that has just been computed.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Name of its weight.
    pub weight: &'a str,
    /// `[m, k]`.
    pub input: &'a [f32],
    /// `k`.
    pub input_channels: usize,
    /// `x · weightᵀ + bias`, `[m, n]`, before activation and residual.
    pub output: &'a [f32],
    /// `n`.
    pub output_channels: usize,
}

/// Runs `graph` on `inputs` in one go.
///
/// # Errors
/// As [`Executor::new`] and [`Executor::step`].
pub fn run<S: AsRef<str>>(graph: &Graph, weights: &WeightMap, inputs: &[(S, Tensor)]) -> Result<Outputs, ExecError> {
    Executor::new(graph, weights, inputs)?.outputs()
}

fn compute(operands: &Operands<'_>, threads: &Threads) -> Vec<f32> {
    match operands {
        Operands::Embedding(op) => embedding::embedding(op),
        Operands::Linear(op) => linear(op, threads),
        Operands::LayerNorm(op) => layer_norm::layer_norm(op),
        Operands::Attention(op) => attention::attention(op, threads),
        Operands::Pool(op) => pool::pool(op),
    }
}

fn linear(op: &Linear<'_>, threads: &Threads) -> Vec<f32> {
    #[cfg(target_arch = "wasm32")]
    use self::floats::linear as floats;
    #[cfg(not(target_arch = "wasm32"))]
    use self::linear::linear as floats;

    match op.int8 {
        None => floats(op, threads),
        Some(Int8::Static(ranges)) => int8::linear(op, ranges, threads),
        Some(Int8::Dynamic) => dynamic::linear(op, threads),
    }
}

/// The product alone, shown, and then what comes after it.
fn observed(op: &Linear<'_>, threads: &Threads, observe: &mut dyn FnMut(Observed<'_>)) -> Vec<f32> {
    let mut y = linear(&Linear { activation: Activation::Identity, residual: None, ..*op }, threads);
    let (n, k) = (op.weight.layout.rows, op.weight.layout.cols);
    observe(Observed { weight: op.name, input: op.x, input_channels: k, output: &y, output_channels: n });
    activation::activate(op.activation, &mut y);
    if let Some(residual) = op.residual {
        y.iter_mut().zip(residual).for_each(|(y, residual)| *y += residual);
    }
    y
}
