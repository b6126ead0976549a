//! What really ran: the one word that a report is believed by.

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

impl ImplementationType {
    /// Whether the CPU executor stood in for the platform that was asked for.
    pub fn is_simulation(self) -> bool {
        matches!(self, ImplementationType::SimulatedWebgpu | ImplementationType::SimulatedWebnn)
    }
}

impl std::fmt::Display for ImplementationType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            ImplementationType::RealWebgpu => "REAL_WEBGPU",
            ImplementationType::RealWebnn => "REAL_WEBNN",
            ImplementationType::RealWasm => "REAL_WASM",
            ImplementationType::SimulatedWebgpu => "SIMULATED_WEBGPU",
            ImplementationType::SimulatedWebnn => "SIMULATED_WEBNN",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn implementation_types_print_as_they_are_written() {
        use ImplementationType::*;
        for one in [RealWebgpu, RealWebnn, RealWasm, SimulatedWebgpu, SimulatedWebnn] {
            assert_eq!(serde_json::to_value(one).unwrap(), one.to_string());
            assert_eq!(one.is_simulation(), one.to_string().starts_with("SIMULATED"));
        }
    }
}
