//! The inputs of cross-entropy besides the logits.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::inputs::{
    BatchWeight, OwnedTargets, Resolved, RowInputs, check_weights, row_setters, target_rows,
};
use crate::options::{CrossEntropyOptions, EntmaxLossOptions, check_shard};
use crate::results::RowPartials;
use crate::row_fields::RowFields;
use crate::shape::Shape;
use crate::targets::{Indices, RowTarget, TargetKind, Targets, class_indices};

/// The inputs of a [`CrossEntropy`](crate::CrossEntropy) besides the logits. Targets alone are enough: methods that
/// take these inputs also take [`Targets`], or class indices in a slice, an array or a vector of i32, i64, u32 or usize.
///
/// ```
/// use xent::{CrossEntropyInputs, Targets};
///
/// let inputs = CrossEntropyInputs::new(Targets::Classes(&[0, 2])).class_weights(&[1.0, 0.5, 2.0]);
/// ```
///
/// More fields may come: end a literal with `..CrossEntropyInputs::new(targets)`.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropyInputs<'a> {
    /// The targets.
    pub targets: Targets<'a>,
    /// A weight for each class (cols,), with a [`shard`](CrossEntropyOptions::shard) (total_cols,), finite and at least 0: PyTorch's `weight`. With class targets, a mean divides
    /// by the sum of the weights of the rows' classes; with soft targets it does not, as in PyTorch. Default: 1 each.
    pub class_weights: Option<&'a [f32]>,
    /// More targets that leave their row out, besides [`ignore_index`](CrossEntropyOptions::ignore_index), such as the
    /// token that pads a sequence. For class targets in host calls. Default: none.
    pub ignore_also: &'a [i32],
    /// Where the sequences of the batch end, if they differ in length, as in a packed batch: (sequences,), for each the
    /// index after its last row, in order; the last is the number of rows. They take the place of
    /// [`Sequences::length`](crate::Sequences::length), and nothing is scored across two sequences. For host calls with
    /// [`sequences`](CrossEntropyOptions::sequences). Default: all have that length.
    pub sequence_ends: Option<&'a [usize]>,
    /// What all shards of the rows together tell of them (rows,), combined. Needed for the loss and the gradient of an operation
    /// with a [`shard`](CrossEntropyOptions::shard); refused without one. Default: none.
    pub partials: Option<&'a [RowPartials]>,
    /// Weights, mask and upstream gradients of the rows. With shifted targets, weights and mask are of tokens: see
    /// [`SequenceUnit`](crate::SequenceUnit).
    pub rows: RowInputs<'a>,
}

impl<'a> From<Targets<'a>> for CrossEntropyInputs<'a> {
    fn from(targets: Targets<'a>) -> Self {
        Self::new(targets)
    }
}

class_indices!(CrossEntropyInputs);

impl<'a> From<&CrossEntropyInputs<'a>> for CrossEntropyInputs<'a> {
    fn from(inputs: &CrossEntropyInputs<'a>) -> Self {
        *inputs
    }
}

/// A row's own weight, and the largest class weight that can multiply it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RowWeights {
    pub own: f64,
    pub heaviest_class: f64,
}

impl<'a> CrossEntropyInputs<'a> {
    /// Inputs with targets only.
    pub const fn new(targets: Targets<'a>) -> Self {
        Self {
            targets,
            class_weights: None,
            ignore_also: &[],
            sequence_ends: None,
            partials: None,
            rows: RowInputs::NONE,
        }
    }

    /// Sets class weights (cols,).
    pub const fn class_weights(self, weights: &'a [f32]) -> Self {
        Self { class_weights: Some(weights), ..self }
    }

    /// Sets more targets that leave their row out.
    pub const fn ignore_also(self, classes: &'a [i32]) -> Self {
        Self { ignore_also: classes, ..self }
    }

    /// Sets where the sequences end (sequences,).
    pub const fn sequence_ends(self, ends: &'a [usize]) -> Self {
        Self { sequence_ends: Some(ends), ..self }
    }

    /// Sets what all shards of the rows together tell of them (rows,).
    pub const fn partials(self, merged: &'a [RowPartials]) -> Self {
        Self { partials: Some(merged), ..self }
    }

    row_setters!();

    /// The weights that multiply a row's loss.
    pub(crate) fn weights(&self, options: &CrossEntropyOptions, row: usize) -> RowWeights {
        let heaviest = self.class_weights.map_or(1.0, |weights| weights.iter().copied().fold(0.0, f32::max));
        RowWeights { own: self.row_weight(options, row), heaviest_class: f64::from(heaviest) }
    }

