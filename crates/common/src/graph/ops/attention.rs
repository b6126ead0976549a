//! Attention of queries over keys and values.

use crate::graph::dim::{Dim, show_dims};
use crate::graph::error::GraphError;
use crate::graph::operator::{Checker, Operator, Read, Rows, Shapes};
use crate::graph::state::{StateId, StateWrite};
use crate::graph::value::{Columns, ValueId};

/// Multi-head scaled dot-product attention; output `[batch, queries, heads · head_dim]`.
/// A row whose keys are all masked gives zeros.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Queries, `heads · head_dim` columns.
    pub q: Columns,
    /// Keys, `kv_heads · head_dim` columns.
    pub k: Columns,
    /// Values, `kv_heads · head_dim` columns.
    pub v: Columns,
    /// Keys to attend to: u32 `[batch, keys]`, 1 keeps, 0 drops. None with a cache.
    pub mask: Option<ValueId>,
    /// Number of heads.
    pub heads: usize,
    /// Heads of keys and values, of which `heads` is a multiple: as many neighbours share one.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Multiplies the scores, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Whether a query attends to no keys behind its own position.
    pub causal: bool,
    /// Keys and values of the positions before. This run's are written behind them, and query `i` of it attends to
    /// positions up to `past + i`.
    pub cache: Option<Cache>,
}

/// Where the keys and values of a conversation lie: states of f32 `[kv_heads, head_dim]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// The keys.
    pub keys: StateId,
    /// The values.
    pub values: StateId,
}

impl Attention {
    /// Of all queries over all keys, each head with keys and values of its own, and the usual scale.
    pub fn new([q, k, v]: [Columns; 3], heads: usize, head_dim: usize) -> Self {
        let scale = 1.0 / (head_dim as f32).sqrt();
        Self { q, k, v, mask: None, heads, kv_heads: heads, head_dim, scale, causal: false, cache: None }
    }

    /// Heads that share keys and values.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads.max(1)
    }

    /// What it is beside attention of all queries to all keys, each head to its own: what encoders do without.
    pub fn beside_plain(&self) -> Option<&'static str> {
        match self {
            Self { cache: Some(_), .. } => Some("with a cache"),
            Self { causal: true, .. } => Some("that is causal"),
            Self { heads, kv_heads, .. } if heads != kv_heads => Some("with grouped heads"),
            _ => None,
        }
    }

    fn check_heads(&self, check: &Checker<'_>) -> Result<(), GraphError> {
        let some = self.heads * self.head_dim > 0;
        check.expect("heads", some, || "at least one head of at least one column".into(), || "none".into())?;
        check.expect(
            "kv_heads",
            self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads),
            || format!("a divisor of {} heads", self.heads),
            || self.kv_heads.to_string(),
        )
    }

    fn check_columns(&self, check: &Checker<'_>) -> Result<(), GraphError> {
        for (operand, columns, heads) in
            [("q", self.q, self.heads), ("k", self.k, self.kv_heads), ("v", self.v, self.kv_heads)]
        {
            check.columns(operand, columns, heads * self.head_dim)?;
        }
        Ok(())
    }

    /// A cache is of positions that are known before: they are the same for all, so that nothing masks them.
    fn check_cache(&self, check: &Checker<'_>, cache: Cache) -> Result<(), GraphError> {
        check.expect("cache", self.causal, || "of causal attention".into(), || "attention to all positions".into())?;
        check.expect("mask", self.mask.is_none(), || "none with a cache".into(), || "a mask".into())?;
        let [queries, keys] = [self.q, self.k].map(|columns| &check.dims(columns.value)[..2]);
        check.expect("k", queries == keys, || show_dims(queries), || show_dims(keys))?;
        let shape = [self.kv_heads, self.head_dim].map(Dim::Fixed);
        check.state("keys of the cache", cache.keys, &shape)?;
        check.state("values of the cache", cache.values, &shape)
    }
}

