//! One row of logits, swept twice: for its maximum, and for the sum of the exponentials.

use pulp::Simd;

use crate::cpu::simd::{self, BLOCK, Scale, Sums, block_len};
use crate::element::Element;

/// A row of logits, and room to widen a block of it.
pub(super) struct Row<'a, E> {
    pub values: &'a [E],
    buffer: &'a mut [f32; BLOCK],
}

/// The most values of a short row.
const SHORT: usize = 32;

/// What the two sweeps over a row give. A row with a NaN or +∞, or of −∞ only, has none.
#[derive(Clone, Copy)]
pub(super) struct Stats {
    pub max: f32,
    /// The first class with the largest logit.
    pub best: usize,
    pub scale: Scale,
    /// Σ e^t over all classes but `best`, whose term is 1. Summed apart, it keeps its digits in a row with one likely
    /// class.
    pub rest: f64,
}

impl Stats {
    /// z = Σ e^t.
    pub fn sum_exp(&self) -> f64 {
        1.0 + self.rest
    }

    /// ln z.
    pub fn log_sum(&self) -> f64 {
        self.rest.ln_1p()
    }

    /// ln Σ exp(x / T).
    pub fn lse(&self, temperature: f32) -> f64 {
        f64::from(self.max) / f64::from(temperature) + self.log_sum()
    }
}

impl<'a, E: Element> Row<'a, E> {
    pub fn new(values: &'a [E], buffer: &'a mut [f32; BLOCK]) -> Self {
        Self { values, buffer }
    }

    /// One logit.
    pub fn at(&self, class: usize) -> f32 {
        self.values[class].to_f64() as f32
    }

    /// The row's statistics, if no value is special.
    #[inline(always)]
    pub fn stats<S: Simd>(&mut self, simd: S, temperature: f32) -> Option<Stats> {
        if self.values.len() <= SHORT {
            return self.short_stats(simd, temperature);
        }
        let (max, best) = self.largest(simd)?;
        let scale = Scale::new(max, temperature);
        let mut rest = 0.0;
        self.without(
            simd,
            [best, best],
            #[inline(always)]
            |_, values| rest += simd::sum_exp(simd, values, scale),
        );
        (!rest.is_nan()).then_some(Stats { max, best, scale, rest })
    }

    /// The statistics of a short row, which is copied to where −∞ follows it. The ends of vectors would take most of the
    /// time of a row of ten.
    #[inline(always)]
    fn short_stats<S: Simd>(&mut self, simd: S, temperature: f32) -> Option<Stats> {
        // A vector has 16 lanes at most.
        let mut row = [f32::NEG_INFINITY; SHORT + 16];
        let len = self.values.len();
        match E::as_f32(self.values) {
            Some(values) => values.iter().zip(&mut row).for_each(|(&value, into)| *into = value),
            None => E::widen(self.values, &mut row[..len]),
        }
        let padded = &mut row[..len.next_multiple_of(S::F32_LANES)];
        let max = simd::max(simd, padded);
        let best = padded.iter().position(|&x| x == max).filter(|_| max.is_finite())?;
        // Its term is 1, and is not to be summed.
        padded[best] = f32::NEG_INFINITY;
        let scale = Scale::new(max, temperature);
        let rest = simd::sum_exp(simd, padded, scale);
        (!rest.is_nan()).then_some(Stats { max, best, scale, rest })
    }

    /// The row's statistics, if no value is special, and the sums over all classes but the largest and the target. Ahead of
    /// the target are higher logits, and equal ones of lower classes.
    #[inline(always)]
    pub fn readout_stats<S: Simd>(
        &mut self,
        simd: S,
        temperature: f32,
        target: usize,
    ) -> Option<(Stats, Sums)> {
        let (max, best) = self.largest(simd)?;
        let (scale, logit) = (Scale::new(max, temperature), self.at(target));
        let mut sums = Sums::NONE;
        self.without(
            simd,
            [best.min(target), best.max(target)],
            #[inline(always)]
            |start, values| {
                let threshold = if start > target { logit.next_up() } else { logit };
                sums.add(simd, values, scale, threshold);
            },
        );
        let of_target = if target == best { 0.0 } else { scale.score(logit).exp() };
        let rest = sums.exp + of_target;
        (!rest.is_nan()).then_some((Stats { max, best, scale, rest }, sums))
    }

    /// The largest value and its first class, if it is finite. Does not see every NaN.
    #[inline(always)]
    fn largest<S: Simd>(&mut self, simd: S) -> Option<(f32, usize)> {
        let (mut max, mut from) = (f32::MIN, 0);
        self.blocks(
            simd,
            (0, self.values.len()),
            #[inline(always)]
            |start, values| {
                let of_block = simd::max(simd, values);
                if of_block > max {
                    (max, from) = (of_block, start);
                }
            },
        );
        if max.is_infinite() {
            return None;
        }
        let end = self.values.len().min(from + block_len::<S>());
        let mut best = None;
        self.blocks(
            simd,
            (from, end),
            #[inline(always)]
            |start, values| best = simd::position(values, max).map(|at| start + at),
        );
        // The lowest finite value may stand in a later block.
        let anywhere = || self.values.iter().position(|x| x.to_f64() == f64::from(max));
        Some((max, best.or_else(anywhere)?))
    }

    /// Σ w·(x − m), where w is 1 without weights.
    #[inline(always)]
    pub fn sum_below<S: Simd>(&mut self, simd: S, weights: Option<&[f32]>, max: f32) -> f64 {
        let mut sum = 0.0;
        self.blocks(
            simd,
            (0, self.values.len()),
            #[inline(always)]
            |start, values| {
                let weights = weights.map(|weights| &weights[start..start + values.len()]);
                sum += simd::sum_below(simd, values, weights, max);
            },
        );
        sum
    }

    /// Writes a value for each class.
    #[inline(always)]
    pub fn write<S: Simd>(
        &mut self,
        simd: S,
        into: &mut [f32],
        mut write: impl FnMut(usize, &[f32], &mut [f32]),
    ) {
        self.blocks(
            simd,
            (0, self.values.len()),
            #[inline(always)]
            |start, values| write(start, values, &mut into[start..start + values.len()]),
        );
    }

    /// The blocks of the row without these two classes, in order.
    #[inline(always)]
    fn without<S: Simd>(&mut self, simd: S, [a, b]: [usize; 2], mut each: impl FnMut(usize, &[f32])) {
        for (start, end) in [(0, a), (a + 1, b), (b + 1, self.values.len())] {
            if start < end {
                // Not `&mut each`, which would be a call without the instruction set.
                self.blocks(
                    simd,
                    (start, end),
                    #[inline(always)]
                    |start, values| each(start, values),
                );
            }
        }
    }

    /// The blocks of a part of the row, widened.
    #[inline(always)]
    fn blocks<S: Simd>(&mut self, _: S, (start, end): (usize, usize), mut each: impl FnMut(usize, &[f32])) {
        let len = block_len::<S>();
        for (at, values) in self.values[start..end].chunks(len).enumerate() {
            let values = match E::as_f32(values) {
                Some(values) => values,
                None => {
                    let into = &mut self.buffer[..values.len()];
                    E::widen(values, into);
                    into
                }
            };
            each(start + at * len, values);
        }
    }
}
