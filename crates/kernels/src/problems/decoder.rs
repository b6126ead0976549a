//! A small decoder: attention whose keys and values are kept, run position by position, judged by the same layers run over
//! all positions at once.

use std::ops::Range;

use webnibble_common::graph::{
    Activation, Attention, Cache, Columns, Graph, Linear, Pool, Pooling, Role, Rotary, RotaryStyle, State, ValueId,
};
use webnibble_common::quant::Format;
use webnibble_common::tensor::{DType, Tensor};
use webnibble_common::weights::WeightMap;

use super::problem::{Problem, TOLERANCE};
use super::random::{Random, floats};
use crate::exec::ExecError;

const LAYERS: usize = 2;

/// Positions of a conversation that a problem has inputs for: two blocks of a state and some more.
pub const DECODER_POSITIONS: usize = 300;

/// A decoder, and what it is asked at every position.
#[derive(Clone, Debug)]
pub struct DecoderProblem {
    /// With caches: what runs in a conversation. `x` `[batch, seq, width]` to `y` of the same shape.
    pub graph: Graph,
    /// The same without: causal over all positions at once.
    pub whole: Problem,
    /// Sequences.
    pub batch: usize,
    /// What the whole gives.
    expected: Tensor,
}

/// How large a decoder is.
#[derive(Clone, Copy, Debug)]
struct Size {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    capacity: usize,
    rotary: Option<RotaryStyle>,
}

/// Decoders of one sequence and of two, with heads that share keys and values, with rotary positions and without; the states
/// of the first have room for every position.
///
/// # Errors
/// None: they are well formed.
pub fn decoder_problems() -> Result<Vec<DecoderProblem>, ExecError> {
    let sizes = [
        Size { batch: 1, heads: 4, kv_heads: 2, head_dim: 16, capacity: 1000, rotary: Some(RotaryStyle::HalfSplit) },
        Size { batch: 2, heads: 3, kv_heads: 1, head_dim: 6, capacity: 140, rotary: Some(RotaryStyle::Interleaved) },
        Size { batch: 2, heads: 2, kv_heads: 2, head_dim: 8, capacity: 260, rotary: None },
    ];
    sizes.into_iter().map(DecoderProblem::new).collect()
}

impl DecoderProblem {
    fn new(size: Size) -> Result<Self, ExecError> {
        let Size { batch, heads, kv_heads, head_dim, .. } = size;
        let name = format!("decoder {heads}/{kv_heads} x {head_dim} batch {batch}");
        let mut random = Random::named(&name);
        let mut weights = WeightMap::new();
        for layer in 0..LAYERS {
            for (part, shape) in size.weights() {
                weights.insert(format!("{layer}.{part}"), random.matrix(shape, Format::F16));
            }
        }
        let x = random.tensor(&[batch, DECODER_POSITIONS, size.width()], 1.0);
        let (graph, inputs) = (size.graph(false), vec![("x".to_owned(), x)]);
        let whole = Problem { name, graph, weights, inputs, tolerance: TOLERANCE };
        let expected = whole.reference()?.remove(0).1;
        Ok(Self { graph: size.graph(true), whole, batch, expected })
    }

    /// The same with one output, `scores` `[batch, tokens]` of what may come behind the last position, in place of `y`.
    pub fn scoring(&self, tokens: usize) -> Self {
        let Self { mut graph, mut whole, .. } = self.clone();
        let x = graph.outputs.remove(0);
        let shape = [tokens, whole.inputs[0].1.shape()[2]];
        let head = graph.weight("head", shape, Role::Linear, &["head"]);
        whole.weights.insert("head".to_owned(), Random::named("head").matrix(shape, Format::F16));
        let last = graph.push("last", Pool { x, mask: None, pooling: Pooling::Last, normalize: false });
        let (bias, residual, activation) = (None, None, Activation::Identity);
        let scores = graph.push("scores", Linear { x: last, weight: head, bias, activation, residual });
        graph.output(scores);
        Self { graph, whole, ..self.clone() }
    }

    /// The inputs at some positions.
    pub fn inputs(&self, positions: Range<usize>) -> Vec<(String, Tensor)> {
        self.whole.inputs.iter().map(|(name, all)| (name.clone(), part(all, &positions))).collect()
    }

