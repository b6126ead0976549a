//! Programs that make one graph together, side by side where they can.
//!
//! A browser may run a graph on one core and several graphs on several (Chromium's TFLite backend does). So the rows of a
//! sequence, or the items of a batch, are divided among parts, and each part gets programs of its own. What one program
//! makes and others need goes from one to the other through tensors that never leave the browser's side; the order of
//! dispatch and the tensors are all that says who waits for whom.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use webnibble_common::graph::{Bindings, Dim, Graph, ValueId};
use webnibble_common::tensor::element_count;

use super::cut::{Cut, Stage, cut, row_reads, whole_reads};
use super::error::WebNnError;
use super::lower::{lower, record};
use super::program::{Port, Program};
use super::recorder::{Recorder, Slice};
use super::target::Target;
use crate::plan::weights::Formats;

/// A part of fewer rows is not worth a dispatch of its own.
const LEAST_ROWS: usize = 16;

/// Programs in the order in which they are dispatched. A tensor is known by its port's name: what one program writes, later
/// ones read.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Parts that are computed side by side; 1 for one program that computes everything.
    pub parts: usize,
    /// In order of dispatch.
    pub programs: Vec<Program>,
    /// Tensors that the caller writes, each once.
    pub inputs: Vec<Port>,
    /// Tensors that the caller reads: the graph's outputs, or parts of them.
    pub outputs: Vec<Port>,
}

impl Schedule {
    fn new(graph: &Graph, parts: usize, programs: Vec<Program>) -> Self {
        let written: BTreeSet<&str> = programs.iter().flat_map(|one| &one.outputs).map(|port| &*port.name).collect();
        let mut seen = BTreeSet::new();
        let given = programs.iter().flat_map(|program| &program.inputs);
        let inputs = given.filter(|port| !written.contains(&*port.name) && seen.insert(port.name.clone()));
        let inputs = inputs.cloned().collect();
        let is_output = |port: &&Port| graph.outputs.iter().any(|id| graph.value_of(*id).name == port.value);
        let outputs = programs.iter().flat_map(|program| &program.outputs).filter(is_output).cloned().collect();
        Self { parts, programs, inputs, outputs }
    }

    /// Bytes of all constants. Each part has weights of its own: graphs cannot share them.
    pub fn constant_bytes(&self) -> u64 {
        self.programs.iter().map(Program::constant_bytes).sum()
    }

    /// How often each operator is in the programs.
    pub fn operators(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (name, count) in self.programs.iter().flat_map(Program::operators) {
            *counts.entry(name).or_default() += count;
        }
        counts
    }

    /// How many of the graph's linear operators get their weights in which way. All parts do it alike.
    pub fn linears(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for program in self.programs.iter().filter(|program| program.part.is_none_or(|part| part == 0)) {
            for (how, count) in &program.linears {
                *counts.entry(*how).or_default() += count;
            }
        }
        counts
    }
}

/// Lowers a graph to as many parts as it has, but at most `parts`: items of a batch where there are several, else rows of
/// its sequence.
///
/// # Errors
/// As [`lower`].
pub fn lower_parts(
    graph: &Graph,
    formats: &Formats,
    bindings: &Bindings,
    target: &Target<'_>,
    parts: usize,
) -> Result<Schedule, WebNnError> {
    let job = Job { graph, formats, bindings, target };
    if parts > 1 {
        if let Some((symbol, items)) = job.batch() {
            return job.by_items(symbol, &ranges(items, items.min(parts)));
        }
        if let Some(cut) = cut(graph)
            && job.is_one_item(&cut)
            && let Some(rows) = bindings.symbol(cut.symbol)
            && let most @ 2.. = parts.min(rows / LEAST_ROWS)
        {
            return Division { job, cut: &cut, rows: ranges(rows, most) }.lower();
        }
    }
    Ok(Schedule::new(graph, 1, vec![lower(graph, formats, bindings, target)?]))
}

/// `count` divided into `parts` ranges that differ by 1 at most.
fn ranges(count: usize, parts: usize) -> Vec<Range<usize>> {
    (0..parts).map(|part| count * part / parts..count * (part + 1) / parts).collect()
}

/// Name of a part's tensor.
fn part_name(name: &str, part: usize) -> String {
    format!("{name}[{part}]")
}

/// What is to be lowered.
#[derive(Clone, Copy)]
struct Job<'a> {
    graph: &'a Graph,
    formats: &'a Formats,
    bindings: &'a Bindings,
    target: &'a Target<'a>,
}

