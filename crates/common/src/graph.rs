//! The graph: a model as a list of transformer-sized operators over named weights.
//!
//! A graph is built by a model family, checked once by [`Graph::validate`], and read by every backend.
//! Dimensions may be symbolic (`batch`, `seq`); an executable is prepared for concrete [`Bindings`].
//! Operators are coarse on purpose: a handful of them means few dispatches.

use std::collections::BTreeMap;
use std::fmt;

use crate::tensor::DType;

/// One dimension of a value: a number, or a symbol that is bound when an executable is prepared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A fixed extent.
    Fixed(usize),
    /// A named extent, for example `seq`.
    Symbol(&'static str),
}

impl From<usize> for Dim {
    fn from(extent: usize) -> Self {
        Dim::Fixed(extent)
    }
}

impl From<&'static str> for Dim {
    fn from(name: &'static str) -> Self {
        Dim::Symbol(name)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(extent) => write!(f, "{extent}"),
            Dim::Symbol(name) => f.write_str(name),
        }
    }
}

/// Extents for the symbolic dimensions of a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bindings(BTreeMap<&'static str, usize>);

impl Bindings {
    /// Bindings from pairs such as `[("batch", 1), ("seq", 128)]`.
    pub fn new(pairs: impl IntoIterator<Item = (&'static str, usize)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// The extent of `dim`, if it is fixed or bound.
    pub fn extent(&self, dim: &Dim) -> Option<usize> {
        match dim {
            Dim::Fixed(extent) => Some(*extent),
            Dim::Symbol(name) => self.0.get(name).copied(),
        }
    }

    /// The same, but for the extent of one symbol.
    pub fn with(&self, name: &'static str, extent: usize) -> Self {
        let mut bindings = self.clone();
        bindings.0.insert(name, extent);
        bindings
    }

    /// Binds a symbol; `false` when it is bound to another extent already.
    pub fn bind(&mut self, name: &'static str, extent: usize) -> bool {
        *self.0.entry(name).or_insert(extent) == extent
    }
}

/// Index of a value in [`Graph::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub usize);

/// Index of a weight in [`Graph::weights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightId(pub usize);

/// What flows between operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Name for messages and GPU labels, unique in the graph.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<Dim>,
}

/// What a weight is used for; decides how it is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A projection of an attention block: quantized, at `attention_bits` under mixed precision.
    Attention,
    /// Any other matrix of a linear operator: quantized.
    Linear,
    /// A table that is gathered from by row: f16 unless asked otherwise.
    Embedding,
    /// Scales and shifts of normalizations, biases: f32.
    Vector,
}

/// A weight that the graph needs, and where it comes from in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Name in the package.
    pub name: String,
    /// `[rows, cols]` of a matrix (`rows` = output features or table entries), or `[len]` of a vector.
    pub shape: Vec<usize>,
    /// What it is used for.
    pub role: Role,
    /// Checkpoint tensors that make it, stacked along the first dimension (fused QKV has three).
    pub sources: Vec<String>,
}

/// Function applied to the output of a linear operator, before its residual is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// Exact GELU, `x · Φ(x)` (Hendrycks and Gimpel, 2016).
    Gelu,
    /// The tanh approximation of GELU (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// `x · sigmoid(x)`.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
}

/// Learned scale and shift of a normalization over the last dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Scale, `[hidden]`.
    pub weight: WeightId,
    /// Shift, `[hidden]`.
    pub bias: WeightId,
    /// Added to the variance.
    pub eps: f32,
}

/// A range of columns of a value's last dimension, so that Q, K and V can share one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The value, `[batch, length, width]`.
    pub value: ValueId,
    /// First column.
    pub start: usize,
}

/// How [`Op::Pool`] makes one vector of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Mean over the tokens that the mask keeps.
    Mean,
    /// The first token.
    Cls,
    /// Maximum over the tokens that the mask keeps.
    Max,
}

