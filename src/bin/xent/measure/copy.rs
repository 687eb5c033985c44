//! A kernel that copies a batch's bytes.

use xent::wgpu;
use xent::{Context, Profile, Result};

use super::device::scoped;

/// Bytes that a workgroup copies, as in `copy.wgsl`.
const WORKGROUP_BYTES: u64 = 256 * 4 * 16;

/// The kernel, bound to two buffers, in parts if they are longer than a binding.
pub struct Copies {
    pipeline: wgpu::ComputePipeline,
    parts: Vec<(wgpu::BindGroup, [u32; 2])>,
}

impl Copies {
    /// Binds the copy of `bytes` bytes, a multiple of 16.
    pub fn new(
        gpu: &Context,
        profile: &Profile,
        (from, to): (&wgpu::Buffer, &wgpu::Buffer),
        bytes: u64,
    ) -> Result<Self> {
        let device = &gpu.device;
        let largest = profile.max_binding_bytes / WORKGROUP_BYTES * WORKGROUP_BYTES;
        scoped(device, "the kernel that copies", || {
            let module = device.create_shader_module(wgpu::include_wgsl!("copy.wgsl"));
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some("xent::copy"),
                layout: None,
                module: &module,
                entry_point: Some("copy"),
                compilation_options: Default::default(),
                cache: None,
            });
            let part = |offset: u64| {
                let bytes = largest.min(bytes - offset);
                let size = wgpu::BufferSize::new(bytes);
                let entry = |binding, buffer| wgpu::BindGroupEntry {
                    binding,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size }),
                };
                let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some("xent::copy"),
                    layout: &pipeline.get_bind_group_layout(0),
                    entries: &[entry(0, from), entry(1, to)],
                });
                let workgroups = bytes.div_ceil(WORKGROUP_BYTES);
                let wide = workgroups.min(u64::from(profile.max_workgroups));
                (bindings, [wide as u32, workgroups.div_ceil(wide) as u32])
            };
            let parts = (0..bytes).step_by(largest as usize).map(part).collect();
            Self { pipeline, parts }
        })
    }

    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        for (bindings, [wide, high]) in &self.parts {
            pass.set_bind_group(0, bindings, &[]);
            pass.dispatch_workgroups(*wide, *high, 1);
        }
    }
}
