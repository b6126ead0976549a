//! Which linear operators of a model are computed in int8, and how.

use std::collections::BTreeMap;

use webnibble_common::graph::{Graph, Linear, Op, WeightId};
use webnibble_common::package::Activations;
use webnibble_common::quant::{Bits, Format, Granularity, Int8Linear, Scheme};
use webnibble_common::weights::{WeightData, WeightMap};

use super::check::check_weights;
use super::error::ExecError;

/// How a linear operator is computed in int8.
#[derive(Clone, Debug, PartialEq)]
pub enum Int8 {
    /// By ranges of input and output that were measured before, one each: as WebNN computes it.
    Static(Int8Linear),
    /// By ranges of each group of each input row, found as it comes ([`webnibble_common::quant::ActivationGroup`]); the
    /// weights are taken as they are stored.
    Dynamic,
}

/// Linear operators in int8, by the name of their weight. Made once for a model; the other linear operators stay in
/// floats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Int8Linears(BTreeMap<String, Int8>);

impl Int8Linears {
    /// The operators of `graph` that `activations` names, by its ranges.
    ///
    /// # Errors
    /// For an operator that is not there, and for weights or scales that no int8 operator has.
    pub fn new(graph: &Graph, weights: &WeightMap, activations: &Activations) -> Result<Self, ExecError> {
        check_weights(graph, weights)?;
        let mut linears = BTreeMap::new();
        for (name, activations) in &activations.linears {
            let Some((weight, bias)) = find(graph, name) else {
                return Err(ExecError::NoLinear { name: name.clone() });
            };
            let (Some(WeightData::Matrix(matrix)), bias) = (data(graph, weights, weight), bias) else {
                unreachable!("weights are checked, and a linear operator's is a matrix");
            };
            let bias = bias.and_then(|bias| match data(graph, weights, bias) {
                Some(WeightData::Vector(values)) => Some(values.as_slice()),
                _ => None,
            });
            let linear = Int8Linear::new(activations, matrix, bias);
            let linear = linear.map_err(|error| ExecError::Int8 { name: name.clone(), error })?;
            linears.insert(name.clone(), Int8::Static(linear));
        }
        Ok(Self(linears))
    }

    /// Every operator whose weights have 8 bits, symmetric, with one scale a channel or tensor, by ranges of its own
    /// input. None where there are no such weights.
    pub fn dynamic(graph: &Graph, weights: &WeightMap) -> Self {
        let takes = |id: WeightId| match data(graph, weights, id) {
            Some(WeightData::Matrix(matrix)) => takes_bytes(matrix.layout.format),
            _ => false,
        };
        let linears = graph.nodes.iter().filter_map(|node| match node.op {
            Op::Linear(Linear { weight, .. }) if takes(weight) => {
                Some((graph.weight_of(weight).name.clone(), Int8::Dynamic))
            }
            _ => None,
        });
        Self(linears.collect())
    }

    /// How the operator with the weight `name` is computed; `None` where it stays in floats.
    pub fn get(&self, name: &str) -> Option<&Int8> {
        self.0.get(name)
    }

    /// Leaves an operator in floats.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// How many operators of `graph` are in int8.
    pub fn count_in(&self, graph: &Graph) -> usize {
        graph.linears().filter(|name| self.0.contains_key(*name)).count()
    }

    /// The names of the operators in int8.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether every operator stays in floats.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether codes can be multiplied as they are stored, and one scale comes last.
fn takes_bytes(format: Format) -> bool {
    format.bits == Bits::B8
        && format.scheme == Scheme::Symmetric
        && matches!(format.granularity, Granularity::Channel | Granularity::Tensor)
}

/// Weight and bias of the linear operator whose weight has that name.
fn find(graph: &Graph, name: &str) -> Option<(WeightId, Option<WeightId>)> {
    graph.nodes.iter().find_map(|node| match node.op {
        Op::Linear(Linear { weight, bias, .. }) if graph.weight_of(weight).name == name => Some((weight, bias)),
        _ => None,
    })
}

fn data<'a>(graph: &Graph, weights: &'a WeightMap, id: WeightId) -> Option<&'a WeightData> {
    weights.get(&graph.weight_of(id).name)
}
