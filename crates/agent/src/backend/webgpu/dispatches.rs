//! The dispatches of a recording on the device, and what they are bound to.

use web_sys::{
    GpuBindGroup, GpuBindGroupDescriptor, GpuBindGroupEntry, GpuBufferBinding, GpuComputePassEncoder,
    GpuComputePipeline,
};
use webnibble_common::wire::RemoteError;
use webnibble_kernels::plan::{Binding, Dispatch};
use webnibble_kernels::shaders::Kernel;

use super::gpu::Gpu;

/// A dispatch.
pub(super) struct Dispatched {
    pub(super) pipeline: GpuComputePipeline,
    /// Whether the dispatch before has another.
    changes_pipeline: bool,
    /// `None` where it touches what belongs to a conversation: that has the bind group.
    bind_group: Option<GpuBindGroup>,
    workgroups: [u32; 3],
}

/// Bind groups of a conversation, in the order of the dispatches that have none.
pub(super) type Others<'a> = std::slice::Iter<'a, GpuBindGroup>;

impl Dispatched {
    /// A dispatch after one of the kernel `before`; its pipeline is built.
    pub(super) fn new(
        gpu: &Gpu,
        dispatch: &Dispatch,
        before: Option<&Kernel>,
        bind_group: Option<GpuBindGroup>,
    ) -> Result<Self, RemoteError> {
        let pipeline = gpu.pipeline(&dispatch.kernel)?;
        let changes_pipeline = before != Some(&dispatch.kernel);
        Ok(Self { pipeline, changes_pipeline, bind_group, workgroups: dispatch.workgroups })
    }

    /// In a pass that the dispatch before is in.
    pub(super) fn encode(&self, pass: &GpuComputePassEncoder, others: &mut Others<'_>) {
        if self.changes_pipeline {
            pass.set_pipeline(&self.pipeline);
        }
        self.dispatch(pass, others);
    }

    /// In a pass that has its pipeline.
    pub(super) fn dispatch(&self, pass: &GpuComputePassEncoder, others: &mut Others<'_>) {
        let [x, y, z] = self.workgroups;
        pass.set_bind_group(0, self.bind_group.as_ref().or_else(|| others.next()));
        pass.dispatch_workgroups_with_workgroup_count_y_and_workgroup_count_z(x, y, z);
    }
}

/// The bind group of a dispatch; `resource` says what each of its bindings is.
pub(super) fn bind_group(
    gpu: &Gpu,
    dispatch: &Dispatch,
    resource: impl Fn(&Binding) -> GpuBufferBinding,
) -> Result<GpuBindGroup, RemoteError> {
    let entry = |binding: &Binding| GpuBindGroupEntry::new_with_gpu_buffer_binding(binding.number, &resource(binding));
    let entries: Vec<GpuBindGroupEntry> = dispatch.bindings.iter().map(entry).collect();
    let layout = gpu.pipeline(&dispatch.kernel)?.get_bind_group_layout(0);
    let descriptor = GpuBindGroupDescriptor::new(&entries, &layout);
    descriptor.set_label(&dispatch.operator);
    Ok(gpu.device.create_bind_group(&descriptor))
}
