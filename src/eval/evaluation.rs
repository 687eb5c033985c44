//! Evaluating a batch: from a source through the device to a report.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::eval::evaluated::Evaluated;
use crate::eval::evaluator::{Device, Evaluator};
use crate::eval::inputs::EvaluateInputs;
use crate::eval::losses::Evaluable;
use crate::eval::memory::{Asked, Footprint, halving};
use crate::eval::misuse::{LOOKED_AT, Signs};
use crate::eval::options::EvaluateOptions;
use crate::eval::read_ahead::{Feed, Values, through};
use crate::eval::report::Report;
use crate::eval::row_inputs::{BatchRows, SecondSource};
use crate::eval::source::{Source, are_coded, check_same_shape, check_values};
use crate::eval::state::{Batch, EvaluationState};
use crate::eval::window::Window;
use crate::inputs::BatchWeight;
use crate::kernel::passes::Output;
use crate::op::{LossOp, LossStream, Start};
use crate::options::CrossEntropyOptions;
use crate::shape::Shape;
use crate::verification::Verification;

/// The evaluation of a batch with any number of rows, for any loss: `L` are its options. It can stop and continue: after
/// an error, after Ctrl-C, or in another process. [`evaluate`](super::evaluate()) runs one without stopping.
///
/// [`run`](Self::run) takes it from where it is to the end. [`report`](Self::report) and [`state`](Self::state) give
/// the results so far at any time. Wherever it was stopped and whatever its windows were, the result has the same
/// digits as one run without a stop, on the same device with the same tuning.
///
/// Processes that share nothing can each evaluate a part of the rows ([`restrict`](Self::restrict)); their states
/// [`merge`](EvaluationState::merge) to the state of the whole.
///
/// ```no_run
/// use xent::eval::{Evaluation, SliceSource};
/// use xent::{Context, CrossEntropy, CrossEntropyOptions, Error, Shape, Targets};
///
/// let gpu = Context::new().wait()?;
/// let op = CrossEntropy::<f32>::new(&gpu, &Default::default())?;
/// let logits = [2.0, 1.0, 0.5, 0.1, 3.0, 0.2];
/// let mut source = SliceSource::new(&logits, Shape::new(2, 3))?;
/// let mut evaluation = Evaluation::new(
///     op.options(),
///     Shape::new(2, 3),
///     Targets::Classes(&[0, 1]),
///     &Default::default(),
/// )?;
/// while let Err(error) = evaluation.run(&op, &mut source, |_| Ok(())) {
///     eprintln!("{error}, after {} rows", evaluation.state().rows());
/// }
/// println!("{}", evaluation.report().mean());
/// # Ok::<(), Error>(())
/// ```
#[expect(private_bounds, reason = "sealed")]
pub struct Evaluation<'a, E: Element = f32, L: Evaluable = CrossEntropyOptions> {
    /// The options without sequences, which are resolved into the inputs.
    op: L,
    shape: Shape,
    rows: BatchRows<'a, E, L>,
    second: Option<SecondSource<'a, E, L>>,
    /// The total weight of all rows.
    weight: BatchWeight,
    options: EvaluateOptions,
    /// The rows to evaluate.
    part: Range<usize>,
    state: EvaluationState,
}

#[expect(private_bounds, reason = "sealed")]
impl<'a, E: Element, L: Evaluable> Evaluation<'a, E, L> {
    /// An evaluation of a batch of this shape. `op` are the options of the operation, which select the loss. `inputs`
    /// are the inputs of any host call of this loss, or [`EvaluateInputs`] if some of them are read from sources:
    /// targets of rows, weights and masks are read once here, to be checked before any work.
    ///
    /// # Errors
    /// What the inputs' `check` refuses, such as
    /// [`CrossEntropyInputs::check`](crate::CrossEntropyInputs::check) (but values with the logits' layout that come from
    /// a source are checked later); [`Error::Length`] for a source of another shape; [`Error::NoRowCounts`]; whatever
    /// the sources report.
    pub fn new(
        op: &L,
        shape: Shape,
        inputs: impl Into<EvaluateInputs<'a, L::Inputs<'a, E>, L::Source<'a, E>>>,
        options: &EvaluateOptions,
    ) -> Result<Self> {
        let (rows, second, weight) = BatchRows::checked(inputs.into(), shape, op)?;
        weight.check(shape.rows, op.reducing())?;
        let batch = Batch {
            rows: shape.rows,
            cols: shape.cols,
            weight,
            how: op.reducing(),
            is_verified: options.verify_rows > 0,
        };
        let signs = Signs::of_batch(*rows.runs());
        Ok(Self {
            op: op.for_evaluation(),
            shape,
            rows,
            second,
            weight,
            options: *options,
            part: 0..shape.rows,
            state: EvaluationState { batch, signs, ..Default::default() },
        })
    }

