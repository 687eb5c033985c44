//! Tokens drawn from a batch on the device, and the check of them.

use xent::bounds::loss_bound;
use xent::reference::sampling::{sample_row, support_row};
use xent::wgpu::{self, BufferBinding};
use xent::{Bound, Context, Element, Result, Sampler, SamplerBuffers, Sampling, Shape, Tuning, Verification};

use super::device::{buffer_of, read_back, scoped, values_of};
use crate::operation::sampler_options;

/// How far a point may be from the class that an adapter draws for it, as a share of the sum of weights.
const SHARE: f64 = 1e-5;

/// A token of each row, with what the kernel tells beside it.
pub struct Sampled {
    /// Words of each row: its token; its two log-probabilities; its count of classes and its flags.
    tokens: wgpu::Buffer,
    log_probs: wgpu::Buffer,
    rows: wgpu::Buffer,
}

/// The sampling of one row: only its counter differs from the others'.
fn of_row(sampling: &Sampling, row: usize) -> Sampling {
    Sampling { counter: row as u64, ..*sampling }
}

impl Sampled {
    pub fn new(gpu: &Context, rows: usize) -> Result<Self> {
        let words = rows as u64 * 4;
        Ok(Self {
            tokens: buffer_of(gpu, "tokens", words)?,
            log_probs: buffer_of(gpu, "log_probs", 2 * words)?,
            rows: buffer_of(gpu, "rows", 2 * words)?,
        })
    }

    /// The buffers that the kernel writes.
    pub fn written(&self) -> [&wgpu::Buffer; 3] {
        [&self.tokens, &self.log_probs, &self.rows]
    }

    /// Binds a sampler to logits, to these buffers and to the rows' records, which are its own.
    pub fn bind<E: Element>(
        &self,
        gpu: &Context,
        (shape, logits): (Shape, BufferBinding<'_>),
        sampling: &Sampling,
        tuning: Option<Tuning>,
    ) -> Result<Bound> {
        let mut op = Sampler::<E>::new(gpu, &sampler_options(sampling))?;
        if let Some(tuning) = tuning {
            op = op.with_tuning(tuning)?;
        }
        let records = (0..shape.rows).map(|row| op.record(&of_row(sampling, row)));
        let records = records.collect::<Result<Vec<_>>>()?;
        let bytes: &[u8] = bytemuck::cast_slice(&records);
        let records = buffer_of(gpu, "samplings", bytes.len() as u64)?;
        scoped(&gpu.device, "an upload", || gpu.queue.write_buffer(&records, 0, bytes))?;
        let whole = wgpu::Buffer::as_entire_buffer_binding;
        let [tokens, log_probs, rows] = self.written().map(whole);
        op.bind(shape, &SamplerBuffers::new(logits, whole(&records), tokens, log_probs, rows))
    }

    /// Compares a row's token with the reference: the drawn point is within its part of the sum of weights, and its
    /// log-probability in the untouched logits is right.
    pub fn compare<E: Element>(
        &self,
        gpu: &Context,
        verification: &mut Verification,
        row: usize,
        logits: &[E],
        sampling: &Sampling,
    ) -> Result<()> {
        let token = values_of::<u32>(&read_back(gpu, &self.tokens, row as u64 * 4, 4)?)[0];
        let raw_log_prob = values_of::<f32>(&read_back(gpu, &self.log_probs, row as u64 * 8, 8)?)[1];
        let sampling = of_row(sampling, row);
        let options = sampler_options(&sampling);
        let support = support_row(logits, &sampling, options.order);
        let begin: u64 = support.weights.iter().take(token as usize).sum();
        let weight = support.weights.get(token as usize).copied().unwrap_or(0);
        let (point, total) = (support.point(&sampling, 0), support.total() as f64);
        let outside = begin.saturating_sub(point).max(point.saturating_sub(begin + weight));
        verification.compare(row, outside as f64 / total, 0.0, SHARE);
        let expected = sample_row(logits, &sampling, &options);
        if expected.tokens[0] == token {
            let expected = expected.raw_log_probs[0];
            verification.compare(row, f64::from(raw_log_prob), expected, loss_bound(expected));
        }
        Ok(())
    }
}
