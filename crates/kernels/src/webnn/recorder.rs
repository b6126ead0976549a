//! The program under construction: operands by number, values of the graph, and what the context takes.

use std::collections::{BTreeMap, BTreeSet};

use webnibble_common::graph::{Bindings, Graph, Role, ValueId, WeightId};
use webnibble_common::quant::Layout;
use webnibble_common::tensor::{DType, element_count};

use super::constants::{Constant, Source};
use super::error::WebNnError;
use super::infer::{Desc, infer};
use super::lowering::Lowering;
use super::operand::{DataType, Operand};
use super::program::{Call, Operation, Port, Program};
use super::target::Target;
use crate::plan::weights::Formats;

/// A float value of the graph, `[rows, cols]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) operand: Operand,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

/// A tensor that a program reads or writes: a value, or the part of it that lies together from `offset` on.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    /// Name of the tensor.
    pub(crate) name: String,
    /// Shape of that part, in the graph.
    pub(crate) shape: Vec<usize>,
    /// First element of the value.
    pub(crate) offset: usize,
    /// The value's own shape.
    pub(crate) whole: Vec<usize>,
}

/// What attention and pooling need of a mask, made once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MaskOperands {
    /// 1 keeps, 0 drops, `[batch, keys]`.
    pub(crate) keep: Operand,
    /// 0 keeps, [`Recorder::far_below`] drops, `[batch, keys]`.
    pub(crate) bias: Operand,
    /// 1 where any is kept, `[batch, 1]`.
    pub(crate) any: Operand,
}

pub(crate) struct Recorder<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) target: &'a Target<'a>,
    bindings: &'a Bindings,
    layouts: Vec<Option<Layout>>,
    descs: Vec<Desc>,
    constants: Vec<Constant>,
    inputs: Vec<Port>,
    calls: Vec<Call>,
    outputs: Vec<Port>,
    /// By [`ValueId`].
    values: Vec<Option<Operand>>,
    /// Values that are there in parts, of which operators read all.
    pieces: BTreeMap<ValueId, Vec<Value>>,
    /// Row of the sequence that this program's first row is.
    first_row: usize,
    masks: BTreeMap<ValueId, MaskOperands>,
    /// Inputs cast to what the program computes in.
    casts: BTreeMap<Operand, Operand>,
    linears: BTreeMap<&'static str, usize>,
}

impl<'a> Recorder<'a> {
    /// A program with nothing in it.
    pub(crate) fn new(
        graph: &'a Graph,
        formats: &Formats,
        bindings: &'a Bindings,
        target: &'a Target<'a>,
    ) -> Result<Self, WebNnError> {
        let layout = |weight: &webnibble_common::graph::Weight| match weight.role {
            Role::Vector => Ok(None),
            _ => {
                let format = formats.get(&weight.name);
                let format = format.ok_or_else(|| WebNnError::MissingWeight(weight.name.clone()))?;
                Ok(Some(Layout::new(*format, weight.shape[0], weight.shape[1])))
            }
        };
        let layouts = graph.weights.iter().map(layout).collect::<Result<_, WebNnError>>()?;
        Ok(Self {
            graph,
            target,
            bindings,
            layouts,
            descs: Vec::new(),
            constants: Vec::new(),
            inputs: Vec::new(),
            calls: Vec::new(),
            outputs: Vec::new(),
            values: vec![None; graph.values.len()],
            pieces: BTreeMap::new(),
            first_row: 0,
            masks: BTreeMap::new(),
            casts: BTreeMap::new(),
            linears: BTreeMap::new(),
        })
    }

    /// Says that the program's rows are those of the sequence from `row` on.
    pub(crate) fn start_at(&mut self, row: usize) {
        self.first_row = row;
    }

    /// Row of the sequence that this program's first row is.
    pub(crate) fn first_row(&self) -> usize {
        self.first_row
    }

    /// A tensor that the program is given; the same where it is read already.
    pub(crate) fn read(&mut self, id: ValueId, slice: Slice) -> Result<Operand, WebNnError> {
        if let Some(port) = self.inputs.iter().find(|port| port.name == slice.name) {
            return Ok(port.operand);
        }
        let value = self.graph.value_of(id);
        if element_count(&slice.shape) == 0 {
            return Err(WebNnError::Empty(value.name.clone()));
        }
        let (data_type, shape) = match value.dtype {
            DType::F32 => (DataType::Float32, rows_and_cols(&slice.shape).to_vec()),
            DType::F16 => (DataType::Float16, rows_and_cols(&slice.shape).to_vec()),
            DType::U32 => (self.index_type(), slice.shape),
            DType::I8 => (DataType::Int8, rows_and_cols(&slice.shape).to_vec()),
        };
        let operand = self.operand(Desc { dtype: data_type, shape: shape.clone() }, || value.name.clone())?;
        let (dtype, value) = (value.dtype, value.name.clone());
        let Slice { name, offset, whole: value_shape, .. } = slice;
        self.inputs.push(Port { name, operand, data_type, shape, value, dtype, value_shape, offset });
        Ok(operand)
    }

