//! A program, built on a context for one bucket of shapes.

use std::collections::BTreeMap;

use js_sys::{Float32Array, Uint32Array};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use webnibble_common::result::WebNnInfo;
use webnibble_common::tensor::{DType, Tensor, element_count};
use webnibble_common::weights::WeightMap;
use webnibble_common::wire::RemoteError;
use webnibble_kernels::webnn::{Bucket, ConstantMaker, Lowering, Port, Program, Ranges, copy_rows};

use super::context::{Context, from_js};
use super::from_webnn;
use super::sys::JsExecutable;
use crate::error::internal;

/// A built graph with its tensors.
pub(super) struct Executable {
    /// The shapes it is built for.
    pub(super) bucket: Bucket,
    /// How weights were given to it.
    pub(super) lowering: Lowering,
    /// Bytes of its constants.
    pub(super) constant_bytes: u64,
    /// How many linear operators get their weights in which way.
    pub(super) linears: BTreeMap<&'static str, usize>,
    operators: BTreeMap<String, usize>,
    devices: Option<Vec<String>>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    js: JsExecutable,
}

impl Drop for Executable {
    fn drop(&mut self) {
        self.js.destroy_executable();
    }
}

impl Executable {
    /// Gives constants and operators to the browser, which copies the one and compiles the other.
    pub(super) async fn build(
        context: &Context,
        program: Program,
        (lowering, bucket): (Lowering, Bucket),
        (weights, ranges): (&WeightMap, &Ranges),
    ) -> Result<Self, RemoteError> {
        let builder = context.js.builder().map_err(|e| from_js(&e))?;
        let mut maker = ConstantMaker::new(weights, ranges);
        for constant in &program.constants {
            let elements = maker.bytes(constant).map_err(|e| from_webnn(&e))?;
            let shape: Vec<u32> = constant.shape.iter().map(|extent| *extent as u32).collect();
            let number = constant.operand.0 as u32;
            let given = builder.constant(number, constant.dtype.name(), &shape, elements.as_bytes());
            given.map_err(|e| from_js(&e))?;
        }
        let built = JsFuture::from(builder.build(&program.to_json())).await.map_err(|e| from_js(&e))?;
        let js: JsExecutable = built.unchecked_into();
        let devices: Option<Vec<String>> =
            js.devices().map(|names| names.iter().filter_map(|name| name.as_string()).collect());
        let executable = Self {
            bucket,
            lowering,
            constant_bytes: program.constant_bytes(),
            operators: program.operators(),
            linears: program.linears,
            devices,
            inputs: program.inputs,
            outputs: program.outputs,
            js,
        };
        context.check_devices(executable.devices.as_deref())?;
        Ok(executable)
    }

    /// What the result says of it.
    pub(super) fn info(&self, requested: String) -> WebNnInfo {
        WebNnInfo {
            requested,
            reported_devices: self.devices.clone(),
            lowering: self.lowering.name().to_owned(),
            operators: self.operators.clone(),
        }
    }

    /// Runs the graph on inputs of zeros, for timing.
    pub(super) async fn run_zeros(&self) -> Result<(), RemoteError> {
        for (index, port) in self.inputs.iter().enumerate() {
            self.write(index, &zeros(port))?;
        }
        self.dispatch().await
    }

    /// Runs the graph on inputs, padded to the bucket; `shape_of` gives the shape that an output is cut back to.
    pub(super) async fn run(
        &self,
        inputs: &[(String, Tensor)],
        shape_of: impl Fn(&str) -> Result<Vec<usize>, RemoteError>,
    ) -> Result<Vec<(String, Tensor)>, RemoteError> {
        for (index, port) in self.inputs.iter().enumerate() {
            let tensor = inputs.iter().find(|(name, _)| *name == port.name).map(|(_, tensor)| tensor);
            let tensor = tensor.ok_or_else(|| internal(format!("input `{}` is missing", port.name)))?;
            match resized(tensor, &port.value_shape)? {
                Some(padded) => self.write(index, &padded)?,
                None => self.write(index, tensor)?,
            }
        }
        self.dispatch().await?;
        let outputs = self.outputs.iter().enumerate();
        outputs
            .map(|(index, port)| Ok((port.name.clone(), self.output(index, port, &shape_of(&port.name)?)?)))
            .collect()
    }

    fn write(&self, index: usize, tensor: &Tensor) -> Result<(), RemoteError> {
        let index = index as u32;
        let written = match (tensor.as_f32(), tensor.as_u32()) {
            (Ok(values), _) => self.js.write_f32(index, values),
            (_, Ok(values)) => self.js.write_u32(index, values),
            (Err(problem), Err(_)) => return Err(internal(problem.to_string())),
        };
        written.map_err(|e| from_js(&e))
    }

    async fn dispatch(&self) -> Result<(), RemoteError> {
        JsFuture::from(self.js.run()).await.map_err(|e| from_js(&e))?;
        Ok(())
    }

    /// An output of the last run, cut back from the bucket's shape to `shape`.
    fn output(&self, index: usize, port: &Port, shape: &[usize]) -> Result<Tensor, RemoteError> {
        let found = self.js.output(index as u32);
        let bucket = port.value_shape.clone();
        let whole = match port.dtype {
            DType::F32 => Tensor::f32(bucket, found.unchecked_into::<Float32Array>().to_vec()),
            DType::U32 => Tensor::u32(bucket, found.unchecked_into::<Uint32Array>().to_vec()),
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
