//! The recording under construction: buffers, uniforms and dispatches, node by node.

use std::ops::Range;

use bytemuck::Pod;
use webnibble_common::graph::{Bindings, Graph, GraphError, Op, StateId, ValueId, WeightId};
use webnibble_common::package::Part;
use webnibble_common::quant::{Layout, round_up};
use webnibble_common::state::BLOCK_POSITIONS;
use webnibble_common::tensor::{DType, element_count};

use super::choose::{self, ChooseParams, Sampling, seen_bytes};
use super::chunks::Limits;
use super::device::DeviceCaps;
use super::error::PlanError;
use super::finite::{self, FOUND_WORDS, Pass};
use super::folds::Folds;
use super::memory::Pool;
use super::options::PlanOptions;
use super::recording::{Binding, Buffer, BufferId, BufferKind, Choice, Dispatch, Port, Recording, UNIFORM_ALIGNMENT};
use super::step::Step;
use super::weights::WeightPlan;
use crate::shaders::Kernel;

/// Builds a recording node by node.
pub(crate) struct Recorder<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) weights: &'a WeightPlan,
    pub(crate) bindings: &'a Bindings,
    pub(crate) caps: &'a DeviceCaps,
    pub(crate) options: &'a PlanOptions,
    pub(crate) limits: Limits,
    recording: Recording,
    pool: Pool,
    /// Buffer of each value that has one by now.
    placed: Vec<Option<BufferId>>,
    /// Index of the last node that reads each value.
    last_use: Vec<usize>,
    /// Which nodes others compute.
    folds: Folds,
    /// What lives within the current node.
    scratch: Vec<BufferId>,
    /// The step buffer, once an operator reads it.
    step: Option<BufferId>,
    /// Buffer of each state that an operator reads by now.
    states: Vec<Option<BufferId>>,
}

/// Memory that an operator's dispatches hand on to one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scratch {
    buffer: BufferId,
    bytes: usize,
}

impl Scratch {
    /// Binds it.
    pub(crate) fn at(&self, number: u32) -> Binding {
        Binding { number, buffer: Some(self.buffer), offset: 0, bytes: self.bytes }
    }
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(
        graph: &'a Graph,
        weights: &'a WeightPlan,
        bindings: &'a Bindings,
        caps: &'a DeviceCaps,
        options: &'a PlanOptions,
    ) -> Result<Self, PlanError> {
        let mut recorder = Self {
            graph,
            weights,
            bindings,
            caps,
            options,
            limits: Limits::new(caps, options.chunking),
            recording: Recording::default(),
            pool: Pool::default(),
            placed: vec![None; graph.values.len()],
            last_use: vec![0; graph.values.len()],
            folds: Folds::default(),
            scratch: Vec::new(),
            step: None,
            states: vec![None; graph.states.len()],
        };
        for (index, buffer) in weights.buffers.iter().enumerate() {
            recorder.add_buffer(&buffer.label, buffer.bytes, BufferKind::Weights(index));
        }
        recorder.fold(Folds::none(graph));
        for id in &graph.inputs {
            let port = recorder.place(*id, BufferKind::Input)?;
            recorder.recording.inputs.push(port);
        }
        for id in graph.outputs.iter().filter(|id| !graph.inputs.contains(id)) {
            let port = recorder.place(*id, BufferKind::Output)?;
            recorder.recording.outputs.push(port);
        }
        Ok(recorder)
    }

    /// Has nodes be computed by others: what they read is needed until then.
    pub(super) fn fold(&mut self, folds: Folds) {
        for (index, node) in self.graph.nodes.iter().enumerate() {
            for id in node.op.inputs() {
                let last = &mut self.last_use[id.0];
                *last = folds.at(index).max(*last);
            }
        }
        self.folds = folds;
    }

    /// Concrete shape of a value.
    pub(crate) fn shape(&self, id: ValueId) -> Result<Vec<usize>, PlanError> {
        Ok(self.graph.shape(id, self.bindings)?)
    }

