//! Which linear operators of a model are computed in int8.

use std::collections::BTreeMap;

use webnibble_common::graph::{Graph, Op, WeightId};
use webnibble_common::package::Activations;
use webnibble_common::quant::Int8Linear;
use webnibble_common::weights::{WeightData, WeightMap};

use super::{ExecError, check_weights};

/// Linear operators made ready for int8, by the name of their weight. Made once for a model; the other linear operators
/// stay in floats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Int8Linears(BTreeMap<String, Int8Linear>);

impl Int8Linears {
    /// The operators of `graph` that `activations` names.
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
            linears.insert(name.clone(), linear);
        }
        Ok(Self(linears))
    }

    /// The operator with the weight `name`; `None` where it stays in floats.
    pub fn get(&self, name: &str) -> Option<&Int8Linear> {
        self.0.get(name)
    }

    /// Leaves an operator in floats.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The names of the operators in int8.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Weight and bias of the linear operator whose weight has that name.
fn find(graph: &Graph, name: &str) -> Option<(WeightId, Option<WeightId>)> {
    graph.nodes.iter().find_map(|node| match node.op {
        Op::Linear { weight, bias, .. } if graph.weight_of(weight).name == name => Some((weight, bias)),
        _ => None,
    })
}

fn data<'a>(graph: &Graph, weights: &'a WeightMap, id: WeightId) -> Option<&'a WeightData> {
    weights.get(&graph.weight_of(id).name)
}
