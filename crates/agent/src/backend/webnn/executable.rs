//! A schedule of programs, built on a context for one bucket of shapes.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use futures_util::future::try_join_all;
use js_sys::{Object, Promise, Uint8Array};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use webnibble_common::graph::Graph;
use webnibble_common::record::WebNnInfo;
use webnibble_common::tensor::{Tensor, element_count};
use webnibble_common::weights::WeightMap;
use webnibble_common::wire::RemoteError;
use webnibble_kernels::webnn::{
    Bucket, ConstantMaker, Lowering, Port, Ranges, Schedule, copy_rows, finite_check, may_be_not_finite,
};

use super::super::spares::{Lent, Spares};
use super::context::Context;
use super::graph::{BuiltGraph, description};
use super::sys::MlTensor;
use crate::error::internal;
use crate::sys::object;

/// What failed, where running did.
const RUNNING: &str = "running the WebNN graph failed";

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

/// What the caller may read.
pub(super) struct Output {
    pub(super) port: Port,
    tensor: MlTensor,
    /// Memory that its elements are read into.
    spares: Spares<Uint8Array>,
    /// Finds NaN and infinity in it where it is not read; made when that is first needed.
    check: OnceCell<Check>,
}

/// A graph that tells whether a tensor is finite.
struct Check {
    graph: BuiltGraph,
    inputs: Object,
    outputs: Object,
    found: MlTensor,
    spares: Spares<Uint8Array>,
    _tensors: Tensors,
}

/// Elements that were asked for, of all that was dispatched before.
pub(super) struct Asked {
    pub(super) bytes: Lent<Uint8Array>,
    done: Promise,
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
            self.write(input, &Tensor::zeros(input.port.dtype, input.port.value_shape.clone()))?;
        }
        self.dispatch()?;
        let asked = self.outputs.iter().map(|output| self.ask(output)).collect::<Result<Vec<_>, _>>()?;
        self.wait_for(asked.iter()).await
    }

    /// Begins to run the graphs on inputs, padded to the bucket: one after the other or side by side, as far as what they read
    /// allows.
    pub(super) fn begin(&self, inputs: &[(String, Tensor)]) -> Result<(), RemoteError> {
        for input in &self.inputs {
            let value = &input.port.value;
            let tensor = inputs.iter().find(|(name, _)| name == value).map(|(_, tensor)| tensor);
            let tensor = tensor.ok_or_else(|| internal(format!("input `{value}` is missing")))?;
            match padded(tensor, &input.port.value_shape) {
                Some(padded) => self.write(input, &padded)?,
                None => self.write(input, tensor)?,
            }
        }
        self.dispatch()
    }

    /// Writes what a port holds of a value.
    fn write(&self, input: &Input, value: &Tensor) -> Result<(), RemoteError> {
        let Input { port, tensor } = input;
        let size = port.dtype.size_bytes();
        let part = port.offset * size..(port.offset + element_count(&port.shape)) * size;
        let bytes = &value.bytes()[part];
        self.context.call("writing an input failed", || self.context.ml.write_tensor(tensor, bytes))
    }

    fn dispatch(&self) -> Result<(), RemoteError> {
        let run = || {
            let mut steps = self.steps.iter();
            steps.try_for_each(|Step { graph, inputs, outputs }| self.context.ml.dispatch(&graph.0, inputs, outputs))
        };
        self.context.call(RUNNING, run)
    }

    /// The outputs, or parts of them.
    pub(super) fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Asks for an output of what was begun last.
    pub(super) fn ask(&self, output: &Output) -> Result<Asked, RemoteError> {
        self.read(&output.tensor, &output.spares, output_bytes(&output.port))
    }

    /// Asks whether an output of what was begun last is finite: one float, 0 where it is. Its check is made.
    pub(super) fn ask_finite(&self, output: &Output) -> Result<Option<Asked>, RemoteError> {
        let Some(check) = output.check.get() else { return Ok(None) };
        let run = || self.context.ml.dispatch(&check.graph.0, &check.inputs, &check.outputs);
        self.context.call(RUNNING, run)?;
        self.read(&check.found, &check.spares, output.port.dtype.size_bytes()).map(Some)
    }

    fn read(&self, tensor: &MlTensor, spares: &Spares<Uint8Array>, size: usize) -> Result<Asked, RemoteError> {
        let spare = spares.take(|_| true);
        let bytes = spare.unwrap_or_else(|| spares.lend(Uint8Array::new_with_length(size as u32)));
        let done = self.context.call(RUNNING, || self.context.ml.read_tensor(tensor, &bytes))?;
        Ok(Asked { bytes, done })
    }

    /// Makes what tells whether an output is finite; nothing for integers.
    pub(super) async fn make_check(&self, output: &Output) -> Result<(), RemoteError> {
        if output.check.get().is_none() && may_be_not_finite(output.port.data_type) {
            let check = Check::build(&self.context, output).await?;
            // Another run may have made it meanwhile: it is as good.
            let _ = output.check.set(check);
        }
        Ok(())
    }

    /// Waits until all that was asked for is there.
    pub(super) async fn wait_for<'a>(&self, asked: impl Iterator<Item = &'a Asked>) -> Result<(), RemoteError> {
        let all = try_join_all(asked.map(|asked| JsFuture::from(asked.done.clone())));
        self.context.wait(RUNNING, all).await.map(drop)
    }
}

