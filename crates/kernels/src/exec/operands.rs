//! What an operator reads in memory: values and weights by their ids in the graph.
//!
//! Kinds and types are checked before a run starts, and values are made before they are read.

use std::borrow::Cow;

use webnibble_common::graph::{self, Columns, Graph, NormKind, StateId, ValueId, WeightId};
use webnibble_common::quant::QTensor;
use webnibble_common::state::StateSet;
use webnibble_common::tensor::{Tensor, element_count};
use webnibble_common::weights::{WeightData, WeightMap};

use super::int8::{Int8, Int8Linears};

/// Values and weights for the operator that is computed now.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    pub(super) graph: &'a Graph,
    pub(super) weights: &'a WeightMap,
    /// Linear operators that are computed in int8.
    pub(super) int8: Option<&'a Int8Linears>,
    /// What the conversation keeps, this run's positions of the operator's states written.
    pub(super) states: Option<&'a StateSet>,
    /// By [`ValueId`].
    pub(super) values: &'a [Option<Cow<'a, Tensor>>],
}

/// A normalization and its vectors.
#[derive(Clone, Copy)]
pub(crate) struct Normalization<'a> {
    /// What rows are divided by.
    pub(crate) kind: NormKind,
    /// `[hidden]`.
    pub(crate) weight: &'a [f32],
    /// `[hidden]`.
    pub(crate) bias: Option<&'a [f32]>,
    /// Added to the variance, or to the mean square.
    pub(crate) eps: f32,
}

/// Columns `start..` of rows that lie `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    /// All rows.
    pub(crate) data: &'a [f32],
    /// Elements from a row to the next.
    pub(crate) stride: usize,
    /// First column.
    pub(crate) start: usize,
}

impl<'a> Strided<'a> {
    /// `len` columns of a row, from column `from` of those that count.
    pub(crate) fn row(&self, row: usize, from: usize, len: usize) -> &'a [f32] {
        &self.data[row * self.stride + self.start + from..][..len]
    }
}

impl<'a> Operands<'a> {
    /// A float value.
    pub(crate) fn floats(&self, id: ValueId) -> &'a [f32] {
        self.tensor(id).as_f32().expect("the graph says f32")
    }

    /// Ids or a mask.
    pub(crate) fn ids(&self, id: ValueId) -> &'a [u32] {
        self.tensor(id).as_u32().expect("the graph says u32")
    }

    /// Extents of a value.
    pub(crate) fn shape(&self, id: ValueId) -> &'a [usize] {
        self.tensor(id).shape()
    }

    /// Some columns of a value of rank 3.
    pub(crate) fn columns(&self, columns: Columns) -> Strided<'a> {
        let tensor = self.tensor(columns.value);
        let stride = tensor.len() / element_count(&tensor.shape()[..2]);
        Strided { data: self.floats(columns.value), stride, start: columns.start }
    }

    /// Positions that the conversation had before this run; none where there is no conversation, which is an error as soon as
    /// an operator has states.
    pub(crate) fn past(&self) -> usize {
        self.states.map_or(0, StateSet::past)
    }

    /// The blocks of a state, each `[batch, positions, …]`.
    pub(crate) fn blocks(&self, id: StateId) -> &'a [Tensor] {
        let name = &self.graph.state_of(id).name;
        self.states().blocks(name).expect("an operator's states are written before it runs")
    }

    fn states(&self) -> &'a StateSet {
        self.states.expect("a graph with states runs with a set of them")
    }

    /// A normalization's vectors.
    pub(crate) fn norm(&self, norm: graph::Normalization) -> Normalization<'a> {
        let graph::Normalization { kind, weight, bias, eps } = norm;
        Normalization { kind, weight: self.vector(weight), bias: bias.map(|bias| self.vector(bias)), eps }
    }

    /// A matrix in its format.
    pub(crate) fn matrix(&self, id: WeightId) -> &'a QTensor {
        match self.weights.get(self.name(id)) {
            Some(WeightData::Matrix(matrix)) => matrix,
            _ => unreachable!("weights are checked before a run"),
        }
    }

    /// A vector.
    pub(crate) fn vector(&self, id: WeightId) -> &'a [f32] {
        match self.weights.get(self.name(id)) {
            Some(WeightData::Vector(values)) => values,
            _ => unreachable!("weights are checked before a run"),
        }
    }

    /// How the linear operator with that weight is computed in int8; `None` computes in floats.
    pub(crate) fn int8(&self, weight: WeightId) -> Option<&'a Int8> {
        self.int8.and_then(|int8| int8.get(self.name(weight)))
    }

    /// Name of a weight.
    pub(crate) fn name(&self, id: WeightId) -> &'a str {
        &self.graph.weight_of(id).name
    }

    fn tensor(&self, id: ValueId) -> &'a Tensor {
        // `validate` checks that values are made before they are read; a run drops them after their last reader.
        self.values[id.0].as_deref().expect("values are there until their last reader has run")
    }
}
