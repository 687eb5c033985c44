//! What the f64 reference and the contract say of a batch.

use xent::bounds::{class_gradient_bound, class_loss_bound, gradient_bound, loss_bound};
use xent::reference::{self, cross_entropy};
use xent::{
    BatchWeight, CrossEntropyOptions, Element, EmptyBatch, Flags, Input, MaskedRow, Reduction, SequenceUnit,
};

use crate::batch::{Batch, softmax_options};

/// Whether a row's logits are read for its loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Row {
    Counts,
    /// Ignored, masked, of weight 0, or without a target: all its outputs are zero.
    LeftOut,
    /// Its target or its weight is none, which these flags say: NaN loss, zero gradient.
    Bad(Flags),
}

/// What the reference says, values of padding left out.
pub struct Expected {
    pub probs: Vec<f64>,
    pub log_probs: Vec<f64>,
    pub dlogits: Vec<f64>,
    /// What each of these may be off, rounding to 16 bits not counted.
    pub dlogits_bounds: Vec<f64>,
    /// Times the rows' weights, z-loss included.
    pub losses: Vec<f64>,
    pub loss_bounds: Vec<f64>,
    /// What is z-loss in them.
    z_losses: Vec<f64>,
    /// Of the logits.
    pub lse: Vec<f64>,
    /// Of the logits as the loss takes them.
    row_lse: Vec<f64>,
    pub argmax: Vec<u32>,
    pub flags: Vec<Flags>,
    pub rows: Vec<Row>,
    pub weight: BatchWeight,
    pub options: CrossEntropyOptions,
    pub first_bad_row: Option<usize>,
}

impl Expected {
    pub fn of<E: Element>(batch: &Batch<E>, options: &CrossEntropyOptions) -> Self {
        let (shape, inputs) = (batch.shape, batch.inputs());
        let rows: Vec<Row> = (0..shape.rows).map(|row| row_of(batch, options, row)).collect();
        let softmax = softmax_options(options);
        let is_bad = |row: &Row| matches!(row, Row::Bad(flags) if flags.contains(Flags::TARGET_OUT_OF_RANGE));
        let mut expected = Self {
            probs: Vec::new(),
            log_probs: Vec::new(),
            dlogits: Vec::new(),
            dlogits_bounds: Vec::new(),
            losses: Vec::new(),
            loss_bounds: Vec::new(),
            z_losses: Vec::new(),
            lse: Vec::new(),
            row_lse: Vec::new(),
            argmax: Vec::new(),
            flags: Vec::new(),
            weight: weight_of(batch, options, &rows),
            first_bad_row: rows.iter().position(is_bad),
            rows,
            options: *options,
        };
        for row in 0..shape.rows {
            let logits = batch.row(row);
            let probs = reference::softmax_row(&logits, &softmax);
            let lse = reference::logsumexp_row(&logits);
            expected.log_probs.extend(reference::log_softmax_row(&logits, &softmax));
            expected.lse.push(lse);
            expected.argmax.push(reference::argmax_row(&logits));
            match expected.rows[row] {
                Row::LeftOut => expected.push_unread(shape.cols, 0.0, Flags::empty()),
                Row::Bad(flags) => expected.push_unread(shape.cols, f64::NAN, flags | Flags::NAN_LOSS),
                Row::Counts => {
                    let loss = cross_entropy::row_loss_at(&batch.logits, inputs, shape, options, row);
                    let weight = given_of(batch, options, row).map_or(0.0, |(weight, _)| f64::from(weight));
                    expected.losses.push(weight * loss.total());
                    expected.z_losses.push(weight * loss.z_loss);
                    expected.row_lse.push(loss.lse);
                    expected.push_gradient(batch, row, &probs, loss.lse);
                    let shares = shares_of(batch, options, row);
                    let mut of_target = target_error(&shares, &loss);
                    if let Some(share) = own_class(batch, options, row).map(|class| shares[class]) {
                        // Without its weight, if it has any.
                        let weight = if share > 0.0 { share } else { 1.0 };
                        let bound = class_loss_bound(options, shape.cols, loss.loss / weight);
                        of_target = of_target.min(weight * bound);
                    }
                    let of_z_loss = z_loss_error(options, &loss, shape.cols);
                    expected.loss_bounds.push(weight * (of_target + of_z_loss));
                    expected.flags.push(flags_of(
                        &logits,
                        expected.losses[row],
                        &shares,
                        batch,
                        row,
                        options,
                    ));
                }
            }
            expected.probs.extend(probs);
        }
        expected
    }