impl Check {
    async fn build(context: &Context, output: &Output) -> Result<Self, RemoteError> {
        let program = finite_check(&output.port);
        let (weights, ranges) = (WeightMap::new(), Ranges::new());
        let graph = BuiltGraph::build(context, &program, &mut ConstantMaker::new(&weights, &ranges)).await?;
        let mut tensors = Tensors::default();
        tensors.add(context, &program.outputs[0], [("writable", false), ("readable", true)]).await?;
        let inputs = object([(&*program.inputs[0].name, output.tensor.clone().into())]);
        let outputs = tensors.named(&program.outputs);
        let found = tensors.of(&program.outputs[0]);
        Ok(Self { graph, inputs, outputs, found, spares: Spares::default(), _tensors: tensors })
    }
}

impl Output {
    fn new(port: Port, tensors: &Tensors) -> Self {
        Self { tensor: tensors.of(&port), port, spares: Spares::default(), check: OnceCell::new() }
    }
}

fn output_bytes(port: &Port) -> usize {
    element_count(&port.shape) * port.dtype.size_bytes()
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
            let access = [("writable", is_in(&schedule.inputs)), ("readable", is_in(&schedule.outputs))];
            tensors.add(context, port, access).await?;
        }
        Ok(tensors)
    }

    /// Makes that of a port, for what the caller does with it.
    async fn add(
        &mut self,
        context: &Context,
        port: &Port,
        access: [(&'static str, bool); 2],
    ) -> Result<(), RemoteError> {
        let access = access.map(|(name, value)| (name, JsValue::from(value)));
        let descriptor = object(description(port.data_type, &port.shape).into_iter().chain(access));
        let made = context.wait("making the tensors failed", context.ml.create_tensor(&descriptor)).await?;
        self.0.insert(port.name.clone(), made);
        Ok(())
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

/// The tensor with a longer second dimension, filled up with zeros; `None` where it has that shape already.
fn padded(tensor: &Tensor, shape: &[usize]) -> Option<Tensor> {
    if tensor.shape() == shape {
        return None;
    }
    let size = tensor.dtype().size_bytes();
    let (from, to) = (columns(tensor.shape()) * size, columns(shape) * size);
    let mut padded = Tensor::zeros(tensor.dtype(), shape);
    copy_rows(tensor.bytes(), from, padded.bytes_mut(), to);
    Some(padded)
}

/// Elements of each item of the first dimension.
pub(super) fn columns(shape: &[usize]) -> usize {
    element_count(&shape[1..])
}
