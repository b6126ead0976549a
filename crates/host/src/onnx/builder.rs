//! Building an ONNX graph: nodes with fresh names, and each constant once.

use std::collections::BTreeMap;

use half::f16;
use prost::Message as _;

use crate::onnx_file::proto::{
    Attribute, Dimension, ElementType, Entry, GraphProto, ModelProto, NodeProto, OperatorSet, Shape, TensorProto,
    TensorType, Type, ValueInfo,
};

/// Version of ONNX's own operators: the first with scales by block in `DequantizeLinear`.
pub const OPSET: i64 = 21;
/// Version of the file format that brought 4-bit types.
const IR_VERSION: i64 = 10;
/// Who made a file.
const PRODUCER: &str = "webnibble";
/// The domain of onnxruntime's own operators.
pub(super) const CONTRIB: &str = "com.microsoft";

/// An extent of an input or output.
#[derive(Clone, Debug)]
pub(super) enum Extent {
    Fixed(usize),
    Symbol(String),
}

/// A graph in the making. Values are known by their names.
pub(super) struct Builder {
    graph: GraphProto,
    /// Nodes so far, by operator: names stay short and readable.
    counts: BTreeMap<String, usize>,
    constants: BTreeMap<String, String>,
    /// What floats are computed in.
    pub(super) float: ElementType,
}

impl Builder {
    pub(super) fn new(name: &str, float: ElementType) -> Self {
        let graph = GraphProto { name: name.to_owned(), ..GraphProto::default() };
        Self { graph, counts: BTreeMap::new(), constants: BTreeMap::new(), float }
    }

    pub(super) fn input(&mut self, name: &str, element: ElementType, shape: &[Extent]) {
        self.graph.input.push(value_info(name, element, shape));
    }

    pub(super) fn output(&mut self, name: &str, element: ElementType, shape: &[Extent]) {
        self.graph.output.push(value_info(name, element, shape));
    }

    /// Adds an operator of ONNX with one output, and names that.
    pub(super) fn node(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let output = self.fresh(op);
        self.push("", op, inputs, vec![output.clone()], attributes);
        output
    }

    /// Gives an output of the graph the name that callers know it by, as f32.
    pub(super) fn name_output(&mut self, made: &str, name: &str) {
        if self.float != ElementType::Float {
            let to = vec![Attribute::int("to", ElementType::Float as i64)];
            return self.push("", "Cast", &[made], vec![name.to_owned()], to);
        }
        for node in &mut self.graph.node {
            for used in node.input.iter_mut().chain(&mut node.output).filter(|used| *used == made) {
                name.clone_into(used);
            }
        }
    }

    /// Adds an operator with several outputs.
    pub(super) fn split(&mut self, op: &str, inputs: &[&str], count: usize, attributes: Vec<Attribute>) -> Vec<String> {
        let outputs: Vec<String> = (0..count).map(|_| self.fresh(op)).collect();
        self.push("", op, inputs, outputs.clone(), attributes);
        outputs
    }

    /// Adds an operator of onnxruntime's.
    pub(super) fn contrib(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let output = self.fresh(op);
        self.push(CONTRIB, op, inputs, vec![output.clone()], attributes);
        output
    }

    fn push(&mut self, domain: &str, op: &str, inputs: &[&str], output: Vec<String>, attribute: Vec<Attribute>) {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            name: format!("node/{}", output[0]),
            output,
            op_type: op.to_owned(),
            attribute,
            domain: domain.to_owned(),
        });
    }

    fn fresh(&mut self, op: &str) -> String {
        let count = self.counts.entry(op.to_owned()).or_default();
        *count += 1;
        format!("{op}_{count}")
    }

    /// Adds a constant of the model under its own name.
    pub(super) fn weight(&mut self, name: &str, dims: &[usize], element: ElementType, raw_data: Vec<u8>) -> String {
        let dims = dims.iter().map(|extent| *extent as i64).collect();
        self.graph.initializer.push(TensorProto { dims, data_type: element as i32, name: name.to_owned(), raw_data });
        name.to_owned()
    }

    /// Adds floats of the model, in the type that is computed in.
    pub(super) fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let bytes = float_bytes(self.float, values);
        self.weight(name, dims, self.float, bytes)
    }

    /// A list of whole numbers, such as a shape.
    pub(super) fn ints(&mut self, values: &[i64]) -> String {
        let name = format!("ints_{}", values.iter().map(ToString::to_string).collect::<Vec<_>>().join("_"));
        let bytes = || values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, &[values.len()], ElementType::Int64, bytes)
    }

    /// A number in the type that is computed in.
    pub(super) fn scalar(&mut self, value: f32) -> String {
        let float = self.float;
        self.constant(format!("scalar_{value:e}"), &[], float, || float_bytes(float, &[value]))
    }

    fn constant(
        &mut self,
        key: String,
        dims: &[usize],
        element: ElementType,
        bytes: impl FnOnce() -> Vec<u8>,
    ) -> String {
        if let Some(name) = self.constants.get(&key) {
            return name.clone();
        }
        let name = self.weight(&key, dims, element, bytes());
        self.constants.insert(key, name.clone());
        name
    }

    /// `x` in another type.
    pub(super) fn cast(&mut self, x: &str, element: ElementType) -> String {
        self.node("Cast", &[x], vec![Attribute::int("to", element as i64)])
    }

    /// The whole file.
    pub(super) fn finish(self, metadata: Vec<(String, String)>) -> ModelProto {
        let mut opset_import = vec![OperatorSet { domain: String::new(), version: OPSET }];
        if self.graph.node.iter().any(|node| node.domain == CONTRIB) {
            opset_import.push(OperatorSet { domain: CONTRIB.to_owned(), version: 1 });
        }
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: PRODUCER.into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(self.graph),
            opset_import,
            metadata_props: metadata.into_iter().map(|(key, value)| Entry { key, value }).collect(),
        }
    }
}

/// The bytes that every file of ours begins with, and no other does.
pub(super) fn first_bytes() -> Vec<u8> {
    ModelProto { ir_version: IR_VERSION, producer_name: PRODUCER.into(), ..ModelProto::default() }.encode_to_vec()
}

/// Floats as bytes of that type.
pub(super) fn float_bytes(element: ElementType, values: &[f32]) -> Vec<u8> {
    match element {
        ElementType::Float16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

fn value_info(name: &str, element: ElementType, shape: &[Extent]) -> ValueInfo {
    let dimension = |extent: &Extent| match extent {
        Extent::Fixed(extent) => Dimension { value: Some(*extent as i64), symbol: None },
        Extent::Symbol(name) => Dimension { value: None, symbol: Some(name.clone()) },
    };
    let shape = Some(Shape { dim: shape.iter().map(dimension).collect() });
    let tensor = Some(TensorType { element: element as i32, shape });
    ValueInfo { name: name.to_owned(), kind: Some(Type { tensor }) }
}
