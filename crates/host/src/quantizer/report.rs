//! What quantizing cost: error and size of each tensor, and of all that are alike.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use webnibble_common::graph::Role;
use webnibble_common::quant::{ErrorStats, ErrorSums, Format};

use super::options::QuantizeOptions;
use crate::calibrate::ActivationReport;
use crate::loader::{LoadError, PackageFile};

/// Name of the extra under which a package carries its report.
pub const REPORT: &str = "quantization_report.json";

/// What quantizing a model cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantizeReport {
    /// The choices.
    pub options: QuantizeOptions,
    /// Every tensor, in the graph's order.
    pub tensors: Vec<TensorReport>,
    /// Tensors of the checkpoint that the graph does not use.
    pub dropped: Vec<String>,
    /// Which linear operators are computed in int8, with activations of 8 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<ActivationReport>,
}

/// One tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorReport {
    /// Name in the graph.
    pub name: String,
    /// What it is used for.
    pub role: Role,
    /// How it is stored.
    pub format: Format,
    /// `[rows, cols]`, or `[len]`.
    pub shape: Vec<usize>,
    /// From which its statistics follow.
    pub sums: ErrorSums,
}

/// Tensors of one role and format together.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupReport {
    /// What they are used for.
    pub role: Role,
    /// How they are stored.
    pub format: Format,
    /// How many there are.
    pub tensors: usize,
    /// Their error and size.
    pub stats: ErrorStats,
}

impl TensorReport {
    /// A report with nothing added yet.
    pub fn new(name: &str, role: Role, format: Format, shape: &[usize]) -> Self {
        Self { name: name.to_owned(), role, format, shape: shape.to_vec(), sums: ErrorSums::default() }
    }

    /// Error and size.
    pub fn stats(&self) -> ErrorStats {
        self.sums.stats()
    }
}

impl QuantizeReport {
    /// The report that a package carries; `None` for one that was written without.
    pub fn of(package: &PackageFile) -> Result<Option<QuantizeReport>, LoadError> {
        let Some(bytes) = package.read_extra(REPORT)? else { return Ok(None) };
        let report = serde_json::from_slice(&bytes)
            .map_err(|error| LoadError::Json { path: package.path.join(REPORT), message: error.to_string() })?;
        Ok(Some(report))
    }

    /// Tensors by role and format, largest groups first.
    pub fn groups(&self) -> Vec<GroupReport> {
        let mut groups: BTreeMap<String, (GroupReport, ErrorSums)> = BTreeMap::new();
        for tensor in &self.tensors {
            let (role, format) = (tensor.role, tensor.format);
            let (group, sums) = groups.entry(format!("{role:?} {format}")).or_insert_with(|| {
                let stats = ErrorSums::default().stats();
                (GroupReport { role, format, tensors: 0, stats }, ErrorSums::default())
            });
            sums.merge(&tensor.sums);
            group.tensors += 1;
            group.stats = sums.stats();
        }
        let mut groups: Vec<GroupReport> = groups.into_values().map(|(group, _)| group).collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.stats.weights));
        groups
    }

    /// The whole model.
    pub fn total(&self) -> ErrorStats {
        let mut sums = ErrorSums::default();
        self.tensors.iter().for_each(|tensor| sums.merge(&tensor.sums));
        sums.stats()
    }
}
