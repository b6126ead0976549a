//! A schedule of programs, built on a context for one bucket of shapes.

use std::collections::{BTreeMap, BTreeSet};

use js_sys::{Array, Float32Array, Uint32Array};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use webnibble_common::result::WebNnInfo;
use webnibble_common::tensor::{DType, Tensor, element_count};
use webnibble_common::weights::WeightMap;
use webnibble_common::wire::RemoteError;
use webnibble_kernels::webnn::{Bucket, ConstantMaker, Lowering, Port, Program, Ranges, Schedule, copy_rows};

use super::context::{Context, from_js};
use super::from_webnn;
use super::sys::{JsExecutable, JsStep};
use crate::error::internal;

/// Built graphs with their tensors.
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
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    js: JsExecutable,
}

impl Drop for Executable {
    fn drop(&mut self) {
        self.js.destroy_executable();
    }
}

/// Graphs that are built one by one; let go of unless they end in an executable.
#[derive(Default)]
struct Steps(Vec<JsStep>);

impl Drop for Steps {
    fn drop(&mut self) {
        self.0.iter().for_each(JsStep::destroy_step);
    }
}

impl Steps {
    async fn build(
        &mut self,
        context: &Context,
        program: &Program,
        maker: &mut ConstantMaker<'_>,
    ) -> Result<(), RemoteError> {
        let builder = context.js.builder().map_err(|e| from_js(&e))?;
        for constant in &program.constants {
            let elements = maker.bytes(constant).map_err(|e| from_webnn(&e))?;
            let shape: Vec<u32> = constant.shape.iter().map(|extent| *extent as u32).collect();
            let number = constant.operand.0 as u32;
            let given = builder.constant(number, constant.dtype.name(), &shape, elements.as_bytes());
            given.map_err(|e| from_js(&e))?;
        }
        let built = JsFuture::from(builder.build(&program.to_json())).await.map_err(|e| from_js(&e))?;
        self.0.push(built.unchecked_into());
        Ok(())
    }

    /// Devices that the browser reports for any of them; `None` where it reports nothing.
    fn devices(&self) -> Option<Vec<String>> {
        let reported = self.0.iter().filter_map(JsStep::devices).collect::<Vec<_>>();
        let names: BTreeSet<_> = reported.iter().flat_map(|names| names.iter()).filter_map(|n| n.as_string()).collect();
        (!reported.is_empty()).then(|| names.into_iter().collect())
    }
}

impl Executable {
    /// Gives constants and operators to the browser, which copies the one and compiles the other.
    pub(super) async fn build(
        context: &Context,
        schedule: Schedule,
        (lowering, bucket): (Lowering, Bucket),
        (weights, ranges): (&WeightMap, &Ranges),
    ) -> Result<Self, RemoteError> {
        let mut steps = Steps::default();
        let mut maker = ConstantMaker::new(weights, ranges);
        for program in &schedule.programs {
            steps.build(context, program, &mut maker).await?;
        }
        let devices = steps.devices();
        let names = |ports: &[Port]| ports.iter().map(|port| port.name.clone()).collect::<Vec<_>>();
        let graphs: Array = std::mem::take(&mut steps.0).into_iter().collect();
        let made = context.js.executable(&graphs, names(&schedule.inputs), names(&schedule.outputs));
        let js: JsExecutable = JsFuture::from(made).await.map_err(|e| from_js(&e))?.unchecked_into();
        Ok(Self {
            bucket,
            lowering,
            parts: schedule.parts,
            constant_bytes: schedule.constant_bytes(),
            operators: schedule.operators(),
            linears: schedule.linears(),
            devices,
            inputs: schedule.inputs,
            outputs: schedule.outputs,
            js,
        })
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
        for (index, port) in self.inputs.iter().enumerate() {
            self.write(index, port, &zeros(port))?;
        }
        self.dispatch().await
    }