/// An operator. Shapes: `B` batch, `S` sequence, `H` hidden.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Sum of table rows, normalized: `norm(table[ids] + positions[s + offset] + types[token_types])`.
    /// `ids`, `token_types`: u32 `[B, S]`; output f32 `[B, S, H]`.
    Embedding {
        /// Token ids.
        ids: ValueId,
        /// Segment of each token, with `types`.
        token_types: Option<ValueId>,
        /// Token table, `[vocab, H]`.
        table: WeightId,
        /// Learned absolute positions, `[max_positions, H]`.
        positions: Option<WeightId>,
        /// Table row of the first position.
        position_offset: usize,
        /// Segment table, `[type_vocab, H]`.
        types: Option<WeightId>,
        /// Layer normalization of the sum.
        norm: Option<Norm>,
    },
    /// `activation(x · weightᵀ + bias) + residual`: f32 `[…, K]` by `[N, K]` gives `[…, N]`.
    Linear {
        /// Input, `[…, K]`.
        x: ValueId,
        /// Matrix, `[N, K]`.
        weight: WeightId,
        /// `[N]`.
        bias: Option<WeightId>,
        /// Applied before the residual.
        activation: Activation,
        /// Added last, `[…, N]`.
        residual: Option<ValueId>,
    },
    /// Layer normalization over the last dimension (Ba et al., 2016).
    LayerNorm {
        /// Input, `[…, H]`.
        x: ValueId,
        /// Scale, shift and epsilon.
        norm: Norm,
    },
    /// Multi-head scaled dot-product attention; output `[B, Sq, heads · head_dim]`.
    /// A row whose keys are all masked gives zeros.
    Attention {
        /// Queries, `heads · head_dim` columns.
        q: Columns,
        /// Keys, `heads · head_dim` columns.
        k: Columns,
        /// Values, `heads · head_dim` columns.
        v: Columns,
        /// Keys to attend to: u32 `[B, Sk]`, 1 keeps, 0 drops.
        mask: Option<ValueId>,
        /// Number of heads.
        heads: usize,
        /// Width of a head.
        head_dim: usize,
        /// Multiplies the scores, usually `1 / sqrt(head_dim)`.
        scale: f32,
    },
    /// One vector a sequence: `[B, S, H]` to `[B, H]`.
    Pool {
        /// Input.
        x: ValueId,
        /// Tokens that count: u32 `[B, S]`.
        mask: Option<ValueId>,
        /// How.
        pooling: Pooling,
        /// Divide by the Euclidean norm (at least 1e-12).
        normalize: bool,
    },
}

impl Op {
    /// Name of the operator, which is also that of its kernel family.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Embedding { .. } => "embedding",
            Op::Linear { .. } => "linear",
            Op::LayerNorm { .. } => "layer_norm",
            Op::Attention { .. } => "attention",
            Op::Pool { .. } => "pool",
        }
    }

    /// Values that the operator reads.
    pub fn inputs(&self) -> Vec<ValueId> {
        match self {
            Op::Embedding { ids, token_types, .. } => [Some(*ids), *token_types].into_iter().flatten().collect(),
            Op::Linear { x, residual, .. } => [Some(*x), *residual].into_iter().flatten().collect(),
            Op::LayerNorm { x, .. } => vec![*x],
            Op::Attention { q, k, v, mask, .. } => {
                let mut inputs = vec![q.value];
                for value in [Some(k.value), Some(v.value), *mask].into_iter().flatten() {
                    if !inputs.contains(&value) {
                        inputs.push(value);
                    }
                }
                inputs
            }
            Op::Pool { x, mask, .. } => [Some(*x), *mask].into_iter().flatten().collect(),
        }
    }
}

/// An operator and the value it makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// What it makes.
    pub output: ValueId,
}

/// A model: operators in order of execution, the values between them and the weights they need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Every value, inputs included.
    pub values: Vec<Value>,
    /// Every weight.
    pub weights: Vec<Weight>,
    /// Operators, in order.
    pub nodes: Vec<Node>,
    /// What the caller gives; the value's name is the input's name.
    pub inputs: Vec<ValueId>,
    /// What the caller gets; the value's name is the output's name.
    pub outputs: Vec<ValueId>,
}

