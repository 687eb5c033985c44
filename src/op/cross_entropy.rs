//! Cross-entropy of logits against targets: the definition of the loss. [`loss`](crate::op::loss) runs it.

use std::ops::Range;

use crate::bounds::{class_gradient_bound, class_loss_bound, gradient_bound, loss_bound, softcap_rounding};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::inputs::{BatchWeight, CrossEntropyInputs, RowInputs, RowWeights, WEIGHT, check_combination};
use crate::kernel::Params;
use crate::kernel::passes::{self, Pass, Target, binding, constant};
use crate::op::loss::sealed::Sealed;
use crate::op::loss::{
    CLASSES, HostInputs, INDICES, Kind, LossBuffers, LossKind, LossOp, LossOutputs, LossStream, PARTIALS,
    PROBS, RowInputBuffers, Second, TARGET_CLASS_WEIGHTS, host, host_classes, host_if,
};
use crate::op::stream::SecondArray;
use crate::options::{
    CrossEntropyOptions, HALVED_FROM, Input, MaskedRow, Reducing, SoftmaxOptions, check_shard,
};
use crate::reference;
use crate::reference::cross_entropy::{row_dlogits_at, row_loss_at, row_scale, row_shares};
use crate::row_fields::RowFields;
use crate::shape::Shape;
use crate::targets::{RowTarget, TargetKind, Targets, check_entries};
use crate::verification::Verification;

/// Cross-entropy of logits against targets, like PyTorch's `F.cross_entropy`: softmax, logarithm and mean in one read
/// of the logits, and the gradient in a second read.
///
/// With `m = max x` and `z = Σ exp(x − m)`, a row's loss is `ln z + (m − x_y)` nats for target class y, and its
/// gradient `(p − y) · weight / denominator` with `p = exp(x − m) / z`: prediction minus target.
///
/// If the target is a class and nearly certain, the loss is computed as `ln(1 + Σ exp(x_j − x_y))` and the gradient at the
/// target from the same sum, over the other classes. Both then keep their digits, however small they are:
/// [`class_loss_bound`]. This needs logits (not log-probabilities), and no label smoothing.
///
/// The inputs are class indices, other [`Targets`], or [`CrossEntropyInputs`] to give more than targets.
///
/// ```no_run
/// use xent::{Context, CrossEntropy, Shape};
///
/// let gpu = Context::new().wait()?;
/// let op = CrossEntropy::<f32>::new(&gpu, &Default::default())?;
/// let logits = [2.0, 1.0, 0.5, 0.1, 3.0, 0.2];
/// let loss = op.loss(&logits, &[0, 1], Shape::new(2, 3)).wait()?;
/// assert!((loss.value - 0.2870).abs() < 1e-4);
/// # Ok::<(), xent::Error>(())
/// ```
pub type CrossEntropy<E> = LossOp<E, CrossEntropyOptions>;

/// A [`CrossEntropy`] that takes its batch window by window, made by [`CrossEntropy::stream`](LossOp::stream).
pub type CrossEntropyStream<E> = LossStream<E, CrossEntropyOptions>;

/// The buffers of a bound [`CrossEntropy`]: logits, targets, other inputs, and at least one output.
///
/// The flags of the [`LossRecord`](crate::LossRecord) report bad values in a buffer. A target out of range, or a weight
/// that is negative or not finite, gives its row a NaN loss and no gradient, and the row does not count. A soft target
/// that is not finite makes its row NaN.
///
/// More fields may come: end a literal with `..CrossEntropyBuffers::new(logits, classes)`.
#[derive(Clone, Debug)]
pub struct CrossEntropyBuffers<'a> {
    /// Logits (rows, cols). The offset can be any multiple of the element's size, but must be a multiple of 4 bytes if
    /// the logits are overwritten. 16-bit logits are read in whole words: the bound size is rounded up to 4 bytes.
    /// Every buffer with one value per row or class starts at a multiple of the device's
    /// `min_storage_buffer_offset_alignment`.
    pub logits: wgpu::BufferBinding<'a>,
    /// The targets.
    pub targets: TargetBuffers<'a>,
    /// A weight for each class: f32 (cols,), or (total_cols,) with a shard. See [`CrossEntropyInputs`].
    pub class_weights: Option<wgpu::BufferBinding<'a>>,
    /// What all shards of the rows together tell of them, combined: [`RowPartials`](crate::RowPartials) (rows,), 32 bytes each. See
    /// [`VocabularyShard`](crate::VocabularyShard).
    pub partials: Option<wgpu::BufferBinding<'a>>,
    /// Weights, mask and upstream gradients of the rows.
    pub rows: RowInputBuffers<'a>,
    /// Destinations of loss, row losses (z-loss included) and gradient.
    pub outputs: LossOutputs<'a>,
    /// Destination of each row's results: records (rows,) of the fields that
    /// [`row_fields`](field@CrossEntropyOptions::row_fields) names, one word of 4 bytes each, in the order of
    /// [`RowFields`]. A row that is left out has zeros, a row with an invalid target or weight has NaN, and both have
    /// [`NO_CLASS`](crate::NO_CLASS).
    pub row_results: Option<wgpu::BufferBinding<'a>>,
}