    /// The parts of a value that operators read all of.
    pub(crate) fn read_pieces(&mut self, id: ValueId, slices: Vec<Slice>) -> Result<(), WebNnError> {
        let mut pieces = Vec::new();
        for slice in slices {
            let [rows, cols] = rows_and_cols(&slice.shape);
            let operand = self.read(id, slice)?;
            pieces.push(Value { operand: self.cast(operand, self.compute())?, rows, cols });
        }
        self.pieces.insert(id, pieces);
        Ok(())
    }

    /// All rows of a value, in as many parts as it is there.
    pub(crate) fn pieces(&mut self, id: ValueId) -> Result<Vec<Value>, WebNnError> {
        match self.pieces.get(&id) {
            Some(pieces) => Ok(pieces.clone()),
            None => Ok(vec![self.value(id)?]),
        }
    }

    /// Type of ids and masks: their bytes are the same in both.
    fn index_type(&self) -> DataType {
        let limits = self.target.limits;
        let unsigned = limits.takes_input(DataType::Uint32)
            && limits.takes("gather", "indices", DataType::Uint32, 2)
            && limits.takes("cast", "input", DataType::Uint32, 2);
        if unsigned { DataType::Uint32 } else { DataType::Int32 }
    }

    /// The value's shape in the graph, checked to have elements.
    pub(crate) fn shape(&self, id: ValueId) -> Result<Vec<usize>, WebNnError> {
        let shape = self.graph.shape(id, self.bindings)?;
        if element_count(&shape) == 0 {
            return Err(WebNnError::Empty(self.graph.value_of(id).name.clone()));
        }
        Ok(shape)
    }

    /// A float value as it is computed with.
    pub(crate) fn value(&mut self, id: ValueId) -> Result<Value, WebNnError> {
        let operand = self.indices(id);
        let operand = match self.casts.get(&operand) {
            Some(cast) => *cast,
            None => {
                let cast = self.cast(operand, self.compute())?;
                self.casts.insert(operand, cast);
                cast
            }
        };
        let [rows, cols] = rows_and_cols(&self.descs[operand.0].shape);
        Ok(Value { operand, rows, cols })
    }

    /// An input of ids, or any value as it was made.
    pub(crate) fn indices(&self, id: ValueId) -> Operand {
        self.values[id.0].expect("a valid graph makes values before it reads them")
    }

    /// What an operator made.
    pub(crate) fn bind(&mut self, id: ValueId, operand: Operand) {
        self.values[id.0] = Some(operand);
    }

    /// Layout of a matrix.
    pub(crate) fn layout(&self, id: WeightId) -> Result<Layout, WebNnError> {
        self.layouts[id.0].ok_or_else(|| WebNnError::MissingWeight(self.name(id)))
    }

    /// Name of a weight.
    pub(crate) fn name(&self, id: WeightId) -> String {
        self.graph.weight_of(id).name.clone()
    }

    /// What the program computes in.
    pub(crate) fn compute(&self) -> DataType {
        self.target.lowering.compute()
    }

    /// What is added to a score to make its weight 0: far below every score, yet far from overflow.
    pub(crate) fn far_below(&self) -> f64 {
        if self.target.lowering == Lowering::HalfCompute { -3e4 } else { -1e30 }
    }

    /// Counts a linear operator whose weights come in that way.
    pub(crate) fn count_linear(&mut self, how: &'static str) {
        *self.linears.entry(how).or_default() += 1;
    }

    /// Adds an operation; checks that the context takes it.
    pub(crate) fn call(&mut self, operation: Operation) -> Result<Operand, WebNnError> {
        let describe = |operand: Operand| (self.descs[operand.0].dtype, self.descs[operand.0].shape.len());
        if let Some((operand, dtype, rank)) = self.target.limits.refuses(&operation, describe) {
            return Err(WebNnError::Operator { operator: operation.name(), operand, dtype, rank });
        }
        let desc = infer(&operation, |operand| &self.descs[operand.0]);
        let output = self.operand(desc, || operation.name().to_owned())?;
        self.calls.push(Call { output, operation });
        Ok(output)
    }

    /// A constant, to be made when the graph is built.
    pub(crate) fn constant(
        &mut self,
        dtype: DataType,
        shape: impl Into<Vec<usize>>,
        source: Source,
    ) -> Result<Operand, WebNnError> {
        let shape = shape.into();
        let mut constant = Constant { operand: Operand(0), dtype, shape: shape.clone(), source };
        let operand = self.operand(Desc { dtype, shape }, || constant.name().to_owned())?;
        constant.operand = operand;
        self.constants.push(constant);
        Ok(operand)
    }

