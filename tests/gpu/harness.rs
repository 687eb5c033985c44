//! The shared device, devices with limits of their own, and buffers with guards around them.

use std::cell::Cell;
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::budget;
use wgpu::BufferUsages as Usage;
use xent::{AdapterChoice, AdapterKind, Context, Tuning, wgpu};

/// What outputs hold before a test runs: a NaN that no kernel writes, of f32 and, by each half, of f16 and bf16.
pub const SENTINEL: u32 = 0x7fde_7fad;

/// Words of the guard behind a region; the one before it is as long as the region's offset.
const GUARD_WORDS: usize = 64;

thread_local! {
    /// Bytes of that guard that are bound with a region. They are enough to fill its last pack, wherever that begins, so that
    /// more shapes share a pipeline.
    static ROOM: Cell<usize> = const { Cell::new(32) };
}

fn choice() -> AdapterChoice {
    let name = std::env::var("XENT_ADAPTER").ok().filter(|name| !name.is_empty());
    AdapterChoice { name, ..Default::default() }
}

/// The device that the tests share.
pub fn gpu() -> &'static Context {
    static GPU: OnceLock<Context> = OnceLock::new();
    budget::check();
    GPU.get_or_init(|| {
        budget::begin();
        let gpu = Context::open(&choice())
            .wait()
            .unwrap_or_else(|error| panic!("GPU tests need an adapter (XENT_ADAPTER chooses): {error}"));
        let profile = gpu.profile().expect("a profile");
        // Not `eprintln!`, which the test harness captures.
        writeln!(std::io::stderr(), "GPU tests on {profile}").expect("stderr");
        gpu
    })
}

/// The shared device's adapter, from an instance of the tests' own.
pub fn adapter() -> &'static wgpu::Adapter {
    static ADAPTER: OnceLock<(wgpu::Adapter, wgpu::Device)> = OnceLock::new();
    let (adapter, _) = ADAPTER.get_or_init(|| {
        let info = gpu().device.adapter_info();
        let backends = wgpu::Backends::from(info.backend);
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            flags: wgpu::InstanceFlags::default().with_env(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let found = pollster::block_on(instance.enumerate_adapters(backends));
        let adapter = found
            .into_iter()
            .find(|adapter| adapter.get_info().name == info.name)
            .expect("the same adapter again");
        // The first device of an instance cannot be told from the first of another: this one takes that place.
        let first = pollster::block_on(adapter.request_device(&Default::default()));
        (adapter, first.expect("a device").0)
    });
    adapter
}

/// A device of the same adapter with other limits: small ones make many windows of a small batch.
pub fn device_with(limit: impl FnOnce(&mut wgpu::Limits)) -> Context {
    device_of(wgpu::Features::empty(), limit)
}

/// The same with features too.
pub fn device_of(features: wgpu::Features, limit: impl FnOnce(&mut wgpu::Limits)) -> Context {
    let mut limits = adapter().limits();
    limit(&mut limits);
    let request = adapter().request_device(&wgpu::DeviceDescriptor {
        label: Some("test::device"),
        // With the shared device's kernels: others would change bits.
        required_features: features | (gpu().device.features() & wgpu::Features::SHADER_INT64),
        required_limits: limits,
        ..Default::default()
    });
    let (device, queue) = pollster::block_on(request).expect("a device with lower limits");
    Context::from_device(device, queue)
}

/// The plan's own choice; few lanes and many, up to 256, WebGPU's default limit; several rows a workgroup; rows that are
/// split; loads of 32 bits; floats that are not trusted; what a GPU of hardware is given.
pub fn tunings() -> impl Iterator<Item = Option<Tuning>> {
    let lanes = [1, 4, 32, 256].into_iter().map(|lanes| Tuning::fixed(lanes, 1));
    let rows = [(1, 8), (2, 128), (8, 16)].map(|(lanes, rows)| Tuning::fixed(lanes, rows));
    let split = [
        Tuning::fixed(1, 1).split(100_000, 1),
        Tuning::fixed(8, 1).split(64, 40),
        Tuning { words_of_64: false, trusts_floats: false, ..Tuning::fixed(4, 1).split(100_000, 64) },
        Tuning { words_of_64: false, ..Tuning::fixed(8, 1) },
        Tuning { trusts_floats: false, ..Tuning::fixed(8, 1) },
    ];
    // What hardware would be given.
    let mut hardware = gpu().profile().expect("a profile");
    hardware.kind = AdapterKind::Discrete;
    let hardware = [Tuning::of(&hardware)];
    std::iter::once(None).chain(lanes.chain(rows).chain(split).chain(hardware).map(Some))
}

/// Which cases of a product this run takes, and of how many runs: `XENT_SHARE` is `0/2` for one adapter and `1/2` for the
/// other where two share them. A run by itself takes all.
fn share() -> (usize, usize) {
    static SHARE: OnceLock<(usize, usize)> = OnceLock::new();
    *SHARE.get_or_init(|| {
        let Some(share) = std::env::var("XENT_SHARE").ok().filter(|share| !share.is_empty()) else {
            return (0, 1);
        };
        let numbers =
            share.split_once('/').and_then(|(mine, of)| Some((mine.parse().ok()?, of.parse().ok()?)));
        numbers.filter(|(mine, of)| mine < of).unwrap_or_else(|| panic!("XENT_SHARE={share}: 0/2 or 1/2"))
    })
}

/// Whether this run takes the case of this number.
pub fn is_mine(case: usize) -> bool {
    let (mine, of) = share();
    case % of == mine
}