    /// A row whose logits are not read.
    fn push_unread(&mut self, cols: usize, value: f64, flags: Flags) {
        self.losses.push(value);
        self.z_losses.push(0.0);
        self.row_lse.push(value);
        self.loss_bounds.push(0.0);
        self.dlogits.extend(std::iter::repeat_n(0.0, cols));
        // Exactly zero, whatever the logits are.
        self.dlogits_bounds.extend(std::iter::repeat_n(0.0, cols));
        self.flags.push(flags);
    }

    fn push_gradient<E: Element>(&mut self, batch: &Batch<E>, row: usize, probs: &[f64], lse: f64) {
        let (options, shape) = (&self.options, batch.shape);
        if self.is_empty_mean() {
            self.dlogits.extend(vec![0.0; shape.cols]);
            self.dlogits_bounds.extend(vec![0.0; shape.cols]);
            return;
        }
        let (inputs, weight) = (batch.inputs(), &self.weight);
        let scale = cross_entropy::row_scale(inputs, shape, options, weight, row);
        let dlogits = cross_entropy::row_dlogits_at(&batch.logits, inputs, shape, options, weight, row);
        let shares = shares_of(batch, options, row);
        let bound = gradient_bound(options, scale, &shares, lse);
        // Exactly zero where the reference is so throughout, but for an underflow.
        let is_zero = dlogits.iter().all(|&value| value == 0.0) && shares.iter().any(|share| share.is_nan());
        let own = own_class(batch, options, row);
        self.dlogits_bounds.extend((0..shape.cols).map(|class| {
            let prob = if options.input == Input::LogProbs { 0.0 } else { probs[class] };
            let bound = if is_zero { 0.0 } else { bound(prob, shares[class]) };
            if own != Some(class) {
                return bound;
            }
            let others: f64 = (0..shape.cols).filter(|&other| other != class).map(|other| probs[other]).sum();
            bound.min(class_gradient_bound(options, shape.cols, scale, shares[class], lse)(prob, others))
        }));
        // What f32 cannot hold makes NaN throughout, where the row is not zero anyway.
        let is_number = |value: f64| (value as f32).is_finite();
        let is_masked = lse == f64::NEG_INFINITY && options.masked_row == MaskedRow::Zero;
        if is_zero || is_masked || (is_number(scale.loss) && is_number(scale.z_loss)) {
            self.dlogits.extend(dlogits);
        } else {
            self.dlogits.extend(vec![f64::NAN; shape.cols]);
        }
    }

    /// Whether a mean is asked for, of nothing.
    pub fn is_empty_mean(&self) -> bool {
        self.options.reduction == Reduction::Mean && (self.weight.counted == 0 || self.weight.weight == 0.0)
    }

    fn denominator(&self, mean: f64) -> f64 {
        match self.options.reduction {
            Reduction::Mean => mean,
            Reduction::Sum => 1.0,
            Reduction::MeanOver(denominator) => f64::from(denominator),
        }
    }

    /// Σ of the rows' losses.
    pub fn sum(&self) -> f64 {
        self.losses.iter().fold(0.0, |sum, loss| sum + loss)
    }

    /// The mean of nothing, by choice. A NaN row of class weight 0 stays NaN.
    fn empty(&self) -> f64 {
        let is_zero = self.options.empty_batch == EmptyBatch::Zero && !self.sum().is_nan();
        if is_zero { 0.0 } else { f64::NAN }
    }

    /// The reduced loss.
    pub fn value(&self) -> f64 {
        if self.is_empty_mean() {
            return self.empty();
        }
        let z_loss: f64 = self.z_losses.iter().sum();
        if !self.sum().is_finite() {
            return self.sum();
        }
        (self.sum() - z_loss) / self.denominator(self.weight.weight) + self.z_loss()
    }

