//! Where the planes of a model's weights lie in GPU buffers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

use webnibble_common::graph::{Embedding, Graph, Linear, Op, Role, WeightId};
use webnibble_common::package::Part;
use webnibble_common::quant::{Format, Layout, round_up};

use super::chunks::{ALIGNMENT, Limits, parts, step_of};
use super::device::DeviceCaps;
use super::error::PlanError;
use super::options::PlanOptions;

/// Format of each matrix of a graph, by name.
pub type Formats = BTreeMap<String, Format>;

/// Where a plane, or a part of one, lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneSlot {
    /// Index in [`WeightPlan::buffers`].
    pub buffer: usize,
    /// First byte.
    pub offset: usize,
    /// Size in bytes: a multiple of 16.
    pub bytes: usize,
}

/// A buffer that holds weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightBuffer {
    /// For GPU labels and messages.
    pub label: String,
    /// Size in bytes.
    pub bytes: usize,
}

/// The buffers of a model's weights.
///
/// A plane has a buffer of its own, except those that an embedding reads beside its table: the core limit of eight
/// storage bindings is too few for them, so they share one. A plane that is larger than a buffer has several. Rows of a
/// matrix that is larger than a binding are bound in chunks, which never cross from one buffer into the next.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightPlan {
    /// Every buffer.
    pub buffers: Vec<WeightBuffer>,
    planes: BTreeMap<(usize, u8), Vec<PlaneSlot>>,
    layouts: Vec<Option<Layout>>,
    chunks: Vec<Chunks>,
    aux: Option<usize>,
}

/// How rows of a weight are bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chunks {
    /// All of them.
    total: usize,
    /// Rows that are bound together at most.
    rows: usize,
    /// Rows between two places where every plane is aligned.
    step: usize,
}

impl Chunks {
    /// One for all `total` rows.
    fn whole(total: usize) -> Self {
        Self { total, rows: total, step: total.max(1) }
    }

    /// As many as `limits` allow. Outputs and biases of a linear operator are f32, and are cut with its rows.
    fn of(layout: &Layout, limits: &Limits, of_linear: bool) -> Self {
        let row_bytes = [Part::Packed, Part::Scale, Part::Zero].map(|part| row_bytes(layout, part));
        let outputs = if of_linear { 4 } else { 0 };
        let step = row_bytes.into_iter().chain([outputs]).map(step_of).max().unwrap_or(1);
        let fitting = limits.binding_bytes / row_bytes[0].max(1);
        let rows = if fitting >= layout.rows { layout.rows } else { (fitting / step * step).max(step) };
        Self { total: layout.rows, rows: rows.min(layout.rows), step }
    }
}

impl WeightPlan {
    /// Lays out the weights of `graph`, whose matrices have `formats`, for an adapter.
    ///
    /// # Errors
    /// When a matrix has no format, and when a plane is larger than the adapter binds and `options` do not let it be cut.
    pub fn new(graph: &Graph, formats: &Formats, caps: &DeviceCaps, options: &PlanOptions) -> Result<Self, PlanError> {
        let limits = Limits::new(caps, options.chunking);
        let mut plan =
            Self { buffers: Vec::new(), planes: BTreeMap::new(), layouts: Vec::new(), chunks: Vec::new(), aux: None };
        for weight in &graph.weights {
            let layout = match weight.role {
                Role::Vector => None,
                _ => {
                    let format = formats.get(&weight.name);
                    let format = *format.ok_or_else(|| PlanError::MissingWeight(weight.name.clone()))?;
                    Some(Layout::new(format, weight.shape[0], weight.shape[1]))
                }
            };
            plan.chunks.push(match &layout {
                Some(layout) => Chunks::of(layout, &limits, is_linear(graph, WeightId(plan.layouts.len()))),
                None => Chunks::whole(weight.shape[0]),
            });
            plan.layouts.push(layout);
        }
        plan.place_aux(graph);
        for id in (0..graph.weights.len()).map(WeightId) {
            for (part, bytes) in plan.parts(graph, id) {
                if !plan.planes.contains_key(&key(id, part)) {
                    plan.place(&graph.weight_of(id).name, id, part, bytes, &limits);
                }
            }
        }
        plan.check(graph, caps)?;
        Ok(plan)
    }