/// Targets in buffers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TargetBuffers<'a> {
    /// Class indices: i32 or u32 (rows,).
    Classes(wgpu::BufferBinding<'a>),
    /// A probability for each class: f32 (rows, cols), in the logits' layout.
    Soft(wgpu::BufferBinding<'a>),
    /// A few classes of each row with their probabilities.
    Sparse {
        /// Class indices: i32 or u32 (rows, entries).
        indices: wgpu::BufferBinding<'a>,
        /// Their probabilities: f32 (rows, entries).
        probs: wgpu::BufferBinding<'a>,
        /// Entries of each row, in 1..=[`MAX_SPARSE_ENTRIES`](crate::MAX_SPARSE_ENTRIES).
        entries: usize,
    },
}

impl<'a> CrossEntropyBuffers<'a> {
    /// Buffers with logits and target classes (i32 or u32), without outputs.
    pub fn new(logits: wgpu::BufferBinding<'a>, classes: wgpu::BufferBinding<'a>) -> Self {
        Self::with_targets(logits, TargetBuffers::Classes(classes))
    }

    /// Buffers with logits and targets of any kind, without outputs.
    pub fn with_targets(logits: wgpu::BufferBinding<'a>, targets: TargetBuffers<'a>) -> Self {
        Self {
            logits,
            targets,
            class_weights: None,
            partials: None,
            rows: RowInputBuffers::default(),
            outputs: LossOutputs::default(),
            row_results: None,
        }
    }
}

impl TargetBuffers<'_> {
    fn kind(&self) -> TargetKind {
        match self {
            Self::Classes(_) => TargetKind::Classes,
            Self::Soft(_) => TargetKind::Soft,
            Self::Sparse { entries, .. } => TargetKind::Sparse { entries: *entries },
        }
    }
}

impl Sealed for CrossEntropyOptions {}

impl LossKind for CrossEntropyOptions {
    type Inputs<'a, E: Element> = CrossEntropyInputs<'a>;
    type Buffers<'a> = CrossEntropyBuffers<'a>;
    type Layout = TargetKind;
}

impl Kind for CrossEntropyOptions {
    const NAME: &'static str = "xent::cross_entropy";
    const LOSSES: &'static Pass = &passes::ROW_LOSSES;
    const DLOGITS: &'static Pass = &passes::DLOGITS;
    const SPLITS: bool = true;
    const OUTPUTS: &'static str = "loss, row_losses, row_results, dlogits";

    fn check(&self) -> Result<()> {
        Self::check(self)
    }

    fn reducing(&self) -> Reducing {
        Self::reducing(self)
    }

    fn row_fields(&self) -> RowFields {
        self.row_fields
    }

    fn params(&self, shape: Shape, kind: TargetKind) -> Params {
        let params = Params {
            entries: kind.entries() as u32,
            ignore_index: self.ignore_index,
            smoothing: self.label_smoothing,
            focal_gamma: self.focal_gamma,
            classes: self.total_cols(shape.cols) as u32,
            first_col: self.first_col() as u32,
            total_cols: self.total_cols(shape.cols) as u32,
            ..Params::of(shape).with_temperature(self.temperature).with_softcap(self.softcap)
        };
        let Some(sequences) = self.sequences else { return params };
        // A shift or a length beyond the possible number of rows has the same effect as one just beyond it.
        let word = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let shift = |shift: usize| word(shift.min(sequences.length)).min(u32::MAX / 4);
        // The kernel counts positions: the one that predicts a token is so far ahead of it.
        let position = |place: usize| word(place.saturating_sub(sequences.input_shift()));
        Params {
            sequence_length: word(sequences.length).min(u32::MAX / 4),
            shift: shift(sequences.shift),
            input_shift: shift(sequences.input_shift()),
            score_from: position(sequences.from),
            score_to: position(sequences.to),
            ..params
        }
    }

