//! Times every operation on buffers that are already on the device, with a copy of the same bytes as the yardstick. It also
//! times the loss from a host slice, including the transfer to the device, and the loss with its gradient from one host slice to
//! another: that takes a kernel and two copies of the logits' bytes, so a copy on the host stands beside it. With the feature `cpu`,
//! the processor path is timed on the same logits, in memory and into buffers that exist already. Every answer is checked before it
//! is timed.
//!
//! Bytes moved, where V is the bytes of the logits: copy 2 V (one read, one write); loss, logsumexp and argmax V;
//! gradient, softmax, log-softmax and entmax 2 V plus the second read, which comes from cache if a row fits there. The throughput
//! that criterion prints is V divided by the time. The gradient of 16-bit logits with an odd number of classes is written
//! in f32, which is one more V.

use std::cell::RefCell;
use std::time::Duration;

use criterion::{Bencher, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, StandardNormal};
use xent::bounds::loss_bound;
use xent::half::bf16;
use xent::wgpu::{self, BufferUsages as Usage};
use xent::{
    Argmax, ArgmaxBuffers, Bound, Context, CrossEntropy, CrossEntropyBuffers, Element, Entmax, EntmaxBuffers,
    EntmaxOptions, LogSumExp, LogSumExpBuffers, LossRecord, NegativeBuffers, NegativeSampler, OutputBuffer,
    SampledSoftmax, SampledSoftmaxBuffers, SampledSoftmaxInputs, SampledSoftmaxOptions, Shape, Softmax,
    SoftmaxBuffers, Targets, Verification, reference,
};

/// Vocabularies (including an odd one), a classifier, a million narrow rows, one long row.
const SHAPES: [(usize, usize); 7] = [
    (256, 50_304),
    (256, 50_257),
    (64, 128_256),
    (64, 50_257),
    (4_096, 1_000),
    (1_000_000, 10),
    (1, 8_000_000),
];

struct Batch<E: Element> {
    gpu: Context,
    shape: Shape,
    /// The logits (rows, cols) and the targets (rows,) on the host.
    values: Vec<E>,
    classes: Vec<i32>,
    /// The same on the device.
    logits: wgpu::Buffer,
    targets: wgpu::Buffer,
    /// A value of up to 4 bytes for each logit, a value for each row, a loss.
    output: wgpu::Buffer,
    rows: wgpu::Buffer,
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

impl<E: Element> Batch<E> {
    /// Peaky logits, like those of a language model: noise of unit variance, one class in a thousand far above it.
    fn new(gpu: &Context, rows: usize, cols: usize) -> Self {
        let mut random = StdRng::seed_from_u64(7);
        let shape = Shape::new(rows, cols);
        let values: Vec<E> = (0..shape.len())
            .map(|_| {
                let noise: f32 = StandardNormal.sample(&mut random);
                E::from_f32(noise + if random.random_ratio(1, 1000) { 9.0 } else { 0.0 })
            })
            .collect();
        let classes: Vec<i32> = (0..rows).map(|_| random.random_range(0..cols as i32)).collect();
        Self {
            gpu: gpu.clone(),
            shape,
            logits: buffer(gpu, bytemuck::cast_slice(&values)),
            targets: buffer(gpu, bytemuck::cast_slice(&classes)),
            output: buffer(gpu, &vec![0; shape.len() * 4]),
            rows: buffer(gpu, &vec![0; rows * 4]),
            loss: buffer(gpu, &[0; LossRecord::BYTES as usize]),
            values,
            classes,
        }
    }

    fn cross_entropy(&self) -> CrossEntropy<E> {
        CrossEntropy::new(&self.gpu, &Default::default()).unwrap()
    }

