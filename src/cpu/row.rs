//! One row of logits, swept twice: for its maximum, and for the sum of the exponentials.

use pulp::Simd;

use crate::cpu::simd::{self, BLOCK, Scale, Sums, block_len};
use crate::cpu::threads;
use crate::element::Element;

/// A row of logits, and room to widen a block of it.
pub(super) struct Row<'a, E> {
    pub values: &'a [E],
    buffer: &'a mut [f32; BLOCK],
    /// How many threads share the row.
    threads: usize,
}

/// Values of a part of a row. A longer row is summed part by part, so that threads can share it and change no bit.
pub(super) const PART: usize = 64 << 10;

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
    pub fn new(values: &'a [E], buffer: &'a mut [f32; BLOCK], threads: usize) -> Self {
        Self { values, buffer, threads }
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
            0.0,
            #[inline(always)]
            |sum, _, values| *sum += simd::sum_exp(simd, values, scale),
            |sum: f64| rest += sum,
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
            Sums::NONE,
            #[inline(always)]
            |sums: &mut Sums, start, values| {
                let threshold = if start > target { logit.next_up() } else { logit };
                sums.add(simd, values, scale, threshold);
            },
            |part| sums.combine(&part),
        );
        let of_target = if target == best { 0.0 } else { scale.score(logit).exp() };
        let rest = sums.exp + of_target;
        (!rest.is_nan()).then_some((Stats { max, best, scale, rest }, sums))
    }

    /// The largest value and its first class, if it is finite. Does not see every NaN.
    #[inline(always)]
    fn largest<S: Simd>(&mut self, simd: S) -> Option<(f32, usize)> {
        let (mut max, mut from) = (f32::MIN, 0);
        self.parts(
            simd,
            (0, self.values.len()),
            (f32::MIN, 0),
            #[inline(always)]
            |best: &mut (f32, usize), start, values| {
                let of_block = simd::max(simd, values);
                if of_block > best.0 {
                    *best = (of_block, start);
                }
            },
            |best| {
                if best.0 > max {
                    (max, from) = best;
                }
            },
        );
        if max.is_infinite() {
            return None;
        }
        let end = self.values.len().min(from + block_len::<S>());
        let mut best = None;
        blocks::<S, E>(
            self.values,
            (from, end),
            self.buffer,
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
        self.parts(
            simd,
            (0, self.values.len()),
            0.0,
            #[inline(always)]
            |sum, start, values| {
                let weights = weights.map(|weights| &weights[start..start + values.len()]);
                *sum += simd::sum_below(simd, values, weights, max);
            },
            |part: f64| sum += part,
        );
        sum
    }

    /// Writes a value for each class.
    #[inline(always)]
    pub fn write<S: Simd>(
        &mut self,
        simd: S,
        into: &mut [f32],
        write: impl Fn(usize, &[f32], &mut [f32]) + Sync,
    ) {
        if !self.is_shared(into.len()) {
            return write_part::<S, E>(self.values, (0, into), self.buffer, write);
        }
        let values = self.values;
        let parts: Vec<_> = into.chunks_mut(PART).enumerate().collect();
        threads::each(self.threads, parts.into_iter(), |(part, into)| {
            simd.vectorize(
                #[inline(always)]
                || {
                    write_part::<S, E>(
                        values,
                        (part * PART, into),
                        &mut [0.0; BLOCK],
                        #[inline(always)]
                        |at, values, into| write(at, values, into),
                    );
                },
            );
        });
    }

    /// Like `parts`, over the row without these two classes, in order.
    #[inline(always)]
    fn without<S: Simd, T: Copy + Send + Sync>(
        &mut self,
        simd: S,
        [a, b]: [usize; 2],
        none: T,
        add: impl Fn(&mut T, usize, &[f32]) + Sync,
        mut each: impl FnMut(T),
    ) {
        for (start, end) in [(0, a), (a + 1, b), (b + 1, self.values.len())] {
            if start < end {
                self.parts(
                    simd,
                    (start, end),
                    none,
                    #[inline(always)]
                    |sum, start, values| add(sum, start, values),
                    &mut each,
                );
            }
        }
    }

    /// Adds up the blocks of each part of a range of the row, starting from `none`, and takes the sums of the parts in their
    /// order. (`&add` in the place of a closure would be a call without the instruction set.)
    #[inline(always)]
    fn parts<S: Simd, T: Copy + Send + Sync>(
        &mut self,
        simd: S,
        (start, end): (usize, usize),
        none: T,
        add: impl Fn(&mut T, usize, &[f32]) + Sync,
        mut each: impl FnMut(T),
    ) {
        let values = self.values;
        let range = |part: usize| {
            let from = start + part * PART;
            (from, end.min(from + PART))
        };
        let parts = (end - start).div_ceil(PART);
        if self.is_shared(end - start) {
            let sums = threads::in_order(self.threads, parts, |part| {
                simd.vectorize(
                    #[inline(always)]
                    || {
                        sum_part::<S, E, T>(
                            values,
                            range(part),
                            &mut [0.0; BLOCK],
                            none,
                            #[inline(always)]
                            |sum, start, values| add(sum, start, values),
                        )
                    },
                )
            });
            return sums.into_iter().for_each(each);
        }
        for part in 0..parts {
            each(sum_part::<S, E, T>(
                values,
                range(part),
                self.buffer,
                none,
                #[inline(always)]
                |sum, start, values| add(sum, start, values),
            ));
        }
    }

    /// Whether several threads share a part of the row of this length.
    fn is_shared(&self, len: usize) -> bool {
        self.threads > 1 && len > PART
    }
}

/// Adds up the blocks of a part of a row.
#[inline(always)]
fn sum_part<S: Simd, E: Element, T>(
    row: &[E],
    part: (usize, usize),
    buffer: &mut [f32; BLOCK],
    none: T,
    add: impl Fn(&mut T, usize, &[f32]),
) -> T {
    let mut sum = none;
    blocks::<S, E>(
        row,
        part,
        buffer,
        #[inline(always)]
        |start, values| add(&mut sum, start, values),
    );
    sum
}

/// Writes a value for each class of a part of a row that begins at `start`.
#[inline(always)]
fn write_part<S: Simd, E: Element>(
    row: &[E],
    (start, into): (usize, &mut [f32]),
    buffer: &mut [f32; BLOCK],
    write: impl Fn(usize, &[f32], &mut [f32]),
) {
    blocks::<S, E>(
        row,
        (start, start + into.len()),
        buffer,
        #[inline(always)]
        |at, values| write(at, values, &mut into[at - start..][..values.len()]),
    );
}

/// The blocks of a part of a row, widened.
#[inline(always)]
fn blocks<S: Simd, E: Element>(
    row: &[E],
    (start, end): (usize, usize),
    buffer: &mut [f32; BLOCK],
    mut each: impl FnMut(usize, &[f32]),
) {
    let len = block_len::<S>();
    for (at, values) in row[start..end].chunks(len).enumerate() {
        let values = match E::as_f32(values) {
            Some(values) => values,
            None => {
                let into = &mut buffer[..values.len()];
                E::widen(values, into);
                into
            }
        };
        each(start + at * len, values);
    }
}