impl Operator for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn reads(&self) -> Vec<Read> {
        let mut reads = vec![Rows::Same.of(self.q.value), Rows::All.of(self.k.value), Rows::All.of(self.v.value)];
        reads.extend(self.mask.map(|mask| Rows::Mask.of(mask)));
        reads
    }

    fn shape(&self, shapes: &Shapes<'_>) -> Vec<Dim> {
        shapes.with_last(self.q.value, self.heads * self.head_dim)
    }

    fn check(&self, check: &Checker<'_>) -> Result<(), GraphError> {
        self.check_heads(check)?;
        self.check_columns(check)?;
        let (keys, values) = (&check.dims(self.k.value)[..2], &check.dims(self.v.value)[..2]);
        check.expect("v", keys == values, || show_dims(keys), || show_dims(values))?;
        check.mask(self.mask, keys)?;
        self.cache.map_or(Ok(()), |cache| self.check_cache(check, cache))
    }

    fn states(&self) -> Vec<StateWrite> {
        let of = |Cache { keys, values }| {
            vec![StateWrite { state: keys, from: self.k }, StateWrite { state: values, from: self.v }]
        };
        self.cache.map_or_else(Vec::new, of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Graph, State};
    use crate::tensor::DType;

    /// Four heads of two columns over two of keys and values, kept in a cache; made otherwise by `change`.
    fn cached(change: impl FnOnce(&mut Graph, &mut Attention)) -> Graph {
        let mut graph = Graph::default();
        let qkv = graph.input("qkv", DType::F32, ["batch".into(), "seq".into(), 16.into()]);
        let state = |name: &str| State {
            name: name.into(),
            dtype: DType::F32,
            shape: [2, 2].map(Dim::Fixed).to_vec(),
            capacity: 9.into(),
        };
        let [keys, values] = ["keys", "values"].map(|name| graph.state(state(name)));
        let parts = [0, 8, 12].map(|start| Columns { value: qkv, start });
        let mut attention =
            Attention { kv_heads: 2, causal: true, cache: Some(Cache { keys, values }), ..Attention::new(parts, 4, 2) };
        change(&mut graph, &mut attention);
        let y = graph.push("y", attention);
        graph.output(y);
        graph
    }

    fn refused(change: impl FnOnce(&mut Graph, &mut Attention)) -> String {
        cached(change).validate().unwrap_err().to_string()
    }

    #[test]
    fn a_cache_is_two_states_of_causal_attention() {
        cached(|_, _| {}).validate().unwrap();
        let error = refused(|_, attention| attention.causal = false);
        assert_eq!(error, "attention `y`: cache should be of causal attention, found attention to all positions");
        let error = refused(|graph, _| graph.states[1].dtype = DType::F16);
        assert_eq!(error, "attention `y`: values of the cache should be a state of f32 [2, 2], found f16 [2, 2]");
        let error = refused(|graph, _| drop(graph.states.pop()));
        assert_eq!(error, "attention `y`: values of the cache should be a state of f32 [2, 2], found none");
        let twice = |_: &mut Graph, attention: &mut Attention| {
            attention.cache.as_mut().unwrap().values = StateId(0);
        };
        assert_eq!(refused(twice), "attention `y`: state `keys` should be no other operand's");
        let masked = |graph: &mut Graph, attention: &mut Attention| {
            attention.mask = Some(graph.input("mask", DType::U32, ["batch".into(), "seq".into()]));
        };
        assert_eq!(refused(masked), "attention `y`: mask should be none with a cache, found a mask");
    }

    #[test]
    fn heads_are_a_multiple_of_those_of_keys_and_values() {
        let error = refused(|_, attention| attention.kv_heads = 3);
        assert_eq!(error, "attention `y`: kv_heads should be a divisor of 4 heads, found 3");
        let error = refused(|_, attention| attention.v.start = 13);
        assert_eq!(error, "attention `y`: v should be columns 13..17 inside its last dimension, found 16 columns");
    }

    #[test]
    fn what_writes_states_is_left_out_of_no_graph() {
        let mut graph = cached(|_, _| {});
        let x = graph.input("x", DType::F32, [1.into(), 2.into()]);
        graph.output(x);
        let part = graph.only(&["x"]);
        part.validate().unwrap();
        assert_eq!((part.outputs.len(), part.nodes.len(), part.states.len()), (1, 1, 2));
    }
}
