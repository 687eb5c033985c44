//! Softmax and its kin: values of each class, and of each row.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::cpu::reader::{NO_READOUTS, Reader};
use crate::cpu::simd;
use crate::element::Element;
use crate::options::SoftmaxOptions;
use crate::reference::{argmax_row, log_softmax_row, logsumexp_row, softmax_row};
use crate::shape::Shape;

/// The probabilities of some rows, or their logarithms.
pub(super) struct Probs<'a, E> {
    pub logits: &'a [E],
    pub shape: Shape,
    pub options: &'a SoftmaxOptions,
    pub are_logs: bool,
    pub rows: Range<usize>,
    /// How many threads share a row.
    pub threads: usize,
    /// These rows, laid out by the shape.
    pub into: &'a mut [f32],
}

impl<E: Element> WithSimd for Probs<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { logits, shape, options, are_logs, rows, threads, into } = self;
        let mut reader = Reader::new((logits, shape), rows.clone(), options.temperature, threads);
        for (row, into) in rows.zip(into.chunks_mut(shape.row_stride)) {
            let (into, padding) = into.split_at_mut(shape.cols);
            padding.fill(0.0);
            let mut of_row = reader.next(simd, row, NO_READOUTS);
            let Some(stats) = of_row.stats(simd) else {
                let by_reference = if are_logs { log_softmax_row } else { softmax_row };
                for (into, value) in into.iter_mut().zip(by_reference(of_row.values, options)) {
                    *into = value as f32;
                }
                continue;
            };
            if are_logs {
                let log_sum = stats.log_sum() as f32;
                of_row.write(
                    simd,
                    into,
                    #[inline(always)]
                    |_, values, into| simd::log_probs(simd, values, into, stats.scale, log_sum),
                );
            } else {
                of_row.write_scaled_exp(simd, into, &stats, ((1.0 / stats.sum_exp()) as f32, 0.0));
            }
        }
    }
}

/// ln Σ exp and the most probable class of some rows.
pub(super) struct LargestAndLse<'a, E, F> {
    pub logits: &'a [E],
    pub shape: Shape,
    pub rows: Range<usize>,
    /// How many threads share a row.
    pub threads: usize,
    /// Takes both of each row.
    pub each: F,
}

impl<E: Element, F: FnMut(u32, f32)> WithSimd for LargestAndLse<'_, E, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { logits, shape, rows, threads, mut each } = self;
        let mut reader = Reader::new((logits, shape), rows.clone(), 1.0, threads);
        for row in rows {
            let mut of_row = reader.next(simd, row, NO_READOUTS);
            match of_row.stats(simd) {
                Some(stats) => each(stats.best as u32, stats.lse(1.0) as f32),
                None => each(argmax_row(of_row.values), logsumexp_row(of_row.values) as f32),
            }
        }
    }
}