    /// Rows of a weight that are bound together: at most `at_most` of them, or as many as alignment takes.
    pub(crate) fn row_ranges(&self, id: WeightId, at_most: usize) -> Vec<Range<usize>> {
        let Chunks { total, rows, step } = self.chunks[id.0];
        let size = if at_most >= rows { rows } else { (at_most / step * step).max(step) };
        parts(0..total, rows).flat_map(|chunk| parts(chunk, size)).collect()
    }

    /// Where `rows` of a plane lie, if the weight has it; they are one of [`WeightPlan::row_ranges`].
    pub(crate) fn rows(&self, id: WeightId, part: Part, rows: &Range<usize>) -> Option<PlaneSlot> {
        let slots = self.planes.get(&key(id, part))?;
        let row_bytes = self.layout(id).map_or(4, |layout| row_bytes(layout, part));
        if row_bytes == 0 || *rows == (0..self.chunks[id.0].total) {
            return slots.first().copied();
        }
        let mut first = rows.start * row_bytes;
        for slot in slots {
            if first < slot.bytes {
                let last = rows.end == self.chunks[id.0].total;
                // Padding belongs to the last rows.
                let bytes = if last { slot.bytes - first } else { rows.len() * row_bytes };
                return Some(PlaneSlot { buffer: slot.buffer, offset: slot.offset + first, bytes });
            }
            first -= slot.bytes;
        }
        None
    }

    /// Where a plane begins, if the weight has it.
    pub(crate) fn start(&self, id: WeightId, part: Part) -> Option<PlaneSlot> {
        self.planes.get(&key(id, part))?.first().copied()
    }

    /// The places of the plane of the weight called `name`, in order: several where one buffer is too small for it, none
    /// where `graph` has no such plane.
    pub fn slots(&self, graph: &Graph, name: &str, part: Part) -> &[PlaneSlot] {
        let id = graph.weights.iter().position(|w| w.name == name);
        id.and_then(|id| self.planes.get(&key(WeightId(id), part))).map_or(&[], Vec::as_slice)
    }

