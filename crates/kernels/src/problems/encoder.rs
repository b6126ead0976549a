//! A small encoder of two layers as a whole, as BERT has them: operators one after the other, buffers used again.

use webnibble_common::graph::{
    Activation, Attention, Columns, Embedding, Graph, Linear, Norm, Normalization, Pool, Pooling, Role, ValueId,
    WeightId,
};
use webnibble_common::quant::{Bits, Format, Granularity, Scheme};
use webnibble_common::tensor::DType;
use webnibble_common::weights::WeightMap;

use super::problem::{Problem, TOLERANCE};
use super::random::{Mask, Random};

const VOCAB: usize = 101;
const HIDDEN: usize = 60;
const INNER: usize = 124;
const HEADS: usize = 5;
const LAYERS: usize = 2;

pub(super) fn problems() -> Vec<Problem> {
    let integer = |bits, scheme, granularity| Format { bits, scheme, granularity };
    let formats = [
        Format::F32,
        Format::F16,
        integer(Bits::B8, Scheme::Symmetric, Granularity::Channel),
        integer(Bits::B4, Scheme::Symmetric, Granularity::Group(32)),
        integer(Bits::B2, Scheme::Asymmetric, Granularity::Group(32)),
    ];
    let shapes = [[1, 1], [1, 129], [2, 17], [3, 7], [1, 64]];
    formats.into_iter().zip(shapes).map(|(format, shape)| problem(format, shape)).collect()
}

fn problem(format: Format, shape: [usize; 2]) -> Problem {
    let name = format!("encoder {format} {shape:?}");
    let mut builder =
        Builder { graph: Graph::default(), weights: WeightMap::new(), random: Random::named(&name), format };
    let tokens = || ["batch".into(), "seq".into()];
    let ids = builder.graph.input("input_ids", DType::U32, tokens());
    let mask = builder.graph.input("attention_mask", DType::U32, tokens());
    let mut x = builder.embedding(ids);
    for layer in 0..LAYERS {
        x = builder.layer(layer, x, mask);
    }
    let op = Pool { x, mask: Some(mask), pooling: Pooling::Mean, normalize: true };
    let pooled = builder.graph.push("sentence_embedding", op);
    builder.graph.output(x);
    builder.graph.output(pooled);
    let kept = Mask::Tail.tensor(shape[0], shape[1]).expect("padding is a mask");
    let ids = builder.random.ids(&shape, VOCAB);
    let inputs = vec![("input_ids".to_owned(), ids), ("attention_mask".to_owned(), kept)];
    Problem { name, graph: builder.graph, weights: builder.weights, inputs, tolerance: TOLERANCE }
}

struct Builder {
    graph: Graph,
    weights: WeightMap,
    random: Random,
    format: Format,
}

impl Builder {
    fn embedding(&mut self, ids: ValueId) -> ValueId {
        let table = self.matrix("word", [VOCAB, HIDDEN], Role::Embedding);
        let positions = Some(self.matrix("position", [129, HIDDEN], Role::Embedding));
        let norm = Some(self.norm("embedding"));
        let op = Embedding { ids, token_types: None, table, positions, position_offset: 0, types: None, norm };
        self.graph.push("embeddings", op)
    }

    fn layer(&mut self, layer: usize, x: ValueId, mask: ValueId) -> ValueId {
        let name = |part: &str| format!("{layer}.{part}");
        let qkv = self.linear(&name("qkv"), x, 3 * HIDDEN, Activation::Identity, None);
        let part = |index: usize| Columns { value: qkv, start: index * HIDDEN };
        let attention = Attention { mask: Some(mask), ..Attention::new([0, 1, 2].map(part), HEADS, HIDDEN / HEADS) };
        let attended = self.graph.push(&name("attention"), attention);
        let projected = self.linear(&name("projection"), attended, HIDDEN, Activation::Identity, Some(x));
        let x = self.layer_norm(&name("norm"), projected);
        let widened = self.linear(&name("up"), x, INNER, Activation::Gelu, None);
        let narrowed = self.linear(&name("down"), widened, HIDDEN, Activation::Identity, Some(x));
        self.layer_norm(&name("output"), narrowed)
    }

    fn linear(
        &mut self,
        name: &str,
        x: ValueId,
        n: usize,
        activation: Activation,
        residual: Option<ValueId>,
    ) -> ValueId {
        let k = if name.ends_with("down") { INNER } else { HIDDEN };
        let weight = self.matrix(&format!("{name}.weight"), [n, k], Role::Linear);
        let bias = Some(self.vector(&format!("{name}.bias"), n, 0.0));
        self.graph.push(name, Linear { x, weight, bias, activation, residual })
    }

    fn layer_norm(&mut self, name: &str, x: ValueId) -> ValueId {
        let by = self.norm(name);
        self.graph.push(name, Norm { x, by })
    }

    fn norm(&mut self, name: &str) -> Normalization {
        let weight = self.vector(&format!("{name}.norm.weight"), HIDDEN, 1.0);
        let bias = self.vector(&format!("{name}.norm.bias"), HIDDEN, 0.0);
        Normalization::layer(weight, bias, 1e-12)
    }

    fn matrix(&mut self, name: &str, shape: [usize; 2], role: Role) -> WeightId {
        self.weights.insert(name.to_owned(), self.random.matrix(shape, self.format));
        self.graph.weight(name, shape, role, &[])
    }

    fn vector(&mut self, name: &str, len: usize, offset: f32) -> WeightId {
        self.weights.insert(name.to_owned(), self.random.vector(len, offset));
        self.graph.weight(name, [len], Role::Vector, &[])
    }
}