/// Why a graph is not well formed, or does not fit the inputs it got.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// An operand has the wrong shape or type.
    #[error("{op} `{output}`: {operand} should be {expected}, found {found}")]
    Operand {
        /// Operator.
        op: &'static str,
        /// Name of its output.
        output: String,
        /// Which operand.
        operand: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A value is read before anything makes it.
    #[error("{op} `{output}` reads `{value}` before it is made")]
    Order {
        /// Operator.
        op: &'static str,
        /// Name of its output.
        output: String,
        /// The value.
        value: String,
    },
    /// A symbolic dimension has no extent.
    #[error("value `{value}`: dimension `{symbol}` is not bound")]
    Unbound {
        /// The value.
        value: String,
        /// The symbol.
        symbol: String,
    },
    /// An input is missing, or one was given that the graph does not have.
    #[error("inputs should be {expected:?}, found {found:?}")]
    Inputs {
        /// Names that the graph has.
        expected: Vec<String>,
        /// Names that were given.
        found: Vec<String>,
    },
    /// An input has another shape or type than the graph says.
    #[error("input `{name}` should be {expected}, found {found}")]
    Input {
        /// The input.
        name: String,
        /// Type and shape that it should have.
        expected: String,
        /// Type and shape that it has.
        found: String,
    },
    /// Two values or two weights have the same name.
    #[error("two {what} are called `{name}`")]
    Duplicate {
        /// "values" or "weights".
        what: &'static str,
        /// The name.
        name: String,
    },
}

impl Graph {
    /// Adds an input.
    pub fn input(&mut self, name: &str, dtype: DType, shape: impl IntoIterator<Item = Dim>) -> ValueId {
        let id = self.value(name, dtype, shape.into_iter().collect());
        self.inputs.push(id);
        id
    }

    /// Adds a weight; `sources` are the checkpoint tensors stacked to make it.
    pub fn weight(&mut self, name: &str, shape: impl Into<Vec<usize>>, role: Role, sources: &[&str]) -> WeightId {
        let sources = sources.iter().map(ToString::to_string).collect();
        self.weights.push(Weight { name: name.to_owned(), shape: shape.into(), role, sources });
        WeightId(self.weights.len() - 1)
    }

    /// Adds an operator whose output is called `name`; the shape is inferred.
    ///
    /// Panics when an operand's rank is too small to infer a shape from, which is a bug in the family that builds the graph.
    pub fn push(&mut self, name: &str, op: Op) -> ValueId {
        let shape = self.infer(&op);
        let output = self.value(name, DType::F32, shape);
        self.nodes.push(Node { op, output });
        output
    }

    /// Marks a value as an output.
    pub fn output(&mut self, value: ValueId) {
        self.outputs.push(value);
    }