/// Whether another run takes some of the cases.
pub fn is_shared() -> bool {
    share().1 > 1
}

/// A device whose bindings hold so many bytes, shared by the tests that ask for the same: their pipelines are made once.
pub fn device_of_bindings(features: wgpu::Features, bytes: u64) -> Context {
    static MADE: Mutex<Vec<(wgpu::Features, u64, Context)>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((.., gpu)) = made.iter().find(|(with, size, _)| (*with, *size) == (features, bytes)) {
        return gpu.clone();
    }
    let gpu = device_of(features, |limits| limits.max_storage_buffer_binding_size = bytes as _);
    made.push((features, bytes, gpu.clone()));
    gpu
}

/// Where outputs may begin, with room for a guard before them.
pub fn aligned_offset(gpu: &Context) -> u64 {
    u64::from(gpu.device.limits().min_storage_buffer_offset_alignment).max(256)
}

/// Runs something whose regions are bound to the end of their last word and no further.
pub fn bound_exactly<T>(run: impl FnOnce() -> T) -> T {
    let room = ROOM.replace(0);
    let result = run();
    ROOM.set(room);
    result
}

/// A part of a buffer; what lies around it is filled with [`SENTINEL`].
pub struct Region {
    pub buffer: wgpu::Buffer,
    pub offset: u64,
    /// Its size in bytes.
    pub bytes: usize,
    /// Bytes of the guard behind it that its binding takes in.
    room: usize,
}

impl Region {
    /// A region that holds `values`, `offset` bytes into its buffer.
    pub fn new<T: bytemuck::NoUninit>(gpu: &Context, offset: u64, values: &[T]) -> Self {
        let values: &[u8] = bytemuck::cast_slice(values);
        let before = offset as usize;
        let words = (before + values.len()).div_ceil(4) + GUARD_WORDS;
        let mut all = vec![SENTINEL; words];
        bytemuck::cast_slice_mut(&mut all)[before..][..values.len()].copy_from_slice(values);
        let usage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
        Self { buffer: buffer_of(gpu, usage, &all), offset, bytes: values.len(), room: ROOM.get() }
    }

    /// A region for f32 values.
    pub fn of_f32(gpu: &Context, offset: u64, values: &[f32]) -> Self {
        Self::new(gpu, offset, values)
    }

    /// A region for i32 values, where any binding may begin.
    pub fn of_i32(gpu: &Context, values: &[i32]) -> Self {
        Self::new(gpu, aligned_offset(gpu), values)
    }

    /// An output that nobody has written yet, where any binding may begin.
    pub fn unwritten(gpu: &Context, words: usize) -> Self {
        Self::unwritten_at(gpu, aligned_offset(gpu), words)
    }

    /// An output that nobody has written yet.
    pub fn unwritten_at(gpu: &Context, offset: u64, words: usize) -> Self {
        Self::new(gpu, offset, &vec![SENTINEL; words])
    }

    /// The region in whole words, and the room behind it.
    pub fn binding(&self) -> wgpu::BufferBinding<'_> {
        wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: wgpu::BufferSize::new((self.bytes.next_multiple_of(4) + self.room) as u64),
        }
    }

    /// What the region holds, word by word; the guards must be as they were.
    pub fn read(&self, gpu: &Context) -> Vec<u32> {
        self.read_as(gpu)
    }

    /// What the region holds; the guards must be as they were, to the byte.
    pub fn read_as<T: bytemuck::Pod>(&self, gpu: &Context) -> Vec<T> {
        let all = read_buffer(gpu, &self.buffer);
        let sentinels = vec![SENTINEL; all.len()];
        let (all, sentinels) =
            (bytemuck::cast_slice::<_, u8>(&all), bytemuck::cast_slice::<_, u8>(&sentinels));
        let (from, to) = (self.offset as usize, self.offset as usize + self.bytes);
        for (what, guard) in [("before", 0..from), ("behind", to..all.len())] {
            let written = guard.clone().find(|&byte| all[byte] != sentinels[byte]);
            assert_eq!(written, None, "a byte {what} the region at {from}..{to} B was written");
        }
        bytemuck::pod_collect_to_vec(&all[from..to])
    }
}

/// A buffer that holds `words`.
pub fn buffer_of(gpu: &Context, usage: Usage, words: &[u32]) -> wgpu::Buffer {
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("test::buffer"),
        size: words.len() as u64 * 4,
        usage,
        mapped_at_creation: true,
    });
    buffer
        .slice(..)
        .get_mapped_range_mut()
        .expect("mapped at creation")
        .copy_from_slice(bytemuck::cast_slice(words));
    buffer.unmap();
    buffer
}

/// All that a buffer holds.
pub fn read_buffer(gpu: &Context, buffer: &wgpu::Buffer) -> Vec<u32> {
    let staging = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("test::readback"),
        size: buffer.size(),
        usage: Usage::MAP_READ | Usage::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    gpu.queue.submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |mapped| mapped.expect("a mapped buffer"));
    gpu.device.poll(wgpu::PollType::wait_indefinitely()).expect("a device that works");
    let view = staging.slice(..).get_mapped_range().expect("a mapped buffer");
    bytemuck::cast_slice(&view).to_vec()
}

/// Records into one compute pass and submits it.
pub fn in_pass(gpu: &Context, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) {
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    record(&mut encoder.begin_compute_pass(&Default::default()));
    gpu.queue.submit([encoder.finish()]);
}