    /// Whether another node computes it.
    pub(crate) fn is_folded(&self, node: usize) -> bool {
        self.folds.is_folded(node)
    }

    /// The operator that makes a value, where the one that reads it is to compute it.
    pub(crate) fn folded(&self, value: ValueId) -> Option<&'a Op> {
        self.folds.folded(value).map(|node| &self.graph.nodes[node].op)
    }

    /// Layout of a matrix.
    pub(crate) fn layout(&self, id: WeightId) -> &'a Layout {
        self.weights.layout(id).expect("validation says that this weight is a matrix")
    }

    /// Binds `items` of a value of `total`, which are its outermost; the output of the current node gets its buffer here.
    pub(crate) fn items(
        &mut self,
        number: u32,
        id: ValueId,
        items: &Range<usize>,
        total: usize,
    ) -> Result<Binding, PlanError> {
        let bytes = self.value_bytes(id)?;
        let buffer = match self.placed[id.0] {
            Some(buffer) => buffer,
            None => {
                let buffer = self.pool.take(&mut self.recording.buffers, bytes);
                self.placed[id.0] = Some(buffer);
                buffer
            }
        };
        let item_bytes = self.element_bytes(id)? / total;
        let offset = items.start * item_bytes;
        let bytes = if items.end == total { bytes - offset } else { items.len() * item_bytes };
        Ok(Binding { number, buffer: Some(buffer), offset, bytes })
    }

    /// Binds a whole value.
    pub(crate) fn whole(&mut self, number: u32, id: ValueId) -> Result<Binding, PlanError> {
        self.items(number, id, &(0..1), 1)
    }

    /// Binds rows of a plane of a weight, if the weight has it.
    pub(crate) fn plane_rows(&self, number: u32, id: WeightId, part: Part, rows: &Range<usize>) -> Option<Binding> {
        let slot = self.weights.rows(id, part, rows)?;
        Some(Binding { number, buffer: Some(BufferId(slot.buffer)), offset: slot.offset, bytes: slot.bytes })
    }

    /// Binds a vector.
    pub(crate) fn vector(&self, number: u32, id: WeightId) -> Option<Binding> {
        let slot = self.weights.start(id, Part::Packed)?;
        Some(Binding { number, buffer: Some(BufferId(slot.buffer)), offset: slot.offset, bytes: slot.bytes })
    }

    /// Binds the whole buffer that embeddings read beside their table.
    pub(crate) fn aux(&self, number: u32) -> Option<Binding> {
        let buffer = self.weights.aux()?;
        let bytes = self.weights.buffers[buffer].bytes;
        Some(Binding { number, buffer: Some(BufferId(buffer)), offset: 0, bytes })
    }

    /// Word offset of a plane in its buffer.
    pub(crate) fn word_offset(&self, id: WeightId, part: Part) -> Option<u32> {
        self.weights.start(id, part).map(|slot| (slot.offset / 4) as u32)
    }

    /// Memory of at least `bytes` for what lives within the current node, which makes `output`; it is given back after the node.
    pub(crate) fn scratch(&mut self, output: ValueId, bytes: usize) -> Result<Scratch, PlanError> {
        let name = &self.graph.value_of(output).name;
        let bytes = self.checked_bytes(name, bytes)?;
        let buffer = self.pool.take(&mut self.recording.buffers, bytes);
        self.scratch.push(buffer);
        Ok(Scratch { buffer, bytes })
    }

    /// Binds a state of `batch` items, whole: whoever replays the recording has a buffer of as many blocks as its conversation
    /// needs, and this is the least.
    pub(crate) fn state(&mut self, number: u32, id: StateId, batch: usize) -> Result<Binding, PlanError> {
        let state = self.graph.state_of(id);
        let shape = self.bindings.extents(&state.shape);
        let shape = shape.map_err(|error| GraphError::Dim { value: state.name.clone(), error })?;
        let position_bytes = element_count(&shape) * state.dtype.size_bytes();
        let bytes = self.checked_bytes(&state.name, position_bytes * BLOCK_POSITIONS * batch)?;
        let buffer = match self.states[id.0] {
            Some(buffer) => buffer,
            None => self.add_buffer(&state.name, bytes, BufferKind::State(id.0)),
        };
        self.states[id.0] = Some(buffer);
        Ok(Binding { number, buffer: Some(buffer), offset: 0, bytes })
    }

    /// Positions that a state may have.
    pub(crate) fn capacity(&self, id: StateId) -> Result<usize, PlanError> {
        let state = self.graph.state_of(id);
        let capacity = self.bindings.extent(&state.capacity);
        Ok(capacity.map_err(|error| GraphError::Dim { value: state.name.clone(), error })?)
    }

    /// Binds the step buffer.
    pub(crate) fn step(&mut self, number: u32) -> Binding {
        let bytes = size_of::<Step>();
        let buffer = self.step.unwrap_or_else(|| self.add_buffer("step", bytes, BufferKind::Step));
        self.step = Some(buffer);
        Binding { number, buffer: Some(buffer), offset: 0, bytes }
    }

    /// Adds a dispatch whose binding 0 is `params`.
    pub(crate) fn dispatch<P: Pod>(
        &mut self,
        output: ValueId,
        kernel: Kernel,
        params: P,
        bindings: impl IntoIterator<Item = Binding>,
        workgroups: [usize; 3],
    ) -> Result<(), PlanError> {
        let name = &self.graph.value_of(output).name;
        let limit = self.caps.workgroups_per_dimension;
        if let Some(needed) = workgroups.into_iter().find(|n| *n > limit) {
            return Err(PlanError::TooManyWorkgroups { name: name.clone(), needed, limit });
        }
        let dispatch = self.bound(name, kernel, params, bindings, workgroups)?;
        self.recording.dispatches.push(dispatch);
        Ok(())
    }

    /// A dispatch whose binding 0 is `params`, which gets its place in the arena.
    fn bound<P: Pod>(
        &mut self,
        operator: &str,
        kernel: Kernel,
        params: P,
        bindings: impl IntoIterator<Item = Binding>,
        workgroups: [usize; 3],
    ) -> Result<Dispatch, PlanError> {
        let uniform = bytemuck::bytes_of(&params);
        let offset = self.recording.uniforms.len();
        self.recording.uniforms.extend_from_slice(uniform);
        self.recording.uniforms.resize(offset + round_up(uniform.len(), UNIFORM_ALIGNMENT), 0);
        let mut all = vec![Binding { number: 0, buffer: None, offset, bytes: uniform.len() }];
        all.extend(bindings);
        self.check_bindings(operator, &all)?;
        let workgroups = workgroups.map(|n| n as u32);
        Ok(Dispatch { operator: operator.to_owned(), kernel, bindings: all, workgroups })
    }

    /// Gives back what lived within a node, and the buffers of values that no later node reads.
    pub(crate) fn release_after(&mut self, node: usize) {
        for buffer in std::mem::take(&mut self.scratch) {
            self.pool.give(buffer);
        }
        for (id, last) in self.last_use.iter().enumerate() {
            let Some(buffer) = self.placed[id] else { continue };
            // Scratch is placed when its value is made, so a later value cannot be given back here.
            let scratch = self.recording.buffers[buffer.0].kind == BufferKind::Scratch;
            if *last <= node && scratch {
                self.pool.give(buffer);
                self.placed[id] = None;
            }
        }
    }

    /// The recording, with the checks of its outputs.
    pub(crate) fn finish(mut self) -> Result<Recording, PlanError> {
        let outputs = self.recording.outputs.clone();
        if !outputs.is_empty() {
            let found = self.add_buffer("found", outputs.len() * FOUND_WORDS * 4, BufferKind::Found);
            for (index, port) in outputs.iter().enumerate() {
                let checks = self.checks(index, port, found)?;
                self.recording.checks.push(checks);
            }
        }
        self.recording.choice = outputs.first().map(|scores| self.choice(scores)).transpose()?.flatten();
        Ok(self.recording)
    }

    /// What chooses by the scores `[1, tokens]` of a conversation.
    fn choice(&mut self, scores: &Port) -> Result<Option<Choice>, PlanError> {
        let bytes = element_count(&scores.shape) * 4;
        let &[1, tokens] = &scores.shape[..] else { return Ok(None) };
        if self.step.is_none() || scores.dtype != DType::F32 || bytes > self.caps.storage_binding_bytes {
            return Ok(None);
        }
        let sampling = self.add_buffer("sampling", size_of::<Sampling>(), BufferKind::Sampling);
        let seen = self.add_buffer("seen", seen_bytes(tokens), BufferKind::Seen);
        let whole = |number, id: BufferId, bytes| Binding { number, buffer: Some(id), offset: 0, bytes };
        let bindings = [
            whole(1, scores.buffer, bytes),
            whole(2, sampling, size_of::<Sampling>()),
            whole(3, seen, seen_bytes(tokens)),
            self.step(4),
        ];
        let params = ChooseParams { count: tokens as u32 };
        let caps = *self.caps;
        let mut choose = |draws| self.bound(&scores.name, choose::kernel(draws, &caps), params, bindings, [1; 3]);
        Ok(Some(Choice { likeliest: choose(false)?, drawn: choose(true)?, tokens }))
    }

    /// The dispatches that look for NaN and infinity in an output.
    fn checks(&mut self, index: usize, port: &Port, found: BufferId) -> Result<Vec<Dispatch>, PlanError> {
        if port.dtype != DType::F32 {
            return Ok(Vec::new());
        }
        let passes = finite::passes(element_count(&port.shape), index, self.caps);
        let found_bytes = self.recording.buffers[found.0].bytes;
        let found = Binding { number: 2, buffer: Some(found), offset: 0, bytes: found_bytes };
        let dispatch = |Pass { params, workgroups }: Pass| {
            let (offset, bytes) = (params.first as usize * 4, params.count as usize * 4);
            let elements = Binding { number: 1, buffer: Some(port.buffer), offset, bytes };
            self.bound(&port.name, finite::kernel(), params, [elements, found], [workgroups, 1, 1])
        };
        passes.into_iter().map(dispatch).collect()
    }

    /// Nothing is bound that is larger than the adapter takes.
    fn check_bindings(&self, operator: &str, bindings: &[Binding]) -> Result<(), PlanError> {
        let limit = self.caps.storage_binding_bytes;
        match bindings.iter().find(|binding| binding.bytes > limit) {
            None => Ok(()),
            Some(Binding { bytes, buffer, .. }) => {
                let buffer = buffer.map(|id| &self.recording.buffers[id.0]);
                // Scratch has no name that a caller knows.
                let named = buffer.filter(|buffer| buffer.kind != BufferKind::Scratch);
                let name = named.map_or(operator, |buffer| buffer.label.as_str()).to_owned();
                Err(PlanError::BindingTooLarge { name, bytes: *bytes, limit })
            }
        }
    }

    /// Bytes of a value's elements.
    fn element_bytes(&self, id: ValueId) -> Result<usize, PlanError> {
        Ok(element_count(&self.shape(id)?) * self.graph.value_of(id).dtype.size_bytes())
    }

    /// Bytes of a value's buffer: those of its elements, padded.
    fn value_bytes(&self, id: ValueId) -> Result<usize, PlanError> {
        let name = &self.graph.value_of(id).name;
        self.checked_bytes(name, self.element_bytes(id)?)
    }

    /// Padded bytes, which a buffer has to hold.
    fn checked_bytes(&self, name: &str, bytes: usize) -> Result<usize, PlanError> {
        let (bytes, limit) = (round_up(bytes, 16), self.caps.buffer_bytes);
        match bytes {
            0 => Err(PlanError::Empty(name.to_owned())),
            _ if bytes > limit => Err(PlanError::BufferTooLarge { name: name.to_owned(), bytes, limit }),
            _ => Ok(bytes),
        }
    }

    fn place(&mut self, id: ValueId, kind: BufferKind) -> Result<Port, PlanError> {
        let bytes = self.value_bytes(id)?;
        let value = self.graph.value_of(id);
        let buffer = self.add_buffer(&value.name, bytes, kind);
        self.placed[id.0] = Some(buffer);
        Ok(Port { name: value.name.clone(), buffer, dtype: value.dtype, shape: self.shape(id)? })
    }

    fn add_buffer(&mut self, label: &str, bytes: usize, kind: BufferKind) -> BufferId {
        self.recording.buffers.push(Buffer { label: label.to_owned(), bytes, kind });
        BufferId(self.recording.buffers.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use webnibble_common::graph::{Norm, Normalization, Role};

    use super::*;
    use crate::plan::weights::Formats;

    /// Three normalizations, one after the other.
    fn chain() -> (Graph, [ValueId; 4]) {
        let mut graph = Graph::default();
        let x = graph.input("x", DType::F32, [3.into(), 8.into()]);
        let [weight, bias] = ["w", "b"].map(|name| graph.weight(name, [8], Role::Vector, &[name]));
        let by = Normalization::layer(weight, bias, 1e-12);
        let [mut values, mut last] = [vec![x], Vec::new()];
        for name in ["a", "b.out", "y"] {
            last = vec![graph.push(name, Norm { x: *values.last().unwrap(), by })];
            values.extend(&last);
        }
        graph.output(last[0]);
        (graph, values.try_into().unwrap())
    }

    #[test]
    fn scratch_lies_beside_the_values_of_its_node_and_is_given_back_after_it() {
        let (graph, [x, a, b, y]) = chain();
        let (caps, options, bindings) = (DeviceCaps::CORE, PlanOptions::default(), Bindings::default());
        let plan = WeightPlan::new(&graph, &Formats::new(), &caps, &options).unwrap();
        let mut recorder = Recorder::new(&graph, &plan, &bindings, &caps, &options).unwrap();
        let first = recorder.scratch(a, 100).unwrap();
        let second = recorder.scratch(a, 7).unwrap();
        let bound = [first.at(1), second.at(2), recorder.whole(3, x).unwrap(), recorder.whole(4, a).unwrap()];
        let buffers: std::collections::BTreeSet<_> = bound.iter().map(|binding| binding.buffer).collect();
        assert_eq!((buffers.len(), first.at(1).bytes, second.at(2).bytes), (4, 112, 16));
        recorder.release_after(0);
        // The value that the next node reads stays; scratch of the first node serves the next one.
        let third = recorder.scratch(b, 50).unwrap();
        assert_eq!(third.buffer, first.buffer);
        assert_ne!(recorder.whole(1, b).unwrap().buffer, Some(third.buffer));
        recorder.release_after(1);
        assert!(matches!(recorder.scratch(y, usize::MAX / 2), Err(PlanError::BufferTooLarge { .. })));
        assert_eq!(recorder.scratch(y, 0), Err(PlanError::Empty("y".into())));
    }

    #[test]
    fn a_recording_has_one_step_buffer_where_any_operator_reads_it() {
        let (graph, [_, _, _, y]) = chain();
        let (caps, options, bindings) = (DeviceCaps::CORE, PlanOptions::default(), Bindings::default());
        let plan = WeightPlan::new(&graph, &Formats::new(), &caps, &options).unwrap();
        let mut recorder = Recorder::new(&graph, &plan, &bindings, &caps, &options).unwrap();
        let (first, second) = (recorder.step(2), recorder.step(5));
        assert_eq!((first.buffer, first.bytes), (second.buffer, 16));
        recorder.whole(1, y).unwrap();
        let recording = recorder.finish().unwrap();
        let steps = recording.buffers.iter().filter(|buffer| buffer.kind == BufferKind::Step);
        assert_eq!(steps.count(), 1);
        assert_eq!(recording.checks.iter().map(Vec::len).collect::<Vec<_>>(), [1]);
    }
}
