//! This crate, on buffers that are already on the device and from host slices.

use ::xent::wgpu::{self, BufferUsages as Usage};
use ::xent::{
    AdapterChoice, Bound, Context, CrossEntropy, CrossEntropyBuffers, LossRecord, OutputBuffer, Shape,
    Softmax, SoftmaxBuffers, Targets,
};

use crate::data::{Batch, Operation};
use crate::error::Result;
use crate::serve::Contestant;
use crate::version::version;

/// The adapter whose name contains `XENT_ADAPTER`, or the best one.
fn open() -> Result<Context> {
    let choice = AdapterChoice { name: std::env::var("XENT_ADAPTER").ok(), ..Default::default() };
    Ok(Context::open(&choice).wait()?)
}

fn about(gpu: &Context) -> String {
    let adapter = gpu.profile().map_or_else(|error| error.to_string(), |profile| profile.to_string());
    format!("xent {} on {adapter}", version("xent", ""))
}

/// Bound operations: timed from the encoder to the end of the device's work. Nothing is read back.
pub struct OnDevice {
    gpu: Context,
    loaded: Option<Loaded>,
}

struct Loaded {
    loss: Bound,
    loss_and_dlogits: Bound,
    softmax: Bound,
    record: wgpu::Buffer,
    output: wgpu::Buffer,
    ran: Operation,
}

impl OnDevice {
    pub fn open() -> Result<Self> {
        Ok(Self { gpu: open()?, loaded: None })
    }

    fn buffer(&self, size: u64, usage: Usage) -> wgpu::Buffer {
        let usage = usage | Usage::COPY_DST;
        self.gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    fn upload(&self, bytes: &[u8]) -> wgpu::Buffer {
        let buffer = self.buffer(bytes.len() as u64, Usage::STORAGE);
        self.gpu.queue.write_buffer(&buffer, 0, bytes);
        buffer
    }

    fn submit(&self, record: impl FnOnce(&mut wgpu::CommandEncoder)) -> Result<()> {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        record(&mut encoder);
        self.gpu.queue.submit([encoder.finish()]);
        self.gpu.device.poll(wgpu::PollType::wait_indefinitely())?;
        Ok(())
    }

    fn read(&self, from: &wgpu::Buffer) -> Result<Vec<f32>> {
        let staging = self.buffer(from.size(), Usage::MAP_READ);
        self.submit(|encoder| encoder.copy_buffer_to_buffer(from, 0, &staging, 0, from.size()))?;
        let slice = staging.slice(..);
        slice.map_async(wgpu::MapMode::Read, |_| ());
        self.gpu.device.poll(wgpu::PollType::wait_indefinitely())?;
        Ok(bytemuck::allocation::pod_collect_to_vec(&slice.get_mapped_range()?))
    }
}

impl Contestant for OnDevice {
    fn about(&self) -> String {
        about(&self.gpu)
    }

    fn load(&mut self, batch: &Batch) -> Result<()> {
        let (gpu, shape) = (&self.gpu, batch.shape());
        self.loaded = None;
        let logits = self.upload(bytemuck::cast_slice(&batch.logits));
        let targets = self.upload(bytemuck::cast_slice(&batch.targets));
        let output = self.buffer(logits.size(), Usage::STORAGE | Usage::COPY_SRC);
        let record = self.buffer(LossRecord::BYTES, Usage::STORAGE | Usage::COPY_SRC);
        let whole = wgpu::Buffer::as_entire_buffer_binding;

        let cross_entropy = CrossEntropy::<f32>::new(gpu, &Default::default())?;
        let mut buffers = CrossEntropyBuffers::new(whole(&logits), whole(&targets));
        buffers.outputs.loss = Some(whole(&record));
        let loss = cross_entropy.bind(shape, &buffers)?;
        buffers.outputs.dlogits = Some(OutputBuffer::To(whole(&output)));
        let loss_and_dlogits = cross_entropy.bind(shape, &buffers)?;
        let softmax = Softmax::<f32>::new(gpu, &Default::default())?;
        let buffers = SoftmaxBuffers { logits: whole(&logits), probs: Some(whole(&output)), log_probs: None };
        let softmax = softmax.bind(shape, &buffers)?;
        let ran = Operation::Loss;
        self.loaded = Some(Loaded { loss, loss_and_dlogits, softmax, record, output, ran });
        Ok(())
    }

    fn run(&mut self, operation: Operation) -> Result<()> {
        let loaded = self.loaded.as_mut().ok_or("nothing is loaded")?;
        loaded.ran = operation;
        let loaded = self.loaded.as_ref().ok_or("nothing is loaded")?;
        let bound = match operation {
            Operation::Loss => &loaded.loss,
            Operation::LossAndGradient => &loaded.loss_and_dlogits,
            Operation::Softmax => &loaded.softmax,
        };
        self.submit(|encoder| bound.encode(&mut encoder.begin_compute_pass(&Default::default())))
    }

    fn values(&mut self, batch: &Batch) -> Result<Vec<f64>> {
        let loaded = self.loaded.as_ref().ok_or("nothing is loaded")?;
        let mut values = Vec::new();
        if loaded.ran != Operation::Softmax {
            // The record's first word is the reduced loss.
            values.push(f64::from(self.read(&loaded.record)?[0]));
        }
        if loaded.ran != Operation::Loss {
            values.extend(batch.probe(&self.read(&loaded.output)?));
        }
        Ok(values)
    }
}

/// Host methods, timed with the transfer of the logits to the device and of the results back.
pub struct FromHost {
    gpu: Context,
    cross_entropy: CrossEntropy<f32>,
    softmax: Softmax<f32>,
    shape: Shape,
    logits: Vec<f32>,
    targets: Vec<i32>,
    loss: Option<f64>,
    output: Option<Vec<f32>>,
}

impl FromHost {
    pub fn open() -> Result<Self> {
        let gpu = open()?;
        Ok(Self {
            cross_entropy: CrossEntropy::new(&gpu, &Default::default())?,
            softmax: Softmax::new(&gpu, &Default::default())?,
            gpu,
            shape: Shape::new(0, 1),
            logits: Vec::new(),
            targets: Vec::new(),
            loss: None,
            output: None,
        })
    }
}

impl Contestant for FromHost {
    fn about(&self) -> String {
        about(&self.gpu)
    }

    fn load(&mut self, batch: &Batch) -> Result<()> {
        (self.shape, self.logits, self.targets) =
            (batch.shape(), batch.logits.clone(), batch.targets.clone());
        Ok(())
    }

    fn run(&mut self, operation: Operation) -> Result<()> {
        (self.loss, self.output) = (None, None);
        let (logits, targets, shape) = (&self.logits, Targets::Classes(&self.targets), self.shape);
        match operation {
            Operation::Loss => {
                self.loss = Some(self.cross_entropy.loss(logits, targets, shape).wait()?.value);
            }
            Operation::LossAndGradient => {
                let (loss, dlogits) = self.cross_entropy.loss_and_dlogits(logits, targets, shape).wait()?;
                (self.loss, self.output) = (Some(loss.value), Some(dlogits));
            }
            Operation::Softmax => self.output = Some(self.softmax.softmax(logits, shape).wait()?),
        }
        Ok(())
    }

    fn values(&mut self, batch: &Batch) -> Result<Vec<f64>> {
        let probed = self.output.iter().flat_map(|output| batch.probe(output));
        Ok(self.loss.into_iter().chain(probed).collect())
    }
}
