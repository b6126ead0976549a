//! From our operators to those of ONNX.

use webnibble_common::graph::{
    Activation, Attention, ClassToken, Columns, Dim, Embedding, Gate, Graph, Linear, Norm, NormKind, Normalization, Op,
    Operator, Patches, Pool, Pooling, ValueId, WeightId,
};
use webnibble_common::quant::QTensor;
use webnibble_common::tensor::DType;
use webnibble_common::weights::{WeightData, WeightMap};
use webnibble_models::bert::LAST_HIDDEN_STATE;

use super::builder::{Builder, Extent};
use super::error::OnnxError;
use super::options::OnnxOptions;
use super::weights::{Table, product};
use crate::onnx_file::proto::{Attribute, ElementType};

/// Added to scores of keys that the mask drops: their weight becomes 0.
const DROPPED: f32 = -1e9;
/// The same where f16 computes.
const DROPPED_F16: f32 = -6e4;
/// Divisors are at least this: the norm's as in our own pooling, the mask's sum as a mean over nothing.
const SMALLEST_NORM: f32 = 1e-12;

/// A graph on its way to ONNX.
pub(super) struct Lowering<'a> {
    pub(super) graph: &'a Graph,
    pub(super) weights: &'a WeightMap,
    pub(super) options: OnnxOptions,
    pub(super) builder: Builder,
    /// ONNX's name of each value that was made.
    names: Vec<Option<String>>,
    /// The mask in floats, as it was first needed.
    masks: Vec<(ValueId, String)>,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(graph: &'a Graph, weights: &'a WeightMap, options: OnnxOptions, name: &str) -> Self {
        let builder = Builder::new(name, options.float());
        Self { graph, weights, options, builder, names: vec![None; graph.values.len()], masks: Vec::new() }
    }

    /// Lowers every operator; hidden states are an output too where the graph goes on to pool them.
    pub(super) fn run(mut self) -> Result<Builder, OnnxError> {
        for id in &self.graph.inputs {
            let value = self.graph.value_of(*id);
            let floats = value.dtype == DType::F32;
            let element = if floats { ElementType::Float } else { ElementType::Int64 };
            self.builder.input(&value.name, element, &extents(&value.shape));
            let computes = self.builder.float;
            let casts = floats && computes != ElementType::Float;
            self.names[id.0] = Some(if casts { self.builder.cast(&value.name, computes) } else { value.name.clone() });
        }
        for node in &self.graph.nodes {
            let made = self.lower(&node.op)?;
            self.names[node.output.0] = Some(made);
        }
        let hidden = self.graph.values.iter().position(|value| value.name == LAST_HIDDEN_STATE).map(ValueId);
        let others = self.graph.outputs.iter().copied().filter(|id| Some(*id) != hidden);
        for id in hidden.into_iter().chain(others) {
            let value = self.graph.value_of(id);
            let made = self.name(id);
            self.builder.name_output(&made, &value.name);
            self.names[id.0] = Some(value.name.clone());
            self.builder.output(&value.name, ElementType::Float, &extents(&value.shape));
        }
        Ok(self.builder)
    }

    fn lower(&mut self, op: &Op) -> Result<String, OnnxError> {
        match op {
            Op::Embedding(Embedding { ids, token_types, table, positions, position_offset, types, norm }) => {
                let tables = (*table, *positions, *types);
                let sum = self.embedding(*ids, *token_types, tables, *position_offset)?;
                match norm {
                    Some(norm) => self.norm(&sum, *norm),
                    None => Ok(sum),
                }
            }
            Op::Linear(Linear { x, weight, bias, activation, residual }) => {
                let product = self.linear(*x, *weight, *bias)?;
                let activated = self.activation(product, *activation);
                Ok(match residual {
                    Some(residual) => {
                        let residual = self.name(*residual);
                        self.builder.node("Add", &[&activated, &residual], Vec::new())
                    }
                    None => activated,
                })
            }
            Op::Norm(Norm { x, by }) => {
                let x = self.name(*x);
                self.norm(&x, *by)
            }
            Op::Attention(op) => {
                if let Some(what) = op.beside_plain() {
                    return Err(OnnxError::Unsupported { operator: op.name(), what });
                }
                let Attention { q, k, v, mask, heads, head_dim, scale, .. } = op;
                let bias = mask.map(|mask| self.mask_bias(mask, &[1, 2]));
                Ok(self.attention([*q, *k, *v], bias, [*heads, *head_dim], *scale))
            }
            Op::Pool(Pool { x, mask, pooling, normalize }) => {
                let pooled = self.pool(*x, *mask, *pooling);
                Ok(if *normalize { self.normalize(&pooled) } else { pooled })
            }
            Op::Gate(Gate { x, activation }) => Ok(self.gate(*x, *activation)),
            Op::Patches(op) => Ok(self.patches(op)),
            Op::ClassToken(op) => self.class_token(op),
            Op::Rotary(op) => Err(OnnxError::Unsupported { operator: op.name(), what: "embedding of positions" }),
        }
    }

    fn name(&self, id: ValueId) -> String {
        self.names[id.0].clone().expect("a validated graph makes values before it reads them")
    }

    fn matrix(&self, id: WeightId) -> Result<(&'a str, &'a QTensor), OnnxError> {
        let weight = self.graph.weight_of(id);
        match self.weights.get(&weight.name) {
            Some(WeightData::Matrix(matrix)) => Ok((&weight.name, matrix)),
            _ => Err(OnnxError::Weight { name: weight.name.clone(), expected: "a matrix" }),
        }
    }

    fn vector(&mut self, id: WeightId) -> Result<String, OnnxError> {
        let weight = self.graph.weight_of(id);
        match self.weights.get(&weight.name) {
            Some(WeightData::Vector(values)) => Ok(self.builder.floats(&weight.name, &[values.len()], values)),
            _ => Err(OnnxError::Weight { name: weight.name.clone(), expected: "a vector" }),
        }
    }

    fn embedding(
        &mut self,
        ids: ValueId,
        token_types: Option<ValueId>,
        (table, positions, types): (WeightId, Option<WeightId>, Option<WeightId>),
        offset: usize,
    ) -> Result<String, OnnxError> {
        let ids = self.name(ids);
        let mut sum = self.gather(table, &ids)?;
        if let (Some(types), Some(token_types)) = (types, token_types) {
            let token_types = self.name(token_types);
            let found = self.gather(types, &token_types)?;
            sum = self.builder.node("Add", &[&sum, &found], Vec::new());
        }
        if let Some(positions) = positions {
            let (name, matrix) = self.matrix(positions)?;
            let (first, one) = (self.builder.ints(&[offset as i64]), self.builder.ints(&[1]));
            let shape = self.builder.node("Shape", &[&ids], Vec::new());
            let length = self.builder.node("Gather", &[&shape, &one], vec![Attribute::int("axis", 0)]);
            let end = self.builder.node("Add", &[&length, &first], Vec::new());
            let axis = self.builder.ints(&[0]);
            let rows = Table { name, matrix }.rows(&mut self.builder, &|builder, plane| {
                builder.node("Slice", &[plane, &first, &end, &axis], Vec::new())
            });
            sum = self.builder.node("Add", &[&sum, &rows], Vec::new());
        }
        Ok(sum)
    }

    fn gather(&mut self, table: WeightId, ids: &str) -> Result<String, OnnxError> {
        let (name, matrix) = self.matrix(table)?;
        let select = |builder: &mut Builder, plane: &str| builder.node("Gather", &[plane, ids], Vec::new());
        Ok(Table { name, matrix }.rows(&mut self.builder, &select))
    }

    fn linear(&mut self, x: ValueId, weight: WeightId, bias: Option<WeightId>) -> Result<String, OnnxError> {
        let x = self.name(x);
        let (name, matrix) = self.matrix(weight)?;
        let OnnxOptions { form, accuracy_level, .. } = self.options;
        let product = product(&mut self.builder, &x, name, matrix, form, accuracy_level);
        match bias {
            Some(bias) => {
                let bias = self.vector(bias)?;
                Ok(self.builder.node("Add", &[&product, &bias], Vec::new()))
            }
            None => Ok(product),
        }
    }

    /// Squares as rows: the extents of squares taken apart, put last, and joined.
    fn patches(&mut self, op: &Patches) -> String {
        let [channels, height, width] = Patches::extents(&self.graph.value_of(op.x).shape);
        let (down, across) = (height / op.size, width / op.size);
        let (x, builder) = (self.name(op.x), &mut self.builder);
        let ints = |extents: [usize; 5]| [&[0], &extents.map(|extent| extent as i64)[..]].concat();
        let apart = builder.ints(&ints([channels, down, op.size, across, op.size]));
        let apart = builder.node("Reshape", &[&x, &apart], Vec::new());
        let order = vec![Attribute::ints("perm", &[0, 2, 4, 1, 3, 5])];
        let moved = builder.node("Transpose", &[&apart], order);
        let joined = builder.ints(&[0, (down * across) as i64, (channels * op.size * op.size) as i64]);
        builder.node("Reshape", &[&moved, &joined], Vec::new())
    }

    /// The token, as often as there are sequences, before each; then the positions.
    fn class_token(&mut self, op: &ClassToken) -> Result<String, OnnxError> {
        let (x, token) = (self.name(op.x), self.vector(op.token)?);
        let (name, matrix) = self.matrix(op.positions)?;
        let hidden = matrix.layout.cols as i64;
        let builder = &mut self.builder;
        let shape = builder.node("Shape", &[&x], vec![Attribute::int("end", 1)]);
        let rest = builder.ints(&[1, hidden]);
        let shape = builder.node("Concat", &[&shape, &rest], vec![Attribute::int("axis", 0)]);
        let tokens = builder.node("Expand", &[&token, &shape], Vec::new());
        let joined = builder.node("Concat", &[&tokens, &x], vec![Attribute::int("axis", 1)]);
        let rows = Table { name, matrix }.rows(builder, &|_, plane| plane.to_owned());
        Ok(builder.node("Add", &[&joined, &rows], Vec::new()))
    }

    fn activation(&mut self, x: String, activation: Activation) -> String {
        let builder = &mut self.builder;
        match activation {
            Activation::Identity => x,
            Activation::Relu => builder.node("Relu", &[&x], Vec::new()),
            Activation::Gelu => builder.node("Gelu", &[&x], Vec::new()),
            Activation::GeluTanh => builder.node("Gelu", &[&x], vec![Attribute::text("approximate", "tanh")]),
            Activation::Silu => {
                let gate = builder.node("Sigmoid", &[&x], Vec::new());
                builder.node("Mul", &[&x, &gate], Vec::new())
            }
            Activation::Tanh => builder.node("Tanh", &[&x], Vec::new()),
        }
    }

    /// The activation of the first half of the columns, times the others.
    fn gate(&mut self, x: ValueId, activation: Activation) -> String {
        let x = self.name(x);
        let attributes = vec![Attribute::int("axis", -1), Attribute::int("num_outputs", 2)];
        let halves = self.builder.split("Split", &[&x], 2, attributes);
        let gate = self.activation(halves[0].clone(), activation);
        self.builder.node("Mul", &[&gate, &halves[1]], Vec::new())
    }

    fn norm(&mut self, x: &str, norm: Normalization) -> Result<String, OnnxError> {
        if norm.kind == NormKind::Rms {
            return Err(OnnxError::Unsupported { operator: "norm", what: "by the root mean square" });
        }
        let mut inputs = vec![x.to_owned(), self.vector(norm.weight)?];
        inputs.extend(norm.bias.map(|bias| self.vector(bias)).transpose()?);
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let attributes = vec![Attribute::int("axis", -1), Attribute::float("epsilon", norm.eps)];
        Ok(self.builder.node("LayerNormalization", &inputs, attributes))
    }

    /// Softmax of scaled scores, over the last dimension, times the values.
    fn attention(
        &mut self,
        columns: [Columns; 3],
        bias: Option<String>,
        [heads, head_dim]: [usize; 2],
        scale: f32,
    ) -> String {
        let parts = self.columns(columns, heads * head_dim);
        let builder = &mut self.builder;
        let by_head = builder.ints(&[0, 0, heads as i64, head_dim as i64]);
        let [q, k, v] = [(0, [0, 2, 1, 3]), (1, [0, 2, 3, 1]), (2, [0, 2, 1, 3])].map(|(part, order)| {
            let split = builder.node("Reshape", &[&parts[part], &by_head], Vec::new());
            builder.node("Transpose", &[&split], vec![Attribute::ints("perm", &order)])
        });
        let factor = builder.scalar(scale);
        let q = builder.node("Mul", &[&q, &factor], Vec::new());
        let mut scores = builder.node("MatMul", &[&q, &k], Vec::new());
        if let Some(bias) = bias {
            scores = builder.node("Add", &[&scores, &bias], Vec::new());
        }
        let weights = builder.node("Softmax", &[&scores], vec![Attribute::int("axis", -1)]);
        let attended = builder.node("MatMul", &[&weights, &v], Vec::new());
        let attended = builder.node("Transpose", &[&attended], vec![Attribute::ints("perm", &[0, 2, 1, 3])]);
        let joined = builder.ints(&[0, 0, (heads * head_dim) as i64]);
        builder.node("Reshape", &[&attended, &joined], Vec::new())
    }

    /// Q, K and V: one split where they lie side by side in one value, and fill it.
    fn columns(&mut self, [q, k, v]: [Columns; 3], width: usize) -> Vec<String> {
        let whole = self.graph.value_of(q.value).shape.last() == Some(&Dim::Fixed(3 * width));
        let shared = q.value == k.value && k.value == v.value;
        if whole && shared && [q.start, k.start, v.start] == [0, width, 2 * width] {
            let (value, sizes) = (self.name(q.value), self.builder.ints(&[width as i64; 3]));
            return self.builder.split("Split", &[&value, &sizes], 3, vec![Attribute::int("axis", -1)]);
        }
        [q, k, v]
            .into_iter()
            .map(|columns| {
                let value = self.name(columns.value);
                let start = self.builder.ints(&[columns.start as i64]);
                let end = self.builder.ints(&[(columns.start + width) as i64]);
                let axis = self.builder.ints(&[-1]);
                self.builder.node("Slice", &[&value, &start, &end, &axis], Vec::new())
            })
            .collect()
    }

    /// The mask in floats.
    fn mask(&mut self, mask: ValueId) -> String {
        if let Some((_, made)) = self.masks.iter().find(|(id, _)| *id == mask) {
            return made.clone();
        }
        let (name, float) = (self.name(mask), self.builder.float);
        let made = self.builder.cast(&name, float);
        self.masks.push((mask, made.clone()));
        made
    }

    /// 0 where the mask keeps a token, far below every score where it drops one, with dimensions of 1 at `axes`.
    fn mask_bias(&mut self, mask: ValueId, axes: &[i64]) -> String {
        let kept = self.mask(mask);
        let dropped = if self.builder.float == ElementType::Float16 { DROPPED_F16 } else { DROPPED };
        let builder = &mut self.builder;
        let (one, dropped, axes) = (builder.scalar(1.0), builder.scalar(dropped), builder.ints(axes));
        let inverse = builder.node("Sub", &[&one, &kept], Vec::new());
        let bias = builder.node("Mul", &[&inverse, &dropped], Vec::new());
        builder.node("Unsqueeze", &[&bias, &axes], Vec::new())
    }

    fn pool(&mut self, x: ValueId, mask: Option<ValueId>, pooling: Pooling) -> String {
        let (x, over) = (self.name(x), self.builder.ints(&[1]));
        let drop_axis = || vec![Attribute::int("keepdims", 0)];
        match (pooling, mask) {
            (Pooling::Cls | Pooling::Last, _) => {
                let (name, index) = if pooling == Pooling::Cls { ("first_token", 0i64) } else { ("last_token", -1) };
                let index = self.builder.weight(name, &[], ElementType::Int64, index.to_le_bytes().to_vec());
                self.builder.node("Gather", &[&x, &index], vec![Attribute::int("axis", 1)])
            }
            (Pooling::Mean, None) => self.builder.node("ReduceMean", &[&x, &over], drop_axis()),
            (Pooling::Mean, Some(mask)) => {
                let (kept, last) = (self.mask(mask), self.builder.ints(&[-1]));
                let builder = &mut self.builder;
                let kept = builder.node("Unsqueeze", &[&kept, &last], Vec::new());
                let masked = builder.node("Mul", &[&x, &kept], Vec::new());
                let sum = builder.node("ReduceSum", &[&masked, &over], drop_axis());
                let count = builder.node("ReduceSum", &[&kept, &over], drop_axis());
                let one = builder.scalar(1.0);
                let count = builder.node("Max", &[&count, &one], Vec::new());
                builder.node("Div", &[&sum, &count], Vec::new())
            }
            (Pooling::Max, None) => self.builder.node("ReduceMax", &[&x, &over], drop_axis()),
            (Pooling::Max, Some(mask)) => {
                let bias = self.mask_bias(mask, &[-1]);
                let masked = self.builder.node("Add", &[&x, &bias], Vec::new());
                self.builder.node("ReduceMax", &[&masked, &over], drop_axis())
            }
        }
    }

    /// Divides each row by its Euclidean norm.
    fn normalize(&mut self, x: &str) -> String {
        let builder = &mut self.builder;
        let (last, smallest) = (builder.ints(&[-1]), builder.scalar(SMALLEST_NORM));
        let norm = builder.node("ReduceL2", &[x, &last], vec![Attribute::int("keepdims", 1)]);
        let norm = builder.node("Max", &[&norm, &smallest], Vec::new());
        builder.node("Div", &[x, &norm], Vec::new())
    }
}

/// Extents under the names that transformers.js and optimum give them.
fn extents(shape: &[Dim]) -> Vec<Extent> {
    shape
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(extent) => Extent::Fixed(*extent),
            Dim::Symbol("batch") => Extent::Symbol("batch_size".to_owned()),
            Dim::Symbol("seq") => Extent::Symbol("sequence_length".to_owned()),
            Dim::Symbol(name) => Extent::Symbol((*name).to_owned()),
            Dim::Expression(_) => Extent::Symbol(dim.to_string()),
        })
        .collect()
}
