//! Sets of states: what one conversation keeps. Two conversations over one model are two sets.
//!
//! This is how the executors of the CPU keep them, and what a device's set is compared with. Positions lie in blocks, so that
//! growth never moves what is there.

use std::collections::BTreeMap;

use crate::graph::{Bindings, DimError, State, Written};
use crate::tensor::{DType, Tensor, element_count};

/// Positions of a block.
pub const BLOCK_POSITIONS: usize = 128;

/// What one conversation keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct StateSet {
    states: BTreeMap<String, Kept>,
    batch: usize,
    past: usize,
}

/// One state of a conversation.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    dtype: DType,
    /// Of one position of one item.
    shape: Vec<usize>,
    capacity: usize,
    /// Each `[batch, BLOCK_POSITIONS, shape…]`, the last of fewer positions where the capacity ends in it.
    blocks: Vec<Tensor>,
}

/// Why a set of states cannot be made or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A dimension has no extent.
    #[error("state `{state}`: {error}")]
    Dim {
        /// The state.
        state: String,
        /// Which dimension, and why.
        error: DimError,
    },
    /// There is no state of that name.
    #[error("there is no state `{0}`")]
    Unknown(String),
    /// What is written is not what the state keeps.
    #[error("state `{state}` should be written with {expected}, found {found}")]
    Shape {
        /// The state.
        state: String,
        /// Type and shape that it keeps.
        expected: String,
        /// Type and shape of what was given.
        found: String,
    },
    /// A run of another batch.
    #[error("the states are of a batch of {expected}, found {found}: a conversation keeps its batch")]
    Batch {
        /// Items that the states are for.
        expected: usize,
        /// Items of the run.
        found: usize,
    },
    /// There is no room.
    #[error(
        "state `{state}` has room for {capacity} positions, found {wanted}: begin a new conversation, or ask for a larger capacity"
    )]
    Full {
        /// The state.
        state: String,
        /// Positions that it has room for.
        capacity: usize,
        /// Positions that were to be in it.
        wanted: usize,
    },
    /// Rows of the batch that are not there.
    #[error("rows of the batch should be {batch} numbers below {batch}, found {found:?}")]
    Rows {
        /// Items of the batch.
        batch: usize,
        /// What was given.
        found: Vec<usize>,
    },
}

impl StateSet {
    /// An empty set for `batch` items; `bindings` say how large the states are. Memory comes as they grow.
    ///
    /// # Errors
    /// When a symbol of a state is not bound.
    pub fn new(states: &[State], batch: usize, bindings: &Bindings) -> Result<Self, StateError> {
        let kept = |state: &State| {
            let error = |error| StateError::Dim { state: state.name.clone(), error };
            let shape = bindings.extents(&state.shape).map_err(error)?;
            let capacity = bindings.extent(&state.capacity).map_err(error)?;
            let kept = Kept { dtype: state.dtype, shape, capacity, blocks: Vec::new() };
            Ok((state.name.clone(), kept))
        };
        Ok(Self { states: states.iter().map(kept).collect::<Result<_, _>>()?, batch, past: 0 })
    }

    /// Positions that count: the next ones are written behind them.
    pub fn past(&self) -> usize {
        self.past
    }

    /// Says how many positions count, after all states were written or to drop the last ones. Nothing is moved or cleared.
    pub fn set_past(&mut self, past: usize) {
        self.past = past;
    }

    /// Items of the batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Makes room in every state for what a run writes, or changes nothing.
    ///
    /// # Errors
    /// When the batch is another, or a state has no room for as many positions.
    pub fn reserve(&mut self, run: Written) -> Result<(), StateError> {
        if run.batch != self.batch {
            return Err(StateError::Batch { expected: self.batch, found: run.batch });
        }
        let wanted = self.past + run.positions;
        self.states.iter().try_for_each(|(name, kept)| kept.check_room(name, wanted))?;
        self.states.values_mut().for_each(|kept| kept.grow(wanted, run.batch));
        Ok(())
    }

    /// Writes positions `[batch, count, shape…]` in place behind those that count.
    ///
    /// # Errors
    /// When there is no such state, no room, or what is given is something else.
    pub fn write(&mut self, state: &str, positions: &Tensor) -> Result<(), StateError> {
        let (batch, past) = (self.batch, self.past);
        let kept = self.states.get_mut(state).ok_or_else(|| StateError::Unknown(state.to_owned()))?;
        let count = kept.positions_of(state, positions, batch)?;
        kept.check_room(state, past + count)?;
        kept.grow(past + count, batch);
        let row = kept.position_bytes();
        for (index, bytes) in positions.bytes().chunks_exact(row.max(1)).enumerate() {
            let (item, position) = (index / count, past + index % count);
            kept.position_mut(item, position).copy_from_slice(bytes);
        }
        Ok(())
    }

