//! A batch on the device, the operations on it, and the checks of their answers.

use std::cell::OnceCell;

use xent::bounds::{gradient_bound, loss_bound, prob_bound};
use xent::eval::{Source, SyntheticLogits};
use xent::reference::cross_entropy::RowScale;
use xent::reference::{argmax_row, log_softmax_row, logsumexp_row, softmax_row};
use xent::wgpu;
use xent::{
    Argmax, ArgmaxBuffers, Bound, Context, CrossEntropy, CrossEntropyBuffers, CrossEntropyOptions, Element,
    Error, LogSumExp, LogSumExpBuffers, LossRecord, OutputBuffer, Profile, Result, RowFields, Shape, Softmax,
    SoftmaxBuffers, TopK, TopKBuffers, TopKOptions, Tuning, Verification,
};

use super::bytes::{BUFFER_MULTIPLE, Bytes, padded};
use super::clock::{Clock, Job};
use super::compare::{compare, compare_largest, compare_readouts};
use super::copy::Copies;
use super::device::{buffer_of, read_back, scoped, values_of, wait};
use super::relatives::{Drawn, bind_entmax, compare_entmax};
use super::sampled::Sampled;
use crate::operation::{MOST_CLASSES, Operation, sampling, top_k_options};

/// The logits per upload (but at least one row), the logits of the rows whose answers are compared (but at least one
/// row), and the most such rows.
const UPLOAD_VALUES: usize = 4 << 20;
const CHECKED_VALUES: usize = 1 << 20;
const CHECKED_ROWS: usize = 16;

/// Logits like those of a language model, on the device, with buffers for the results.
pub struct Batch<E: Element> {
    pub shape: Shape,
    gpu: Context,
    source: SyntheticLogits,
    logits: wgpu::Buffer,
    targets: wgpu::Buffer,
    /// Has the layout of the logits, or minimal size if nothing is written.
    output: wgpu::Buffer,
    /// A value for each row.
    values: wgpu::Buffer,
    /// Every field of each row's results, once they are asked for.
    row_results: OnceCell<wgpu::Buffer>,
    /// Indices and values of the largest classes, once they are asked for: room for [`MOST_CLASSES`] a row.
    largest: OnceCell<[wgpu::Buffer; 2]>,
    /// Tokens drawn from each row, once they are asked for.
    sampled: OnceCell<Sampled>,
    /// Negatives, once a sampled softmax is asked for.
    drawn: OnceCell<Drawn>,
    record: wgpu::Buffer,
    cross_entropy: CrossEntropy<E>,
    softmax: Softmax<E>,
    logsumexp: LogSumExp<E>,
    argmax: Argmax<E>,
}

impl<E: Element> Batch<E> {
    /// Makes and uploads logits (rows, cols). `writes` says whether a value is written for each of them.
    pub fn new(gpu: &Context, profile: &Profile, shape: Shape, writes: bool) -> Result<Self> {
        let bytes = Bytes::of::<E>(shape);
        bytes.check::<E>(shape, profile)?;
        let buffer = |label, size| buffer_of(gpu, label, size);
        let batch = Self {
            source: SyntheticLogits::new(shape, 0)?,
            shape: padded::<E>(shape),
            gpu: gpu.clone(),
            logits: buffer("logits", bytes.buffer)?,
            targets: buffer("targets", bytes.rows)?,
            output: buffer("output", if writes { bytes.buffer } else { BUFFER_MULTIPLE })?,
            values: buffer("values", bytes.rows)?,
            row_results: OnceCell::new(),
            largest: OnceCell::new(),
            sampled: OnceCell::new(),
            drawn: OnceCell::new(),
            record: buffer("record", LossRecord::BYTES)?,
            cross_entropy: CrossEntropy::new(gpu, &Default::default())?,
            softmax: Softmax::new(gpu, &Default::default())?,
            logsumexp: LogSumExp::new(gpu)?,
            argmax: Argmax::new(gpu)?,
        };
        batch.uploaded()
    }

