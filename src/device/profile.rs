//! The properties and limits of a device that matter for a plan.

use std::fmt;

use crate::error::{Error, Result};

/// The kind of hardware or software behind an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdapterKind {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the processor's memory.
    Integrated,
    /// A GPU in a virtual machine.
    Virtual,
    /// A GPU whose driver does not report its kind.
    Other,
    /// Software on the processor: lavapipe, SwiftShader, WARP.
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

    /// Whether the adapter uses the processor's memory.
    fn shares_memory(self) -> bool {
        matches!(self, Self::Software | Self::Integrated)
    }

    /// The features that speed up kernels and host slices, where an adapter has them.
    pub(crate) fn features(self) -> wgpu::Features {
        let of_memory = wgpu::Features::MAPPABLE_PRIMARY_BUFFERS;
        let of_words = wgpu::Features::SHADER_INT64 | wgpu::Features::SHADER_F16;
        of_words | if self.shares_memory() { of_memory } else { wgpu::Features::empty() }
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

/// The properties and limits of a device: the input of every plan.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// The adapter's name, as its driver reports it.
    pub name: String,
    /// Driver and version.
    pub driver: String,
    /// Vulkan, Metal, DX12, …
    pub backend: wgpu::Backend,
    /// The kind of adapter, hardware or software.
    pub kind: AdapterKind,
    /// Whether the host writes slices into, and reads results from, the kernels' own buffers, without a copy in
    /// between. This needs an adapter that shares the processor's memory (software, integrated) and a device with
    /// [`wgpu::Features::MAPPABLE_PRIMARY_BUFFERS`], which [`Context`](crate::Context) enables on such adapters.
    pub unified_memory: bool,
    /// The largest storage binding, in bytes: a multiple of 4 and at most 2 GiB.
    pub max_binding_bytes: u64,
    /// The largest buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// The alignment of a storage binding's offset, in bytes; at least 32, the size of the largest load.
    pub offset_alignment: u64,
    /// The maximum number of workgroups in one dimension of a dispatch.
    pub max_workgroups: u32,
    /// The maximum number of invocations in a workgroup.
    pub max_invocations: u32,
    /// The workgroup memory, in bytes.
    pub workgroup_memory: u32,
    /// The smallest and the largest subgroup size.
    pub subgroup_sizes: (u32, u32),
    /// Whether shaders may use 64-bit integers: [`wgpu::Features::SHADER_INT64`].
    pub shader_int64: bool,
    /// Whether floats keep special values where WGSL promises nothing: exp2(−∞) is 0, and unpacking f16 keeps denormal
    /// values and NaN.
    pub keeps_specials: bool,
}

/// The limits that every operation fits into: WebGPU's defaults.
const NEEDED_INVOCATIONS: u32 = 256;
const NEEDED_STORAGE_BUFFERS: u32 = 8;
const NEEDED_WORKGROUP_MEMORY: u32 = 16 << 10;

/// Vulkan's drivers compile floats as they are, and Direct3D prescribes what becomes of special values. Metal may assume
/// that there is no infinity, and a browser may run on Metal. wgpu allows lavapipe to unpack f16 only if it has f16 itself.
fn keeps_specials(info: &wgpu::AdapterInfo, features: wgpu::Features) -> bool {
    match info.backend {
        wgpu::Backend::Vulkan => {
            !info.name.contains("llvmpipe") || features.contains(wgpu::Features::SHADER_F16)
        }
        backend => backend == wgpu::Backend::Dx12,
    }
}

impl Profile {
    /// The profile of a device.
    ///
    /// # Errors
    /// [`Error::DeviceLimit`] if a limit of the device is below WebGPU's default (as wgpu's downlevel limits are).
    pub fn of(device: &wgpu::Device) -> Result<Self> {
        let limits = device.limits();
        for (limit, needed, available) in [
            (
                "storage buffers per shader stage",
                NEEDED_STORAGE_BUFFERS,
                limits.max_storage_buffers_per_shader_stage,
            ),
            (
                "invocations per workgroup",
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

    /// The profile of a device of this adapter with these limits and features.
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
            keeps_specials: keeps_specials(info, features),
        }
    }

    /// Whether the adapter runs on the processor.
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
