//! Kernels: WGSL for the GPU, the plan that dispatches them, and their twins on the CPU.
//!
//! [`plan`] turns a graph into a [`plan::Recording`]: plain data that says which kernels run over which buffers.
//! [`webnn`] turns one into a [`webnn::Program`], likewise plain data, which a browser builds a WebNN graph of.
//!
//! Invariants: nothing in here touches a GPU; every operator has WGSL, a plan, twins on the CPU and op problems that
//! compare them in a browser, all in its folder.

pub mod cpu;
pub mod exec;
mod ops;
pub mod params;
pub mod plan;
mod preprocess;
pub mod problems;
pub mod reference;
pub mod shaders;
pub mod webnn;

pub use ops::linear::plan::LinearParams;

#[cfg(all(test, target_arch = "wasm32"))]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);
