//! Two models on the same rows: what a quantised, pruned or fine-tuned model changes.
//!
//! A [`Comparator`] reads both batches of logits in pairs of windows, on the device: the divergence of the other model from
//! the base, and with targets the losses of both. A [`ComparisonTally`] is the comparison in numbers. Its errors are
//! *paired*: a row that is hard for one model is hard for the other, so that a change of the mean loss is known far better
//! than either mean.
//!
//! ```no_run
//! use xent::eval::SliceSource;
//! use xent::eval::compare::{Comparator, Comparison, ComparisonTally};
//! use xent::{ComparatorOptions, Context, Shape, Targets};
//!
//! let gpu = Context::new().wait()?;
//! let (options, shape) = (ComparatorOptions::default(), Shape::new(2, 3));
//! let comparator = Comparator::<f32>::new(&gpu, &options)?;
//! let mut base = SliceSource::new(&[2.0, 1.0, 0.5, 0.1, 3.0, 0.2], shape)?;
//! let mut other = SliceSource::new(&[1.9, 1.1, 0.5, 0.2, 2.8, 0.2], shape)?;
//! let mut tally = ComparisonTally::new(options.top_k, 10);
//! let mut comparison = Comparison::new(&options, shape, Targets::Classes(&[0, 1]))?;
//! comparison.run(&comparator, &mut base, &mut other, None, |window| {
//!     tally.add(window);
//!     Ok(())
//! })?;
//! println!("KL {:?}, losses {:?}", tally.divergence(), tally.losses());
//! # Ok::<(), xent::Error>(())
//! ```

#[cfg(feature = "cli")]
mod cpu;
mod figures;
mod host;
mod pair;
mod row;
mod tally;

use std::ops::Range;
use std::time::Duration;

use crate::coded::Logits;
use crate::context::Context;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::eval::evaluator::Device;
use crate::eval::inputs::EvaluateInputs;
use crate::eval::losses::Evaluable;
use crate::eval::memory::{Asked, Footprint, halving};
use crate::eval::read_ahead::{Feed, Values, through};
use crate::eval::row_inputs::BatchRows;
use crate::eval::source::{Source, are_coded, check_same_shape, check_values};
use crate::kernel::Tuning;
use crate::op::{CrossEntropy, KlDivergence, LossStream, Start};
use crate::options::{ComparatorOptions, CrossEntropyOptions, KlDivergenceOptions};
use crate::shape::Shape;
use crate::target_kind::TargetKind;

pub use figures::{Estimate, PairedLosses};
use pair::{Counted, Pair};
pub use row::{ComparedRow, ComparedRows};
pub use tally::{ChangedRow, ComparisonTally};

/// The operations of a comparison, built on a device.
#[derive(Clone, Debug)]
pub struct Comparator<E: Element> {
    loss: CrossEntropy<E>,
    divergence: KlDivergence<E>,
    options: ComparatorOptions,
}

impl<E: Element> Comparator<E> {
    /// Builds the operations on a context.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::DeviceLimit`].
    pub fn new(gpu: &Context, options: &ComparatorOptions) -> Result<Self> {
        options.check()?;
        Ok(Self {
            loss: CrossEntropy::new(gpu, &options.loss())?,
            divergence: KlDivergence::new(gpu, &options.divergence())?,
            options: *options,
        })
    }

    /// Uses this tuning instead of the one that the plan would choose.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a tuning that the device cannot run.
    pub fn with_tuning(self, tuning: Tuning) -> Result<Self> {
        Ok(Self {
            loss: self.loss.with_tuning(tuning)?,
            divergence: self.divergence.with_tuning(tuning)?,
            ..self
        })
    }

    /// The options.
    pub fn options(&self) -> &ComparatorOptions {
        &self.options
    }

    /// The streams for windows of this shape, two in flight.
    fn open(&self, shape: Shape, start: Start) -> Result<OnDevice<E>> {
        let loss = || -> Result<_> {
            let stream = LossStream::ahead(&self.loss, shape, TargetKind::Classes, None, start)?;
            Ok(Device { stream, wait: self.loss.blocking() })
        };
        let stream = LossStream::ahead(&self.divergence, shape, (), None, start)?;
        let divergence = Device { stream, wait: self.divergence.blocking() };
        Ok(Pair::new([loss()?, loss()?], divergence, self.options))
    }
}