    /// The z-loss in it.
    pub fn z_loss(&self) -> f64 {
        if self.is_empty_mean() {
            return self.empty();
        }
        self.z_losses.iter().sum::<f64>() / self.denominator(self.weight.row_weight)
    }

    /// What the reduced loss may be off.
    pub fn value_bound(&self) -> f64 {
        let least = self.denominator(self.weight.weight).min(self.denominator(self.weight.row_weight));
        if least > 0.0 { self.sum_bound() / least } else { 0.0 }
    }

    /// What Σ loss may be off: the rows' own bounds, and f32 sums of them.
    pub fn sum_bound(&self) -> f64 {
        let of_row = |(loss, bound): (&f64, &f64)| bound + 1e-6 * loss.abs();
        self.losses.iter().zip(&self.loss_bounds).map(of_row).sum()
    }

    pub fn flags(&self) -> Flags {
        let mut of_rows = self.flags.iter().fold(Flags::empty(), |all, &flags| all | flags);
        // Of rows of +∞ and of −∞ the sum is NaN.
        of_rows.set(Flags::NAN_LOSS, self.sum().is_nan());
        if self.weight.counted == 0 || self.is_empty_mean() {
            of_rows | Flags::NO_ROW_COUNTS
        } else {
            of_rows
        }
    }

    /// What the loss says of a row's lse.
    pub fn lse_of_loss(&self, row: usize) -> f64 {
        self.row_lse[row]
    }
}

/// The row whose target this row has.
fn target_row<E: Element>(batch: &Batch<E>, options: &CrossEntropyOptions, row: usize) -> Option<usize> {
    match options.sequences {
        Some(sequences) => sequences.target_row(row).filter(|&target| target < batch.shape.rows),
        None => Some(row),
    }
}

/// A row's weight and whether its mask has it, by its token where the sequences are of tokens; `None` if it has no target.
fn given_of<E: Element>(batch: &Batch<E>, options: &CrossEntropyOptions, row: usize) -> Option<(f32, bool)> {
    let target = target_row(batch, options, row)?;
    let is_of_tokens = options.sequences.is_some_and(|sequences| sequences.unit == SequenceUnit::Tokens);
    let at = if is_of_tokens { target } else { row };
    let weight = batch.given.row_weights.as_ref().map_or(1.0, |weights| weights[at]);
    Some((weight, batch.given.row_mask.as_ref().is_none_or(|mask| mask[at])))
}

fn is_weight(weight: f32) -> bool {
    weight >= 0.0 && weight.is_finite()
}

fn row_of<E: Element>(batch: &Batch<E>, options: &CrossEntropyOptions, row: usize) -> Row {
    let (given, cols) = (&batch.given, batch.shape.cols);
    let Some(target_row) = target_row(batch, options, row) else { return Row::LeftOut };
    let Some((weight, true)) = given_of(batch, options, row) else { return Row::LeftOut };
    if weight == 0.0 {
        return Row::LeftOut;
    }
    let named: &[i32] = match (&given.soft, &given.sparse) {
        (Some(_), _) => &[],
        (_, Some(sparse)) => &sparse.indices[target_row * sparse.entries..][..sparse.entries],
        _ => &batch.targets[target_row..][..1],
    };
    let is_ignored = |index: i32| index == options.ignore_index;
    if !named.is_empty() && named.iter().all(|&index| is_ignored(index)) {
        return Row::LeftOut;
    }
    let mut flags = Flags::empty();
    let in_range = |index: i32| usize::try_from(index).is_ok_and(|class| class < cols);
    if named.iter().any(|&index| !is_ignored(index) && !in_range(index)) {
        flags |= Flags::TARGET_OUT_OF_RANGE;
    }
    let class_weight = |index: i32| match &given.class_weights {
        Some(weights) if in_range(index) => weights[index as usize],
        _ => 1.0,
    };
    let is_class = given.soft.is_none() && given.sparse.is_none();
    if !is_weight(weight) || (is_class && named.iter().any(|&index| !is_weight(class_weight(index)))) {
        flags |= Flags::INVALID_WEIGHT;
    }
    if flags.is_empty() { Row::Counts } else { Row::Bad(flags) }
}