    /// Runs the graphs on inputs, padded to the bucket; `shape_of` gives the shape that an output is cut back to.
    pub(super) async fn run(
        &self,
        inputs: &[(String, Tensor)],
        shape_of: impl Fn(&str) -> Result<Vec<usize>, RemoteError>,
    ) -> Result<Vec<(String, Tensor)>, RemoteError> {
        for (index, port) in self.inputs.iter().enumerate() {
            let tensor = inputs.iter().find(|(name, _)| *name == port.value).map(|(_, tensor)| tensor);
            let tensor = tensor.ok_or_else(|| internal(format!("input `{}` is missing", port.value)))?;
            match resized(tensor, &port.value_shape)? {
                Some(padded) => self.write(index, port, &padded)?,
                None => self.write(index, port, tensor)?,
            }
        }
        self.dispatch().await?;
        let mut outputs: Vec<(String, Tensor)> = Vec::new();
        for name in self.outputs.iter().map(|port| &port.value) {
            if !outputs.iter().any(|(known, _)| known == name) {
                outputs.push((name.clone(), self.output(name, &shape_of(name)?)?));
            }
        }
        Ok(outputs)
    }

    /// Writes what a port holds of a value.
    fn write(&self, index: usize, port: &Port, value: &Tensor) -> Result<(), RemoteError> {
        let index = index as u32;
        let part = port.offset..port.offset + element_count(&port.shape);
        let written = match (value.as_f32(), value.as_u32()) {
            (Ok(values), _) => self.js.write_f32(index, &values[part]),
            (_, Ok(values)) => self.js.write_u32(index, &values[part]),
            (Err(problem), Err(_)) => return Err(internal(problem.to_string())),
        };
        written.map_err(|e| from_js(&e))
    }

    async fn dispatch(&self) -> Result<(), RemoteError> {
        JsFuture::from(self.js.run()).await.map_err(|e| from_js(&e))?;
        Ok(())
    }

    /// An output of the last run, put together of its parts and cut back from the bucket's shape to `shape`.
    fn output(&self, name: &str, shape: &[usize]) -> Result<Tensor, RemoteError> {
        let mut parts: Vec<_> = self.outputs.iter().enumerate().filter(|(_, port)| port.value == name).collect();
        parts.sort_by_key(|(_, port)| port.offset);
        let (_, first) = *parts.first().ok_or_else(|| internal(format!("there is no output `{name}`")))?;
        let found = parts.iter().map(|(index, _)| self.js.output(*index as u32));
        let bucket = first.value_shape.clone();
        let whole = match first.dtype {
            DType::F32 => {
                Tensor::f32(bucket, found.flat_map(|one| one.unchecked_into::<Float32Array>().to_vec()).collect())
            }
            DType::U32 => {
                Tensor::u32(bucket, found.flat_map(|one| one.unchecked_into::<Uint32Array>().to_vec()).collect())
            }
        };
        let whole = whole.map_err(|e| internal(e.to_string()))?;
        Ok(resized(&whole, shape)?.unwrap_or(whole))
    }
}

fn zeros(port: &Port) -> Tensor {
    let (shape, count) = (port.value_shape.clone(), element_count(&port.value_shape));
    let tensor = match port.dtype {
        DType::F32 => Tensor::f32(shape, vec![0.0; count]),
        DType::U32 => Tensor::u32(shape, vec![0; count]),
    };
    tensor.expect("as many elements as the shape has")
}

/// The tensor with another second dimension, cut or padded with zeros; `None` where it has that shape already.
fn resized(tensor: &Tensor, shape: &[usize]) -> Result<Option<Tensor>, RemoteError> {
    if tensor.shape() == shape {
        return Ok(None);
    }
    let columns = |shape: &[usize]| element_count(&shape[1..]);
    let (from, to, count) = (columns(tensor.shape()), columns(shape), element_count(shape));
    let made = match (tensor.as_f32(), tensor.as_u32()) {
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
    made.map(Some).map_err(|e| internal(e.to_string()))
}
