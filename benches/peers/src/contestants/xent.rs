//! This crate, on buffers that are already on the device and from host slices.

use ::xent::wgpu::{self, BufferUsages as Usage};
use ::xent::{
    AdapterChoice, Bound, Context, CrossEntropy, CrossEntropyBuffers, LossRecord, OutputBuffer, Shape,
    Softmax, SoftmaxBuffers, Targets, TopClasses, TopK, TopKBuffers, TopKOptions, TopValues,
};
use bytemuck::Pod;

use crate::data::{Batch, Operation};
use crate::error::Result;
use crate::serve::{Contestant, NOT_COMPARED};
use crate::version::version;

/// The adapter whose name contains `XENT_ADAPTER`, or the best one.
fn open() -> Result<Context> {
    let choice = AdapterChoice { name: std::env::var("XENT_ADAPTER").ok(), ..Default::default() };
    Ok(Context::open(&choice).wait()?)
}

/// The largest classes of each row with their log-probabilities.
fn top_k(gpu: &Context, operation: Operation) -> Result<TopK<f32>> {
    let options = TopKOptions { values: TopValues::LogProbs, ..TopKOptions::new(operation.classes()) };
    Ok(TopK::new(gpu, &options)?)
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
    /// The 5 and the 64 largest classes; `None` where rows have fewer.
    tops: [Option<Bound>; 2],
    record: wgpu::Buffer,
    output: wgpu::Buffer,
    /// Values (rows, k) and indices (rows, k).
    classes: [wgpu::Buffer; 2],
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

    fn read<T: Pod>(&self, from: &wgpu::Buffer, bytes: u64) -> Result<Vec<T>> {
        let staging = self.buffer(bytes, Usage::MAP_READ);
        self.submit(|encoder| encoder.copy_buffer_to_buffer(from, 0, &staging, 0, bytes))?;
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

        let size = (shape.rows * Operation::Top64.classes() * size_of::<f32>()) as u64;
        let classes = [(); 2].map(|()| self.buffer(size, Usage::STORAGE | Usage::COPY_SRC));
        let buffers = TopKBuffers::new(whole(&logits), whole(&classes[1]), whole(&classes[0]));
        let bind = |operation: Operation| -> Result<Option<Bound>> {
            let is_wide_enough = operation.classes() <= shape.cols;
            Ok(if is_wide_enough { Some(top_k(gpu, operation)?.bind(shape, &buffers)?) } else { None })
        };
        let tops = [bind(Operation::Top5)?, bind(Operation::Top64)?];
        let ran = Operation::Loss;
        self.loaded = Some(Loaded { loss, loss_and_dlogits, softmax, tops, record, output, classes, ran });
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
            Operation::Top5 => loaded.tops[0].as_ref().ok_or(NOT_COMPARED)?,
            Operation::Top64 => loaded.tops[1].as_ref().ok_or(NOT_COMPARED)?,
        };
        self.submit(|encoder| bound.encode(&mut encoder.begin_compute_pass(&Default::default())))
    }

    fn values(&mut self, batch: &Batch) -> Result<Vec<f64>> {
        let loaded = self.loaded.as_ref().ok_or("nothing is loaded")?;
        // The record's first word is the reduced loss.
        let loss = || -> Result<f64> { Ok(self.read::<f32>(&loaded.record, LossRecord::BYTES)?[0].into()) };
        let output =
            || -> Result<Vec<f64>> { Ok(batch.probe(&self.read(&loaded.output, loaded.output.size())?)) };
        match loaded.ran {
            Operation::Loss => Ok(vec![loss()?]),
            Operation::LossAndGradient => Ok([vec![loss()?], output()?].concat()),
            Operation::Softmax => output(),
            Operation::Top5 | Operation::Top64 => {
                let bytes = (batch.rows * loaded.ran.classes() * size_of::<f32>()) as u64;
                let [values, indices] = &loaded.classes;
                Ok(batch.probe_classes(&self.read(values, bytes)?, &self.read(indices, bytes)?))
            }
        }
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
    tops: [TopK<f32>; 2],
    classes: Option<TopClasses>,
}

impl FromHost {
    pub fn open() -> Result<Self> {
        let gpu = open()?;
        Ok(Self {
            cross_entropy: CrossEntropy::new(&gpu, &Default::default())?,
            softmax: Softmax::new(&gpu, &Default::default())?,
            shape: Shape::new(0, 1),
            logits: Vec::new(),
            targets: Vec::new(),
            loss: None,
            output: None,
            tops: [top_k(&gpu, Operation::Top5)?, top_k(&gpu, Operation::Top64)?],
            classes: None,
            gpu,
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
        (self.loss, self.output, self.classes) = (None, None, None);
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
            Operation::Top5 | Operation::Top64 if operation.classes() > shape.cols => {
                return Err(NOT_COMPARED.into());
            }
            Operation::Top5 => self.classes = Some(self.tops[0].top_k(logits, shape).wait()?),
            Operation::Top64 => self.classes = Some(self.tops[1].top_k(logits, shape).wait()?),
        }
        Ok(())
    }

    fn values(&mut self, batch: &Batch) -> Result<Vec<f64>> {
        let probed = self.output.iter().flat_map(|output| batch.probe(output));
        let classes = self.classes.iter().flat_map(|top| batch.probe_classes(&top.values, &top.indices));
        Ok(self.loss.into_iter().chain(probed).chain(classes).collect())
    }
}
