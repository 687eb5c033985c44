//! Pipelines, made on first use and kept; and dispatches, ready to be recorded.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::device::scoped;
use crate::error::Result;
use crate::kernel::params::Params;
use crate::kernel::passes::{Access, Pass, Score, Variant, binding};

/// A part of a buffer: a caller's `wgpu::BufferBinding`, checked and kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Binding {
    pub buffer: wgpu::Buffer,
    pub offset: u64,
    pub size: u64,
    /// Bytes behind the part that may be bound with it: see [`Plan::place`](super::Plan::place).
    pub room: u64,
}

impl Binding {
    pub fn whole(buffer: &wgpu::Buffer) -> Self {
        Self { buffer: buffer.clone(), offset: 0, size: buffer.size(), room: 0 }
    }

    fn resource(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: wgpu::BufferSize::new(self.size),
        })
    }
}

/// The pipelines of a device, shared by all operations on it.
#[derive(Debug)]
pub(crate) struct Kernels {
    pub device: wgpu::Device,
    modules: Made<ModuleKey, wgpu::ShaderModule>,
    pipelines: Made<Key, Kernel>,
}

/// The key of a module: the pass and its variant.
type ModuleKey = ((&'static str, Score), Variant);
/// The key of a pipeline: the module's key and the override constants.
type Key = ((&'static str, Score), Variant, Vec<(&'static str, u32)>);

/// Objects made once for each key. A thread that makes one blocks only threads that need the same one.
#[derive(Debug)]
struct Made<K, V>(Mutex<HashMap<K, Arc<Slot<V>>>>);

/// A place for one object, filled by the first thread that needs it.
type Slot<V> = Mutex<Option<Arc<V>>>;

impl<K, V> Default for Made<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash, V> Made<K, V> {
    fn get(&self, key: &K, make: impl FnOnce() -> Result<V>) -> Result<Arc<V>> {
        let slot = self.slot(key);
        let mut slot = locked(&slot);
        if let Some(made) = &*slot {
            return Ok(made.clone());
        }
        let made = Arc::new(make()?);
        *slot = Some(made.clone());
        Ok(made)
    }

    fn slot(&self, key: &K) -> Arc<Slot<V>> {
        let mut slots = locked(&self.0);
        match slots.get(key) {
            Some(slot) => slot.clone(),
            None => slots.entry(key.clone()).or_default().clone(),
        }
    }

    fn len(&self) -> usize {
        let slots: Vec<_> = locked(&self.0).values().cloned().collect();
        slots.iter().filter(|slot| locked(slot).is_some()).count()
    }

    fn clear(&self) {
        locked(&self.0).clear();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Kernel {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// One dispatch with everything it needs.
#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
    kernel: Arc<Kernel>,
    bind_group: wgpu::BindGroup,
    grid: [u32; 2],
    /// Bytes moved, counting logits and arrays of the same layout.
    bytes: u64,
}

impl Dispatch {
    /// Sets the bytes moved, counting logits and arrays of the same layout.
    pub fn moving(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.kernel.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }
}

impl Kernels {
    pub fn new(device: &wgpu::Device) -> Self {
        Self { device: device.clone(), modules: Made::default(), pipelines: Made::default() }
    }

    /// A dispatch of a pass. It uses those of the constants that the pass has. Bindings are given by number. A binding
    /// that is off or empty is bound to a placeholder, because WebGPU requires every binding.
    pub fn dispatch(
        &self,
        pass: &'static Pass,
        variant: Variant,
        constants: &[(&'static str, u32)],
        params: &Params,
        bindings: &[(u32, Option<&Binding>)],
        grid: [u32; 2],
    ) -> Result<Dispatch> {
        let variant = pass.fitted(variant);
        let kernel = self.kernel(pass, variant, constants)?;
        let label = pass.label();
        let bind_group =
            scoped(&self.device, &label, || {
                let uniform = self.uniform(params, &label);
                // Each placeholder is a separate buffer, because two bindings of one buffer must not both be written.
                let storage = pass.bindings(variant).into_iter().map(|(number, _)| {
                    let bound = bindings.iter().find_map(|&(at, bound)| bound.filter(|_| at == number));
                    let bound = bound.filter(|bound| bound.size > 0);
                    (number, bound.cloned().unwrap_or_else(|| self.placeholder()))
                });
                let storage: Vec<(u32, Binding)> = storage.collect();
                let mut entries = vec![wgpu::BindGroupEntry {
                    binding: binding::PARAMS,
                    resource: uniform.as_entire_binding(),
                }];
                entries.extend(storage.iter().map(|&(binding, ref bound)| wgpu::BindGroupEntry {
                    binding,
                    resource: bound.resource(),
                }));
                self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(&label),
                    layout: &kernel.layout,
                    entries: &entries,
                })
            })?;
        Ok(Dispatch { kernel, bind_group, grid, bytes: 0 })
    }

    fn placeholder(&self) -> Binding {
        Binding::whole(&self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("xent::placeholder"),
            size: 32,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        }))
    }

    /// The parameters of a dispatch, in a new buffer, so that two shapes recorded in one encoder do not interfere.
    fn uniform(&self, params: &Params, label: &str) -> wgpu::Buffer {
        let bytes = bytemuck::bytes_of(params);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.len() as u64,
            usage: wgpu::BufferUsages::UNIFORM,
            mapped_at_creation: true,
        });
        // If the buffer could not be made, mapping fails too; the error scope reports the reason.
        if let Ok(mut view) = buffer.slice(..).get_mapped_range_mut() {
            view.copy_from_slice(bytes);
        }
        buffer.unmap();
        buffer
    }

    fn kernel(
        &self,
        pass: &'static Pass,
        variant: Variant,
        constants: &[(&'static str, u32)],
    ) -> Result<Arc<Kernel>> {
        let known = pass.overrides(variant);
        let constants: Vec<_> = constants.iter().filter(|(name, _)| known.contains(name)).copied().collect();
        let key = (pass.id(), variant, constants);
        self.pipelines.get(&key, || self.make(pass, variant, &key.2))
    }

    /// How many pipelines have been made so far.
    pub fn made(&self) -> usize {
        self.pipelines.len()
    }

    /// Drops the cached pipelines and modules. Bound operations keep theirs.
    pub fn free(&self) {
        self.pipelines.clear();
        self.modules.clear();
    }

    fn module(&self, pass: &'static Pass, variant: Variant) -> Result<Arc<wgpu::ShaderModule>> {
        let label = pass.label();
        self.modules.get(&(pass.id(), variant), || {
            scoped(&self.device, &label, || {
                self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
                    label: Some(&label),
                    source: wgpu::ShaderSource::Wgsl(pass.source(variant).into()),
                })
            })
        })
    }

    fn make(
        &self,
        pass: &'static Pass,
        variant: Variant,
        constants: &[(&'static str, u32)],
    ) -> Result<Kernel> {
        let label = pass.label();
        let label = label.as_str();
        let constants: Vec<(&str, f64)> =
            constants.iter().map(|&(name, value)| (name, f64::from(value))).collect();
        let module = self.module(pass, variant)?;
        scoped(&self.device, label, || {
            let uniform = layout_entry(binding::PARAMS, wgpu::BufferBindingType::Uniform);
            let storage = pass.bindings(variant).into_iter().map(|(binding, access)| {
                layout_entry(binding, wgpu::BufferBindingType::Storage { read_only: access == Access::Read })
            });
            let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(label),
                entries: &std::iter::once(uniform).chain(storage).collect::<Vec<_>>(),
            });
            let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(label),
                bind_group_layouts: &[Some(&layout)],
                ..Default::default()
            });
            let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(label),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(pass.name),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &constants,
                    // Every word of workgroup memory is written before it is read.
                    zero_initialize_workgroup_memory: false,
                },
                cache: None,
            });
            Kernel { pipeline, layout }
        })
    }
}

fn layout_entry(binding: u32, ty: wgpu::BufferBindingType) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    }
}
