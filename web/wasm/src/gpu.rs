//! The crate on the visitor's GPU: a batch made here, its loss and gradient, the check against the f64 reference, and
//! the operation on buffers of the device, for the page to time.

use wasm_bindgen::prelude::*;
use xent::wgpu::{self, BufferUsages as Usage};
use xent::{
    Bound, Context, CrossEntropy, CrossEntropyBuffers, LossOutputs, LossRecord, OutputBuffer, Shape,
    Verification,
};

use crate::{called, thrown};

/// The most logits of a batch: 64 Mi, 256 MiB.
pub const MAX_LOGITS: usize = 64 << 20;

/// A batch of logits (rows, cols) and one target class for each row.
#[wasm_bindgen]
pub struct Batch {
    logits: Vec<f32>,
    targets: Vec<i32>,
    shape: Shape,
}

#[wasm_bindgen]
impl Batch {
    /// Makes a batch from a seed. The logits spread like those of an untrained model, about −7 to 7; that of the target
    /// is raised, so that the loss is below that of a guess.
    #[wasm_bindgen(constructor)]
    pub fn new(rows: usize, cols: usize, seed: u32) -> Result<Self, JsError> {
        let len = rows.checked_mul(cols).filter(|&len| len > 0 && len <= MAX_LOGITS);
        let Some(len) = len else {
            return Err(JsError::new(&format!("{rows} × {cols}: a batch has 1 to {MAX_LOGITS} logits")));
        };
        let mut random = Random(u64::from(seed) << 1 | 1);
        let mut logits: Vec<f32> = (0..len).map(|_| random.spread()).collect();
        let targets: Vec<i32> = (0..rows).map(|_| (random.next() as usize % cols) as i32).collect();
        for (row, &target) in targets.iter().enumerate() {
            logits[row * cols + target as usize] += 4.0;
        }
        Ok(Self { logits, targets, shape: Shape::new(rows, cols) })
    }
}

/// A generator of numbers that need no quality: Marsaglia's xorshift with a multiplication, doi:10.18637/jss.v008.i14.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    /// About normal with standard deviation 2: the sum of four uniform numbers (16 bits each).
    fn spread(&mut self) -> f32 {
        let [a, b] = [self.next(), self.next()];
        let sum = (a & 0xffff) + (a >> 16) + (b & 0xffff) + (b >> 16);
        (sum as f32 / 65536.0 - 2.0) * 3.464
    }
}

/// The loss of a batch on the device, compared with the reference.
#[wasm_bindgen]
pub struct Answer {
    loss: f64,
    losses: Verification,
    gradients: Verification,
}

#[wasm_bindgen]
impl Answer {
    /// The mean loss of all rows, in nats.
    #[wasm_bindgen(getter)]
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// Whether every value compared was within its error bound.
    #[wasm_bindgen(getter)]
    pub fn passed(&self) -> bool {
        self.losses.passed && self.gradients.passed
    }

    /// Rows compared, all their gradient values included.
    #[wasm_bindgen(getter, js_name = rowsChecked)]
    pub fn rows_checked(&self) -> usize {
        self.losses.rows_checked.min(self.gradients.rows_checked)
    }

    /// The error of the worst loss, in nats.
    #[wasm_bindgen(getter, js_name = lossError)]
    pub fn loss_error(&self) -> f64 {
        self.losses.worst_abs
    }

    /// The relative error of the worst gradient value.
    #[wasm_bindgen(getter, js_name = gradientError)]
    pub fn gradient_error(&self) -> f64 {
        self.gradients.worst_rel
    }
}

/// The visitor's GPU, opened, with the operation built.
#[wasm_bindgen]
pub struct Gpu {
    context: Context,
    cross_entropy: CrossEntropy<f32>,
}

#[wasm_bindgen]
impl Gpu {
    /// Opens the browser's GPU.
    pub async fn open() -> Result<Gpu, JsError> {
        let context = Context::new().await.map_err(thrown)?;
        let cross_entropy = CrossEntropy::new(&context, &Default::default()).map_err(thrown)?;
        Ok(Self { context, cross_entropy })
    }

    /// The adapter's name, if the browser gives it; it often does not.
    pub fn name(&self) -> Result<String, JsError> {
        Ok(self.context.profile().map_err(thrown)?.name)
    }

