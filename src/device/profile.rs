//! What a device is and allows, as far as a plan cares.

use std::fmt;

use crate::error::{Error, Result};

/// What stands behind an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdapterKind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the processor's memory.
    Integrated,
    /// A GPU seen through a virtual machine.
    Virtual,
    /// A GPU of a kind that its driver does not tell.
    Other,
    /// The processor itself: lavapipe, SwiftShader, WARP.
    Software,
}

impl AdapterKind {
    pub(crate) fn of(info: &wgpu::AdapterInfo) -> Self {
        match info.device_type {
            wgpu::DeviceType::DiscreteGpu => Self::Discrete,
            wgpu::DeviceType::IntegratedGpu => Self::Integrated,
            wgpu::DeviceType::VirtualGpu => Self::Virtual,
            wgpu::DeviceType::Cpu => Self::Software,
            wgpu::DeviceType::Other => Self::Other,
        }
    }

    /// Whether the processor's memory is the adapter's own.
    fn shares_memory(self) -> bool {
        matches!(self, Self::Software | Self::Integrated)
    }

    /// The features that make things faster where an adapter has them: kernels, and host slices.
    pub(crate) fn features(self) -> wgpu::Features {
        let of_memory = wgpu::Features::MAPPABLE_PRIMARY_BUFFERS;
        wgpu::Features::SHADER_INT64 | if self.shares_memory() { of_memory } else { wgpu::Features::empty() }
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Discrete => "discrete GPU",
            Self::Integrated => "integrated GPU",
            Self::Virtual => "virtual GPU",
            Self::Other => "GPU",
            Self::Software => "software",
        })
    }
}

/// What a device is and allows: the input of every plan.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// The adapter's name, as its driver tells it.
    pub name: String,
    /// Driver and version.
    pub driver: String,
    /// Vulkan, Metal, DX12, …
    pub backend: wgpu::Backend,
    /// Hardware or software.
    pub kind: AdapterKind,
    /// Whether host slices are written into, and results read from, the very buffers that the kernels use, with no copy
    /// between: the adapter shares the processor's memory (software, integrated), and the device has
    /// [`wgpu::Features::MAPPABLE_PRIMARY_BUFFERS`], which [`Context`](crate::Context) asks for on such adapters.
    pub unified_memory: bool,
    /// The largest storage binding, in bytes: a multiple of 4 and at most 2 GiB.
    pub max_binding_bytes: u64,
    /// The largest buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// What a storage binding's offset must be a multiple of, in bytes; at least 32, the size of the largest load.
    pub offset_alignment: u64,
    /// Workgroups in one dimension of a dispatch.
    pub max_workgroups: u32,
    /// Invocations of one workgroup.
    pub max_invocations: u32,
    /// Workgroup memory, in bytes.
    pub workgroup_memory: u32,
    /// The smallest and the largest subgroup.
    pub subgroup_sizes: (u32, u32),
    /// Whether shaders may use integers of 64 bits: [`wgpu::Features::SHADER_INT64`].
    pub shader_int64: bool,
}

/// The least that every operation fits into: WebGPU's default limits.
const NEEDED_INVOCATIONS: u32 = 256;
const NEEDED_STORAGE_BUFFERS: u32 = 8;
const NEEDED_WORKGROUP_MEMORY: u32 = 16 << 10;

impl Profile {
    /// The profile of a device.
    ///
    /// # Errors
    /// [`Error::DeviceLimit`] where the device's limits are below WebGPU's defaults (as wgpu's downlevel limits are).
    pub fn of(device: &wgpu::Device) -> Result<Self> {
        let limits = device.limits();
        for (limit, needed, available) in [
            (
                "storage buffers a shader stage",
                NEEDED_STORAGE_BUFFERS,
                limits.max_storage_buffers_per_shader_stage,
            ),
            (
                "invocations a workgroup",
                NEEDED_INVOCATIONS,
                limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
            ),
            ("bytes of workgroup memory", NEEDED_WORKGROUP_MEMORY, limits.max_compute_workgroup_storage_size),
        ] {
            if available < needed {
                return Err(Error::DeviceLimit {
                    limit,
                    needed: u64::from(needed),
                    available: u64::from(available),
                });
            }
        }
        Ok(Self::new(&device.adapter_info(), &limits, device.features()))
    }

    /// The profile that a device of this adapter with these limits and features has.
    pub(crate) fn new(info: &wgpu::AdapterInfo, limits: &wgpu::Limits, features: wgpu::Features) -> Self {
        Self {
            name: info.name.clone(),
            driver: [info.driver.as_str(), info.driver_info.as_str()].join(" ").trim().to_owned(),
            backend: info.backend,
            kind: AdapterKind::of(info),
            unified_memory: AdapterKind::of(info).shares_memory()
                && features.contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS),
            max_binding_bytes: limits
                .max_storage_buffer_binding_size
                .min(limits.max_buffer_size)
                .min(1 << 31)
                & !3,
            max_buffer_bytes: limits.max_buffer_size,
            offset_alignment: u64::from(limits.min_storage_buffer_offset_alignment).max(32),
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            max_invocations: limits
                .max_compute_invocations_per_workgroup
                .min(limits.max_compute_workgroup_size_x),
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            subgroup_sizes: (info.subgroup_min_size, info.subgroup_max_size),
            shader_int64: features.contains(wgpu::Features::SHADER_INT64),
        }
    }

    /// Whether the processor itself does the work.
    pub fn is_software(&self) -> bool {
        self.kind == AdapterKind::Software
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {}", self.name, self.kind, self.backend)?;
        if !self.driver.is_empty() {
            write!(f, ", {}", self.driver)?;
        }
        f.write_str(")")
    }
}