/// What the rows that count weigh together, whatever the others hold.
fn weight_of<E: Element>(batch: &Batch<E>, options: &CrossEntropyOptions, rows: &[Row]) -> BatchWeight {
    let (given, mut all) = (&batch.given, BatchWeight::default());
    for (row, _) in rows.iter().enumerate().filter(|(_, kind)| **kind == Row::Counts) {
        let row_weight = given_of(batch, options, row).map_or(0.0, |(weight, _)| f64::from(weight));
        let class_weight = match &given.class_weights {
            Some(weights) if given.soft.is_none() && given.sparse.is_none() => {
                let target_row = target_row(batch, options, row).expect("a row that counts");
                f64::from(weights[batch.targets[target_row] as usize])
            }
            _ => 1.0,
        };
        all.weight += row_weight * class_weight;
        all.row_weight += row_weight;
        all.counted += 1;
    }
    all
}

/// What each class's −ln p is multiplied by: zeros where that cannot be said.
fn shares_of<E: Element>(batch: &Batch<E>, options: &CrossEntropyOptions, row: usize) -> Vec<f64> {
    let target = target_row(batch, options, row).map(|row| batch.inputs().targets.row(batch.shape, row));
    let cols = batch.shape.cols;
    target
        .and_then(|target| {
            cross_entropy::row_shares(&target, batch.given.class_weights.as_deref(), cols, options)
        })
        .unwrap_or_else(|| vec![f64::NAN; cols])
}

/// The row's target, if that is a class.
fn own_class<E: Element>(batch: &Batch<E>, options: &CrossEntropyOptions, row: usize) -> Option<usize> {
    let is_class = batch.given.soft.is_none() && batch.given.sparse.is_none();
    let target = target_row(batch, options, row).filter(|_| is_class)?;
    usize::try_from(batch.targets[target]).ok().filter(|&class| class < batch.shape.cols)
}

/// What the target's part of a row's loss may be off, before its weight: the contract's bound, each unit of target mass
/// having its own.
fn target_error(shares: &[f64], loss: &cross_entropy::RowLoss) -> f64 {
    let mass: f64 = shares.iter().map(|share| share.abs()).filter(|share| share.is_finite()).sum();
    5e-6 * mass.max(1.0) + 1e-6 * loss.loss.abs()
}

/// What its z-loss may be off: as much as its lse.
fn z_loss_error(options: &CrossEntropyOptions, loss: &cross_entropy::RowLoss, cols: usize) -> f64 {
    // A sum of both signs is no larger than its parts, its error is.
    let of_lse = loss_bound(loss.lse.abs() + (cols as f64).ln());
    let of_z_loss = 2.0 * f64::from(options.z_loss) * loss.lse.abs() * of_lse + 1e-6 * loss.z_loss.abs();
    if of_z_loss.is_finite() { of_z_loss } else { 0.0 }
}

/// The contract's flags of a row that is read.
fn flags_of<E: Element>(
    logits: &[E],
    loss: f64,
    shares: &[f64],
    batch: &Batch<E>,
    row: usize,
    options: &CrossEntropyOptions,
) -> Flags {
    let is = |x: &E, value: f64| x.to_f64() == value;
    let mut flags = if logits.iter().any(|x| x.to_f64().is_nan()) {
        Flags::NAN_LOGIT
    } else if logits.iter().any(|x| is(x, f64::INFINITY)) {
        Flags::INFINITE_LOGIT
    } else if logits.iter().all(|x| is(x, f64::NEG_INFINITY)) {
        Flags::MASKED_ROW
    } else {
        Flags::empty()
    };
    if shares.iter().any(|share| share.is_nan()) {
        let target = target_row(batch, options, row).map(|row| batch.inputs().targets.row(batch.shape, row));
        let without_weights =
            target.and_then(|target| cross_entropy::row_shares(&target, None, shares.len(), options));
        let is_target = without_weights.is_none_or(|shares| shares.iter().any(|share| share.is_nan()));
        flags |= if is_target { Flags::INVALID_TARGET } else { Flags::INVALID_WEIGHT };
    }
    flags.set(Flags::NAN_LOSS, loss.is_nan());
    flags.set(Flags::INFINITE_LOSS, (loss as f32).is_infinite());
    flags
}
