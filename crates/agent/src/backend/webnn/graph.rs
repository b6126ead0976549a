//! From a program to an `MLGraph`: its constants are given and its calls are made, in the program's order.

use std::collections::BTreeMap;

use half::f16;
use js_sys::{Array, Function, Object, Reflect, Uint16Array};
use wasm_bindgen::{JsCast, JsValue};
use webnibble_common::wire::RemoteError;
use webnibble_kernels::webnn::{
    Argument, Arguments, Bytes, Call, Constant, ConstantMaker, DataType, Operand, Port, Program,
};

use super::context::{Context, from_webnn};
use super::sys::{Float16Array, MlGraph, MlGraphBuilder};
use crate::sys::object;

/// A built graph; it is destroyed with this.
pub(super) struct BuiltGraph(pub(super) MlGraph);

impl Drop for BuiltGraph {
    fn drop(&mut self) {
        // Browsers that cannot destroy a graph collect it.
        let _ = self.0.destroy_graph();
    }
}

impl BuiltGraph {
    /// Gives constants and operators to the browser, which copies the one and compiles the other. Constants are made one by
    /// one: wasm's memory never holds more than one of them beside the weights.
    pub(super) async fn build(
        context: &Context,
        program: &Program,
        maker: &mut ConstantMaker<'_>,
    ) -> Result<Self, RemoteError> {
        let mut builder = Builder::new(context)?;
        for constant in &program.constants {
            let elements = maker.bytes(constant).map_err(|e| from_webnn(&e))?;
            builder.constant(constant, &elements)?;
        }
        for input in &program.inputs {
            builder.input(input)?;
        }
        for call in &program.calls {
            builder.call(call)?;
        }
        builder.build(&program.outputs).await.map(Self)
    }

    /// Devices that the browser says it landed on; `None` where it says nothing.
    pub(super) fn devices(&self) -> Option<Vec<String>> {
        Some(self.0.devices()?.iter().filter_map(|name| name.as_string()).collect())
    }
}

/// A graph under construction.
struct Builder<'a> {
    context: &'a Context,
    ml: MlGraphBuilder,
    /// What the browser made of each operand so far.
    operands: BTreeMap<Operand, JsValue>,
}

impl<'a> Builder<'a> {
    fn new(context: &'a Context) -> Result<Self, RemoteError> {
        let ml = context.call("WebNN has no graph builder", || MlGraphBuilder::new(&context.ml))?;
        Ok(Self { context, ml, operands: BTreeMap::new() })
    }

    fn constant(&mut self, constant: &Constant, elements: &Bytes) -> Result<(), RemoteError> {
        let Constant { operand, dtype, shape, .. } = constant;
        let descriptor = object(description(*dtype, shape));
        let what = format!("constant {dtype} {shape:?}");
        let made = self.context.call(&what, || give(&self.ml, &descriptor, *dtype, elements))?;
        self.operands.insert(*operand, made);
        Ok(())
    }

    fn input(&mut self, port: &Port) -> Result<(), RemoteError> {
        let descriptor = object(description(port.data_type, &port.shape));
        let what = format!("WebNN refused input `{}`", port.name);
        let made = self.context.call(&what, || self.ml.input(&port.name, &descriptor))?;
        self.operands.insert(port.operand, made);
        Ok(())
    }

    fn call(&mut self, call: &Call) -> Result<(), RemoteError> {
        let (method, Arguments { given, options }) = (call.operation.name(), call.operation.arguments());
        let arguments: Array = given.iter().map(|(_, argument)| self.value(*argument)).collect();
        if !options.is_empty() {
            arguments.push(&object(options.iter().map(|(name, argument)| (*name, self.value(*argument)))));
        }
        let made = self.context.call(&format!("WebNN refused `{method}`"), || {
            let method: Function = Reflect::get(&self.ml, &method.into())?.dyn_into()?;
            method.apply(&self.ml, &arguments)
        })?;
        self.operands.insert(call.output, made);
        Ok(())
    }

    /// What stands for an argument in JavaScript.
    fn value(&self, argument: Argument<'_>) -> JsValue {
        match argument {
            Argument::Number(number) => (*number).into(),
            Argument::Axis(axis) => number(axis),
            Argument::Axes(axes) => axes.iter().map(number).collect::<Array>().into(),
            Argument::Flag(flag) => (*flag).into(),
            Argument::DataType(dtype) => dtype.name().into(),
            Argument::Operand(operand) => self.operand(operand),
            Argument::Operands(operands) => {
                operands.iter().map(|operand| self.operand(operand)).collect::<Array>().into()
            }
        }
    }

    fn operand(&self, operand: &Operand) -> JsValue {
        self.operands.get(operand).cloned().expect("a program makes operands before it reads them")
    }

    async fn build(&self, outputs: &[Port]) -> Result<MlGraph, RemoteError> {
        let outputs = object(outputs.iter().map(|port| (&*port.name, self.operand(&port.operand))));
        self.context.wait("building the WebNN graph failed", self.ml.build(&outputs)).await
    }
}

/// Fields of an `MLOperandDescriptor`.
pub(super) fn description(dtype: DataType, shape: &[usize]) -> [(&'static str, JsValue); 2] {
    let shape = shape.iter().map(number).collect::<Array>();
    [("dataType", dtype.name().into()), ("shape", shape.into())]
}

fn number(extent: &usize) -> JsValue {
    (*extent as f64).into()
}

/// Gives a constant; pairs of int4 are given as bytes.
fn give(ml: &MlGraphBuilder, descriptor: &Object, dtype: DataType, elements: &Bytes) -> Result<JsValue, JsValue> {
    match (elements, dtype) {
        (Bytes::F32(values), _) => ml.constant_f32(descriptor, values),
        (Bytes::F16(values), _) => ml.constant_f16(descriptor, &halves(values)),
        (Bytes::I32(values), DataType::Uint32) => ml.constant_u32(descriptor, bytemuck::cast_slice(values)),
        (Bytes::I32(values), _) => ml.constant_i32(descriptor, values),
        (Bytes::I8(pairs), DataType::Int4) => ml.constant_u8(descriptor, bytemuck::cast_slice(pairs)),
        (Bytes::I8(values), _) => ml.constant_i8(descriptor, values),
    }
}

/// A copy of numbers in half precision as the browser wants them: wasm-bindgen has no views of that type.
fn halves(values: &[f16]) -> Object {
    let bits = Uint16Array::from(bytemuck::cast_slice::<f16, u16>(values));
    Float16Array::new(&bits.buffer()).map_or(bits.into(), Object::from)
}
