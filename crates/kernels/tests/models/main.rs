//! Families from checkpoint to output on the CPU: against the reference implementation, and one executor against the other.
//! Natively: it reads files.
#![cfg(not(target_arch = "wasm32"))]

mod bert;
mod checkpoint;
mod llama;
mod vit;

use std::path::{Path, PathBuf};

use webnibble_common::graph::Graph;
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::WeightMap;
use webnibble_kernels::exec::{ExecError, Outputs};
use webnibble_kernels::{cpu, reference};

/// Largest error at 32 bits, as `compare` takes it. Both executors are far closer; the issue asks for 1e-3.
const TOLERANCE: f64 = 1e-5;

type Run = fn(&Graph, &WeightMap, &[(String, Tensor)]) -> Result<Outputs, ExecError>;
const EXECUTORS: [(&str, Run); 2] = [("reference", reference::run), ("cpu", cpu::run)];

/// The folder of a family's golden.
fn golden(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/goldens").join(family)
}