    /// One number of the type that is computed in, of a rank that broadcasts with `rank` dimensions.
    pub(crate) fn number(&mut self, value: f64, rank: usize) -> Result<Operand, WebNnError> {
        self.constant(self.compute(), vec![1; rank], Source::Numbers(vec![value]))
    }

    /// A vector of the package, `[len]`.
    pub(crate) fn vector(&mut self, id: WeightId) -> Result<Operand, WebNnError> {
        let source = Source::Vector(self.name(id));
        self.constant(self.compute(), self.graph.weight_of(id).shape.clone(), source)
    }

    pub(crate) fn add(&mut self, a: Operand, b: Operand) -> Result<Operand, WebNnError> {
        self.call(Operation::Add { a, b })
    }

    pub(crate) fn mul(&mut self, a: Operand, b: Operand) -> Result<Operand, WebNnError> {
        self.call(Operation::Mul { a, b })
    }

    /// The same operand where it has that type already.
    pub(crate) fn cast(&mut self, input: Operand, to: DataType) -> Result<Operand, WebNnError> {
        if self.descs[input.0].dtype == to {
            return Ok(input);
        }
        self.call(Operation::Cast { input, to })
    }

    /// Matrices one below the other; the same operand where there is one.
    pub(crate) fn stack(&mut self, inputs: Vec<Operand>) -> Result<Operand, WebNnError> {
        match inputs[..] {
            [one] => Ok(one),
            _ => self.call(Operation::Concat { inputs, axis: 0 }),
        }
    }

    /// The same operand where it has that shape already.
    pub(crate) fn reshape(&mut self, input: Operand, shape: impl Into<Vec<usize>>) -> Result<Operand, WebNnError> {
        let shape = shape.into();
        if self.descs[input.0].shape == shape {
            return Ok(input);
        }
        self.call(Operation::Reshape { input, shape })
    }

    /// What a mask stands for.
    pub(crate) fn mask(&mut self, id: ValueId) -> Result<MaskOperands, WebNnError> {
        if let Some(made) = self.masks.get(&id) {
            return Ok(*made);
        }
        let floats = self.cast(self.indices(id), self.compute())?;
        // Any value but 0 keeps.
        let keep = self.call(Operation::Clamp { input: floats, min: None, max: Some(1.0) })?;
        let one = self.number(1.0, 2)?;
        let dropped = self.call(Operation::Sub { a: one, b: keep })?;
        let far = self.number(self.far_below(), 2)?;
        let bias = self.mul(dropped, far)?;
        let any = self.call(Operation::ReduceMax { input: keep, axes: vec![1] })?;
        let made = MaskOperands { keep, bias, any };
        self.masks.insert(id, made);
        Ok(made)
    }

    /// Gives a value out, floats in the precision that the graph says.
    pub(crate) fn write(&mut self, id: ValueId, slice: Slice) -> Result<(), WebNnError> {
        let (dtype, value) = (self.graph.value_of(id).dtype, self.graph.value_of(id).name.clone());
        let operand = match dtype {
            DType::F32 => self.cast(self.indices(id), DataType::Float32)?,
            DType::F16 => self.cast(self.indices(id), DataType::Float16)?,
            DType::U32 | DType::I8 => self.indices(id),
        };
        let Desc { dtype: data_type, shape } = self.descs[operand.0].clone();
        let Slice { name, offset, whole: value_shape, .. } = slice;
        self.outputs.push(Port { name, operand, data_type, shape, value, dtype, value_shape, offset });
        Ok(())
    }

    /// The program.
    pub(crate) fn finish(mut self) -> Program {
        // Pooling of the first token has no use for its mask, and a graph has no input that nothing reads.
        let reads: BTreeSet<Operand> =
            self.calls.iter().flat_map(|call| call.operation.operands()).map(|(_, operand)| operand).collect();
        self.inputs.retain(|port| reads.contains(&port.operand));
        Program {
            constants: self.constants,
            inputs: self.inputs,
            calls: self.calls,
            outputs: self.outputs,
            linears: self.linears,
            part: None,
        }
    }

    fn operand(&mut self, desc: Desc, name: impl FnOnce() -> String) -> Result<Operand, WebNnError> {
        let bytes = desc.dtype.bytes(element_count(&desc.shape));
        match self.target.limits.max_tensor_bytes {
            Some(limit) if bytes > limit => Err(WebNnError::TooLarge { name: name(), bytes, limit }),
            _ => {
                self.descs.push(desc);
                Ok(Operand(self.descs.len() - 1))
            }
        }
    }
}

/// A shape as a matrix: everything before the last dimension makes rows.
fn rows_and_cols(shape: &[usize]) -> [usize; 2] {
    match shape {
        [] => [1, 1],
        [outer @ .., cols] => [element_count(outer), *cols],
    }
}
