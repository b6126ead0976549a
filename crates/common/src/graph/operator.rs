//! What every operator says about itself, and how it reads its operands' shapes.

use super::dim::{Dim, show_dims};
use super::error::GraphError;
use super::state::{State, StateId, StateWrite};
use super::value::{Columns, Value, ValueId};
use super::weight::{Weight, WeightId};
use crate::tensor::DType;

/// What every operator says about itself. Backends compute operators; whatever else there is to know of one is asked here.
pub trait Operator {
    /// Its name, in messages too: that of its file, its folder of kernels and its WGSL.
    fn name(&self) -> &'static str;

    /// The values that it reads, each operand once.
    fn reads(&self) -> Vec<Read>;

    /// Shape of what it makes. Panics when an operand's rank is too small to infer it from.
    fn shape(&self, shapes: &Shapes<'_>) -> Vec<Dim>;

    /// Element type of what it makes.
    fn dtype(&self) -> DType {
        DType::F32
    }

    /// Checks types and shapes of its operands.
    ///
    /// # Errors
    /// When one is not what it should be.
    fn check(&self, check: &Checker<'_>) -> Result<(), GraphError>;

    /// Values whose elements are row numbers, each with the table that they must lie in.
    fn row_numbers(&self) -> Vec<(ValueId, WeightId)> {
        Vec::new()
    }

    /// The states that it reads, each with what is written to it before. Whoever runs the operator writes it.
    fn states(&self) -> Vec<StateWrite> {
        Vec::new()
    }

    /// The limit that a learned table sets to the length of sequences.
    fn positions(&self) -> Option<Positions> {
        None
    }
}

/// A value that an operator reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The value.
    pub value: ValueId,
    /// Which rows of it.
    pub rows: Rows,
}

/// Rows of a value `[batch, rows, …]` that an operator reads to make a row of its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// The same row.
    Same,
    /// Every row that counts: those that [`Rows::Mask`] keeps, where the operator has one.
    All,
    /// The first row.
    First,
    /// Every row, which says of each row of the others whether it counts.
    Mask,
}

impl Rows {
    /// These rows of a value.
    pub(super) fn of(self, value: ValueId) -> Read {
        Read { value, rows: self }
    }
}

/// A table with a row for each position of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// Value `[batch, seq]` whose `seq` is limited.
    pub of: ValueId,
    /// The table.
    pub table: WeightId,
    /// Its row of the first position.
    pub offset: usize,
}

/// Descriptions of the values, weights and states of a graph.
#[derive(Clone, Copy)]
pub struct Shapes<'a> {
    pub(super) values: &'a [Value],
    pub(super) weights: &'a [Weight],
    pub(super) states: &'a [State],
}

impl<'a> Shapes<'a> {
    /// A value.
    pub fn value(&self, id: ValueId) -> &'a Value {
        &self.values[id.0]
    }

    /// A weight.
    pub fn weight(&self, id: WeightId) -> &'a Weight {
        &self.weights[id.0]
    }

    /// A state; `None` where the graph has none of that id.
    pub fn state(&self, id: StateId) -> Option<&'a State> {
        self.states.get(id.0)
    }

    /// Dimensions of a value with another last one.
    pub(super) fn with_last(&self, id: ValueId, last: usize) -> Vec<Dim> {
        let mut shape = self.value(id).shape.clone();
        *shape.last_mut().expect("operands have at least one dimension") = Dim::Fixed(last);
        shape
    }
}

/// The operands of one operator under check; every error names operator and operand.
pub struct Checker<'a> {
    pub(super) shapes: Shapes<'a>,
    pub(super) op: &'static str,
    pub(super) output: ValueId,
}

