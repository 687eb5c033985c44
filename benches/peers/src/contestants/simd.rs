//! What the CPU can do by itself: rten's vectors and its exponential (AVX-512, AVX2 or Neon, chosen at run time), on all
//! threads, into memory that exists already.
//!
//! A row is swept three times: for the maximum, for Σ exp, and for the values that are asked for. A part of the work is a
//! few rows, or a piece of a row if there are fewer rows than threads.
//!
//! The sweeps are written out and inlined by force: rten-vecmath's own (`SumExpSub`, `Softmax`) leave that to the
//! compiler. If the compiler does not inline them, every instruction is a call, and a loss takes 25 times as long.

use rayon::prelude::*;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, Simd as _, SimdOp, SimdUnaryOp};
use rten_vecmath::Exp;

use crate::data::{Batch, Operation};
use crate::error::Result;
use crate::serve::{Contestant, NOT_COMPARED};
use crate::version::version;

/// The minimum number of values of one part, which is what a thread takes at a time.
const PART: usize = 64 << 10;

/// At least as many values as the widest vector has.
const WIDEST: usize = 64;

pub struct Simd {
    rows: usize,
    cols: usize,
    logits: Vec<f32>,
    targets: Vec<i32>,
    /// (rows, cols)
    output: Vec<f32>,
    ran: Operation,
    loss: f64,
}

/// What a probability becomes: `scale · p`, minus `less` at the target.
#[derive(Clone, Copy)]
struct Wanted {
    scale: f32,
    less: f32,
}

/// Folds the vectors of a slice into one, four at a time, so that they need not wait for each other.
#[inline(always)]
fn fold<O: NumOps<f32>>(
    ops: O,
    values: &[f32],
    start: O::Simd,
    step: impl Fn(O::Simd, O::Simd) -> O::Simd,
    join: impl Fn(O::Simd, O::Simd) -> O::Simd,
) -> O::Simd {
    const AT_ONCE: usize = 4;
    let lanes = ops.len();
    let mut folded = [start; AT_ONCE];
    let mut blocks = values.chunks_exact(AT_ONCE * lanes);
    for block in &mut blocks {
        for at in 0..AT_ONCE {
            folded[at] = step(folded[at], ops.load(&block[at * lanes..]));
        }
    }
    let mut vectors = blocks.remainder().chunks_exact(lanes);
    for vector in &mut vectors {
        folded[0] = step(folded[0], ops.load(vector));
    }
    let rest = vectors.remainder();
    if !rest.is_empty() {
        let mut padded = [0.0; WIDEST];
        padded[..rest.len()].copy_from_slice(rest);
        let stepped = step(folded[1], ops.load(&padded));
        folded[1] = ops.select(stepped, folded[1], ops.first_n_mask(rest.len()));
    }
    join(join(folded[0], folded[1]), join(folded[2], folded[3]))
}

/// The largest value.
struct Max<'a>(&'a [f32]);

impl SimdOp for Max<'_> {
    type Output = f32;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> f32 {
        let ops = isa.f32();
        let max = fold(
            ops,
            self.0,
            ops.splat(f32::NEG_INFINITY),
            #[inline(always)]
            |max, x| ops.max(max, x),
            #[inline(always)]
            |a, b| ops.max(a, b),
        );
        max.to_array().into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}

/// Σ exp(x − max).
struct SumExp<'a> {
    logits: &'a [f32],
    max: f32,
}

impl SimdOp for SumExp<'_> {
    type Output = f32;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> f32 {
        let ops = isa.f32();
        let max = ops.splat(self.max);
        let sum = fold(
            ops,
            self.logits,
            ops.zero(),
            #[inline(always)]
            |sum, x| ops.add(sum, Exp::apply(isa, ops.sub(x, max))),
            #[inline(always)]
            |a, b| ops.add(a, b),
        );
        sum.to_array().into_iter().sum()
    }
}

/// `factor · exp(x − max)`, value by value.
struct ScaledExp<'a> {
    logits: &'a [f32],
    output: &'a mut [f32],
    max: f32,
    factor: f32,
}

impl SimdOp for ScaledExp<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let (max, factor) = (ops.splat(self.max), ops.splat(self.factor));
        let mut vectors = self.logits.chunks_exact(ops.len());
        let mut outputs = self.output.chunks_exact_mut(ops.len());
        for (vector, output) in (&mut vectors).zip(&mut outputs) {
            let exp = Exp::apply(isa, ops.sub(ops.load(vector), max));
            ops.store(ops.mul(exp, factor), output);
        }
        let (rest, output) = (vectors.remainder(), outputs.into_remainder());
        if !rest.is_empty() {
            let mut padded = [0.0; WIDEST];
            padded[..rest.len()].copy_from_slice(rest);
            let exp = Exp::apply(isa, ops.sub(ops.load(&padded), max));
            ops.store(ops.mul(exp, factor), &mut padded);
            output.copy_from_slice(&padded[..rest.len()]);
        }
    }
}