    /// The weight of a row, or 0 if it is masked. With shifted targets it is that of its token.
    #[inline]
    pub(crate) fn row_weight(&self, options: &CrossEntropyOptions, row: usize) -> f64 {
        let RowInputs { row_weights, row_mask, .. } = self.rows;
        let of = row.saturating_add(options.sequences.map_or(0, |sequences| sequences.input_shift()));
        let is_masked = row_mask.is_some_and(|mask| mask.get(of).is_none_or(|is_scored| !is_scored));
        let weight = row_weights.map_or(1.0, |weights| weights.get(of).copied().unwrap_or(0.0));
        if is_masked { 0.0 } else { weight.into() }
    }

    /// The row that holds the target of a row; `None` if its place in its sequence leaves it out.
    #[inline]
    fn target_row(&self, shape: Shape, options: &CrossEntropyOptions, row: usize) -> Option<usize> {
        let Some(sequences) = options.sequences else { return Some(row) };
        let target = match self.sequence_ends {
            Some(ends) => {
                let sequence = ends.partition_point(|&end| end <= row);
                let start = sequence.checked_sub(1).map_or(0, |before| ends[before]);
                sequences.target_in(row, row - start, ends.get(sequence)? - start)
            }
            None => sequences.target_row(row),
        };
        // If the last sequence is cut short, there is no target after its end.
        target.filter(|&target| target < shape.rows)
    }