/// A comparison of two batches of any number of rows. It can stop and continue: after an error, after Ctrl-C, or in
/// another process. Wherever it was stopped, the rows' results have the same digits.
pub struct Comparison<'a, E: Element = f32> {
    options: ComparatorOptions,
    shape: Shape,
    /// The targets, if there are any.
    rows: Option<BatchRows<'a, E, CrossEntropyOptions>>,
    done: usize,
}

impl<'a, E: Element> Comparison<'a, E> {
    /// A comparison of batches of this shape with class targets, in memory or from sources. A mask may leave rows out;
    /// rows and classes have no weights.
    ///
    /// # Errors
    /// [`Error::TargetKind`] for targets other than classes; [`Error::InvalidOption`], also for weights;
    /// [`Error::NoRowCounts`]; as for [`Evaluation::new`](crate::eval::Evaluation::new).
    pub fn new(
        options: &ComparatorOptions,
        shape: Shape,
        inputs: impl Into<EvaluateInputs<'a>>,
    ) -> Result<Self> {
        let inputs = inputs.into();
        let in_memory = [inputs.beside.rows.row_weights, inputs.beside.class_weights];
        let weights = in_memory.into_iter().flatten().map(<[f32]>::len);
        let weights = weights.chain(inputs.row_weights.as_ref().map(|weights| weights.rows()));
        if let Some(weights) = weights.max() {
            return Err(Error::option("weights", weights as f64, "none in a comparison"));
        }
        options.check()?;
        let rows = BatchRows::of_classes(inputs, shape, &options.targets())?;
        Ok(Self { options: *options, shape, rows: Some(rows), done: 0 })
    }

    /// A comparison of batches of this shape without targets, in which all rows count.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; what [`Shape::check`] refuses; [`Error::NoRowCounts`].
    pub fn without_targets(options: &ComparatorOptions, shape: Shape) -> Result<Self> {
        options.check()?;
        shape.check()?;
        if shape.rows == 0 {
            return Err(Error::NoRowCounts { rows: 0 });
        }
        Ok(Self { options: *options, shape, rows: None, done: 0 })
    }

    /// Continues after this number of rows, for which the results exist.
    ///
    /// # Errors
    /// [`Error::RowsExceedBound`] and [`Error::Layout`] if no run can have stopped there.
    pub fn resume(&mut self, rows: usize) -> Result<()> {
        let (bound, inner) = (self.shape.rows, self.shape.inner);
        if rows > bound {
            return Err(Error::RowsExceedBound { rows, bound });
        }
        if !rows.is_multiple_of(inner) {
            return Err(Error::Layout { rows, inner });
        }
        self.done = rows;
        Ok(())
    }

    /// The shape of each batch.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How many rows are done.
    pub fn rows_done(&self) -> usize {
        self.done
    }