    fn bound_cross_entropy(&self, with_dlogits: bool) -> Bound {
        let whole = wgpu::Buffer::as_entire_buffer_binding;
        let mut buffers = CrossEntropyBuffers::new(whole(&self.logits), whole(&self.targets));
        buffers.outputs.loss = Some(whole(&self.loss));
        // Rows with an odd number of 16-bit values share words if stored without padding, so their gradient is f32.
        let shares_words = !(self.shape.cols * size_of::<E>()).is_multiple_of(4);
        let output = if shares_words { OutputBuffer::F32 } else { OutputBuffer::To };
        buffers.outputs.dlogits = with_dlogits.then(|| output(whole(&self.output)));
        self.cross_entropy().bind(self.shape, &buffers).unwrap()
    }

    fn bound_softmax(&self, log: bool) -> Bound {
        let op = Softmax::<E>::new(&self.gpu, &Default::default()).unwrap();
        let output = || self.output.as_entire_buffer_binding();
        let buffers = SoftmaxBuffers {
            logits: self.logits.as_entire_buffer_binding(),
            probs: (!log).then(output),
            log_probs: log.then(output),
        };
        op.bind(self.shape, &buffers).unwrap()
    }

    fn entmax(&self, alpha: f32) -> Entmax<E> {
        Entmax::new(&self.gpu, &EntmaxOptions { alpha, ..Default::default() }).unwrap()
    }

    fn bound_entmax(&self, alpha: f32) -> Bound {
        let (logits, probs) =
            (self.logits.as_entire_buffer_binding(), self.output.as_entire_buffer_binding());
        let buffers = EntmaxBuffers::new(logits, OutputBuffer::To(probs));
        self.entmax(alpha).bind(self.shape, &buffers).unwrap()
    }

    fn bound_logsumexp(&self) -> Bound {
        let (logits, lse) = (self.logits.as_entire_buffer_binding(), self.rows.as_entire_buffer_binding());
        let op = LogSumExp::<E>::new(&self.gpu).unwrap();
        op.bind(self.shape, &LogSumExpBuffers { logits, lse }).unwrap()
    }