    /// The target of a row, or `None` if the row is left out.
    pub(crate) fn row_target(
        &self,
        shape: Shape,
        options: &CrossEntropyOptions,
        row: usize,
    ) -> Option<RowTarget<'a>> {
        let target_row = self.target_row(shape, options, row)?;
        if self.row_weight(options, row) == 0.0 {
            return None;
        }
        let target = self.targets.row(shape, target_row);
        (!target.is_ignored(options.ignore_index) && !self.ignores_also(&target)).then_some(target)
    }

    /// The class of a row's target, or `None` if the row is left out: [`row_target`](Self::row_target) of targets that are
    /// classes and have been checked.
    #[cfg(feature = "cpu")]
    #[inline(always)]
    pub(crate) fn row_class(&self, shape: Shape, options: &CrossEntropyOptions, row: usize) -> Option<usize> {
        let class = self.targets.class(self.target_row(shape, options, row)?)?;
        let is_left_out = class == i64::from(options.ignore_index)
            || self.ignore_also.iter().any(|&also| class == i64::from(also))
            || self.row_weight(options, row) == 0.0;
        if is_left_out { None } else { usize::try_from(class).ok() }
    }

    fn ignores_also(&self, target: &RowTarget<'_>) -> bool {
        matches!(target, &RowTarget::Class(class) if self.ignore_also.iter().any(|&also| class == i64::from(also)))
    }

    /// Checks lengths, targets and weights before any work, and returns the total weight of the rows.
    ///
    /// # Errors
    /// What [`Shape::check`] and [`CrossEntropyOptions::check`] refuse; [`Error::Length`], [`Error::TargetOutOfRange`],
    /// [`Error::InvalidTarget`]; [`Error::InvalidOption`] for weights, and for options that these targets do not allow.
    pub fn check(&self, shape: Shape, options: &CrossEntropyOptions) -> Result<BatchWeight> {
        shape.check()?;
        options.check()?;
        check_combination(self.targets.kind(), options)?;
        self.targets.check_lengths(shape)?;
        check_weights("class_weights", self.class_weights, options.total_cols(shape.cols))?;
        check_shard(options.shard, shape, self.partials.map(<[RowPartials]>::len))?;
        self.check_sequences(shape, options)?;
        self.check_ignored(self.targets.kind())?;
        self.rows.check(shape)?;
        // Messages name the row that holds the target.
        let shift = options.sequences.map_or(0, |sequences| sequences.shift);
        let mut batch = BatchWeight::default();
        self.weigh(shape, options, shift, &mut batch)?;
        Ok(batch)
    }

    /// Like [`check`](Self::check), for the loss of an entmax: its targets are classes without weights.
    ///
    /// # Errors
    /// Those of [`check`](Self::check); [`Error::TargetKind`]; [`Error::InvalidOption`] for class weights.
    pub(crate) fn check_of_classes(&self, shape: Shape, options: &EntmaxLossOptions) -> Result<BatchWeight> {
        options.check()?;
        self.check_plain_classes(self.targets.kind())?;
        self.check(shape, &options.of_targets())
    }

    /// Refuses targets that are not classes, and weights of classes.
    pub(crate) fn check_plain_classes(&self, given: TargetKind) -> Result<()> {
        if given != TargetKind::Classes {
            return Err(Error::TargetKind { given, made_for: TargetKind::Classes });
        }
        match self.class_weights {
            Some(weights) => {
                Err(Error::option("class_weights", weights.len() as f64, "unset: this loss has none"))
            }
            None => Ok(()),
        }
    }

    /// Refuses ends of sequences that do not divide the batch, or that the options make no use of.
    pub(crate) fn check_sequences(&self, shape: Shape, options: &CrossEntropyOptions) -> Result<()> {
        let Some(ends) = self.sequence_ends else { return Ok(()) };
        let option = "sequence_ends";
        if options.sequences.is_none() {
            return Err(Error::option(option, ends.len() as f64, "unset without the option sequences"));
        }
        if let Some(at) = ends.windows(2).position(|pair| pair[0] > pair[1]) {
            let (value, needed) = (ends[at + 1] as f64, "in rising order");
            return Err(Error::InvalidOption { option, at: Some(at + 1), value, needed });
        }
        let found = ends.last().copied().unwrap_or(0);
        let (what, needed) = ("sequence_ends: the last", shape.rows);
        if found == needed { Ok(()) } else { Err(Error::Length { what, found, needed }) }
    }

    /// Refuses more ignored classes beside targets that are not classes.
    pub(crate) fn check_ignored(&self, kind: TargetKind) -> Result<()> {
        match self.ignore_also.first() {
            Some(&class) if kind != TargetKind::Classes => {
                Err(Error::option("ignore_also", class, "empty unless targets are class indices"))
            }
            _ => Ok(()),
        }
    }

    /// Adds the weights of the rows one by one, so that the parts of a batch give the same bits as the whole. Messages
    /// count targets from `first`.
    ///
    /// # Errors
    /// [`Error::TargetOutOfRange`], [`Error::InvalidTarget`].
    pub(crate) fn weigh(
        &self,
        shape: Shape,
        options: &CrossEntropyOptions,
        first: usize,
        batch: &mut BatchWeight,
    ) -> Result<()> {
        if let Some(plain) = self.plain_weight(shape, options) {
            batch.add(plain);
            return Ok(());
        }
        for row in 0..shape.rows {
            let Some(target) = self.row_target(shape, options, row) else { continue };
            let checked =
                target.check(first.saturating_add(row), options.total_cols(shape.cols), options.ignore_index);
            checked.map_err(|error| match error {
                Error::TargetOutOfRange { row, target, cols } => {
                    Error::TargetOutOfRange { row, target: self.targets.as_given(target), cols }
                }
                other => other,
            })?;
            batch.add(self.weight_of(options, row, &target));
        }
        Ok(())
    }

    /// The weight of rows that have one class each and no other inputs, if every class is valid. Checking each row for
    /// all possible inputs took an eighth of the processor's time in a call with a million narrow rows.
    fn plain_weight(&self, shape: Shape, options: &CrossEntropyOptions) -> Option<BatchWeight> {
        let RowInputs { row_weights, row_mask, .. } = self.rows;
        if self.class_weights.is_some() || row_weights.is_some() || row_mask.is_some() {
            return None;
        }
        let is_plain = options.sequences.is_none() && self.ignore_also.is_empty();
        let classes = self.targets.indices().filter(|_| is_plain)?;
        // Cast to unsigned, a negative class is above every possible class.
        let end = u32::try_from(options.total_cols(shape.cols)).unwrap_or(u32::MAX).min(1 << 31);
        let ignored = options.ignore_index;
        let (counted, wrong) = match classes {
            Indices::I32(classes) => count(classes, ignored, |class| class as u32 >= end),
            Indices::I64(classes) => count(classes, ignored.into(), |class| class as u64 >= end.into()),
        };
        let weight = counted as f64;
        (wrong == 0).then_some(BatchWeight { weight, row_weight: weight, counted })
    }

    /// The weight of a row that is not left out.
    pub(crate) fn weight_of(
        &self,
        options: &CrossEntropyOptions,
        row: usize,
        target: &RowTarget<'_>,
    ) -> BatchWeight {
        let row_weight = self.row_weight(options, row);
        let class_weight = match (target, self.class_weights) {
            (&RowTarget::Class(class), Some(weights)) => usize::try_from(class)
                .ok()
                .and_then(|class| weights.get(class))
                .map_or(0.0, |&w| f64::from(w)),
            _ => 1.0,
        };
        BatchWeight { weight: row_weight * class_weight, row_weight, counted: 1 }
    }

    /// The inputs of a range of rows. If the logits' rows lie side by side, the range covers whole groups.
    pub(crate) fn part(&self, shape: Shape, rows: Range<usize>) -> Self {
        Self {
            targets: self.targets.part(shape, rows.clone()),
            partials: self.partials.map(|merged| &merged[rows.clone()]),
            rows: self.rows.part(rows),
            ..*self
        }
    }

    /// The inputs of a range of rows with [`sequences`](CrossEntropyOptions::sequences) and
    /// [`ignore_also`](Self::ignore_also) resolved: each target is in the row that it scores, its weight is there, too, and
    /// a mask marks the rows that are scored. The part no longer depends on its neighbours.
    pub(crate) fn resolved(
        &self,
        shape: Shape,
        options: &CrossEntropyOptions,
        rows: Range<usize>,
    ) -> Resolved<Self> {
        let mut resolved = self.resolved_rows(shape, options, rows.clone());
        let of_targets = target_rows(shape, options, &rows);
        resolved.inputs.targets = self.targets.part(shape, of_targets.clone());
        if of_targets.len() < rows.len() {
            let of = resolved.inputs.targets;
            resolved.targets = OwnedTargets::padded(of, rows.len(), options.ignore_index);
        }
        resolved.mask_ignored(self.ignore_also);
        resolved
    }

    /// Like `resolved`, without targets.
    pub(crate) fn resolved_rows(
        &self,
        shape: Shape,
        options: &CrossEntropyOptions,
        rows: Range<usize>,
    ) -> Resolved<Self> {
        let of_rows = self.rows.part(rows.clone());
        let partials = self.partials.map(|merged| &merged[rows.clone()]);
        let inputs =
            Self { targets: Targets::Soft(&[]), sequence_ends: None, partials, rows: of_rows, ..*self };
        let Some(sequences) = options.sequences else { return Resolved::of(inputs) };
        let shift = sequences.input_shift();
        let is_scored = |row: usize| {
            let is_masked =
                |mask: &[bool]| mask.get(row.saturating_add(shift)).is_none_or(|is_scored| !is_scored);
            self.target_row(shape, options, row).is_some() && !self.rows.row_mask.is_some_and(is_masked)
        };
        let moved = self.rows.row_weights.filter(|_| shift > 0);
        let row_weights = moved.map(|weights| {
            let weight = |row: usize| weights.get(row.saturating_add(shift)).copied().unwrap_or(0.0);
            rows.clone().map(weight).collect()
        });
        Resolved { row_mask: Some(rows.map(is_scored).collect()), row_weights, ..Resolved::of(inputs) }
    }
}