    /// A copy of the first `count` positions, `[batch, count, shape…]`.
    ///
    /// # Errors
    /// When there is no such state, or not as many positions were ever written.
    pub fn read(&self, state: &str, count: usize) -> Result<Tensor, StateError> {
        let kept = self.states.get(state).ok_or_else(|| StateError::Unknown(state.to_owned()))?;
        let room = kept.room();
        if count > room {
            return Err(StateError::Full { state: state.to_owned(), capacity: room, wanted: count });
        }
        let mut tensor = Tensor::zeros(kept.dtype, [&[self.batch, count], &kept.shape[..]].concat());
        let row = kept.position_bytes();
        for (index, bytes) in tensor.bytes_mut().chunks_exact_mut(row.max(1)).enumerate() {
            bytes.copy_from_slice(kept.position(index / count, index % count));
        }
        Ok(tensor)
    }

    /// The blocks of a state, each `[batch, positions, shape…]`, of [`BLOCK_POSITIONS`] but the last one, which may have fewer.
    /// What lies behind the positions that were written is zero, or was dropped.
    ///
    /// # Errors
    /// When there is no such state.
    pub fn blocks(&self, state: &str) -> Result<&[Tensor], StateError> {
        self.states.get(state).map(|kept| &kept.blocks[..]).ok_or_else(|| StateError::Unknown(state.to_owned()))
    }

    /// Gives each item of the batch what item `rows[item]` has, as beams need it.
    ///
    /// # Errors
    /// When there is not one row for each item, or a row is none of the batch's.
    pub fn reorder(&mut self, rows: &[usize]) -> Result<(), StateError> {
        if rows.len() != self.batch || rows.iter().any(|row| *row >= self.batch) {
            return Err(StateError::Rows { batch: self.batch, found: rows.to_vec() });
        }
        for block in self.states.values_mut().flat_map(|kept| &mut kept.blocks) {
            let (before, item) = (block.clone(), block.bytes().len() / rows.len().max(1));
            for (bytes, row) in block.bytes_mut().chunks_exact_mut(item.max(1)).zip(rows) {
                bytes.copy_from_slice(&before.bytes()[row * item..][..item]);
            }
        }
        Ok(())
    }

    /// Bytes of all states as they are now.
    pub fn bytes(&self) -> usize {
        self.states.values().flat_map(|kept| &kept.blocks).map(|block| block.bytes().len()).sum()
    }
}

impl Kept {
    /// How many positions a tensor holds, which has to be `[batch, count, shape…]`.
    fn positions_of(&self, state: &str, positions: &Tensor, batch: usize) -> Result<usize, StateError> {
        match positions.shape() {
            [items, count, rest @ ..] if *items == batch && *rest == self.shape && positions.dtype() == self.dtype => {
                Ok(*count)
            }
            found => Err(StateError::Shape {
                state: state.to_owned(),
                expected: format!("{} [{batch}, positions] of {:?}", self.dtype, self.shape),
                found: format!("{} {found:?}", positions.dtype()),
            }),
        }
    }

    fn check_room(&self, state: &str, wanted: usize) -> Result<(), StateError> {
        match wanted <= self.capacity {
            true => Ok(()),
            false => Err(StateError::Full { state: state.to_owned(), capacity: self.capacity, wanted }),
        }
    }

    /// Makes room for so many positions.
    fn grow(&mut self, positions: usize, batch: usize) {
        while self.room() < positions {
            let more = BLOCK_POSITIONS.min(self.capacity - self.room());
            let shape = [&[batch, more], &self.shape[..]].concat();
            self.blocks.push(Tensor::zeros(self.dtype, shape));
        }
    }

    /// Positions that there is memory for.
    fn room(&self) -> usize {
        self.blocks.iter().map(|block| block.shape()[1]).sum()
    }

    fn position_bytes(&self) -> usize {
        element_count(&self.shape) * self.dtype.size_bytes()
    }

    /// Bytes of a position of an item in its block.
    fn place(&self, item: usize, position: usize) -> std::ops::Range<usize> {
        let positions = self.blocks[position / BLOCK_POSITIONS].shape()[1];
        let start = (item * positions + position % BLOCK_POSITIONS) * self.position_bytes();
        start..start + self.position_bytes()
    }

    fn position(&self, item: usize, position: usize) -> &[u8] {
        &self.blocks[position / BLOCK_POSITIONS].bytes()[self.place(item, position)]
    }