    /// The error of `found`, which a run at these positions gave after all those before.
    ///
    /// # Errors
    /// A message with the problem's name and the positions when it is too large, or the outputs are not those of the graph.
    pub fn check(&self, positions: Range<usize>, found: &[(String, Tensor)]) -> Result<f64, String> {
        let expected = vec![("y".to_owned(), part(&self.expected, &positions))];
        self.whole.check_against(&expected, found).map_err(|message| format!("{message} at positions {positions:?}"))
    }
}

/// Some positions of a tensor `[batch, positions, width]`.
fn part(all: &Tensor, positions: &Range<usize>) -> Tensor {
    let (shape, values) = (all.shape(), all.as_f32().expect("decoders compute floats"));
    let items = values.chunks_exact(shape[1] * shape[2]);
    let values = items.flat_map(|item| &item[positions.start * shape[2]..positions.end * shape[2]]).copied().collect();
    floats(&[shape[0], positions.len(), shape[2]], values)
}

impl Size {
    /// Columns between layers.
    fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Columns of queries, keys and values side by side.
    fn fused(&self) -> usize {
        self.width() + 2 * self.kv_heads * self.head_dim
    }

    fn weights(&self) -> [(&'static str, [usize; 2]); 2] {
        [("qkv", [self.fused(), self.width()]), ("out", [self.width(), self.width()])]
    }

    /// `x` to `y`, both `[batch, seq, width]`.
    fn graph(&self, cached: bool) -> Graph {
        let mut graph = Graph::default();
        let mut x = graph.input("x", DType::F32, ["batch".into(), "seq".into(), self.width().into()]);
        for layer in 0..LAYERS {
            let name = |part: &str| format!("{layer}.{part}");
            let [qkv, out] =
                self.weights().map(|(part, shape)| graph.weight(&name(part), shape, Role::Attention, &[&name(part)]));
            let linear =
                |x, weight, residual| Linear { x, weight, bias: None, activation: Activation::Identity, residual };
            let fused = graph.push(&name("fused"), linear(x, qkv, None));
            let cache = cached.then(|| self.cache(&mut graph, layer));
            let turned = self.rotary(fused, cached).map(|rotary| graph.push(&name("turned"), rotary));
            let attention = self.attention(fused, turned.unwrap_or(fused));
            let attended = graph.push(&name("attention"), Attention { cache, ..attention });
            let made = if layer + 1 == LAYERS { "y".to_owned() } else { name("layer") };
            x = graph.push(&made, linear(attended, out, Some(x)));
        }
        graph.output(x);
        graph
    }

    /// Queries and keys, turned.
    fn rotary(&self, fused: ValueId, continues: bool) -> Option<Rotary> {
        let (x, frequencies) = (Columns { value: fused, start: 0 }, Rotary::frequencies(1e4, self.head_dim));
        let (heads, head_dim) = (self.heads + self.kv_heads, self.head_dim);
        self.rotary.map(|style| Rotary { x, heads, head_dim, frequencies, style, continues })
    }

    /// Of queries and keys in `turned`, and of values in `fused`.
    fn attention(&self, fused: ValueId, turned: ValueId) -> Attention {
        let behind_keys = self.width() + self.kv_heads * self.head_dim;
        let places = [(turned, 0), (turned, self.width()), (fused, behind_keys)];
        let parts = places.map(|(value, start)| Columns { value, start });
        Attention { kv_heads: self.kv_heads, causal: true, ..Attention::new(parts, self.heads, self.head_dim) }
    }

    fn cache(&self, graph: &mut Graph, layer: usize) -> Cache {
        let mut state = |part: &str| {
            graph.state(State {
                name: format!("{layer}.{part}"),
                dtype: DType::F32,
                shape: vec![self.kv_heads.into(), self.head_dim.into()],
                capacity: self.capacity.into(),
            })
        };
        Cache { keys: state("keys"), values: state("values") }
    }
}

#[cfg(test)]
mod tests {
    use webnibble_common::graph::Bindings;
    use webnibble_common::state::{StateError, StateSet};

    use super::*;
    use crate::cpu::Executor;
    use crate::exec::Outputs;
    use crate::reference;

    type Run = fn(&DecoderProblem, &mut StateSet, Range<usize>) -> Result<Outputs, ExecError>;

