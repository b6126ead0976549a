//! The result record: what ran, where, and how it was measured.

use serde::{Deserialize, Serialize};

/// What really ran. Only a backend decides this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ImplementationType {
    /// WebGPU, on hardware or on a software adapter: see `adapter.hardware`.
    RealWebgpu,
    /// WebNN.
    RealWebnn,
    /// The CPU executor, asked for as the `wasm` platform.
    RealWasm,
    /// The CPU executor standing in for WebGPU.
    SimulatedWebgpu,
    /// The CPU executor standing in for WebNN.
    SimulatedWebnn,
}