    /// Compares the remaining rows on the device. Each window is passed to `each` in order, which may add it to a
    /// [`ComparisonTally`], write it, or stop the run with an error; then it comes again in the next run. All windows
    /// together take at most `memory` bytes, if given. Blocks.
    ///
    /// # Errors
    /// [`Error::Length`] for a source of another shape, [`Error::InvalidOption`] for a comparator with other options; as
    /// for [`Evaluation::run`](crate::eval::Evaluation::run).
    pub fn run(
        &mut self,
        comparator: &Comparator<E>,
        base: &mut dyn Source<E>,
        other: &mut dyn Source<E>,
        memory: Option<u64>,
        each: impl FnMut(&ComparedRows<'_>) -> Result<()>,
    ) -> Result<()> {
        let given = comparator.options;
        let of_values = |of: &ComparatorOptions| (of.temperature, of.top_k, of.log_probs, of.kl_floor);
        if of_values(&given) != of_values(&self.options) {
            let needed = "the temperature, the top_k, the log_probs and the kl_floor of the comparison";
            return Err(Error::option("options of the comparator", given.temperature, needed));
        }
        let shape = self.shape;
        let is_unified = comparator.loss.profile().unified_memory;
        self.run_on(|start| comparator.open(shape, start), Some(is_unified), [base, other], memory, each)
    }

    /// The maximum bytes that the windows of a run on this device take, on host and device together.
    ///
    /// # Errors
    /// [`Error::MemoryTooSmall`]; [`Error::DeviceLimit`].
    pub fn window_bytes(
        &self,
        gpu: &Context,
        sources: [&dyn Source<E>; 2],
        memory: Option<u64>,
    ) -> Result<u64> {
        let footprint = self.footprint(Some(gpu.profile()?.unified_memory), sources);
        Ok(footprint.bytes(room(&footprint, memory)?))
    }

    fn footprint(&self, device: Option<bool>, [base, other]: [&dyn Source<E>; 2]) -> Footprint {
        let asked = Asked {
            second_bytes: size_of::<E>() as u64,
            entries: 0,
            dlogits: false,
            reads_logits: other.values().is_none(),
            reads_second: base.values().is_none(),
            device,
            // The losses of each batch have buffers of their own beside the divergence's.
            operations: 2,
        };
        Footprint::of::<E>(self.shape, asked)
    }

    fn run_on<C, K>(
        &mut self,
        open: impl Fn(Start) -> Result<Pair<E, C, K>>,
        device: Option<bool>,
        [base, other]: [&mut dyn Source<E>; 2],
        memory: Option<u64>,
        mut each: impl FnMut(&ComparedRows<'_>) -> Result<()>,
    ) -> Result<()>
    where
        C: pair::Losses<E>,
        K: pair::Divergences<E>,
    {
        let shape = self.shape;
        check_same_shape(OTHER, other.shape(), shape)?;
        check_same_shape(BASE, base.shape(), shape)?;
        check_values(other)?;
        check_values(base)?;
        let footprint = self.footprint(device, [base, other]);
        // Values at the floor become −∞, which is not a code.
        let takes_codes = device.is_some() && self.options.kl_floor.is_none();
        let coded = takes_codes && are_coded(&[&*base, &*other]);
        halving((room(&footprint, memory)?, footprint.least_room()), |room| {
            let first = self.done;
            let mut pair = open(Start { row: first, room: Some(room), coded })?;
            let step = pair.window_rows().max(1);
            let Self { rows: inputs, done, options, .. } = self;
            let submit = |pair: &mut Pair<E, C, K>, rows: Range<usize>, values: &Values<'_, E, E>| {
                let window = shape.with_rows(rows.len());
                let counted = counted(inputs.as_mut(), options, rows.clone(), window)?;
                let base = values.second.unwrap_or(Logits::Values(&[]));
                let flight = pair.submit([base, values.logits], window, &counted)?;
                Ok((flight, counted, rows))
            };
            let land =
                |pair: &mut Pair<E, C, K>,
                 (flight, counted, rows): (pair::Flight<E, C, K>, Counted, Range<usize>)| {
                    let results = pair.finish(flight, &counted)?;
                    let end = rows.end;
                    each(&ComparedRows { rows, results })?;
                    *done = end;
                    Ok(())
                };
            let feeds = (Feed::coded(&mut *other, coded), Some(Feed::coded(&mut *base, coded)));
            through(
                &mut pair,
                (shape, first..shape.rows, step),
                feeds,
                &mut Duration::default(),
                submit,
                land,
            )
        })
    }
}

/// The rows of a window that count, with their targets if there are any.
fn counted<E: Element>(
    inputs: Option<&mut BatchRows<'_, E, CrossEntropyOptions>>,
    options: &ComparatorOptions,
    rows: Range<usize>,
    window: Shape,
) -> Result<Counted> {
    let Some(inputs) = inputs else { return Ok(Counted::all(rows.len())) };
    let part = inputs.window(rows)?;
    let of_rows = <CrossEntropyOptions as Evaluable>::inputs::<E>(&part, None);
    let classes = Evaluable::top_classes::<E>(&options.targets().for_evaluation(), &of_rows, window);
    Ok(Counted::of(classes))
}

/// Several operations keep windows of their own, so that each takes less.
fn room(footprint: &Footprint, memory: Option<u64>) -> Result<u64> {
    Ok(footprint.room(memory)?.min(MOST_ROOM).max(footprint.least_room()))
}

/// The maximum bytes of a window of one batch.
const MOST_ROOM: u64 = 16 << 20;

const BASE: [&str; 4] = ["a row of the base", "a group of the base", "a padded row of the base", "the base"];
const OTHER: [&str; 4] =
    ["a row of the other", "a group of the other", "a padded row of the other", "the other"];

/// A pair of windows on the device.
type OnDevice<E> = Pair<E, Device<E, CrossEntropyOptions>, Device<E, KlDivergenceOptions>>;

#[cfg(all(test, feature = "cli"))]
#[path = "compare_tests.rs"]
mod tests;