    /// Restricts the evaluation to these rows of the batch, from the first of them on: a part, whose state
    /// [`merge`](EvaluationState::merge)s with those of the other parts. It may be empty. Gradients of a mean are still those
    /// of the whole batch, and rows keep their numbers.
    ///
    /// ```no_run
    /// # use xent::eval::{Evaluation, EvaluationState, SliceSource};
    /// # use xent::{Context, CrossEntropy, Shape, Targets};
    /// # let gpu = Context::new().wait()?;
    /// # let op = CrossEntropy::<f32>::new(&gpu, &Default::default())?;
    /// # let (logits, shape, targets) = ([2.0, 1.0, 0.5, 0.1, 3.0, 0.2], Shape::new(2, 3), Targets::Classes(&[0, 1]));
    /// let mut whole = EvaluationState::default();
    /// for rows in [0..1, 1..2] {
    ///     let mut source = SliceSource::new(&logits, shape)?;
    ///     let mut part = Evaluation::new(op.options(), shape, targets, &Default::default())?;
    ///     part.restrict(rows)?;
    ///     part.run(&op, &mut source, |_| Ok(()))?;
    ///     whole.merge(part.state())?;
    /// }
    /// println!("{}", whole.report().mean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::RowsExceedBound`]; [`Error::Layout`] if it begins or ends within a group of rows that lie side by side.
    pub fn restrict(&mut self, rows: Range<usize>) -> Result<()> {
        let (bound, inner) = (self.shape.rows, self.shape.inner);
        let rows = rows.start..rows.end.max(rows.start);
        if rows.end > bound {
            return Err(Error::RowsExceedBound { rows: rows.end, bound });
        }
        for row in [rows.start, rows.end] {
            if !row.is_multiple_of(inner) {
                return Err(Error::Layout { rows: row, inner });
            }
        }
        let &EvaluationState { batch, ref signs, .. } = &self.state;
        let signs = Signs::of_batch(*signs.runs());
        self.state = EvaluationState { batch, signs, first: rows.start, ..Default::default() };
        self.part = rows;
        Ok(())
    }

    /// Continues from the state of another evaluation of the same batch whose outputs exist. The rows before it are not
    /// read again.
    ///
    /// # Errors
    /// [`Error::RowsExceedBound`], [`Error::Layout`] and [`Error::OtherRows`] if no run of these rows can have reached this
    /// state.
    pub fn resume(&mut self, state: &EvaluationState) -> Result<()> {
        let (rows, bound, inner) = (state.rows(), self.part.len(), self.shape.inner);
        if rows > bound {
            return Err(Error::RowsExceedBound { rows, bound });
        }
        if !rows.is_multiple_of(inner) {
            return Err(Error::Layout { rows, inner });
        }
        let others = state.row_ranges().find(|done| *done != (self.part.start..self.part.start + rows));
        if let Some(Range { start, .. }) = others {
            return Err(Error::OtherRows { found: start, needed: self.part.start });
        }
        let (batch, first) = (self.state.batch, self.part.start);
        let mut signs = Signs::of_batch(*self.rows.runs());
        signs.merge(&state.signs);
        self.state = EvaluationState { batch, first, signs, merged: Vec::new(), ..state.clone() };
        Ok(())
    }

    /// The options of the operation. Sequences are resolved into the inputs.
    #[cfg(feature = "cpu")]
    pub(super) fn op(&self) -> &L {
        &self.op
    }

    /// The total weight of all rows.
    #[cfg(feature = "cpu")]
    pub(super) fn weight(&self) -> &BatchWeight {
        &self.weight
    }

    /// The facts about the inputs that are known before they come.
    #[cfg(feature = "cpu")]
    pub(super) fn layout(&self) -> L::Layout {
        self.rows.layout()
    }