    fn bound_argmax(&self) -> Bound {
        let (logits, argmax) = (self.logits.as_entire_buffer_binding(), self.rows.as_entire_buffer_binding());
        let op = Argmax::<E>::new(&self.gpu).unwrap();
        op.bind(self.shape, &ArgmaxBuffers { logits, argmax }).unwrap()
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

    /// Checks the answers first: a wrong one is not timed.
    fn check_cross_entropy(&self) {
        let (targets, op) = (Targets::Classes(&self.classes), self.cross_entropy());
        right("loss", op.verify(&self.values, targets, self.shape, 16).wait().unwrap());
        right("gradient", op.verify_dlogits(&self.values, targets, self.shape, 4).wait().unwrap());
    }

    fn check_others(&self) {
        let (gpu, logits, shape) = (&self.gpu, &self.values, self.shape);
        let softmax = Softmax::<E>::new(gpu, &Default::default()).unwrap();
        right("softmax", softmax.verify(logits, shape, 4).wait().unwrap());
        right("log-softmax", softmax.verify_log(logits, shape, 4).wait().unwrap());

        let lse = LogSumExp::<E>::new(gpu).unwrap().logsumexp(logits, shape).wait().unwrap();
        let argmax = Argmax::<E>::new(gpu).unwrap().argmax(logits, shape).wait().unwrap();
        let (mut of_lse, mut of_argmax) = (Verification::new(), Verification::new());
        for row in Verification::sample(shape.rows, 16) {
            let values = &logits[row * shape.cols..][..shape.cols];
            let expected = reference::logsumexp_row(values);
            of_lse.compare(row, f64::from(lse[row]), expected, loss_bound(expected));
            let expected = reference::argmax_row(values);
            of_argmax.compare(row, f64::from(argmax[row]), f64::from(expected), 0.0);
        }
        right("logsumexp", of_lse);
        right("argmax", of_argmax);
    }
}

/// The processor path on the same logits: loss, loss with its gradient, softmax.
#[cfg(feature = "cpu")]
fn processor<E: Element>(batch: &Batch<E>, bench: &mut dyn FnMut(&str, &dyn Fn())) {
    let cpu = xent::cpu::Processor::new();
    let (logits, shape) = (&batch.values[..], batch.shape);
    let targets = || Targets::Classes(&batch.classes);
    let of_row = |row: usize| &logits[row * shape.cols..][..shape.cols];

    let losses = cpu.row_results(logits, targets(), shape, &Default::default()).unwrap();
    let mut dlogits = vec![0.0; shape.len()];
    let loss = cpu.loss_into(logits, targets(), shape, &Default::default(), &mut dlogits).unwrap();
    let mut probs = vec![0.0; shape.len()];
    cpu.softmax_into(logits, shape, &Default::default(), &mut probs).unwrap();
    let [mut of_loss, mut of_dlogits, mut of_probs] = [(); 3].map(|()| Verification::new());
    let mean = losses.iter().map(|row| f64::from(row.loss)).sum::<f64>() / shape.rows as f64;
    of_loss.compare(0, loss.value, mean, loss_bound(mean));
    for row in Verification::sample(shape.rows, 16) {
        let (target, lse) = (batch.classes[row] as usize, reference::logsumexp_row(of_row(row)));
        let expected = lse - of_row(row)[target].to_f64();
        of_loss.compare(row, f64::from(losses[row].loss), expected, loss_bound(expected));
        let scale = 1.0 / shape.rows as f64;
        for (class, p) in reference::softmax_row(of_row(row), &Default::default()).into_iter().enumerate() {
            let (at, t) = (row * shape.cols + class, f64::from(u8::from(class == target)));
            of_probs.compare(row, f64::from(probs[at]), p, 2e-5 * p + 1e-37);
            let bound = scale * (1e-6 * t + 2e-5 * p) + 1e-37;
            of_dlogits.compare(row, f64::from(dlogits[at]), scale * (p - t), bound);
        }
    }
    right("the processor's loss", of_loss);
    right("the processor's gradient", of_dlogits);
    right("the processor's softmax", of_probs);

    let (dlogits, probs) = (RefCell::new(dlogits), RefCell::new(probs));
    bench("loss, processor", &|| {
        cpu.loss(logits, targets(), shape, &Default::default()).unwrap();
    });
    bench("loss+gradient, processor", &|| {
        let mut dlogits = dlogits.borrow_mut();
        cpu.loss_into(logits, targets(), shape, &Default::default(), &mut dlogits).unwrap();
    });
    bench("softmax, processor", &|| {
        cpu.softmax_into(logits, shape, &Default::default(), &mut probs.borrow_mut()).unwrap();
    });
}

fn right(what: &str, verification: Verification) {
    assert!(verification.passed, "{what} is wrong: {verification:?}");
}

/// The benchmarks of one element type on one shape. Loss and softmax are timed for all types. The other operations are timed only if
/// `all`: they read 16-bit values in the same way as the loss.
fn shape<E: Element>(criterion: &mut Criterion, gpu: &Context, (rows, cols): (usize, usize), all: bool) {
    let batch = Batch::<E>::new(gpu, rows, cols);
    batch.check_cross_entropy();
    let mut group = criterion.benchmark_group(format!("{rows}x{cols}/{}", E::NAME));
    group.throughput(Throughput::Bytes(batch.logits.size()));
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut bench = |name: &str, run: &dyn Fn()| {
        group.bench_function(name, |bench: &mut Bencher<'_>| bench.iter(run));
    };

    let (loss, both) = (batch.bound_cross_entropy(false), batch.bound_cross_entropy(true));
    bench("loss", &|| batch.run(&loss));
    bench("loss+gradient", &|| batch.run(&both));
    let softmax = batch.bound_softmax(false);
    bench("softmax", &|| batch.run(&softmax));
    #[cfg(feature = "cpu")]
    processor(&batch, &mut bench);
    if all {
        batch.check_others();
        let log_softmax = batch.bound_softmax(true);
        let (logsumexp, argmax) = (batch.bound_logsumexp(), batch.bound_argmax());
        let cross_entropy = batch.cross_entropy();
        bench("copy", &|| batch.copy());
        bench("log-softmax", &|| batch.run(&log_softmax));
        // A row that may be read again many times has a lower limit.
        if cols <= 300_000 {
            for (name, alpha) in [("1.5-entmax", 1.5), ("sparsemax", 2.0)] {
                right(name, batch.entmax(alpha).verify(&batch.values, batch.shape, 4).wait().unwrap());
                let entmax = batch.bound_entmax(alpha);
                bench(name, &|| batch.run(&entmax));
            }
        }
        bench("logsumexp", &|| batch.run(&logsumexp));
        bench("argmax", &|| batch.run(&argmax));
        bench("loss from the host", &|| {
            let targets = Targets::Classes(&batch.classes);
            cross_entropy.loss(&batch.values, targets, batch.shape).wait().unwrap();
        });
        let dlogits = RefCell::new(batch.values.clone());
        bench("loss+gradient from the host", &|| {
            let (targets, mut dlogits) = (Targets::Classes(&batch.classes), dlogits.borrow_mut());
            cross_entropy.loss_into(&batch.values, targets, batch.shape, &mut dlogits[..]).wait().unwrap();
        });
        bench("copy on the host", &|| dlogits.borrow_mut().copy_from_slice(&batch.values));
    }
    group.finish();
}

/// A loss over all of a million classes, and one over 8,192 drawn negatives of them, with and without their gradients.
fn sampled(criterion: &mut Criterion, gpu: &Context) {
    const CLASSES: usize = 1_000_000;
    let all = Batch::<f32>::new(gpu, 32, CLASSES);
    let drawn = NegativeSampler::log_uniform(CLASSES).unwrap().draw(1, 8192, 1, 0).unwrap();
    let few = Batch::<f32>::new(gpu, 32, 8193);
    let (targets, log_counts) = (Targets::Classes(&all.classes), drawn.log_counts(&all.classes));
    let inputs = SampledSoftmaxInputs::new(targets, &log_counts, drawn.negatives());
    let op = SampledSoftmax::<f32>::new(gpu, &SampledSoftmaxOptions::new(CLASSES)).unwrap();
    right("sampled loss", op.verify(&few.values, inputs, few.shape, 16).wait().unwrap());
    right("sampled gradient", op.verify_dlogits(&few.values, inputs, few.shape, 4).wait().unwrap());
    let [negatives, log_counts]: [&[u8]; 2] =
        [bytemuck::cast_slice(drawn.values()), bytemuck::cast_slice(&log_counts)];
    let (negatives, log_counts) = (buffer(gpu, negatives), buffer(gpu, log_counts));
    let whole = wgpu::Buffer::as_entire_buffer_binding;
    let bound = |with_dlogits: bool| {
        let negatives = NegativeBuffers::Shared(whole(&negatives));
        let (logits, classes) = (whole(&few.logits), whole(&all.targets));
        let mut buffers = SampledSoftmaxBuffers::new(logits, classes, whole(&log_counts), negatives);
        buffers.outputs.loss = Some(whole(&few.loss));
        buffers.outputs.dlogits = with_dlogits.then(|| OutputBuffer::To(whole(&few.output)));
        op.bind(few.shape, &buffers).unwrap()
    };
    let mut group = criterion.benchmark_group("32x1000000/f32");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    for (name, with_dlogits) in [("loss", false), ("loss+gradient", true)] {
        let (full, sampled) = (all.bound_cross_entropy(with_dlogits), bound(with_dlogits));
        group.bench_function(name, |bench| bench.iter(|| all.run(&full)));
        group.bench_function(format!("{name}, 8192 negatives"), |bench| bench.iter(|| few.run(&sampled)));
    }
    group.finish();
}

fn operations(criterion: &mut Criterion) {
    let gpu = Context::new().wait().unwrap();
    println!("adapter: {}", gpu.profile().unwrap());
    for at in SHAPES {
        shape::<f32>(criterion, &gpu, at, true);
        shape::<bf16>(criterion, &gpu, at, false);
    }
    sampled(criterion, &gpu);
}

criterion_group!(benches, operations);
criterion_main!(benches);
