//! Loss, gradient and softmax over buffers that are on the device already, with a copy of the same bytes beside them
//! as the yardstick. Every answer is checked before it is timed.
//!
//! Bytes moved, with V the bytes of the logits: copy 2 V (one read, one write), loss V, loss + gradient and softmax
//! 2 V plus the second read, which comes from cache where a row fits there.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, StandardNormal};
use xent::wgpu::{self, BufferUsages as Usage};
use xent::{
    Bound, Context, CrossEntropy, CrossEntropyBuffers, Dlogits, LossRecord, Shape, Softmax, SoftmaxBuffers,
    Targets,
};

const SHAPES: [(usize, usize); 4] = [(256, 50_304), (256, 50_257), (64, 128_256), (4_096, 1_000)];

struct Batch {
    gpu: Context,
    shape: Shape,
    logits: wgpu::Buffer,
    targets: wgpu::Buffer,
    output: wgpu::Buffer,
    loss: wgpu::Buffer,
}

fn buffer(gpu: &Context, bytes: &[u8]) -> wgpu::Buffer {
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: bytes.len() as u64,
        usage: Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST,
        mapped_at_creation: false,
    });
    gpu.queue.write_buffer(&buffer, 0, bytes);
    buffer
}

impl Batch {
    /// Peaky logits, as a language model's: noise of unit variance, one class in a thousand far above it.
    fn new(gpu: &Context, rows: usize, cols: usize) -> Self {
        let mut random = StdRng::seed_from_u64(7);
        let shape = Shape::new(rows, cols);
        let logits: Vec<f32> = (0..shape.len())
            .map(|_| {
                let noise: f32 = StandardNormal.sample(&mut random);
                noise + if random.random_ratio(1, 1000) { 9.0 } else { 0.0 }
            })
            .collect();
        let targets: Vec<i32> = (0..rows).map(|_| random.random_range(0..cols as i32)).collect();
        check(gpu, &logits, &targets, shape);
        Self {
            gpu: gpu.clone(),
            shape,
            logits: buffer(gpu, bytemuck::cast_slice(&logits)),
            targets: buffer(gpu, bytemuck::cast_slice(&targets)),
            output: buffer(gpu, &vec![0; shape.len() * 4]),
            loss: buffer(gpu, &[0; LossRecord::BYTES as usize]),
        }
    }

    fn cross_entropy(&self, with_dlogits: bool) -> Bound {
        let op = CrossEntropy::<f32>::new(&self.gpu.device, &Default::default()).unwrap();
        let whole = wgpu::Buffer::as_entire_buffer_binding;
        let mut buffers = CrossEntropyBuffers::new(whole(&self.logits), whole(&self.targets));
        buffers.loss = Some(whole(&self.loss));
        buffers.dlogits = with_dlogits.then(|| Dlogits::To(whole(&self.output)));
        op.bind(&self.gpu.device, self.shape, &buffers).unwrap()
    }

    fn softmax(&self) -> Bound {
        let op = Softmax::<f32>::new(&self.gpu.device, &Default::default()).unwrap();
        let buffers = SoftmaxBuffers {
            logits: self.logits.as_entire_buffer_binding(),
            probs: Some(self.output.as_entire_buffer_binding()),
            log_probs: None,
        };
        op.bind(&self.gpu.device, self.shape, &buffers).unwrap()
    }

    fn submit(&self, record: impl FnOnce(&mut wgpu::CommandEncoder)) {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        record(&mut encoder);
        self.gpu.queue.submit([encoder.finish()]);
        self.gpu.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    }

    fn run(&self, bound: &Bound) {
        self.submit(|encoder| bound.encode(&mut encoder.begin_compute_pass(&Default::default())));
    }

    fn copy(&self) {
        self.submit(|encoder| {
            encoder.copy_buffer_to_buffer(&self.logits, 0, &self.output, 0, self.logits.size());
        });
    }
}

/// The right answer first: a wrong one is not timed.
fn check(gpu: &Context, logits: &[f32], targets: &[i32], shape: Shape) {
    let targets = Targets::Classes(targets);
    let loss = CrossEntropy::<f32>::new(&gpu.device, &Default::default()).unwrap();
    let softmax = Softmax::<f32>::new(&gpu.device, &Default::default()).unwrap();
    for (what, verification) in [
        ("loss", loss.verify(gpu, logits, targets, shape, 16)),
        ("gradient", loss.verify_dlogits(gpu, logits, targets, shape, 4)),
        ("softmax", softmax.verify(gpu, logits, shape, 4)),
    ] {
        let verification = verification.unwrap();
        assert!(verification.passed, "{what} is wrong: {verification:?}");
    }
}

fn resident(criterion: &mut Criterion) {
    let gpu = Context::new_blocking().unwrap();
    println!("adapter: {}", gpu.profile().unwrap());
    for (rows, cols) in SHAPES {
        let batch = Batch::new(&gpu, rows, cols);
        let (loss, both, softmax) = (batch.cross_entropy(false), batch.cross_entropy(true), batch.softmax());
        let mut group = criterion.benchmark_group(format!("{rows}x{cols}"));
        group.throughput(Throughput::Bytes(batch.logits.size()));
        group.sample_size(20);
        group.bench_function(BenchmarkId::from_parameter("copy"), |bench| bench.iter(|| batch.copy()));
        group.bench_function(BenchmarkId::from_parameter("loss"), |bench| bench.iter(|| batch.run(&loss)));
        group.bench_function(BenchmarkId::from_parameter("loss+gradient"), |bench| {
            bench.iter(|| batch.run(&both));
        });
        group.bench_function(BenchmarkId::from_parameter("softmax"), |bench| {
            bench.iter(|| batch.run(&softmax));
        });
        group.finish();
    }
}

criterion_group!(benches, resident);
criterion_main!(benches);