impl Job<'_> {
    /// The symbol that every input and output has as its first dimension, and its extent, where that is over 1.
    fn batch(&self) -> Option<(&'static str, usize)> {
        let first = |id: &ValueId| self.graph.value_of(*id).shape.first().cloned();
        let mut ends = self.graph.inputs.iter().chain(&self.graph.outputs).map(first);
        let Some(Dim::Symbol(symbol)) = ends.next()? else { return None };
        if !ends.all(|dim| dim == Some(Dim::Symbol(symbol))) {
            return None;
        }
        self.bindings.symbol(symbol).filter(|items| *items > 1).map(|items| (symbol, items))
    }

    /// One program a part of the batch: they have nothing in common.
    fn by_items(&self, symbol: &'static str, items: &[Range<usize>]) -> Result<Schedule, WebNnError> {
        let mut programs = Vec::new();
        for (part, items) in items.iter().enumerate() {
            let bindings = self.bindings.with(symbol, items.len());
            let mut program = lower(self.graph, self.formats, &bindings, self.target)?;
            program.part = Some(part);
            for port in program.inputs.iter_mut().chain(&mut program.outputs) {
                port.name = part_name(&port.value, part);
                port.offset = items.start * element_count(&port.value_shape[1..]);
                port.value_shape[0] = self.bindings.symbol(symbol).unwrap_or(items.len());
            }
            programs.push(program);
        }
        Ok(Schedule::new(self.graph, items.len(), programs))
    }

    /// Whether rows of divided values are those of one sequence, so that a part's lie together.
    fn is_one_item(&self, cut: &Cut) -> bool {
        let first = |id: &ValueId| self.bindings.extent(&self.graph.value_of(*id).shape[0]);
        cut.divided.iter().all(|id| first(id) == Ok(1))
    }
}

/// A graph whose rows are divided among parts.
struct Division<'a> {
    job: Job<'a>,
    cut: &'a Cut,
    /// Of each part.
    rows: Vec<Range<usize>>,
}

impl Division<'_> {
    fn lower(&self) -> Result<Schedule, WebNnError> {
        let mut programs = Vec::new();
        for stage in &self.cut.stages {
            if stage.divided {
                for part in 0..self.rows.len() {
                    programs.push(self.program(stage, Some(part))?);
                }
            } else {
                programs.push(self.program(stage, None)?);
            }
        }
        Ok(Schedule::new(self.job.graph, self.rows.len(), programs))
    }

    /// What a part computes in a stage, or what is computed once.
    fn program(&self, stage: &Stage, part: Option<usize>) -> Result<Program, WebNnError> {
        let Job { graph, formats, bindings, target } = self.job;
        let bindings = match part {
            Some(part) => bindings.with(self.cut.symbol, self.rows[part].len()),
            None => bindings.clone(),
        };
        let mut recorder = Recorder::new(graph, formats, &bindings, target)?;
        if let Some(part) = part {
            recorder.start_at(self.rows[part].start);
        }
        let made: BTreeSet<ValueId> = graph.nodes[stage.nodes.clone()].iter().map(|node| node.output).collect();
        self.read(stage, part, &made, &mut recorder)?;
        for node in &graph.nodes[stage.nodes.clone()] {
            record(&mut recorder, node)?;
        }
        for id in made.into_iter().filter(|id| self.is_needed_after(stage, *id)) {
            recorder.write(id, self.slice(id, part)?)?;
        }
        let mut program = recorder.finish();
        program.part = part;
        Ok(program)
    }

    /// Gives a program what its stage reads and does not make.
    fn read(
        &self,
        stage: &Stage,
        part: Option<usize>,
        made: &BTreeSet<ValueId>,
        recorder: &mut Recorder<'_>,
    ) -> Result<(), WebNnError> {
        let nodes = || self.job.graph.nodes[stage.nodes.clone()].iter();
        let from_before = |ids: Vec<ValueId>| ids.into_iter().filter(|id| !made.contains(id)).collect::<BTreeSet<_>>();
        for id in from_before(nodes().flat_map(|node| row_reads(&node.op)).collect()) {
            let operand = recorder.read(id, self.slice(id, part)?)?;
            recorder.bind(id, operand);
        }
        for id in from_before(nodes().flat_map(|node| whole_reads(&node.op)).collect()) {
            if self.cut.divided.contains(&id) {
                let slices = (0..self.rows.len()).map(|part| self.slice(id, Some(part)));
                let slices = slices.collect::<Result<_, _>>()?;
                recorder.read_pieces(id, slices)?;
            } else {
                let operand = recorder.read(id, self.slice(id, None)?)?;
                recorder.bind(id, operand);
            }
        }
        Ok(())
    }

    fn is_needed_after(&self, stage: &Stage, id: ValueId) -> bool {
        let graph = self.job.graph;
        graph.outputs.contains(&id) || graph.nodes[stage.nodes.end..].iter().any(|node| node.op.inputs().contains(&id))
    }

    /// The tensor of a value: a part's rows where it is divided, else all of it.
    fn slice(&self, id: ValueId, part: Option<usize>) -> Result<Slice, WebNnError> {
        let Job { graph, bindings, .. } = self.job;
        let (name, whole) = (&graph.value_of(id).name, graph.shape(id, bindings)?);
        Ok(match part.filter(|_| self.cut.divided.contains(&id)) {
            Some(part) => {
                let rows = &self.rows[part];
                let mut shape = whole.clone();
                shape[1] = rows.len();
                let offset = rows.start * element_count(&whole[2..]);
                Slice { name: part_name(name, part), shape, offset, whole }
            }
            None => Slice { name: name.clone(), shape: whole.clone(), offset: 0, whole },
        })
    }
}