    fn uploaded(mut self) -> Result<Self> {
        let shape = self.shape;
        let write = |gpu: &Context, to: &wgpu::Buffer, at: usize, values: &[u8]| {
            let mut bytes = values.to_vec();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            scoped(&gpu.device, "an upload", || {
                gpu.queue.write_buffer(to, at as u64, &bytes);
                gpu.queue.submit([]);
            })?;
            // Free the staging memory before the next part comes.
            wait(&gpu.device)
        };
        write(&self.gpu, &self.targets, 0, bytemuck::cast_slice(self.source.targets()))?;
        let window = (UPLOAD_VALUES / shape.row_stride).max(1);
        for first in (0..shape.rows).step_by(window) {
            let rows = first..shape.rows.min(first + window);
            let mut logits = vec![0.0; rows.len() * shape.cols];
            self.source.read_rows(rows, &mut logits)?;
            let mut values: Vec<E> = Vec::with_capacity(logits.len() / shape.cols * shape.row_stride);
            for row in logits.chunks(shape.cols) {
                values.extend(row.iter().map(|&logit| E::from_f32(logit)));
                values.resize(values.len() + shape.row_stride - shape.cols, E::default());
            }
            // The padding behind the last row is not part of the buffer.
            values.truncate(shape.len() - shape.row_start(first));
            write(
                &self.gpu,
                &self.logits,
                shape.row_start(first) * size_of::<E>(),
                bytemuck::cast_slice(&values),
            )?;
        }
        Ok(self)
    }

    /// Binds the operation to these buffers, with this tuning if one is given.
    ///
    /// # Errors
    /// As the operation's `bind`; `Error::InvalidOption` for a tuning that the device cannot do; `Error::NoOutput` for the
    /// copy, which is not such an operation.
    pub fn bind(&self, op: Operation, tuning: Option<Tuning>) -> Result<Bound> {
        self.bind_with(op, tuning, false)
    }

    fn bind_with(&self, op: Operation, tuning: Option<Tuning>, with_rows: bool) -> Result<Bound> {
        let whole = wgpu::Buffer::as_entire_buffer_binding;
        let (shape, logits) = (self.shape, whole(&self.logits));
        match op {
            Operation::Copy => Err(Error::NoOutput { options: "an operation other than the copy" }),
            Operation::Loss | Operation::Readouts | Operation::LossAndGradient => {
                let mut buffers = CrossEntropyBuffers::new(logits, whole(&self.targets));
                buffers.outputs.loss = Some(whole(&self.record));
                buffers.outputs.row_losses = with_rows.then(|| whole(&self.values));
                buffers.outputs.dlogits =
                    (op == Operation::LossAndGradient).then(|| OutputBuffer::To(whole(&self.output)));
                let mut loss = self.cross_entropy.clone();
                if op == Operation::Readouts {
                    loss = loss.with_options(&CrossEntropyOptions {
                        row_fields: RowFields::all(),
                        ..Default::default()
                    })?;
                    buffers.row_results = Some(whole(self.row_results()?));
                }
                tuned(loss, tuning, CrossEntropy::with_tuning)?.bind(shape, &buffers)
            }
            Operation::Softmax | Operation::LogSoftmax => {
                let log = op == Operation::LogSoftmax;
                let output = |wanted: bool| wanted.then(|| whole(&self.output));
                let buffers = SoftmaxBuffers { logits, probs: output(!log), log_probs: output(log) };
                tuned(self.softmax.clone(), tuning, Softmax::with_tuning)?.bind(shape, &buffers)
            }
            Operation::Logsumexp => {
                let buffers = LogSumExpBuffers { logits, lse: whole(&self.values) };
                tuned(self.logsumexp.clone(), tuning, LogSumExp::with_tuning)?.bind(shape, &buffers)
            }
            Operation::Argmax => {
                let buffers = ArgmaxBuffers { logits, argmax: whole(&self.values) };
                tuned(self.argmax.clone(), tuning, Argmax::with_tuning)?.bind(shape, &buffers)
            }
            Operation::Top5 | Operation::Top64 => {
                let [indices, values] = self.largest()?.each_ref().map(whole);
                let buffers = TopKBuffers { logits, indices, values };
                let top = TopK::<E>::new(&self.gpu, &top_k_options(op))?;
                tuned(top, tuning, TopK::with_tuning)?.bind(shape, &buffers)
            }
            Operation::Sample | Operation::SampleTopK | Operation::SampleTopP => {
                let sampling = sampling(op).unwrap_or_default();
                self.sampled()?.bind::<E>(&self.gpu, (shape, logits), &sampling, tuning)
            }
            Operation::Sparsemax | Operation::Entmax => {
                bind_entmax::<E>(&self.gpu, op, (shape, logits), whole(&self.output), tuning)
            }
            Operation::SampledSoftmax => {
                let to = [&self.record, &self.values].map(whole);
                let given = (shape, logits);
                self.drawn()?.bind::<E>(&self.gpu, given, whole(&self.targets), to, tuning)
            }
        }
    }

    /// A copy of the logits by a kernel, and the number of bytes that it reads.
    pub fn copies(&self, profile: &Profile) -> Result<(Copies, u64)> {
        let bytes = self.logits.size();
        Ok((Copies::new(&self.gpu, profile, (&self.logits, &self.output), bytes)?, bytes))
    }

