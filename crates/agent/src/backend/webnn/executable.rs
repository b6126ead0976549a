//! A schedule of programs, built on a context for one bucket of shapes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use futures_util::future::try_join_all;
use js_sys::{Object, Uint8Array};
use webnibble_common::graph::Graph;
use webnibble_common::result::WebNnInfo;
use webnibble_common::tensor::{DType, Tensor, TensorError, element_count};
use webnibble_common::weights::WeightMap;
use webnibble_common::wire::RemoteError;
use webnibble_kernels::webnn::{Bucket, ConstantMaker, Lowering, Port, Ranges, Schedule, copy_rows};

use super::context::Context;
use super::graph::{BuiltGraph, description};
use super::sys::MlTensor;
use crate::error::internal;
use crate::sys::object;

/// Bytes of an element of every input and output.
const ELEMENT_BYTES: usize = 4;

/// Built graphs with their tensors: made once, and used for every inference.
pub(super) struct Executable {
    /// The shapes it is built for.
    pub(super) bucket: Bucket,
    /// How weights were given to it.
    pub(super) lowering: Lowering,
    /// Parts of the input that are computed side by side.
    pub(super) parts: usize,
    /// Bytes of its constants.
    pub(super) constant_bytes: u64,
    /// How many linear operators get their weights in which way.
    pub(super) linears: BTreeMap<&'static str, usize>,
    operators: BTreeMap<String, usize>,
    /// Devices that the browser says it landed on.
    pub(super) devices: Option<Vec<String>>,
    /// In order of dispatch.
    steps: Vec<Step>,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    context: Rc<Context>,
    /// Let go of last: the others only refer to them.
    _tensors: Tensors,
}

/// A graph, and the tensors that it reads and writes by their names.
struct Step {
    graph: BuiltGraph,
    inputs: Object,
    outputs: Object,
}

/// What the caller writes.
struct Input {
    port: Port,
    tensor: MlTensor,
}

/// What the caller reads.
struct Output {
    port: Port,
    tensor: MlTensor,
    /// Its elements after a run; the next run overwrites them.
    read: Uint8Array,
}

impl Executable {
    /// Builds the graphs and makes their tensors.
    pub(super) async fn build(
        context: &Rc<Context>,
        schedule: Schedule,
        (lowering, bucket): (Lowering, Bucket),
        (weights, ranges): (&WeightMap, &Ranges),
    ) -> Result<Self, RemoteError> {
        let mut maker = ConstantMaker::new(weights, ranges);
        let mut graphs = Vec::new();
        for program in &schedule.programs {
            graphs.push(BuiltGraph::build(context, program, &mut maker).await?);
        }
        let tensors = Tensors::make(context, &schedule).await?;
        Ok(Self {
            bucket,
            lowering,
            parts: schedule.parts,
            constant_bytes: schedule.constant_bytes(),
            operators: schedule.operators(),
            linears: schedule.linears(),
            devices: devices(&graphs),
            steps: steps(graphs, &schedule, &tensors),
            inputs: schedule.inputs.into_iter().map(|port| Input { tensor: tensors.of(&port), port }).collect(),
            outputs: schedule.outputs.into_iter().map(|port| Output::new(port, &tensors)).collect(),
            context: Rc::clone(context),
            _tensors: tensors,
        })
    }

    /// Whether its outputs are those of `graph`.
    pub(super) fn gives_those_of(&self, graph: &Graph) -> bool {
        let given: BTreeSet<&str> = self.outputs.iter().map(|output| &*output.port.value).collect();
        given == graph.output_names().collect()
    }

    /// What the result says of it.
    pub(super) fn info(&self, requested: String) -> WebNnInfo {
        WebNnInfo {
            requested,
            reported_devices: self.devices.clone(),
            lowering: self.lowering.name().to_owned(),
            parallel_parts: Some(self.parts),
            choice: None,
            operators: self.operators.clone(),
        }
    }

    /// Runs the graphs on inputs of zeros, for timing.
    pub(super) async fn run_zeros(&self) -> Result<(), RemoteError> {
        for input in &self.inputs {
            self.write(input, &zeros(&input.port))?;
        }
        self.dispatch().await
    }