    /// The value's description.
    pub fn value_of(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// The weight's description.
    pub fn weight_of(&self, id: WeightId) -> &Weight {
        &self.weights[id.0]
    }

    /// Concrete shape of a value under `bindings`.
    pub fn shape(&self, id: ValueId, bindings: &Bindings) -> Result<Vec<usize>, GraphError> {
        let value = self.value_of(id);
        value
            .shape
            .iter()
            .map(|dim| {
                bindings
                    .extent(dim)
                    .ok_or_else(|| GraphError::Unbound { value: value.name.clone(), symbol: dim.to_string() })
            })
            .collect()
    }

    /// Binds the graph's symbols from the shapes of the inputs, `(name, dtype, shape)` in any order.
    /// Every input must be there, once, with the type and rank that the graph says.
    pub fn bind(&self, given: &[(&str, DType, &[usize])]) -> Result<Bindings, GraphError> {
        let names = |found: Vec<&str>| GraphError::Inputs {
            expected: self.inputs.iter().map(|id| self.value_of(*id).name.clone()).collect(),
            found: found.into_iter().map(str::to_owned).collect(),
        };
        if given.len() != self.inputs.len() {
            return Err(names(given.iter().map(|g| g.0).collect()));
        }
        let mut bindings = Bindings::default();
        for id in &self.inputs {
            let value = self.value_of(*id);
            let Some((_, dtype, shape)) = given.iter().find(|g| g.0 == value.name) else {
                return Err(names(given.iter().map(|g| g.0).collect()));
            };
            let fits = *dtype == value.dtype
                && shape.len() == value.shape.len()
                && value.shape.iter().zip(*shape).all(|(dim, extent)| match dim {
                    Dim::Fixed(expected) => expected == extent,
                    Dim::Symbol(name) => bindings.bind(name, *extent),
                });
            if !fits {
                return Err(GraphError::Input {
                    name: value.name.clone(),
                    expected: format!("{} {}", value.dtype, show_dims(&value.shape)),
                    found: format!("{dtype} {shape:?}"),
                });
            }
        }
        Ok(bindings)
    }

    /// Checks operand shapes and types, order of execution and names.
    pub fn validate(&self) -> Result<(), GraphError> {
        check_unique("values", self.values.iter().map(|v| &v.name))?;
        check_unique("weights", self.weights.iter().map(|w| &w.name))?;
        let mut made = vec![false; self.values.len()];
        for id in &self.inputs {
            made[id.0] = true;
        }
        for node in &self.nodes {
            let check = Check { graph: self, node };
            for id in node.op.inputs() {
                if !made[id.0] {
                    return Err(GraphError::Order {
                        op: node.op.name(),
                        output: self.value_of(node.output).name.clone(),
                        value: self.value_of(id).name.clone(),
                    });
                }
            }
            check.operands()?;
            made[node.output.0] = true;
        }
        match self.outputs.iter().find(|id| !made[id.0]) {
            Some(id) => Err(GraphError::Order {
                op: "graph",
                output: "output".to_owned(),
                value: self.value_of(*id).name.clone(),
            }),
            None => Ok(()),
        }
    }

    fn value(&mut self, name: &str, dtype: DType, shape: Vec<Dim>) -> ValueId {
        self.values.push(Value { name: name.to_owned(), dtype, shape });
        ValueId(self.values.len() - 1)
    }

    fn infer(&self, op: &Op) -> Vec<Dim> {
        let dims = |id: &ValueId| self.value_of(*id).shape.clone();
        let with_last = |mut shape: Vec<Dim>, last: usize| {
            *shape.last_mut().expect("operands have at least one dimension") = Dim::Fixed(last);
            shape
        };
        match op {
            Op::Embedding { ids, table, .. } => {
                let mut shape = dims(ids);
                shape.push(Dim::Fixed(self.weight_of(*table).shape[1]));
                shape
            }
            Op::Linear { x, weight, .. } => with_last(dims(x), self.weight_of(*weight).shape[0]),
            Op::LayerNorm { x, .. } => dims(x),
            Op::Attention { q, heads, head_dim, .. } => with_last(dims(&q.value), heads * head_dim),
            Op::Pool { x, .. } => {
                let mut shape = dims(x);
                shape.remove(1);
                shape
            }
        }
    }
}

/// Checks the operands of one node.
struct Check<'a> {
    graph: &'a Graph,
    node: &'a Node,
}