/// How many classes are not ignored, and how many of these are wrong.
fn count<T: Copy + PartialEq>(classes: &[T], ignored: T, is_wrong: impl Fn(T) -> bool) -> (usize, usize) {
    let (mut counted, mut wrong) = (0, 0);
    for &class in classes {
        let counts = class != ignored;
        counted += usize::from(counts);
        wrong += usize::from(counts && is_wrong(class));
    }
    (counted, wrong)
}

/// Refuses options that have no meaning for this kind of targets.
pub(crate) fn check_combination(kind: TargetKind, options: &CrossEntropyOptions) -> Result<()> {
    if options.focal_gamma > 0.0 && kind != TargetKind::Classes {
        return Err(Error::option("focal_gamma", options.focal_gamma, "0 unless targets are class indices"));
    }
    if kind != TargetKind::Classes {
        let needed = "without fields of a target's class, unless targets are class indices";
        options.row_fields.check_within(!RowFields::OF_CLASS_TARGETS, needed)?;
    }
    if let Some(shard) = options.shard.filter(|_| kind != TargetKind::Classes) {
        let needed = "unset unless targets are class indices";
        return Err(Error::option("shard: total_cols", shard.total_cols as f64, needed));
    }
    let shift = options.sequences.map_or(0, |sequences| sequences.shift);
    if shift > 0 && kind == TargetKind::Soft {
        return Err(Error::option("sequences: shift", shift as f64, "0 when targets are soft"));
    }
    // As in PyTorch, which takes its default of −100 there.
    if options.ignore_index >= 0 && kind == TargetKind::Soft {
        return Err(Error::option("ignore_index", options.ignore_index, "below 0 when targets are soft"));
    }
    Ok(())
}
