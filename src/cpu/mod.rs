//! The forms that most people use, on the processor: in SIMD and on all cores, with no driver. For machines without a
//! GPU, and for batches so small that starting a driver takes longer than the work.
//!
//! | form | |
//! | --- | --- |
//! | cross-entropy and its gradient | class targets; of logits or of log-probabilities; ignored rows, class and row weights, a mask, label smoothing, temperature, z-loss, sequences, upstream gradients |
//! | its [`RowFields`](crate::RowFields) | all |
//! | softmax, log-softmax | with a temperature |
//! | logsumexp, argmax | |
//!
//! Logits are f32, f16 or bf16, with the class axis last. [`check_form`] says whether an option or a kind of target is
//! outside these forms; every call checks it, and refuses what it does not have.
//!
//! ```
//! use xent::cpu::Processor;
//! use xent::Shape;
//!
//! let cpu = Processor::new();
//! let (logits, shape) = ([2.0f32, 1.0, 0.5, 0.1, 3.0, 0.2], Shape::new(2, 3));
//! let mut dlogits = [0.0; 6];
//! let loss = cpu.loss_into(&logits, &[0, 1], shape, &Default::default(), &mut dlogits)?;
//! assert!((loss.value - 0.2870).abs() < 5e-5);
//! # Ok::<(), xent::Error>(())
//! ```
//!
//! Results keep the kernels' contract: special values, flags and error [`bounds`](crate::bounds). A row's sums have an
//! order that depends on the row's length and on the instruction set only, so the bits are the same for any number of
//! threads and any windows. Rows with a NaN, a +∞ or no finite logit are computed by the
//! [`reference`](mod@crate::reference).
//!
//! A row is read twice, the second time from cache: for its maximum, and for Σ exp. Rows of at most 32 classes are taken
//! several at a time, one in each lane of a vector. Threads are started for a call, and end with it. They share the rows, or, if there are fewer rows than threads, the parts of each row.

mod cross_entropy;
mod narrow;
mod reader;
mod readout_sums;
mod row;
mod simd;
mod softmax;
pub(crate) mod special;
mod threads;

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use pulp::{Arch, WithSimd};

use crate::coded::Logits;
use crate::cpu::cross_entropy::{Batch, Rows, Smoothing, Widened};
use crate::cpu::row::PART;
use crate::cpu::softmax::{LargestAndLse, Probs};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::inputs::{BatchWeight, CrossEntropyInputs};
use crate::options::{CrossEntropyOptions, SoftmaxOptions};
use crate::results::{Loss, LossSum, RowResult};
use crate::shape::Shape;
use crate::target_kind::TargetKind;

/// The processor: an instruction set and a number of threads.
#[derive(Clone, Copy, Debug)]
pub struct Processor {
    arch: Arch,
    threads: usize,
}

impl Default for Processor {
    fn default() -> Self {
        Self::new()
    }
}

/// Refuses a cross-entropy that the processor path does not have. Options outside their range are not looked for.
///
/// # Errors
/// [`Error::NoProcessorForm`]; [`Error::ClassAxisNotLast`].
pub fn check_form(options: &CrossEntropyOptions, targets: TargetKind, shape: Shape) -> Result<()> {
    let missing = [
        (options.softcap.is_some(), "softcap"),
        (options.focal_gamma != 0.0, "focal loss"),
        (options.shard.is_some(), "loss of a vocabulary shard"),
        (targets == TargetKind::Soft, "loss of soft targets"),
        (matches!(targets, TargetKind::Sparse { .. }), "loss of sparse targets"),
    ];
    if let Some(&(_, form)) = missing.iter().find(|(is_asked, _)| *is_asked) {
        return Err(Error::NoProcessorForm { form });
    }
    check_axis(shape)
}

fn check_axis(shape: Shape) -> Result<()> {
    match shape.inner {
        1 => Ok(()),
        inner => Err(Error::ClassAxisNotLast { inner }),
    }
}