    /// Computes the loss and the gradient of a batch, and compares those of `rows` evenly spaced rows with the reference.
    pub async fn check(&self, batch: &Batch, rows: usize) -> Result<Answer, JsError> {
        let op = &self.cross_entropy;
        let Batch { logits, targets, shape } = batch;
        let loss = op.loss(logits, targets, *shape).await.map_err(thrown)?.value;
        let losses = op.verify(logits, targets, *shape, rows).await.map_err(thrown)?;
        let gradients = op.verify_dlogits(logits, targets, *shape, rows).await.map_err(thrown)?;
        op.free_idle_buffers();
        Ok(Answer { loss, losses, gradients })
    }

    /// Copies a batch to buffers of the device and binds the loss to them, with its gradient if `with_dlogits`. If the
    /// batch is larger than the device's largest binding, only its first rows are bound.
    pub async fn bind(&self, batch: &Batch, with_dlogits: bool) -> Result<Timed, JsError> {
        let device = &self.context.device;
        let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let timed = self.bind_rows(batch, with_dlogits);
        match scope.pop().await {
            Some(error) => Err(JsError::new(&error.to_string())),
            None => timed,
        }
    }

    /// The opened GPU, for other operations.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    fn bind_rows(&self, batch: &Batch, with_dlogits: bool) -> Result<Timed, JsError> {
        let (device, queue) = (&self.context.device, &self.context.queue);
        let profile = self.context.profile().map_err(thrown)?;
        let cols = batch.shape.cols;
        let fitting = profile.max_binding_bytes as usize / (cols * size_of::<f32>());
        let shape = batch.shape.with_rows(batch.shape.rows.min(fitting));
        let buffer = |label, bytes| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: bytes,
                usage: Usage::STORAGE | Usage::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let bytes = (shape.len() * size_of::<f32>()) as u64;
        let logits = buffer("explorer::logits", bytes);
        let targets = buffer("explorer::targets", (shape.rows * size_of::<i32>()) as u64);
        let loss = buffer("explorer::loss", LossRecord::BYTES);
        let dlogits = with_dlogits.then(|| buffer("explorer::dlogits", bytes));
        write(queue, &logits, batch.logits[..shape.len()].iter().map(|value| value.to_bits()));
        write(queue, &targets, batch.targets[..shape.rows].iter().map(|&class| class as u32));

        let outputs = LossOutputs {
            loss: Some(loss.as_entire_buffer_binding()),
            dlogits: dlogits.as_ref().map(|buffer| OutputBuffer::To(buffer.as_entire_buffer_binding())),
            ..Default::default()
        };
        let buffers = CrossEntropyBuffers {
            outputs,
            ..CrossEntropyBuffers::new(logits.as_entire_buffer_binding(), targets.as_entire_buffer_binding())
        };
        let bound = self.cross_entropy.bind(shape, &buffers).map_err(thrown)?;
        let buffers = [Some(logits), Some(targets), Some(loss), dlogits].into_iter().flatten().collect();
        Ok(Timed { bound, len: shape.len(), device: device.clone(), queue: queue.clone(), buffers })
    }
}

/// Writes 32-bit values to a buffer, a part at a time, so that no second copy of a large batch is made.
fn write(queue: &wgpu::Queue, buffer: &wgpu::Buffer, values: impl Iterator<Item = u32>) {
    const PART: usize = 1 << 20;
    let mut part: Vec<u8> = Vec::with_capacity(PART);
    let mut offset = 0;
    for value in values {
        part.extend(value.to_le_bytes());
        if part.len() == PART {
            queue.write_buffer(buffer, offset, &part);
            offset += PART as u64;
            part.clear();
        }
    }
    queue.write_buffer(buffer, offset, &part);
}

/// The loss bound to buffers of the device. Drop it (`free()` in JavaScript) to free them at once.
#[wasm_bindgen]
pub struct Timed {
    bound: Bound,
    len: usize,
    device: wgpu::Device,
    queue: wgpu::Queue,
    buffers: Vec<wgpu::Buffer>,
}

#[wasm_bindgen]
impl Timed {
    /// Logits that one run reads.
    #[wasm_bindgen(getter)]
    pub fn logits(&self) -> usize {
        self.len
    }

    /// Bytes that one run reads and writes; a second read of the logits counts.
    #[wasm_bindgen(getter)]
    pub fn bytes(&self) -> f64 {
        self.bound.bytes() as f64
    }

    /// Runs the loss `times` times on the device and waits for the last one.
    pub async fn run(&self, times: usize) {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        for _ in 0..times {
            self.bound.encode(&mut encoder.begin_compute_pass(&Default::default()));
        }
        self.queue.submit([encoder.finish()]);
        called(|done| self.queue.on_submitted_work_done(done)).await;
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.buffers.iter().for_each(wgpu::Buffer::destroy);
    }
}