    /// A copy of the logits by the driver.
    pub fn driver_copy(&self) -> Job<'_> {
        Job::Copy { from: &self.logits, to: &self.output, bytes: self.logits.size() }
    }

    /// Runs a job that copies the logits, and compares some rows.
    pub fn check_copy(&mut self, clock: &Clock, job: &Job<'_>) -> Result<Verification> {
        self.clear()?;
        clock.ms(job)?;
        self.compare_copied()
    }

    /// Like `check_copy`, for the driver's copy.
    pub fn check_driver_copy(&mut self, clock: &Clock) -> Result<bool> {
        self.clear()?;
        clock.ms(&self.driver_copy())?;
        Ok(self.compare_copied()?.passed)
    }

    fn compare_copied(&mut self) -> Result<Verification> {
        let mut verification = Verification::new();
        for row in self.sample() {
            let expected = self.logits_row(row)?;
            for (actual, expected) in self.output_row(row)?.iter().zip(&expected) {
                verification.compare(row, actual.to_f64(), expected.to_f64(), 0.0);
            }
        }
        Ok(verification)
    }

    /// Runs an operation bound to these buffers, and compares some rows of its answer with an f64 reference.
    pub fn check(
        &mut self,
        clock: &Clock,
        op: Operation,
        bound: &Bound,
        tuning: Option<Tuning>,
    ) -> Result<Verification> {
        self.clear()?;
        clock.ms(&Job::Bound(bound))?;
        let mut verification = Verification::new();
        let mut last = 0;
        for row in self.sample() {
            last = row;
            let logits = self.logits_row(row)?;
            let (options, target) = (Default::default(), self.source.targets()[row] as usize);
            match op {
                Operation::Copy | Operation::Loss => {}
                Operation::Readouts => {
                    compare_readouts(&mut verification, row, &logits, target, &self.readouts_of(row)?);
                }
                Operation::LossAndGradient => {
                    let probs = softmax_row(&logits, &options);
                    let mut shares = vec![0.0; probs.len()];
                    shares[target] = 1.0;
                    let scale = 1.0 / self.shape.rows as f64;
                    let scales = RowScale { loss: scale, z_loss: scale };
                    let bound = gradient_bound(&Default::default(), scales, &shares, 0.0);
                    for (class, &actual) in self.output_row(row)?.iter().enumerate() {
                        let expected = scale * (probs[class] - shares[class]);
                        compare(&mut verification, row, actual, expected, bound(probs[class], shares[class]));
                    }
                }
                Operation::Softmax => {
                    for (&actual, p) in self.output_row(row)?.iter().zip(softmax_row(&logits, &options)) {
                        compare(&mut verification, row, actual, p, prob_bound(p));
                    }
                }
                Operation::LogSoftmax => {
                    for (&actual, p) in self.output_row(row)?.iter().zip(log_softmax_row(&logits, &options)) {
                        compare(&mut verification, row, actual, p, loss_bound(p));
                    }
                }
                Operation::Logsumexp => {
                    let expected = logsumexp_row(&logits);
                    let actual = f64::from(f32::from_bits(self.value(row)?));
                    verification.compare(row, actual, expected, loss_bound(expected));
                }
                Operation::Top5 | Operation::Top64 => {
                    let top = self.largest_of(row, &top_k_options(op))?;
                    compare_largest(&mut verification, row, &logits, &top_k_options(op), top);
                }
                Operation::Sample | Operation::SampleTopK | Operation::SampleTopP => {
                    let sampling = sampling(op).unwrap_or_default();
                    self.sampled()?.compare(&self.gpu, &mut verification, row, &logits, &sampling)?;
                }
                Operation::Sparsemax | Operation::Entmax => {
                    compare_entmax(&mut verification, row, op, &logits, &self.output_row(row)?);
                }
                Operation::SampledSoftmax => {
                    let found = f32::from_bits(self.value(row)?);
                    self.drawn()?.compare(&mut verification, row, &logits, found);
                }
                Operation::Argmax => {
                    let expected = f64::from(argmax_row(&logits));
                    verification.compare(row, f64::from(self.value(row)?), expected, 0.0);
                }
            }
        }
        if matches!(op, Operation::Loss | Operation::Readouts | Operation::LossAndGradient) {
            let record: LossRecord =
                bytemuck::pod_read_unaligned(&self.read(&self.record, 0, LossRecord::BYTES)?);
            // Run it again with the row losses. Some of them are compared, and the mean of all is compared with the loss.
            let with_rows = self.bind_with(op, tuning, true)?;
            clock.ms(&Job::Bound(&with_rows))?;
            let losses = self.read(&self.values, 0, self.shape.rows as u64 * 4)?;
            let losses: Vec<f32> = values_of(&losses);
            for row in self.sample().filter(|_| op == Operation::Loss) {
                let logits = self.logits_row(row)?;
                let expected =
                    -log_softmax_row(&logits, &Default::default())[self.source.targets()[row] as usize];
                verification.compare(row, f64::from(losses[row]), expected, loss_bound(expected));
            }
            let mean = losses.iter().copied().map(f64::from).sum::<f64>() / losses.len() as f64;
            verification.compare(last, f64::from(record.value), mean, loss_bound(mean));
        }
        Ok(verification)
    }

    fn row_results(&self) -> Result<&wgpu::Buffer> {
        let words = (self.shape.rows * RowFields::all().words()) as u64;
        once(&self.row_results, || buffer_of(&self.gpu, "row_results", 4 * words))
    }

    fn largest(&self) -> Result<&[wgpu::Buffer; 2]> {
        let bytes = (self.shape.rows * MOST_CLASSES) as u64 * 4;
        let buffer = |label| buffer_of(&self.gpu, label, bytes);
        once(&self.largest, || Ok([buffer("indices")?, buffer("values")?]))
    }

    /// A row's largest classes, as they are in the buffers.
    fn largest_of(&self, row: usize, options: &TopKOptions) -> Result<(Vec<u32>, Vec<f32>)> {
        let bytes = 4 * options.k as u64;
        let [indices, values] = self.largest()?;
        let read = |from| self.read(from, row as u64 * bytes, bytes);
        Ok((values_of(&read(indices)?), values_of(&read(values)?)))
    }

    fn sampled(&self) -> Result<&Sampled> {
        once(&self.sampled, || Sampled::new(&self.gpu, self.shape.rows))
    }

    /// A row's readouts, every field.
    fn readouts_of(&self, row: usize) -> Result<Vec<u32>> {
        let bytes = 4 * RowFields::all().words() as u64;
        Ok(values_of(&self.read(self.row_results()?, row as u64 * bytes, bytes)?))
    }

    fn drawn(&self) -> Result<&Drawn> {
        once(&self.drawn, || Drawn::new(self.source.targets(), self.shape.cols))
    }

    /// The rows whose answers are compared.
    fn sample(&self) -> impl Iterator<Item = usize> + use<E> {
        let count = (CHECKED_VALUES / self.shape.cols).clamp(1, CHECKED_ROWS);
        Verification::sample(self.shape.rows, count)
    }

    fn logits_row(&mut self, row: usize) -> Result<Vec<E>> {
        let mut logits = vec![0.0; self.shape.cols];
        self.source.read_rows(row..row + 1, &mut logits)?;
        Ok(logits.into_iter().map(E::from_f32).collect())
    }

    fn output_row(&self, row: usize) -> Result<Vec<E>> {
        let (value, start) = (size_of::<E>(), self.shape.row_start(row));
        // A row of 16-bit values may begin and end in the middle of a word.
        let (begin, end) = (start * value / 4 * 4, ((start + self.shape.cols) * value).next_multiple_of(4));
        let bytes = self.read(&self.output, begin as u64, (end - begin) as u64)?;
        let values: Vec<E> = values_of(&bytes);
        let skipped = start - begin / value;
        Ok(values[skipped..skipped + self.shape.cols].to_vec())
    }

    fn value(&self, row: usize) -> Result<u32> {
        Ok(bytemuck::pod_read_unaligned(&self.read(&self.values, row as u64 * 4, 4)?))
    }

    /// Clears the outputs, so that a value that is not written shows: the results here are not 0.
    fn clear(&self) -> Result<()> {
        scoped(&self.gpu.device, "clearing", || {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            let outputs = [&self.output, &self.values, &self.record];
            let largest = self.largest.get().into_iter().flatten();
            let sampled = self.sampled.get().into_iter().flat_map(Sampled::written);
            for buffer in outputs.into_iter().chain(self.row_results.get()).chain(largest).chain(sampled) {
                encoder.clear_buffer(buffer, 0, None);
            }
            self.gpu.queue.submit([encoder.finish()]);
        })
    }

    fn read(&self, from: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        read_back(&self.gpu, from, offset, bytes)
    }
}

fn tuned<Op>(op: Op, tuning: Option<Tuning>, with: impl FnOnce(Op, Tuning) -> Result<Op>) -> Result<Op> {
    match tuning {
        Some(tuning) => with(op, tuning),
        None => Ok(op),
    }
}

/// What the cell holds, made on first use.
fn once<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if cell.get().is_none() {
        let _ = cell.set(make()?);
    }
    cell.get().ok_or(Error::NoOutput { options: "a buffer" })
}