    /// Every plane.
    pub fn planes(&self) -> impl Iterator<Item = PlaneSlot> + '_ {
        self.planes.values().flatten().copied()
    }

    /// Layout of a matrix; `None` for a vector.
    pub fn layout(&self, id: WeightId) -> Option<&Layout> {
        self.layouts[id.0].as_ref()
    }

    /// The buffer that embeddings read beside their table, if there is one.
    pub fn aux(&self) -> Option<usize> {
        self.aux
    }

    /// Bytes of all buffers.
    pub fn total_bytes(&self) -> usize {
        self.buffers.iter().map(|b| b.bytes).sum()
    }

    /// Every plane of the weight with its size in bytes.
    fn parts(&self, graph: &Graph, id: WeightId) -> Vec<(Part, usize)> {
        let Some(layout) = self.layout(id) else {
            return vec![(Part::Packed, round_up(graph.weight_of(id).shape[0] * 4, 16))];
        };
        let planes = [
            (Part::Packed, layout.packed_bytes()),
            (Part::Scale, layout.scale_bytes()),
            (Part::Zero, layout.zero_bytes()),
        ];
        planes.into_iter().filter(|(_, bytes)| *bytes > 0).collect()
    }

    /// Gives a plane buffers of its own.
    fn place(&mut self, name: &str, id: WeightId, part: Part, bytes: usize, limits: &Limits) {
        let row_bytes = self.layout(id).map_or(0, |layout| row_bytes(layout, part));
        let chunk_bytes = self.chunks[id.0].rows * row_bytes;
        let fits = bytes <= limits.buffer_bytes || chunk_bytes == 0;
        let buffer_bytes = if fits { bytes } else { (limits.buffer_bytes / chunk_bytes).max(1) * chunk_bytes };
        let slots = parts(0..bytes, buffer_bytes).map(|range| {
            self.buffers.push(WeightBuffer { label: label(name, part), bytes: range.len() });
            PlaneSlot { buffer: self.buffers.len() - 1, offset: 0, bytes: range.len() }
        });
        let slots = slots.collect();
        self.planes.insert(key(id, part), slots);
    }

    /// Nothing is larger than the adapter takes.
    fn check(&self, graph: &Graph, caps: &DeviceCaps) -> Result<(), PlanError> {
        let limit = caps.buffer_bytes;
        if let Some(b) = self.buffers.iter().find(|b| b.bytes > limit) {
            return Err(PlanError::BufferTooLarge { name: b.label.clone(), bytes: b.bytes, limit });
        }
        let limit = caps.storage_binding_bytes;
        if let Some(aux) = self.aux.map(|aux| &self.buffers[aux]).filter(|aux| aux.bytes > limit) {
            return Err(PlanError::BindingTooLarge { name: aux.label.clone(), bytes: aux.bytes, limit });
        }
        for id in (0..graph.weights.len()).map(WeightId) {
            for (part, _) in self.parts(graph, id) {
                let first = 0..self.chunks[id.0].rows;
                let bytes = self.rows(id, part, &first).map_or(0, |slot| slot.bytes);
                if bytes > limit {
                    let name = label(&graph.weight_of(id).name, part);
                    return Err(PlanError::BindingTooLarge { name, bytes, limit });
                }
            }
        }
        Ok(())
    }

    fn place_aux(&mut self, graph: &Graph) {
        let mut bytes = 0;
        let buffer = self.buffers.len();
        for node in &graph.nodes {
            let Op::Embedding(Embedding { table, positions, types, norm, .. }) = &node.op else { continue };
            let beside_table = self.parts(graph, *table).into_iter().skip(1).map(|(part, size)| (*table, part, size));
            let mut planes: Vec<_> = beside_table.collect();
            let others = [*positions, *types, norm.map(|n| n.weight), norm.and_then(|n| n.bias)];
            for id in others.into_iter().flatten() {
                planes.extend(self.parts(graph, id).into_iter().map(|(part, size)| (id, part, size)));
            }
            for (id, part, size) in planes {
                if let Entry::Vacant(free) = self.planes.entry(key(id, part)) {
                    free.insert(vec![PlaneSlot { buffer, offset: bytes, bytes: size }]);
                    bytes = round_up(bytes + size, ALIGNMENT);
                }
            }
        }
        if bytes > 0 {
            self.buffers.push(WeightBuffer { label: "embedding.aux".to_owned(), bytes });
            self.aux = Some(buffer);
        }
    }
}

fn key(id: WeightId, part: Part) -> (usize, u8) {
    (id.0, part as u8)
}

/// Whether a linear operator takes the weight, which may be an embedding's table too.
fn is_linear(graph: &Graph, id: WeightId) -> bool {
    graph.nodes.iter().any(|node| matches!(node.op, Op::Linear(Linear { weight, .. }) if weight == id))
}

/// Bytes of a row of a plane; 0 where all rows share what it holds.
fn row_bytes(layout: &Layout, part: Part) -> usize {
    match part {
        Part::Packed | Part::Extra => layout.row_bytes(),
        Part::Scale => layout.groups_per_row * 2,
        Part::Zero if layout.format.has_zeros() => layout.groups_per_row,
        Part::Zero => 0,
    }
}

fn label(name: &str, part: Part) -> String {
    match part {
        Part::Packed | Part::Extra => name.to_owned(),
        Part::Scale => format!("{name}.scale"),
        Part::Zero => format!("{name}.zero"),
    }
}
