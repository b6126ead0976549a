//! What the adapter can do.

/// What the adapter can do, as far as the choice of kernels depends on it. Sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceCaps {
    /// `shader-f16`.
    pub f16: bool,
    /// `subgroups`.
    pub subgroups: bool,
    /// Threads of a subgroup, where there are as many in each.
    pub subgroup_size: Option<u32>,
    /// `maxComputeWorkgroupStorageSize`.
    pub workgroup_storage_bytes: usize,
    /// `maxComputeInvocationsPerWorkgroup`.
    pub invocations: usize,
    /// `maxStorageBufferBindingSize`.
    pub storage_binding_bytes: usize,
    /// `maxBufferSize`.
    pub buffer_bytes: usize,
    /// `maxComputeWorkgroupsPerDimension`.
    pub workgroups_per_dimension: usize,
    /// Whether kernels run on the CPU, in SwiftShader or llvmpipe.
    pub software: bool,
}

impl DeviceCaps {
    /// The limits that every WebGPU adapter has, and no features.
    pub const CORE: DeviceCaps = DeviceCaps {
        f16: false,
        subgroups: false,
        subgroup_size: None,
        workgroup_storage_bytes: 16 << 10,
        invocations: 256,
        storage_binding_bytes: 128 << 20,
        buffer_bytes: 256 << 20,
        workgroups_per_dimension: 65535,
        software: false,
    };
}