    fn switches(&self, kind: TargetKind) -> Vec<(&'static str, bool)> {
        let is_focal = self.focal_gamma > 0.0;
        vec![
            (constant::MASKED_ROW_ZERO, self.masked_row == MaskedRow::Zero),
            (constant::SOFTCAP, self.softcap.is_some()),
            (constant::HALVE_DIFFERENCES, self.temperature > HALVED_FROM),
            (constant::LOG_PROBS, self.input == Input::LogProbs),
            (constant::TARGET_SUMS, kind == TargetKind::Soft || self.label_smoothing > 0.0),
            (constant::EXCLUDE_TARGET, kind == TargetKind::Classes && self.input == Input::Logits),
            (constant::FOCAL, is_focal),
        ]
    }

    fn target(kind: TargetKind) -> Target {
        match kind {
            TargetKind::Classes => Target::Class,
            TargetKind::Soft => Target::Soft,
            TargetKind::Sparse { .. } => Target::Sparse,
        }
    }

    fn second<E: Element>(kind: TargetKind) -> Option<SecondArray> {
        let soft = SecondArray { name: "targets", number: binding::TARGETS, value_bytes: 4 };
        (kind == TargetKind::Soft).then_some(soft)
    }

    fn entries(kind: TargetKind) -> usize {
        if let TargetKind::Sparse { entries } = kind { entries } else { 0 }
    }

    fn input_shape(&self, shape: Shape) -> Shape {
        Shape { cols: self.total_cols(shape.cols), ..shape }
    }

    fn has_partials<E: Element>(inputs: &CrossEntropyInputs<'_>) -> bool {
        inputs.partials.is_some()
    }

    fn check_part(&self, shape: Shape, has_partials: bool, asks_for_more: bool) -> Result<()> {
        check_shard(self.shard, shape, has_partials.then_some(shape.rows))?;
        match self.shard {
            Some(shard) if asks_for_more && !has_partials => {
                let needed = "unset, or the inputs with the partials of all shards, for more than its own";
                Err(Error::option("shard: total_cols", shard.total_cols as f64, needed))
            }
            _ => Ok(()),
        }
    }

    fn check_verifiable(&self) -> Result<()> {
        let needed = "unset, to verify a batch by the reference";
        match self.shard {
            Some(shard) => Err(Error::option("shard: total_cols", shard.total_cols as f64, needed)),
            None => Ok(()),
        }
    }

    fn check_layout(&self, kind: TargetKind) -> Result<()> {
        check_combination(kind, self)?;
        if let TargetKind::Sparse { entries } = kind { check_entries(entries) } else { Ok(()) }
    }

    fn check_stream(&self) -> Result<()> {
        let Some(sequences) = self.sequences else { return Ok(()) };
        let needed = "unset in a stream, because its rows come in parts";
        Err(Error::option("sequences: length", sequences.length as f64, needed))
    }

    fn check_weight(&weight: &BatchWeight, kind: TargetKind, _: Shape) -> Result<()> {
        let BatchWeight { weight, row_weight, counted } = weight;
        // Class weights enter the mean for class targets only.
        if weight != row_weight && (kind != TargetKind::Classes || counted == 0) {
            let needed = "equal to row_weight, unless targets are classes with weights";
            return Err(Error::option(WEIGHT, weight, needed));
        }
        Ok(())
    }

    fn layout<E: Element>(inputs: &CrossEntropyInputs<'_>) -> TargetKind {
        inputs.targets.kind()
    }

    fn check_same_layout<E: Element>(inputs: &CrossEntropyInputs<'_>, made_for: TargetKind) -> Result<()> {
        let given = inputs.targets.kind();
        if given == made_for { Ok(()) } else { Err(Error::TargetKind { given, made_for }) }
    }

    fn rows<'i, E: Element>(inputs: &'i CrossEntropyInputs<'_>) -> RowInputs<'i> {
        inputs.rows
    }

    fn check_inputs<E: Element>(&self, inputs: &CrossEntropyInputs<'_>, shape: Shape) -> Result<BatchWeight> {
        inputs.check(shape, self)
    }