    fn position_mut(&mut self, item: usize, position: usize) -> &mut [u8] {
        let place = self.place(item, position);
        &mut self.blocks[position / BLOCK_POSITIONS].bytes_mut()[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(batch: usize, capacity: usize) -> StateSet {
        let state = |name: &str, dtype| State {
            name: name.into(),
            dtype,
            shape: vec!["heads".into(), 2.into()],
            capacity: "capacity".into(),
        };
        let states = [state("keys", DType::I8), state("values", DType::F32)];
        StateSet::new(&states, batch, &Bindings::new([("heads", 1), ("capacity", capacity)])).unwrap()
    }

    /// Positions of the keys, each two codes of `item` and its number.
    fn keys(batch: usize, positions: std::ops::Range<usize>) -> Tensor {
        let shape = [batch, positions.len(), 1, 2];
        let codes = (0..batch).flat_map(|item| positions.clone().flat_map(move |at| [item as i8, at as i8]));
        Tensor::new(shape, codes.collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn positions_are_written_in_place_behind_those_that_count() {
        let mut set = set(2, 300);
        for positions in [0..5, 5..6, 6..130] {
            set.set_past(positions.start);
            set.write("keys", &keys(2, positions)).unwrap();
        }
        assert_eq!(set.read("keys", 130).unwrap(), keys(2, 0..130));
        assert_eq!(set.bytes(), 2 * 2 * 128 * 2);
        // What was set back is written anew.
        set.set_past(3);
        set.write("keys", &keys(2, 7..8)).unwrap();
        let mut expected = keys(2, 0..5);
        for item in 0..2 {
            expected.bytes_mut()[(item * 5 + 3) * 2 + 1] = 7;
        }
        assert_eq!(set.read("keys", 5).unwrap(), expected);
    }

    #[test]
    fn growth_moves_nothing_and_ends_at_the_capacity() {
        let mut set = set(1, 130);
        set.write("keys", &keys(1, 0..127)).unwrap();
        let before = set.states["keys"].blocks[0].bytes().as_ptr();
        set.set_past(127);
        set.write("keys", &keys(1, 127..130)).unwrap();
        assert_eq!(set.states["keys"].blocks[0].bytes().as_ptr(), before);
        assert_eq!(set.bytes(), 130 * 2);
        set.set_past(130);
        let error = set.write("keys", &keys(1, 0..1)).unwrap_err();
        assert_eq!(error, StateError::Full { state: "keys".into(), capacity: 130, wanted: 131 });
    }

    #[test]
    fn room_is_made_in_every_state_or_in_none() {
        let mut set = set(2, 130);
        set.reserve(Written { batch: 2, positions: 129 }).unwrap();
        assert_eq!(set.bytes(), 2 * 130 * 2 * (1 + 4));
        assert_eq!(set.blocks("keys").unwrap().iter().map(|block| block.shape()[1]).collect::<Vec<_>>(), [128, 2]);
        set.set_past(129);
        let full = set.reserve(Written { batch: 2, positions: 2 }).unwrap_err();
        assert!(matches!(full, StateError::Full { capacity: 130, wanted: 131, .. }), "{full}");
        let other = set.reserve(Written { batch: 1, positions: 1 }).unwrap_err();
        assert_eq!(other, StateError::Batch { expected: 2, found: 1 });
        assert_eq!((set.past(), set.batch()), (129, 2));
    }

    #[test]
    fn beams_take_each_others_states() {
        let mut set = set(3, 10);
        set.write("keys", &keys(3, 0..4)).unwrap();
        set.reorder(&[2, 0, 0]).unwrap();
        let items: Vec<u8> = set.read("keys", 4).unwrap().bytes().chunks_exact(8).map(|item| item[0]).collect();
        assert_eq!(items, [2, 0, 0]);
        assert_eq!(set.reorder(&[0, 3, 1]).unwrap_err(), StateError::Rows { batch: 3, found: vec![0, 3, 1] });
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let mut set = set(1, 10);
        let error = set.write("values", &keys(1, 0..1)).unwrap_err().to_string();
        assert_eq!(error, "state `values` should be written with f32 [1, positions] of [1, 2], found i8 [1, 1, 1, 2]");
        assert!(matches!(set.read("keys", 1), Err(StateError::Full { capacity: 0, wanted: 1, .. })));
        assert!(matches!(set.write("nothing", &keys(1, 0..1)), Err(StateError::Unknown(_))));
        let states = [State { name: "s".into(), dtype: DType::F16, shape: vec!["h".into()], capacity: 1.into() }];
        assert!(matches!(StateSet::new(&states, 1, &Bindings::default()), Err(StateError::Dim { .. })));
    }
}