    /// Runs the graphs on inputs, padded to the bucket; `shape_of` gives the shape that an output is cut back to.
    pub(super) async fn run(
        &self,
        inputs: &[(String, Tensor)],
        shape_of: impl Fn(&str) -> Result<Vec<usize>, RemoteError>,
    ) -> Result<Vec<(String, Tensor)>, RemoteError> {
        for input in &self.inputs {
            let value = &input.port.value;
            let tensor = inputs.iter().find(|(name, _)| name == value).map(|(_, tensor)| tensor);
            let tensor = tensor.ok_or_else(|| internal(format!("input `{value}` is missing")))?;
            match padded(tensor, &input.port.value_shape).map_err(|e| internal(e.to_string()))? {
                Some(padded) => self.write(input, &padded)?,
                None => self.write(input, tensor)?,
            }
        }
        self.dispatch().await?;
        let mut outputs: Vec<(String, Tensor)> = Vec::new();
        for name in self.outputs.iter().map(|output| &output.port.value) {
            if !outputs.iter().any(|(known, _)| known == name) {
                outputs.push((name.clone(), self.output(name, &shape_of(name)?)?));
            }
        }
        Ok(outputs)
    }

    /// Writes what a port holds of a value.
    fn write(&self, input: &Input, value: &Tensor) -> Result<(), RemoteError> {
        let Input { port, tensor } = input;
        let part = port.offset..port.offset + element_count(&port.shape);
        let bytes: &[u8] = match (value.as_f32(), value.as_u32()) {
            (Ok(values), _) => bytemuck::cast_slice(&values[part]),
            (_, Ok(values)) => bytemuck::cast_slice(&values[part]),
            (Err(problem), Err(_)) => return Err(internal(problem.to_string())),
        };
        self.context.call("writing an input failed", || self.context.ml.write_tensor(tensor, bytes))
    }

    /// Runs the graphs, one after the other or side by side as far as what they read allows, and reads the outputs.
    async fn dispatch(&self) -> Result<(), RemoteError> {
        let ml = &self.context.ml;
        let run = async {
            for Step { graph, inputs, outputs } in &self.steps {
                ml.dispatch(&graph.0, inputs, outputs)?;
            }
            try_join_all(self.outputs.iter().map(|output| ml.read_tensor(&output.tensor, &output.read))).await
        };
        self.context.wait("running the WebNN graph failed", run).await.map(drop)
    }

    /// An output of the last run, put together of its parts and cut back from the bucket's shape to `shape`.
    fn output(&self, name: &str, shape: &[usize]) -> Result<Tensor, RemoteError> {
        let mut parts = self.outputs.iter().filter(|output| output.port.value == name).peekable();
        let first = parts.peek().ok_or_else(|| internal(format!("there is no output `{name}`")))?;
        let (dtype, count) = (first.port.dtype, element_count(shape));
        let tensor = match dtype {
            DType::F32 => {
                let mut values = vec![0f32; count];
                parts.for_each(|part| part.copy_to(shape, bytemuck::cast_slice_mut(&mut values)));
                Tensor::f32(shape, values)
            }
            DType::U32 => {
                let mut values = vec![0u32; count];
                parts.for_each(|part| part.copy_to(shape, bytemuck::cast_slice_mut(&mut values)));
                Tensor::u32(shape, values)
            }
        };
        tensor.map_err(|e| internal(e.to_string()))
    }
}

impl Output {
    fn new(port: Port, tensors: &Tensors) -> Self {
        let read = Uint8Array::new_with_length((element_count(&port.shape) * ELEMENT_BYTES) as u32);
        Self { tensor: tensors.of(&port), port, read }
    }

    /// Copies what was read to its place in the whole value, whose bucket is cut back to `shape`.
    fn copy_to(&self, shape: &[usize], value: &mut [u8]) {
        let part = self.port.offset..self.port.offset + element_count(&self.port.shape);
        for (from, to) in shared_ranges(part, columns(&self.port.value_shape), columns(shape)) {
            let bytes = |elements: Range<usize>| elements.start * ELEMENT_BYTES..elements.end * ELEMENT_BYTES;
            let (from, to) = (bytes(from), bytes(to));
            self.read.subarray(from.start as u32, from.end as u32).copy_to(&mut value[to]);
        }
    }
}

/// A matrix of rows of `from_cols` elements is cut to rows of `to_cols`, and `part` is a range of its elements. Gives, for each
/// row that both have something of, where that lies in the part and in what is cut.
fn shared_ranges(
    part: Range<usize>,
    from_cols: usize,
    to_cols: usize,
) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let rows = part.start / from_cols..part.end.div_ceil(from_cols);
    rows.filter_map(move |row| {
        let (begin, cut) = (row * from_cols, row * to_cols);
        let (start, end) = (part.start.max(begin), part.end.min(begin + to_cols.min(from_cols)));
        (start < end).then(|| (start - part.start..end - part.start, cut + start - begin..cut + end - begin))
    })
}

