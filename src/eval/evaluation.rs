//! A batch on its way from a source through the device to a report.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::eval::evaluated::Evaluated;
use crate::eval::evaluator::{Device, Evaluator};
use crate::eval::inputs::EvaluateInputs;
use crate::eval::memory::{Asked, Footprint, halving};
use crate::eval::options::EvaluateOptions;
use crate::eval::read_ahead::{Feed, Values, through};
use crate::eval::report::Report;
use crate::eval::row_inputs::BatchRows;
use crate::eval::source::{Source, check_same_shape, check_values};
use crate::eval::state::EvaluationState;
use crate::eval::window::Window;
use crate::inputs::BatchWeight;
use crate::kernel::passes::Output;
use crate::op::{CrossEntropy, CrossEntropyStream, Start};
use crate::options::{CrossEntropyOptions, EmptyBatch, Reducing, Reduction};
use crate::shape::Shape;
use crate::targets::TargetKind;
use crate::verification::Verification;

/// The evaluation of a batch, however many rows it has, that can stop and go on: after an error, a Ctrl-C, in another
/// process. [`evaluate`](super::evaluate()) is one that does neither.
///
/// [`run`](Self::run) takes it from where it is to its end; what it has found so far is in [`report`](Self::report) and
/// [`state`](Self::state) at any time. Wherever it was stopped and whatever its windows, its digits are those of one run
/// without a stop, on the same device with the same tuning.
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
pub struct Evaluation<'a> {
    /// Without sequences, which are worked into the inputs.
    op: CrossEntropyOptions,
    shape: Shape,
    rows: BatchRows<'a>,
    kind: TargetKind,
    soft_targets: Option<&'a mut dyn Source<f32>>,
    /// What all rows weigh.
    weight: BatchWeight,
    options: EvaluateOptions,
    state: EvaluationState,
}

impl<'a> Evaluation<'a> {
    /// Of a batch of this shape. `inputs` are [`Targets`](crate::Targets), or
    /// [`CrossEntropyInputs`](crate::CrossEntropyInputs) where more is given than those, or [`EvaluateInputs`] where
    /// something of it is read: that is read once here, to be checked before any work.
    ///
    /// # Errors
    /// What [`CrossEntropyInputs::check`](crate::CrossEntropyInputs::check) refuses (of soft targets from a source: but for
    /// their values); [`Error::NoRowCounts`]; whatever the sources report.
    pub fn new(
        op: &CrossEntropyOptions,
        shape: Shape,
        inputs: impl Into<EvaluateInputs<'a>>,
        options: &EvaluateOptions,
    ) -> Result<Self> {
        let inputs = inputs.into();
        let kind = inputs.kind();
        let (rows, soft_targets, weight) = BatchRows::checked(inputs, shape, op)?;
        weight.check(shape.rows, op.reducing())?;
        Ok(Self {
            op: CrossEntropyOptions { sequences: None, ..*op },
            shape,
            rows,
            kind,
            soft_targets,
            weight,
            options: *options,
            state: EvaluationState::default(),
        })
    }

    /// Goes on where another one of the same batch had come to, whose outputs are there: the rows before are not looked at
    /// again.
    ///
    /// # Errors
    /// [`Error::RowsExceedBound`] and [`Error::Layout`] where no run of this batch can have come there.
    pub fn resume(&mut self, state: &EvaluationState) -> Result<()> {
        let (rows, bound, inner) = (state.rows(), self.shape.rows, self.shape.inner);
        if rows > bound {
            return Err(Error::RowsExceedBound { rows, bound });
        }
        if !rows.is_multiple_of(inner) {
            return Err(Error::Layout { rows, inner });
        }
        self.state = *state;
        Ok(())
    }

    /// The operation, whose sequences are worked into the inputs.
    #[cfg(feature = "cli")]
    pub(super) fn op(&self) -> &CrossEntropyOptions {
        &self.op
    }

    /// What all rows weigh.
    #[cfg(feature = "cli")]
    pub(super) fn weight(&self) -> &BatchWeight {
        &self.weight
    }

    /// Of all rows.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How far it has come.
    pub fn state(&self) -> &EvaluationState {
        &self.state
    }

    /// Whether every row is done.
    pub fn is_done(&self) -> bool {
        self.state.rows() == self.shape.rows
    }