    fn part<'i, E: Element>(
        inputs: &'i CrossEntropyInputs<'_>,
        shape: Shape,
        rows: Range<usize>,
    ) -> CrossEntropyInputs<'i> {
        inputs.part(shape, rows)
    }

    fn with_part<E: Element, R>(
        &self,
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        rows: Range<usize>,
        run: impl FnOnce(&CrossEntropyInputs<'_>) -> R,
    ) -> R {
        run(&inputs.resolved(shape, self, rows).inputs())
    }

    fn of_resolved(self) -> Self {
        Self { sequences: None, ..self }
    }

    fn host_inputs<'i, E: Element>(inputs: &'i CrossEntropyInputs<'_>) -> HostInputs<'i, E> {
        let (second, mut values) = match inputs.targets {
            Targets::Soft(soft) => (Some(Second::F32(soft)), vec![]),
            Targets::Sparse { indices, probs, .. } => {
                (None, vec![host(&INDICES, indices), host(&PROBS, probs)])
            }
            classes => (None, classes.indices().map(host_classes).into_iter().collect()),
        };
        values.extend(host_if(&TARGET_CLASS_WEIGHTS, inputs.class_weights));
        values.extend(inputs.partials.map(|merged| host(&PARTIALS, merged)));
        HostInputs { second, values }
    }

    fn buffers<'b>(to: &'b CrossEntropyBuffers<'_>) -> (TargetKind, LossBuffers<'b>) {
        let mut own =
            vec![(&TARGET_CLASS_WEIGHTS, to.class_weights.as_ref()), (&PARTIALS, to.partials.as_ref())];
        let mut second = None;
        match &to.targets {
            TargetBuffers::Classes(classes) => own.push((&CLASSES, Some(classes))),
            TargetBuffers::Soft(soft) => second = Some(soft),
            TargetBuffers::Sparse { indices, probs, .. } => {
                own.extend([(&INDICES, Some(indices)), (&PROBS, Some(probs))]);
            }
        }
        let buffers = LossBuffers {
            logits: &to.logits,
            second,
            own,
            rows: &to.rows,
            outputs: &to.outputs,
            row_results: to.row_results.as_ref(),
        };
        (to.targets.kind(), buffers)
    }

    /// Weights above 1 increase the error, so they increase the bound too.
    fn expected_loss<E: Element>(
        &self,
        logits: &[E],
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        row: usize,
    ) -> (f64, f64) {
        let RowWeights { own, heaviest_class } = inputs.weights(self, row);
        let loss = row_loss_at(logits, *inputs, shape, self, row);
        let expected = own * loss.total();
        let weight = (own * heaviest_class).max(1.0);
        let bound = (loss_bound(expected) + softcap_rounding(self)) * weight;
        let is_class = matches!(inputs.row_target(shape, self, row), Some(RowTarget::Class(_)));
        if is_class && loss.z_loss == 0.0 {
            return (expected, bound.min(weight * class_loss_bound(self, shape.cols, expected / weight)));
        }
        (expected, bound)
    }

    fn verify_row_dlogits<E: Element>(
        &self,
        logits: &[E],
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        batch: &BatchWeight,
        row: usize,
        dlogits: &[E],
        into: &mut Verification,
    ) {
        let softmax = SoftmaxOptions {
            masked_row: self.masked_row,
            temperature: self.temperature,
            softcap: self.softcap,
        };
        let expected = row_dlogits_at(logits, *inputs, shape, self, batch, row);
        let scale = row_scale(*inputs, shape, self, batch, row);
        let target = inputs.row_target(shape, self, row);
        let shares = target
            .as_ref()
            .and_then(|target| row_shares(target, inputs.class_weights, shape.cols, self))
            .unwrap_or_else(|| vec![0.0; shape.cols]);
        let own_class = match target {
            Some(RowTarget::Class(class)) => usize::try_from(class).ok(),
            _ => None,
        };
        let probs = reference::softmax_row(&shape.row_vec(logits, row), &softmax);
        let lse = row_loss_at(logits, *inputs, shape, self, row).lse;
        let bound = gradient_bound(self, scale, &shares, lse);
        for (class, &actual) in dlogits.iter().enumerate() {
            let mut bound = bound(probs[class], shares[class]);
            if own_class == Some(class) {
                let of_class = class_gradient_bound(self, shape.cols, scale, shares[class], lse);
                let others: f64 = probs.iter().enumerate().filter(|&(k, _)| k != class).map(|(_, p)| p).sum();
                bound = bound.min(of_class(probs[class], others));
            }
            into.compare_rounded(row, actual, expected[class], bound);
        }
    }
}