impl Check<'_> {
    fn operands(&self) -> Result<(), GraphError> {
        let graph = self.graph;
        match &self.node.op {
            Op::Embedding { ids, token_types, table, positions, types, norm, .. } => {
                self.value("ids", *ids, DType::U32, 2)?;
                let hidden = self.matrix("table", *table)?[1];
                for (operand, weight) in [("positions", positions), ("types", types)] {
                    if let Some(weight) = weight {
                        let found = self.matrix(operand, *weight)?;
                        self.expect(operand, found[1] == hidden, || format!("[_, {hidden}]"), || format!("{found:?}"))?;
                    }
                }
                let paired = token_types.is_some() == types.is_some();
                self.expect(
                    "token_types",
                    paired,
                    || "given together with types".into(),
                    || "only one of them".into(),
                )?;
                if let Some(value) = token_types {
                    self.same_shape("token_types", *value, *ids, DType::U32)?;
                }
                norm.map_or(Ok(()), |norm| self.norm(norm, hidden))
            }
            Op::Linear { x, weight, bias, residual, .. } => {
                let [n, k] = self.matrix("weight", *weight)?;
                self.last("x", *x, k)?;
                if let Some(bias) = bias {
                    self.vector("bias", *bias, n)?;
                }
                match residual {
                    Some(residual) => self.same_shape("residual", *residual, self.node.output, DType::F32),
                    None => Ok(()),
                }
            }
            Op::LayerNorm { x, norm } => {
                let hidden = self.fixed_last("x", *x)?;
                self.norm(*norm, hidden)
            }
            Op::Attention { q, k, v, mask, heads, head_dim, .. } => {
                let width = heads * head_dim;
                self.expect(
                    "heads",
                    width > 0,
                    || "at least one head of at least one column".into(),
                    || "none".into(),
                )?;
                for (operand, columns) in [("q", q), ("k", k), ("v", v)] {
                    self.value(operand, columns.value, DType::F32, 3)?;
                    let found = self.fixed_last(operand, columns.value)?;
                    self.expect(
                        operand,
                        columns.start + width <= found,
                        || format!("columns {}..{} inside its last dimension", columns.start, columns.start + width),
                        || format!("{found} columns"),
                    )?;
                }
                let length = |c: &Columns| graph.value_of(c.value).shape[..2].to_vec();
                let (keys, values) = (length(k), length(v));
                self.expect("v", keys == values, || show_dims(&keys), || show_dims(&values))?;
                match mask {
                    Some(mask) => {
                        self.value("mask", *mask, DType::U32, 2)?;
                        let found = &graph.value_of(*mask).shape;
                        self.expect("mask", *found == keys, || show_dims(&keys), || show_dims(found))
                    }
                    None => Ok(()),
                }
            }
            Op::Pool { x, mask, .. } => {
                self.value("x", *x, DType::F32, 3)?;
                self.fixed_last("x", *x)?;
                match mask {
                    Some(mask) => {
                        self.value("mask", *mask, DType::U32, 2)?;
                        let (found, expected) = (&graph.value_of(*mask).shape, &graph.value_of(*x).shape[..2]);
                        self.expect("mask", found[..] == *expected, || show_dims(expected), || show_dims(found))
                    }
                    None => Ok(()),
                }
            }
        }
    }

    fn expect(
        &self,
        operand: &'static str,
        holds: bool,
        expected: impl FnOnce() -> String,
        found: impl FnOnce() -> String,
    ) -> Result<(), GraphError> {
        if holds {
            return Ok(());
        }
        Err(GraphError::Operand {
            op: self.node.op.name(),
            output: self.graph.value_of(self.node.output).name.clone(),
            operand,
            expected: expected(),
            found: found(),
        })
    }

    fn value(&self, operand: &'static str, id: ValueId, dtype: DType, rank: usize) -> Result<(), GraphError> {
        let value = self.graph.value_of(id);
        self.expect(
            operand,
            value.dtype == dtype && value.shape.len() == rank,
            || format!("{dtype} of rank {rank}"),
            || format!("{} {}", value.dtype, show_dims(&value.shape)),
        )
    }

    fn same_shape(&self, operand: &'static str, id: ValueId, like: ValueId, dtype: DType) -> Result<(), GraphError> {
        let (value, like) = (self.graph.value_of(id), self.graph.value_of(like));
        self.expect(
            operand,
            value.dtype == dtype && value.shape == like.shape,
            || format!("{dtype} {}", show_dims(&like.shape)),
            || format!("{} {}", value.dtype, show_dims(&value.shape)),
        )
    }

    fn fixed_last(&self, operand: &'static str, id: ValueId) -> Result<usize, GraphError> {
        let value = self.graph.value_of(id);
        match value.shape.last() {
            Some(Dim::Fixed(extent)) if value.dtype == DType::F32 => Ok(*extent),
            _ => Err(self
                .expect(
                    operand,
                    false,
                    || "f32 with a fixed last dimension".into(),
                    || format!("{} {}", value.dtype, show_dims(&value.shape)),
                )
                .expect_err("the condition is false")),
        }
    }

    fn last(&self, operand: &'static str, id: ValueId, extent: usize) -> Result<(), GraphError> {
        let found = self.fixed_last(operand, id)?;
        self.expect(operand, found == extent, || format!("[…, {extent}]"), || format!("[…, {found}]"))
    }

    fn matrix(&self, operand: &'static str, id: WeightId) -> Result<[usize; 2], GraphError> {
        let shape = &self.graph.weight_of(id).shape;
        self.expect(operand, shape.len() == 2, || "a matrix".into(), || format!("{shape:?}"))?;
        Ok([shape[0], shape[1]])
    }

    fn vector(&self, operand: &'static str, id: WeightId, len: usize) -> Result<(), GraphError> {
        let shape = &self.graph.weight_of(id).shape;
        self.expect(operand, shape[..] == [len], || format!("[{len}]"), || format!("{shape:?}"))
    }

    fn norm(&self, norm: Norm, hidden: usize) -> Result<(), GraphError> {
        self.vector("norm weight", norm.weight, hidden)?;
        self.vector("norm bias", norm.bias, hidden)
    }
}

