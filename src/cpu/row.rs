//! One row of logits, swept twice: for its maximum, and for the sum of the exponentials.

use pulp::Simd;

use crate::cpu::narrow::Member;
use crate::cpu::readout_sums::{Spread, Sums};
use crate::cpu::simd::{self, BLOCK, Scale, block_len};
use crate::cpu::threads;
use crate::element::Element;

/// A row of logits, and room to widen a block of it.
pub(super) struct Row<'a, E> {
    pub values: &'a [E],
    temperature: f32,
    buffer: &'a mut [f32; BLOCK],
    /// How many threads share the row.
    threads: usize,
    /// A narrow row's place in its group.
    member: Option<Member<'a>>,
}

/// Values of a part of a row. A longer row is summed part by part, so that threads can share it and change no bit.
pub(super) const PART: usize = 64 << 10;

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
    #[inline(always)]
    pub fn sum_exp(&self) -> f64 {
        1.0 + self.rest
    }

    /// ln z.
    #[inline(always)]
    pub fn log_sum(&self) -> f64 {
        self.rest.ln_1p()
    }

    /// ln Σ exp(x / T).
    pub fn lse(&self, temperature: f32) -> f64 {
        f64::from(self.max) / f64::from(temperature) + self.log_sum()
    }
}

impl<'a, E: Element> Row<'a, E> {
    pub fn new(
        values: &'a [E],
        temperature: f32,
        threads: usize,
        buffer: &'a mut [f32; BLOCK],
        member: Option<Member<'a>>,
    ) -> Self {
        Self { values, temperature, buffer, threads, member }
    }

    /// One logit.
    pub fn at(&self, class: usize) -> f32 {
        self.values[class].to_f64() as f32
    }

    /// The row's statistics, if no value is special.
    #[inline(always)]
    pub fn stats<S: Simd>(&mut self, simd: S) -> Option<Stats> {
        if let Some(member) = self.member {
            return member.stats();
        }
        let (best, Spread { max, .. }) = self.largest::<S, false>(simd)?;
        let scale = Scale::new(max, self.temperature);
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

    /// The row's statistics, if no value is special, and the sums over all classes but the largest and the target. Ahead of
    /// the target are higher logits, and equal ones of lower classes.
    #[inline(always)]
    pub fn readout_stats<S: Simd>(&mut self, simd: S, target: usize) -> Option<(Stats, (Spread, Sums))> {
        if let Some(member) = self.member {
            return Some((member.stats()?, *member.sums()));
        }
        let (best, spread) = self.largest::<S, true>(simd)?;
        let max = spread.max;
        let (scale, logit) = (Scale::new(max, self.temperature), self.at(target));
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
        (!rest.is_nan()).then_some((Stats { max, best, scale, rest }, (spread, sums)))
    }

    /// The first class of the largest value, if that is finite, and the row's spread; without `SPREAD`, only its maximum.
    /// Does not see every NaN.
    #[inline(always)]
    fn largest<S: Simd, const SPREAD: bool>(&mut self, simd: S) -> Option<(usize, Spread)> {
        let (mut spread, mut from) = (Spread::NONE, 0);
        self.parts(
            simd,
            (0, self.values.len()),
            (Spread::NONE, 0),
            #[inline(always)]
            |(spread, from): &mut (Spread, usize), start, values| {
                let of_block = match SPREAD {
                    true => Spread::of_block(simd, values),
                    false => Spread { max: simd::max(simd, values), ..Spread::NONE },
                };
                if of_block.max > spread.max {
                    *from = start;
                }
                spread.combine(&of_block);
            },
            |(of_part, start)| {
                if of_part.max > spread.max {
                    from = start;
                }
                spread.combine(&of_part);
            },
        );
        let max = spread.max;
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
        Some((best.or_else(anywhere)?, spread))
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

    /// Writes `factor · e^t − less` for each class.
    #[inline(always)]
    pub fn write_scaled_exp<S: Simd>(
        &mut self,
        simd: S,
        into: &mut [f32],
        stats: &Stats,
        (factor, less): (f32, f32),
    ) {
        if let Some(member) = self.member {
            return into.iter_mut().zip(member.exps()).for_each(|(into, e)| *into = factor * e - less);
        }
        self.write(
            simd,
            into,
            #[inline(always)]
            |_, values, into| simd::scaled_exp(simd, values, into, stats.scale, factor, less),
        );
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