/// Tensors by their names; they are destroyed with this.
#[derive(Default)]
struct Tensors(BTreeMap<String, MlTensor>);

impl Drop for Tensors {
    fn drop(&mut self) {
        for tensor in self.0.values() {
            // Browsers that cannot destroy a tensor collect it.
            let _ = tensor.destroy_tensor();
        }
    }
}

impl Tensors {
    /// Those of all ports of a schedule. What one program writes and another reads is one tensor.
    async fn make(context: &Context, schedule: &Schedule) -> Result<Self, RemoteError> {
        let mut tensors = Self::default();
        for port in schedule.programs.iter().flat_map(|program| program.inputs.iter().chain(&program.outputs)) {
            if tensors.0.contains_key(&port.name) {
                continue;
            }
            let is_in = |ports: &[Port]| ports.iter().any(|one| one.name == port.name);
            let access = [("writable", is_in(&schedule.inputs).into()), ("readable", is_in(&schedule.outputs).into())];
            let descriptor = object(description(port.data_type, &port.shape).into_iter().chain(access));
            let made = context.wait("making the tensors failed", context.ml.create_tensor(&descriptor)).await?;
            tensors.0.insert(port.name.clone(), made);
        }
        Ok(tensors)
    }

    fn of(&self, port: &Port) -> MlTensor {
        self.0.get(&port.name).cloned().expect("every port has a tensor")
    }

    /// Those of some ports, by their names.
    fn named(&self, ports: &[Port]) -> Object {
        object(ports.iter().map(|port| (&*port.name, self.of(port).into())))
    }
}

fn steps(graphs: Vec<BuiltGraph>, schedule: &Schedule, tensors: &Tensors) -> Vec<Step> {
    let programs = graphs.into_iter().zip(&schedule.programs);
    let step = |(graph, program): (BuiltGraph, &webnibble_kernels::webnn::Program)| Step {
        graph,
        inputs: tensors.named(&program.inputs),
        outputs: tensors.named(&program.outputs),
    };
    programs.map(step).collect()
}

/// Devices that the browser reports for any of the graphs; `None` where it reports nothing.
fn devices(graphs: &[BuiltGraph]) -> Option<Vec<String>> {
    let reported: Vec<_> = graphs.iter().filter_map(BuiltGraph::devices).collect();
    let names: BTreeSet<String> = reported.iter().flatten().cloned().collect();
    (!reported.is_empty()).then(|| names.into_iter().collect())
}

fn zeros(port: &Port) -> Tensor {
    let (shape, count) = (port.value_shape.clone(), element_count(&port.value_shape));
    let tensor = match port.dtype {
        DType::F32 => Tensor::f32(shape, vec![0.0; count]),
        DType::U32 => Tensor::u32(shape, vec![0; count]),
    };
    tensor.expect("as many elements as the shape has")
}

/// The tensor with a longer second dimension, filled up with zeros; `None` where it has that shape already.
fn padded(tensor: &Tensor, shape: &[usize]) -> Result<Option<Tensor>, TensorError> {
    if tensor.shape() == shape {
        return Ok(None);
    }
    let (from, to, count) = (columns(tensor.shape()), columns(shape), element_count(shape));
    let padded = match (tensor.as_f32(), tensor.as_u32()) {
        (Ok(values), _) => {
            let mut data = vec![0.0; count];
            copy_rows(values, from, &mut data, to);
            Tensor::f32(shape, data)
        }
        (Err(_), Ok(values)) => {
            let mut data = vec![0; count];
            copy_rows(values, from, &mut data, to);
            Tensor::u32(shape, data)
        }
        (Err(problem), Err(_)) => Err(problem),
    };
    padded.map(Some)
}

/// Elements of each item of the first dimension.
fn columns(shape: &[usize]) -> usize {
    element_count(&shape[1..])
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test]
    fn parts_of_a_value_are_cut_row_by_row() {
        let found = |part, from, to| shared_ranges(part, from, to).collect::<Vec<_>>();
        assert_eq!(found(0..12, 12, 12), [(0..12, 0..12)]);
        assert_eq!(found(4..12, 12, 12), [(0..8, 4..12)]);
        assert_eq!(found(0..12, 4, 3), [(0..3, 0..3), (4..7, 3..6), (8..11, 6..9)]);
        // The second of two parts, which begins within a row.
        assert_eq!(found(6..12, 4, 3), [(0..1, 5..6), (2..5, 6..9)]);
        // Nothing of a part is kept.
        assert_eq!(found(8..12, 12, 8), []);
    }
}