    /// Takes the rows that are left through the device, two windows at a time, while the next are read; each window is
    /// handed to `each` in its turn, which may write it somewhere, show progress, or stop the run with an error. A window
    /// counts as done when `each` has returned: where that fails it comes again.
    ///
    /// Where memory runs out, on either side, it goes on with windows of half the size. Blocks.
    ///
    /// # Errors
    /// [`Error::Length`] where the source has another shape; [`Error::InvalidTarget`] for a soft target that is no number,
    /// when its window comes; [`Error::RowTooLarge`], [`Error::GroupTooLarge`], [`Error::MemoryTooSmall`]; whatever the
    /// sources, the device or `each` report.
    pub fn run<E: Element>(
        &mut self,
        op: &CrossEntropy<E>,
        source: &mut dyn Source<E>,
        each: impl FnMut(&Evaluated<'_>) -> Result<()>,
    ) -> Result<()> {
        let op = op.with_options(&self.op)?;
        let (is_unified, wait) = (op.profile().unified_memory, op.blocking());
        let (shape, kind, weight) = (self.shape, self.kind, self.weight);
        let gradient = self.options.dlogits.then_some((Output::F32, weight));
        let open = |start| {
            let stream = CrossEntropyStream::ahead(&op, shape, kind, gradient, start)?;
            Ok(Device { stream, wait: wait.clone() })
        };
        self.run_on(open, Some(is_unified), source, each)
    }

    /// What has been found so far, of the rows that are done: of all of them, at the end.
    pub fn report(&self) -> Report {
        let EvaluationState { sum, correct, verification, reading, computing, elapsed } = self.state;
        let sum = if self.is_done() { sum.weighing(self.weight) } else { sum };
        let mean =
            Reducing { reduction: Reduction::Mean, empty_batch: EmptyBatch::Nan, ..self.op.reducing() };
        Report {
            loss: sum.reduced(self.op.reducing()),
            mean: sum.reduced(mean).value,
            cols: self.shape.cols,
            correct,
            verification: (self.options.verify_rows > 0).then_some(verification),
            reading,
            computing,
            elapsed,
        }
    }

    /// The most bytes that the windows of a run on this device take, on its side and on the host's together: what is known
    /// of memory beforehand.
    ///
    /// # Errors
    /// [`Error::MemoryTooSmall`]; [`Error::DeviceLimit`].
    pub fn window_bytes<E: Element>(&self, gpu: &Context, source: &dyn Source<E>) -> Result<u64> {
        self.window_bytes_on(Some(gpu.profile()?.unified_memory), source)
    }

    /// The same on a device of unified memory or not, or on the processor (`None`).
    pub(super) fn window_bytes_on<E: Element>(
        &self,
        device: Option<bool>,
        source: &dyn Source<E>,
    ) -> Result<u64> {
        let footprint = self.footprint(device, source);
        Ok(footprint.bytes(footprint.room(self.options.memory)?))
    }

    pub(super) fn footprint<E: Element>(&self, device: Option<bool>, source: &dyn Source<E>) -> Footprint {
        let asked = Asked {
            kind: self.kind,
            dlogits: self.options.dlogits,
            reads_logits: source.values().is_none(),
            reads_soft: self.soft_targets.as_ref().is_some_and(|soft| soft.values().is_none()),
            device,
        };
        Footprint::of::<E>(self.shape, asked)
    }

    /// Takes the rows that are left through an evaluator, which `open` makes.
    pub(super) fn run_on<E: Element, V: Evaluator<E>>(
        &mut self,
        open: impl Fn(Start) -> Result<V>,
        device: Option<bool>,
        source: &mut dyn Source<E>,
        mut each: impl FnMut(&Evaluated<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut times = Times::begin();
        check_same_shape(SOURCE, source.shape(), self.shape)?;
        check_values(source)?;
        self.soft_targets.as_deref().map_or(Ok(()), check_values)?;
        let footprint = self.footprint(device, source);
        let room = footprint.room(self.options.memory)?;
        let mut soft_targets = self.soft_targets.take();
        let result = halving((room, footprint.least_room()), |room| {
            let soft = soft_targets.as_mut().map(|soft| Feed::of(&mut **soft));
            self.attempt(&open, room, (Feed::of(source), soft), &mut each, &mut times)
        });
        self.soft_targets = soft_targets;
        self.state.reading += times.reading;
        self.state.computing += times.submitting + times.landing;
        self.state.elapsed += times.start.elapsed();
        result
    }

    /// From the first row that is not done to the last, in windows of one size.
    fn attempt<'s, E: Element, V: Evaluator<E>>(
        &mut self,
        open: &impl Fn(Start) -> Result<V>,
        room: u64,
        feeds: (Feed<'s, E>, Option<Feed<'s, f32>>),
        each: &mut impl FnMut(&Evaluated<'_>) -> Result<()>,
        times: &mut Times,
    ) -> Result<()> {
        let (shape, first, wants_dlogits) = (self.shape, self.state.rows(), self.options.dlogits);
        let mut evaluator = open(Start { row: first, room: Some(room) })?;
        let step = evaluator.window_rows().max(1);
        let mut dlogits = wants_dlogits.then(|| vec![0.0; shape.with_rows(step.min(shape.rows)).len()]);
        let mut verified = Verification::sample(shape.rows, self.options.verify_rows)
            .skip_while(|&row| row < first)
            .peekable();
        let (op, state, row_inputs, began) = (self.op, &mut self.state, &mut self.rows, times.start);
        let shift = row_inputs.shift();
        let mut weight = state.sum.weight();

        let submit = |evaluator: &mut V, rows: Range<usize>, values: &Values<'_, E>| {
            let beside = row_inputs.window(rows.clone())?;
            let window = Window::new(rows, values, beside, weight, (shape, shift), &op, &mut verified)?;
            weight = window.weight();
            let (start, rows) = (Instant::now(), window.rows.len());
            let inputs = window.inputs(values.soft);
            let flight = evaluator.submit(values.logits, rows, &inputs, wants_dlogits)?;
            times.submitting += start.elapsed();
            Ok((flight, window))
        };
        let land = |evaluator: &mut V, (flight, window): (V::Flight, Window<'_>)| {
            let start = Instant::now();
            let len = shape.with_rows(window.rows.len()).len();
            let mut dlogits = dlogits.as_mut().map(|dlogits| &mut dlogits[..len]);
            let inputs = window.inputs(None);
            let results = evaluator.finish(flight, &inputs, dlogits.as_deref_mut())?;
            times.landing += start.elapsed();
            let mut next = *state;
            window.add_to(&mut next, results, &op);
            let told = EvaluationState { elapsed: next.elapsed + began.elapsed(), ..next };
            let (rows, classes) = (window.rows.clone(), inputs.targets.classes());
            each(&Evaluated { rows, results, classes, dlogits: dlogits.as_deref(), state: &told })?;
            *state = next;
            Ok(())
        };
        through(&mut evaluator, (shape, first, step), feeds, &mut times.reading, submit, land)
    }
}

/// What of the source may be another than of the batch.
const SOURCE: [&str; 4] =
    ["a row of the source", "a group of the source", "a padded row of the source", "the source"];

/// Where the time of a run went.
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