impl Checker<'_> {
    /// Dimensions of a value.
    pub(super) fn dims(&self, id: ValueId) -> &[Dim] {
        &self.shapes.value(id).shape
    }

    pub(super) fn expect(
        &self,
        operand: &'static str,
        holds: bool,
        expected: impl FnOnce() -> String,
        found: impl FnOnce() -> String,
    ) -> Result<(), GraphError> {
        if holds { Ok(()) } else { Err(self.wrong(operand, expected(), found())) }
    }

    /// A value of that type and rank.
    pub(super) fn value(
        &self,
        operand: &'static str,
        id: ValueId,
        dtype: DType,
        rank: usize,
    ) -> Result<(), GraphError> {
        let value = self.shapes.value(id);
        self.expect(
            operand,
            value.dtype == dtype && value.shape.len() == rank,
            || format!("{dtype} of rank {rank}"),
            || format!("{} {}", value.dtype, show_dims(&value.shape)),
        )
    }

    /// A value of that type, shaped as another.
    pub(super) fn same_shape(
        &self,
        operand: &'static str,
        id: ValueId,
        like: ValueId,
        dtype: DType,
    ) -> Result<(), GraphError> {
        let (value, like) = (self.shapes.value(id), self.shapes.value(like));
        self.expect(
            operand,
            value.dtype == dtype && value.shape == like.shape,
            || format!("{dtype} {}", show_dims(&like.shape)),
            || format!("{} {}", value.dtype, show_dims(&value.shape)),
        )
    }

    /// A mask of the rows `[batch, rows]`, where there is one.
    pub(super) fn mask(&self, mask: Option<ValueId>, rows: &[Dim]) -> Result<(), GraphError> {
        let Some(mask) = mask else { return Ok(()) };
        self.value("mask", mask, DType::U32, 2)?;
        let found = self.dims(mask);
        self.expect("mask", found == rows, || show_dims(rows), || show_dims(found))
    }

    /// A state of floats of that shape.
    pub(super) fn state(&self, operand: &'static str, id: StateId, shape: &[Dim]) -> Result<(), GraphError> {
        let state = self.shapes.state(id);
        let found = state.map_or("none".to_owned(), |state| format!("{} {}", state.dtype, show_dims(&state.shape)));
        let holds = state.is_some_and(|state| state.dtype == DType::F32 && state.shape == shape);
        self.expect(operand, holds, || format!("a state of f32 {}", show_dims(shape)), || found)
    }

    /// A float value whose last dimension is known: that dimension.
    pub(super) fn fixed_last(&self, operand: &'static str, id: ValueId) -> Result<usize, GraphError> {
        let value = self.shapes.value(id);
        match value.shape.last() {
            Some(Dim::Fixed(extent)) if value.dtype == DType::F32 => Ok(*extent),
            _ => {
                let found = format!("{} {}", value.dtype, show_dims(&value.shape));
                Err(self.wrong(operand, "f32 with a fixed last dimension".into(), found))
            }
        }
    }

    /// A float value of rank 3 that has `width` columns from the first of `columns` on.
    pub(super) fn columns(&self, operand: &'static str, columns: Columns, width: usize) -> Result<(), GraphError> {
        self.value(operand, columns.value, DType::F32, 3)?;
        let (found, end) = (self.fixed_last(operand, columns.value)?, columns.start + width);
        let expected = || format!("columns {}..{end} inside its last dimension", columns.start);
        self.expect(operand, end <= found, expected, || format!("{found} columns"))
    }

    /// A float value whose last dimension is `extent`.
    pub(super) fn last(&self, operand: &'static str, id: ValueId, extent: usize) -> Result<(), GraphError> {
        let found = self.fixed_last(operand, id)?;
        self.expect(operand, found == extent, || format!("[…, {extent}]"), || format!("[…, {found}]"))
    }

    /// A matrix: its rows and columns.
    pub(super) fn matrix(&self, operand: &'static str, id: WeightId) -> Result<[usize; 2], GraphError> {
        let shape = &self.shapes.weight(id).shape;
        self.expect(operand, shape.len() == 2, || "a matrix".into(), || format!("{shape:?}"))?;
        Ok([shape[0], shape[1]])
    }

    /// A vector of `len`.
    pub(super) fn vector(&self, operand: &'static str, id: WeightId, len: usize) -> Result<(), GraphError> {
        let shape = &self.shapes.weight(id).shape;
        self.expect(operand, shape[..] == [len], || format!("[{len}]"), || format!("{shape:?}"))
    }

    fn wrong(&self, operand: &'static str, expected: String, found: String) -> GraphError {
        let output = self.shapes.value(self.output).name.clone();
        GraphError::Operand { op: self.op, output, operand, expected, found }
    }
}
