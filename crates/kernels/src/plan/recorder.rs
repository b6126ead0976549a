//! The recording under construction: buffers, uniforms and dispatches, node by node.

use std::ops::Range;

use bytemuck::Pod;
use webnibble_common::graph::{Bindings, Graph, ValueId, WeightId};
use webnibble_common::package::Part;
use webnibble_common::quant::{Layout, round_up};
use webnibble_common::tensor::element_count;

use super::chunks::Limits;
use super::device::DeviceCaps;
use super::error::PlanError;
use super::memory::Pool;
use super::options::PlanOptions;
use super::recording::{Binding, Buffer, BufferId, BufferKind, Dispatch, Port, Recording, UNIFORM_ALIGNMENT};
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
        };
        for (index, buffer) in weights.buffers.iter().enumerate() {
            recorder.add_buffer(&buffer.label, buffer.bytes, BufferKind::Weights(index));
        }
        for (index, node) in graph.nodes.iter().enumerate() {
            for id in node.op.inputs() {
                recorder.last_use[id.0] = index;
            }
        }
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

    /// Concrete shape of a value.
    pub(crate) fn shape(&self, id: ValueId) -> Result<Vec<usize>, PlanError> {
        Ok(self.graph.shape(id, self.bindings)?)
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
        let uniform = bytemuck::bytes_of(&params);
        let offset = self.recording.uniforms.len();
        self.recording.uniforms.extend_from_slice(uniform);
        self.recording.uniforms.resize(offset + round_up(uniform.len(), UNIFORM_ALIGNMENT), 0);
        let mut all = vec![Binding { number: 0, buffer: None, offset, bytes: uniform.len() }];
        all.extend(bindings);
        self.check_bindings(name, &all)?;
        let dispatch =
            Dispatch { operator: name.clone(), kernel, bindings: all, workgroups: workgroups.map(|n| n as u32) };
        self.recording.dispatches.push(dispatch);
        Ok(())
    }

    /// Gives back the buffers of values that no later node reads.
    pub(crate) fn release_after(&mut self, node: usize) {
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

    pub(crate) fn finish(self) -> Recording {
        self.recording
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
        let bytes = round_up(self.element_bytes(id)?, 16);
        let limit = self.caps.buffer_bytes;
        match bytes {
            0 => Err(PlanError::Empty(name.clone())),
            _ if bytes > limit => Err(PlanError::BufferTooLarge { name: name.clone(), bytes, limit }),
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
