//! Checks before a run: what no kernel can check without costing time, or would answer with garbage.

use webnibble_common::graph::{Bindings, Graph, Positions, ValueId, Weight, WeightId};
use webnibble_common::quant::QTensor;
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::{WeightData, WeightMap};

use super::error::{ExecError, INPUT};
use super::finite::first_non_finite_of;

/// Binds the graph's symbols from `inputs` and checks what they hold: at least one element, finite floats,
/// ids inside their tables, sequences no longer than the table of positions. For every backend: kernels clamp or
/// read beside the table where an id is out of range.
pub fn check_inputs<S: AsRef<str>>(graph: &Graph, inputs: &[(S, Tensor)]) -> Result<Bindings, ExecError> {
    let given: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_ref(), tensor.dtype(), tensor.shape())).collect();
    let bindings = graph.bind(&given)?;
    for (name, tensor) in inputs {
        let name = name.as_ref();
        if tensor.is_empty() {
            return Err(ExecError::Empty { input: name.to_owned(), shape: tensor.shape().to_vec() });
        }
        if let Some((index, found)) = first_non_finite_of(tensor) {
            return Err(ExecError::NonFinite { maker: INPUT, value: name.to_owned(), index, found });
        }
    }
    for node in &graph.nodes {
        let op = node.op.operator();
        for (ids, table) in op.row_numbers() {
            check_ids(graph, inputs, ids, table)?;
        }
        if let Some(positions) = op.positions() {
            check_positions(graph, &bindings, positions)?;
        }
    }
    Ok(bindings)
}

fn check_ids<S: AsRef<str>>(
    graph: &Graph,
    inputs: &[(S, Tensor)],
    ids: ValueId,
    table: WeightId,
) -> Result<(), ExecError> {
    // Operators make floats, so ids are always an input.
    let name = &graph.value_of(ids).name;
    let tensor = inputs.iter().find(|(given, _)| given.as_ref() == name).map(|(_, tensor)| tensor);
    let values = tensor.and_then(|tensor| tensor.as_u32().ok()).unwrap_or_default();
    let rows = graph.weight_of(table).shape[0];
    match values.iter().position(|id| *id as usize >= rows) {
        Some(index) => Err(ExecError::Id { input: name.clone(), index, id: values[index], rows }),
        None => Ok(()),
    }
}

fn check_positions(graph: &Graph, bindings: &Bindings, positions: Positions) -> Result<(), ExecError> {
    let found = graph.shape(positions.of, bindings)?[1];
    let limit = graph.longest(positions);
    if found <= limit { Ok(()) } else { Err(ExecError::Positions { limit, found }) }
}

/// Checks that every weight of the graph is there, with the kind and shape that it says and planes of the right length.
pub fn check_weights(graph: &Graph, weights: &WeightMap) -> Result<(), ExecError> {
    graph.weights.iter().try_for_each(|weight| check_weight(weight, weights.get(&weight.name)))
}

fn check_weight(weight: &Weight, data: Option<&WeightData>) -> Result<(), ExecError> {
    let (fits, found) = match (data, &weight.shape[..]) {
        (Some(_), shape) if shape.contains(&0) => (false, "an extent of 0".to_owned()),
        (None, _) => (false, "nothing".to_owned()),
        (Some(WeightData::Vector(values)), shape) => (shape == [values.len()], format!("a vector [{}]", values.len())),
        (Some(WeightData::Matrix(matrix)), shape) => {
            let found = [matrix.layout.rows, matrix.layout.cols];
            let described = match planes(matrix) {
                Ok(()) => format!("a matrix {found:?}"),
                Err(planes) => format!("a matrix {found:?} with {planes}"),
            };
            (shape == found && planes(matrix).is_ok(), described)
        }
    };
    if fits {
        return Ok(());
    }
    let kind = if weight.shape.len() == 1 { "vector" } else { "matrix" };
    Err(ExecError::Weight { name: weight.name.clone(), expected: format!("a {kind} {:?}", weight.shape), found })
}

/// The first plane whose length is not that of the layout.
fn planes(matrix: &QTensor) -> Result<(), String> {
    let layout = &matrix.layout;
    let zeros = if layout.format.has_zeros() { layout.scale_count() } else { 0 };
    let planes = [
        ("bytes of codes", layout.packed_bytes(), matrix.packed.len()),
        ("scales", layout.scale_count(), matrix.scales.len()),
        ("zero points", zeros, matrix.zeros.len()),
    ];
    match planes.iter().find(|(_, expected, found)| expected != found) {
        Some((what, expected, found)) => Err(format!("{found} {what}, not {expected}")),
        None => Ok(()),
    }
}