/// Whole rows: the sum of their losses, and their values. One choice of instructions for all of them.
struct Rows<'a> {
    logits: &'a [f32],
    targets: &'a [i32],
    output: &'a mut [f32],
    cols: usize,
    wanted: Option<Wanted>,
}

impl SimdOp for Rows<'_> {
    type Output = f64;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> f64 {
        let mut loss = 0.0;
        let rows = self.logits.chunks_exact(self.cols).zip(self.output.chunks_exact_mut(self.cols));
        for ((logits, output), &target) in rows.zip(self.targets) {
            let max = Max(logits).eval(isa);
            let sum = SumExp { logits, max }.eval(isa);
            loss += f64::from(sum.ln() + (max - logits[target as usize]));
            if let Some(Wanted { scale, less }) = self.wanted {
                ScaledExp { logits, output, max, factor: scale / sum }.eval(isa);
                output[target as usize] -= less;
            }
        }
        loss
    }
}

impl Simd {
    pub fn open() -> Result<Self> {
        Ok(Self {
            rows: 0,
            cols: 1,
            logits: Vec::new(),
            targets: Vec::new(),
            output: Vec::new(),
            ran: Operation::Loss,
            loss: f64::NAN,
        })
    }

    /// Many rows, a few of them per part. Returns the sum of their losses.
    fn many(&mut self, wanted: Option<Wanted>) -> f64 {
        let cols = self.cols;
        let rows = PART.div_ceil(cols);
        let parts = self.logits.par_chunks(rows * cols).zip(self.output.par_chunks_mut(rows * cols));
        let parts = parts.zip(self.targets.par_chunks(rows));
        parts
            .map(|((logits, output), targets)| Rows { logits, targets, output, cols, wanted }.dispatch())
            .sum()
    }

    /// Few rows, one after the other, with all threads on each. Returns the sum of their losses.
    fn few(&mut self, wanted: Option<Wanted>) -> f64 {
        let mut loss = 0.0;
        let rows = self.logits.chunks_exact(self.cols).zip(self.output.chunks_exact_mut(self.cols));
        for ((row, output), &target) in rows.zip(&self.targets) {
            let max = row.par_chunks(PART).map(|logits| Max(logits).dispatch());
            let max = max.reduce(|| f32::NEG_INFINITY, f32::max);
            let sums = row.par_chunks(PART).map(|logits| f64::from(SumExp { logits, max }.dispatch()));
            let sum: f64 = sums.sum();
            loss += sum.ln() + f64::from(max - row[target as usize]);
            if let Some(Wanted { scale, less }) = wanted {
                let factor = (f64::from(scale) / sum) as f32;
                let parts = row.par_chunks(PART).zip(output.par_chunks_mut(PART));
                parts.for_each(|(logits, output)| ScaledExp { logits, output, max, factor }.dispatch());
                output[target as usize] -= less;
            }
        }
        loss
    }
}

impl Contestant for Simd {
    fn about(&self) -> String {
        format!("rten-simd {} on {} threads", version("rten-simd", ""), rayon::current_num_threads())
    }

    fn load(&mut self, batch: &Batch) -> Result<()> {
        (self.rows, self.cols) = (batch.rows, batch.cols);
        (self.logits, self.targets) = (batch.logits.clone(), batch.targets.clone());
        self.output = vec![0.0; batch.logits.len()];
        Ok(())
    }

    fn run(&mut self, operation: Operation) -> Result<()> {
        self.ran = operation;
        let share = 1.0 / self.rows as f32;
        let wanted = match operation {
            Operation::Loss => None,
            Operation::LossAndGradient => Some(Wanted { scale: share, less: share }),
            Operation::Softmax => Some(Wanted { scale: 1.0, less: 0.0 }),
            Operation::Top5 | Operation::Top64 => return Err(NOT_COMPARED.into()),
        };
        let few = self.rows < rayon::current_num_threads();
        let sum = if few { self.few(wanted) } else { self.many(wanted) };
        self.loss = sum / self.rows as f64;
        Ok(())
    }

    fn values(&mut self, batch: &Batch) -> Result<Vec<f64>> {
        let mut values = Vec::new();
        if self.ran != Operation::Softmax {
            values.push(self.loss);
        }
        if self.ran != Operation::Loss {
            values.extend(batch.probe(&self.output));
        }
        Ok(values)
    }
}