    /// The shape of the whole batch.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The state of the evaluation.
    pub fn state(&self) -> &EvaluationState {
        &self.state
    }

    /// The rows that it evaluates: all, or those that it was restricted to.
    pub fn rows(&self) -> Range<usize> {
        self.part.clone()
    }

    /// Whether all of its rows are done.
    pub fn is_done(&self) -> bool {
        self.state.rows() == self.part.len()
    }

    /// Runs the remaining rows through the device. Two windows are on the device at a time while the next ones are
    /// read. Each window is passed to `each` in order, which may write it somewhere, show progress, or stop the run
    /// with an error. A window counts as done when `each` has returned. If `each` fails, its window comes again.
    ///
    /// If memory runs out, on the host or on the device, it continues with windows of half the size. Blocks.
    ///
    /// # Errors
    /// [`Error::Length`] if the source has another shape; [`Error::InvalidTarget`] for a soft or a binary target that is
    /// not finite, when its window comes; [`Error::RowTooLarge`], [`Error::GroupTooLarge`], [`Error::MemoryTooSmall`];
    /// whatever the sources, the device or `each` report.
    pub fn run(
        &mut self,
        op: &LossOp<E, L>,
        source: &mut dyn Source<E>,
        each: impl FnMut(&Evaluated<'_>) -> Result<()>,
    ) -> Result<()> {
        let op = op.with_options(&self.op)?;
        let (is_unified, wait) = (op.profile().unified_memory, op.blocking());
        let (shape, layout, weight) = (self.shape, self.rows.layout(), self.weight);
        let gradient = self.options.dlogits.then_some((Output::F32, weight));
        let open = |start| {
            let stream = LossStream::ahead(&op, shape, layout, gradient, start)?;
            Ok(Device { stream, wait: wait.clone() })
        };
        self.run_on(open, Some(is_unified), source, each)
    }

    /// The report on the rows that are done. At the end these are all rows.
    pub fn report(&self) -> Report {
        self.state.report()
    }

    /// The maximum bytes that the windows of a run on this device take, on host and device together. This is the part
    /// of the memory that is known beforehand.
    ///
    /// # Errors
    /// [`Error::MemoryTooSmall`]; [`Error::DeviceLimit`].
    pub fn window_bytes(&self, gpu: &Context, source: &dyn Source<E>) -> Result<u64> {
        self.window_bytes_on(Some(gpu.profile()?.unified_memory), source)
    }

    /// Like `window_bytes`, on a device with or without unified memory, or on the processor (`None`).
    pub(super) fn window_bytes_on(&self, device: Option<bool>, source: &dyn Source<E>) -> Result<u64> {
        let footprint = self.footprint(device, source);
        Ok(footprint.bytes(footprint.room(self.options.memory)?))
    }

    pub(super) fn footprint(&self, device: Option<bool>, source: &dyn Source<E>) -> Footprint {
        let asked = Asked {
            second_bytes: L::second::<E>(self.rows.layout()).map_or(0, |second| second.value_bytes),
            entries: L::entries(self.rows.layout()) as u64,
            dlogits: self.options.dlogits,
            reads_logits: source.values().is_none(),
            reads_second: self.second.as_ref().is_some_and(|second| second.values().is_none()),
            device,
            operations: 1,
        };
        Footprint::of::<E>(self.shape, asked)
    }

    /// Runs the remaining rows through an evaluator that `open` makes.
    pub(super) fn run_on<V: Evaluator<E, L>>(
        &mut self,
        open: impl Fn(Start) -> Result<V>,
        device: Option<bool>,
        source: &mut dyn Source<E>,
        mut each: impl FnMut(&Evaluated<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut times = Times::begin();
        check_same_shape(SOURCE, source.shape(), self.shape)?;
        check_values(source)?;
        self.second.as_deref().map_or(Ok(()), check_values)?;
        let footprint = self.footprint(device, source);
        let room = footprint.room(self.options.memory)?;
        // What lies beside the logits has their values' type, and no kernel takes it with codes.
        let has_second = L::second::<E>(self.rows.layout()).is_some();
        let pass = if self.options.dlogits { L::DLOGITS } else { L::LOSSES };
        let coded = device.is_some() && pass.takes_codes && !has_second && are_coded(&[&*source]);
        let mut second = self.second.take();
        let result = halving((room, footprint.least_room()), |room| {
            let second = second.as_mut().map(|second| Feed::of(&mut **second));
            let logits = Feed::coded(&mut *source, coded);
            self.attempt(&open, (room, coded), (logits, second), &mut each, &mut times)
        });
        self.second = second;
        self.state.reading += times.reading;
        self.state.computing += times.submitting + times.landing;
        self.state.elapsed += times.start.elapsed();
        result
    }

    /// Runs from the first row that is not done to the last, in windows of one size.
    fn attempt<'s, V: Evaluator<E, L>>(
        &mut self,
        open: &impl Fn(Start) -> Result<V>,
        (room, coded): (u64, bool),
        feeds: (Feed<'s, E>, Option<Feed<'s, L::Second<E>>>),
        each: &mut impl FnMut(&Evaluated<'_>) -> Result<()>,
        times: &mut Times,
    ) -> Result<()> {
        let (shape, part, wants_dlogits) = (self.shape, self.part.clone(), self.options.dlogits);
        let first = part.start + self.state.rows();
        let mut evaluator = open(Start { row: first, room: Some(room), coded })?;
        let step = evaluator.window_rows().max(1);
        let mut dlogits = wants_dlogits.then(|| vec![0.0; shape.with_rows(step.min(shape.rows)).len()]);
        let mut verified = Verification::sample(shape.rows, self.options.verify_rows)
            .skip_while(|&row| row < first)
            .peekable();
        let looked_at = if self.options.check_shift { 4 * LOOKED_AT } else { LOOKED_AT };
        let mut looked_at =
            Verification::sample(shape.rows, looked_at).skip_while(|&row| row < first).peekable();
        let check_shift = self.options.check_shift && self.rows.has_row_targets();
        let (op, state, row_inputs, began) = (self.op, &mut self.state, &mut self.rows, times.start);
        let (shift, sequence_ends) = (row_inputs.shift(), row_inputs.sequence_ends());
        let mut weight = state.sum.weight();

        let submit = |evaluator: &mut V, rows: Range<usize>, values: &Values<'_, E, L::Second<E>>| {
            let beside = row_inputs.window(rows.clone())?;
            let mut window = Window::new(rows, values, beside, weight, (shape, shift), &op, &mut verified)?;
            let neighbour = check_shift.then_some(|row| row_inputs.top_class(row));
            window.look_at(values, &op, &mut looked_at, shape.rows, neighbour)?;
            weight = window.weight();
            let (start, rows) = (Instant::now(), window.rows.len());
            let inputs = window.inputs(values.second_values());
            let flight = evaluator.submit(values.logits, None, rows, &inputs, wants_dlogits)?;
            times.submitting += start.elapsed();
            Ok((flight, window))
        };
        let land = |evaluator: &mut V, (flight, window): (V::Flight, Window<'_, E, L>)| {
            let start = Instant::now();
            let len = shape.with_rows(window.rows.len()).len();
            let mut dlogits = dlogits.as_mut().map(|dlogits| &mut dlogits[..len]);
            let inputs = window.inputs(None);
            let results = evaluator.finish(flight, &inputs, dlogits.as_deref_mut())?;
            times.landing += start.elapsed();
            let mut next = state.clone();
            window.add_to(&mut next, results, (&op, shape));
            let told = EvaluationState { elapsed: next.elapsed + began.elapsed(), ..next.clone() };
            each(&Evaluated {
                rows: window.rows.clone(),
                results,
                classes: L::classes(&inputs),
                top_classes: window.top_classes(),
                weights: window.weights(),
                sequence_ends,
                dlogits: dlogits.as_deref(),
                state: &told,
            })?;
            *state = next;
            Ok(())
        };
        through(&mut evaluator, (shape, first..part.end, step), feeds, &mut times.reading, submit, land)
    }
}

/// The names of what may differ between the source's shape and the batch's.
const SOURCE: [&str; 4] =
    ["a row of the source", "a group of the source", "a padded row of the source", "the source"];

/// How a run spent its time.
struct Times {
    start: Instant,
    reading: Duration,
    submitting: Duration,
    landing: Duration,
}

impl Times {
    fn begin() -> Self {
        let zero = Duration::ZERO;
        Self { start: Instant::now(), reading: zero, submitting: zero, landing: zero }
    }
}

#[cfg(test)]
#[path = "evaluation_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "evaluation_windows_tests.rs"]
mod windows_tests;