fn check_unique<'a>(what: &'static str, names: impl Iterator<Item = &'a String>) -> Result<(), GraphError> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(GraphError::Duplicate { what, name: name.clone() });
        }
    }
    Ok(())
}

fn show_dims(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(k_of_x: usize, bias_len: usize) -> Graph {
        let mut graph = Graph::default();
        let x = graph.input("x", DType::F32, ["rows".into(), k_of_x.into()]);
        let weight = graph.weight("w", [5, 7], Role::Linear, &["w"]);
        let bias = Some(graph.weight("b", [bias_len], Role::Vector, &["b"]));
        let y = graph.push("y", Op::Linear { x, weight, bias, activation: Activation::Gelu, residual: None });
        graph.output(y);
        graph
    }

    #[test]
    fn shapes_are_inferred_and_bound() {
        let graph = linear(7, 5);
        graph.validate().unwrap();
        let bindings = graph.bind(&[("x", DType::F32, &[3, 7])]).unwrap();
        assert_eq!(graph.shape(graph.outputs[0], &bindings).unwrap(), [3, 5]);
        assert!(matches!(graph.shape(graph.outputs[0], &Bindings::default()), Err(GraphError::Unbound { .. })));
    }

    #[test]
    fn errors_name_operand_expected_and_found() {
        assert_eq!(linear(6, 5).validate().unwrap_err().to_string(), "linear `y`: x should be […, 7], found […, 6]");
        assert_eq!(linear(7, 4).validate().unwrap_err().to_string(), "linear `y`: bias should be [5], found [4]");
    }

    #[test]
    fn inputs_must_be_those_of_the_graph() {
        let graph = linear(7, 5);
        let error = graph.bind(&[("y", DType::F32, &[3, 7])]).unwrap_err();
        assert_eq!(error.to_string(), r#"inputs should be ["x"], found ["y"]"#);
        let error = graph.bind(&[("x", DType::U32, &[3, 7])]).unwrap_err();
        assert_eq!(error.to_string(), "input `x` should be f32 [rows, 7], found u32 [3, 7]");
    }

    #[test]
    fn a_value_is_made_before_it_is_read() {
        let mut graph = linear(7, 5);
        graph.nodes.clear();
        assert!(matches!(graph.validate(), Err(GraphError::Order { .. })));
    }
}
