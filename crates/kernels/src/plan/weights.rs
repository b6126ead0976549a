//! Where the planes of a model's weights lie in GPU buffers.

use std::collections::BTreeMap;

use webnibble_common::graph::{Graph, Op, Role, WeightId};
use webnibble_common::package::Part;
use webnibble_common::quant::{Format, Layout, round_up};

use super::PlanError;

/// Format of each matrix of a graph, by name.
pub type Formats = BTreeMap<String, Format>;

/// Bind group entries must begin at multiples of this on every adapter.
const OFFSET_ALIGNMENT: usize = 256;

/// Where a plane lies.
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
/// storage bindings is too few for them, so they share one.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightPlan {
    /// Every buffer.
    pub buffers: Vec<WeightBuffer>,
    planes: BTreeMap<(usize, u8), PlaneSlot>,
    layouts: Vec<Option<Layout>>,
    aux: Option<usize>,
}

impl WeightPlan {
    /// Lays out the weights of `graph`, whose matrices have `formats`; no binding may exceed `limit` bytes.
    pub fn new(graph: &Graph, formats: &Formats, limit: usize) -> Result<Self, PlanError> {
        let mut plan = Self { buffers: Vec::new(), planes: BTreeMap::new(), layouts: Vec::new(), aux: None };
        for weight in &graph.weights {
            plan.layouts.push(match weight.role {
                Role::Vector => None,
                _ => {
                    let format = formats.get(&weight.name);
                    let format = *format.ok_or_else(|| PlanError::MissingWeight(weight.name.clone()))?;
                    Some(Layout::new(format, weight.shape[0], weight.shape[1]))
                }
            });
        }
        plan.place_aux(graph);
        for id in (0..graph.weights.len()).map(WeightId) {
            for (part, bytes) in plan.parts(graph, id) {
                if plan.plane(id, part).is_none() {
                    let name = &graph.weight_of(id).name;
                    let buffer = plan.buffers.len();
                    plan.buffers.push(WeightBuffer { label: label(name, part), bytes });
                    plan.planes.insert(key(id, part), PlaneSlot { buffer, offset: 0, bytes });
                }
            }
        }
        match plan.buffers.iter().find(|b| b.bytes > limit) {
            Some(b) => Err(PlanError::BindingTooLarge { name: b.label.clone(), bytes: b.bytes, limit }),
            None => Ok(plan),
        }
    }

    /// Where a plane lies, if the weight has it.
    pub fn plane(&self, id: WeightId, part: Part) -> Option<PlaneSlot> {
        self.planes.get(&key(id, part)).copied()
    }

    /// Where the plane of the weight called `name` lies, if `graph` has it.
    pub fn plane_of(&self, graph: &Graph, name: &str, part: Part) -> Option<PlaneSlot> {
        let id = graph.weights.iter().position(|w| w.name == name)?;
        self.plane(WeightId(id), part)
    }

    /// Every plane.
    pub fn planes(&self) -> impl Iterator<Item = PlaneSlot> + '_ {
        self.planes.values().copied()
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

    fn place_aux(&mut self, graph: &Graph) {
        let mut bytes = 0;
        let buffer = self.buffers.len();
        for node in &graph.nodes {
            let Op::Embedding { table, positions, types, norm, .. } = &node.op else { continue };
            let beside_table = self.parts(graph, *table).into_iter().skip(1).map(|(part, size)| (*table, part, size));
            let mut planes: Vec<_> = beside_table.collect();
            let others = [*positions, *types, norm.map(|n| n.weight), norm.map(|n| n.bias)];
            for id in others.into_iter().flatten() {
                planes.extend(self.parts(graph, id).into_iter().map(|(part, size)| (id, part, size)));
            }
            for (id, part, size) in planes {
                if self.plane(id, part).is_none() {
                    self.planes.insert(key(id, part), PlaneSlot { buffer, offset: bytes, bytes: size });
                    bytes = round_up(bytes + size, OFFSET_ALIGNMENT);
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

fn label(name: &str, part: Part) -> String {
    match part {
        Part::Packed | Part::Extra => name.to_owned(),
        Part::Scale => format!("{name}.scale"),
        Part::Zero => format!("{name}.zero"),
    }
}