impl Processor {
    /// All threads that the process may use, and the widest instruction set that is supported here: AVX2 on x86-64 (with the
    /// feature `cpu-avx512` also AVX-512), Neon on AArch64, or else one value at a time.
    pub fn new() -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        Self { arch: Arch::new(), threads }
    }

    /// The processor with each instruction set that it has and this module uses, the widest first. They round differently,
    /// all within the bounds.
    pub fn each_instruction_set() -> Vec<Self> {
        let widest = Self::new();
        let mut sets = vec![widest];
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        if let (Some(v3), false) = (pulp::x86::V3::try_new(), matches!(widest.arch, Arch::V3(_))) {
            sets.push(Self { arch: Arch::V3(v3), ..widest });
        }
        if !matches!(widest.arch, Arch::Scalar) {
            sets.push(Self { arch: Arch::Scalar, ..widest });
        }
        sets
    }

    /// Sets the number of threads, the calling one included; at least 1. The results are the same for any number.
    pub fn threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// A name for reports, with the instruction set: `processor (AVX2)`. On two machines with the same name, the bits are
    /// the same.
    pub fn name(&self) -> String {
        let set = match self.arch {
            Arch::Scalar => "no SIMD",
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Arch::V3(_) => "AVX2",
            #[cfg(all(any(target_arch = "x86", target_arch = "x86_64"), feature = "cpu-avx512"))]
            Arch::V4(_) => "AVX-512",
            #[cfg(target_arch = "aarch64")]
            Arch::Neon(_) => "Neon",
            _ => "SIMD",
        };
        format!("processor ({set})")
    }

    /// The loss of (rows, cols) logits in nats, reduced as the options ask: what
    /// [`CrossEntropy`](crate::CrossEntropy)'s `loss` gives. `inputs` are targets, or [`CrossEntropyInputs`].
    ///
    /// # Errors
    /// Those of [`check_form`] and of [`CrossEntropyInputs::check`]; [`Error::Length`]; [`Error::NoRowCounts`].
    pub fn loss<'a, E: Element>(
        &self,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
        options: &CrossEntropyOptions,
    ) -> Result<Loss> {
        self.reduced(logits, &inputs.into(), shape, options, None)
    }

    /// Like [`loss`](Self::loss), and writes its gradient with respect to the logits, in their layout, in f32. Padding
    /// between rows becomes 0.
    ///
    /// # Errors
    /// As for [`loss`](Self::loss).
    pub fn loss_into<'a, E: Element>(
        &self,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
        options: &CrossEntropyOptions,
        dlogits: &mut [f32],
    ) -> Result<Loss> {
        self.reduced(logits, &inputs.into(), shape, options, Some(dlogits))
    }

    fn reduced<E: Element>(
        &self,
        logits: &[E],
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        options: &CrossEntropyOptions,
        dlogits: Option<&mut [f32]>,
    ) -> Result<Loss> {
        check_form(options, inputs.targets.kind(), shape)?;
        shape.check_slice("logits", logits)?;
        dlogits.as_deref().map_or(Ok(()), |dlogits| shape.check_slice("dlogits", dlogits))?;
        let weight = inputs.check(shape, options)?;
        weight.check(shape.rows, options.reducing())?;
        let sum = self.rows((logits.into(), inputs, shape, options), &weight, None, dlogits);
        Ok(sum.weighing(weight).reduced(options.reducing()))
    }

    /// The result of each row (rows,), with the [`RowFields`](crate::RowFields) that the options ask for.
    ///
    /// # Errors
    /// Those of [`check_form`] and of [`CrossEntropyInputs::check`]; [`Error::Length`].
    pub fn row_results<'a, E: Element>(
        &self,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
        options: &CrossEntropyOptions,
    ) -> Result<Vec<RowResult>> {
        let inputs = inputs.into();
        check_form(options, inputs.targets.kind(), shape)?;
        shape.check_slice("logits", logits)?;
        let weight = inputs.check(shape, options)?;
        let mut results = vec![RowResult::default(); shape.rows];
        self.rows((logits.into(), &inputs, shape, options), &weight, Some(&mut results), None);
        Ok(results)
    }

    /// Runs rows whose inputs have been checked and returns their sum, without its weight. Codes become values a few rows at a
    /// time, which stay in cache.
    pub(crate) fn rows<E: Element>(
        &self,
        (logits, inputs, shape, options): (
            Logits<'_, E>,
            &CrossEntropyInputs<'_>,
            Shape,
            &CrossEntropyOptions,
        ),
        weight: &BatchWeight,
        results: Option<&mut [RowResult]>,
        dlogits: Option<&mut [f32]>,
    ) -> LossSum {
        let smoothing = &Smoothing::new(inputs, shape.cols, options);
        let [threads, of_row] = self.shared(shape);
        let batch = Batch { logits: &[][..], inputs, shape, options, weight, smoothing, threads: of_row };
        let step = PART.div_ceil(shape.cols);
        let mut results = results.map(|results| results.chunks_mut(step));
        let mut dlogits = dlogits.map(|dlogits| dlogits.chunks_mut(step * shape.row_stride));
        let jobs: Vec<_> = (0..shape.rows)
            .step_by(step)
            .map(|start| {
                let results = results.as_mut().and_then(Iterator::next);
                let dlogits = dlogits.as_mut().and_then(Iterator::next);
                (start..shape.rows.min(start + step), results, dlogits)
            })
            .collect();
        let total = Mutex::new(LossSum::default());
        // Room for values of codes, for each thread that has codes.
        let rooms = Mutex::new(Vec::<Vec<E>>::new());
        threads::each(threads, jobs.into_iter(), |(rows, mut results, dlogits)| {
            let mut sum = LossSum::default();
            let each = |at: usize, result: RowResult| {
                sum.add(&result);
                if let Some(results) = &mut results {
                    results[at] = result;
                }
            };
            match logits {
                Logits::Values(logits) => {
                    self.run(Rows { batch: Batch { logits, ..batch }, rows, dlogits, each });
                }
                Logits::Codes(codes) => {
                    let lock = || rooms.lock().unwrap_or_else(PoisonError::into_inner);
                    let (part, of_rows) = (inputs.part(shape, rows.clone()), shape.with_rows(rows.len()));
                    let mut values = lock().pop().unwrap_or_default();
                    values.resize(of_rows.len(), E::default());
                    self.run(Widened { codes, shape: of_rows, first: rows.start, into: &mut values });
                    let batch = Batch { logits: &values, inputs: &part, shape: of_rows, ..batch };
                    self.run(Rows { batch, rows: 0..rows.len(), dlogits, each });
                    lock().push(values);
                }
            }
            // The losses are added exactly, in whatever order the parts are done.
            let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
            *total = total.combine(&sum);
        });
        total.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the probabilities of (rows, cols) logits, in their layout. Padding between rows becomes 0.
    ///
    /// # Errors
    /// Those of [`Shape::check`] and [`SoftmaxOptions::check`]; [`Error::NoProcessorForm`] for a softcap;
    /// [`Error::ClassAxisNotLast`]; [`Error::Length`].
    pub fn softmax_into<E: Element>(
        &self,
        logits: &[E],
        shape: Shape,
        options: &SoftmaxOptions,
        probs: &mut [f32],
    ) -> Result<()> {
        self.probs(logits, shape, options, false, ("probs", probs))
    }

    /// Writes the log-probabilities of (rows, cols) logits in nats, in their layout. Padding between rows becomes 0.
    ///
    /// # Errors
    /// As for [`softmax_into`](Self::softmax_into).
    pub fn log_softmax_into<E: Element>(
        &self,
        logits: &[E],
        shape: Shape,
        options: &SoftmaxOptions,
        log_probs: &mut [f32],
    ) -> Result<()> {
        self.probs(logits, shape, options, true, ("log_probs", log_probs))
    }

    fn probs<E: Element>(
        &self,
        logits: &[E],
        shape: Shape,
        options: &SoftmaxOptions,
        are_logs: bool,
        (what, into): (&'static str, &mut [f32]),
    ) -> Result<()> {
        options.check()?;
        if options.softcap.is_some() {
            return Err(Error::NoProcessorForm { form: "softcap" });
        }
        shape.check_slice("logits", logits)?;
        shape.check_slice(what, into)?;
        check_axis(shape)?;
        let step = PART.div_ceil(shape.cols);
        let starts = (0..shape.rows).step_by(step);
        let jobs: Vec<_> = starts.zip(into.chunks_mut(step * shape.row_stride)).collect();
        let [threads, of_row] = self.shared(shape);
        threads::each(threads, jobs.into_iter(), |(start, into)| {
            let rows = start..shape.rows.min(start + step);
            self.run(Probs { logits, shape, options, are_logs, rows, threads: of_row, into });
        });
        Ok(())
    }

    /// ln Σ exp of each row (rows,) of (rows, cols) logits, in nats. Special values: see
    /// [`logsumexp_row`](crate::reference::logsumexp_row).
    ///
    /// # Errors
    /// Those of [`Shape::check`]; [`Error::ClassAxisNotLast`]; [`Error::Length`].
    pub fn logsumexp<E: Element>(&self, logits: &[E], shape: Shape) -> Result<Vec<f32>> {
        self.each_row(logits, shape, |_, lse| lse)
    }

    /// The class of the largest logit of each row (rows,). Ties go to the lowest class; NaN counts as the largest value:
    /// see [`argmax_row`](crate::reference::argmax_row).
    ///
    /// # Errors
    /// As for [`logsumexp`](Self::logsumexp).
    pub fn argmax<E: Element>(&self, logits: &[E], shape: Shape) -> Result<Vec<u32>> {
        self.each_row(logits, shape, |class, _| class)
    }

    fn each_row<E: Element, T: Copy + Default + Send>(
        &self,
        logits: &[E],
        shape: Shape,
        of_row: impl Fn(u32, f32) -> T + Sync,
    ) -> Result<Vec<T>> {
        shape.check_slice("logits", logits)?;
        check_axis(shape)?;
        let mut values = vec![T::default(); shape.rows];
        let step = PART.div_ceil(shape.cols);
        let jobs: Vec<_> = (0..shape.rows).step_by(step).zip(values.chunks_mut(step)).collect();
        let [threads, threads_of_row] = self.shared(shape);
        threads::each(threads, jobs.into_iter(), |(start, into)| {
            let rows = start..start + into.len();
            let mut into = into.iter_mut();
            let each = |class, lse| {
                if let Some(into) = into.next() {
                    *into = of_row(class, lse);
                }
            };
            self.run(LargestAndLse { logits, shape, rows, threads: threads_of_row, each });
        });
        Ok(values)
    }

    /// How many threads share the rows, and how many a row: there are enough rows for all, or rows come one after another.
    fn shared(&self, shape: Shape) -> [usize; 2] {
        if shape.rows < self.threads && shape.cols > PART { [1, self.threads] } else { [self.threads, 1] }
    }

    fn run(&self, job: impl WithSimd<Output = ()>) {
        self.arch.dispatch(job);
    }
}