    fn oracle(decoder: &DecoderProblem, states: &mut StateSet, at: Range<usize>) -> Result<Outputs, ExecError> {
        reference::run_with_states(&decoder.graph, &decoder.whole.weights, states, &decoder.inputs(at))
    }

    fn fast(decoder: &DecoderProblem, states: &mut StateSet, at: Range<usize>) -> Result<Outputs, ExecError> {
        let inputs = decoder.inputs(at);
        Executor::new(&decoder.graph, &decoder.whole.weights, &inputs)?.with_states(states)?.outputs()
    }

    const EXECUTORS: [(Run, f64); 2] = [(oracle, 1e-6), (fast, 1e-4)];

    fn states(decoder: &DecoderProblem) -> StateSet {
        StateSet::new(&decoder.graph.states, decoder.batch, &Bindings::default()).unwrap()
    }

    fn run(decoder: &DecoderProblem, states: &mut StateSet, run: Run, at: Range<usize>) -> Result<f64, String> {
        assert_eq!(states.past(), at.start);
        let found = run(decoder, states, at.clone()).map_err(|error| error.to_string())?;
        assert_eq!(states.past(), at.end);
        decoder.check(at, &found)
    }

    #[test]
    fn position_by_position_gives_what_all_at_once_gives() {
        for mut decoder in decoder_problems().unwrap() {
            for (executor, tolerance) in EXECUTORS {
                decoder.whole.tolerance = tolerance;
                let mut states = states(&decoder);
                // Over the end of a block by single positions, and by several.
                for at in [0..7, 7..8, 8..126, 126..127, 127..128, 128..129, 129..131, 131..140] {
                    run(&decoder, &mut states, executor, at).unwrap();
                }
            }
        }
    }

    #[test]
    fn conversations_do_not_know_of_one_another() {
        let decoder = &decoder_problems().unwrap()[0];
        for (executor, _) in EXECUTORS {
            let [mut first, mut second] = [states(decoder), states(decoder)];
            run(decoder, &mut first, executor, 0..130).unwrap();
            for at in [0..3, 3..4, 4..5] {
                run(decoder, &mut second, executor, at).unwrap();
                let past = first.past();
                run(decoder, &mut first, executor, past..past + 1).unwrap();
            }
        }
    }

    #[test]
    fn positions_that_are_dropped_are_written_anew() {
        let decoder = &decoder_problems().unwrap()[0];
        for (executor, _) in EXECUTORS {
            let mut states = states(decoder);
            run(decoder, &mut states, executor, 0..100).unwrap();
            // What another conversation said there.
            executor(decoder, &mut states, 0..40).unwrap();
            states.set_past(100);
            run(decoder, &mut states, executor, 100..131).unwrap();
            states.set_past(90);
            run(decoder, &mut states, executor, 90..91).unwrap();
        }
    }

    #[test]
    fn what_a_conversation_cannot_take_leaves_it_as_it_was() {
        let decoder = &decoder_problems().unwrap()[1];
        for (executor, _) in EXECUTORS {
            let mut states = states(decoder);
            run(decoder, &mut states, executor, 0..139).unwrap();
            let full = executor(decoder, &mut states, 139..141).unwrap_err();
            assert!(matches!(full, ExecError::State(StateError::Full { capacity: 140, wanted: 141, .. })), "{full}");
            run(decoder, &mut states, executor, 139..140).unwrap();

            let mut one = StateSet::new(&decoder.graph.states, 1, &Bindings::default()).unwrap();
            let other = executor(decoder, &mut one, 0..1).unwrap_err();
            assert!(matches!(other, ExecError::State(StateError::Batch { expected: 1, found: 2 })), "{other}");
            let mut none = StateSet::new(&[], decoder.batch, &Bindings::default()).unwrap();
            let unknown = executor(decoder, &mut none, 0..1).unwrap_err();
            assert_eq!(unknown, ExecError::State(StateError::Unknown("0.keys".into())));
        }
        let inputs = decoder.inputs(0..1);
        let error = reference::run(&decoder.graph, &decoder.whole.weights, &inputs).unwrap_err();
        let ExecError::NoStates { states } = error else { panic!("{error}") };
        assert_eq!(states, ["0.keys", "0.values", "1.keys", "1.values"]);
    }
}
