//! What the f64 reference and the contract say of a batch.

use xent::reference::{self, cross_entropy};
use xent::{CrossEntropyOptions, Flags, Reduction, SoftmaxOptions, loss_bound};

use crate::batch::Batch;

/// What the reference says, values of padding left out.
pub struct Expected {
    pub probs: Vec<f64>,
    pub log_probs: Vec<f64>,
    pub dlogits: Vec<f64>,
    pub losses: Vec<f64>,
    pub lse: Vec<f64>,
    pub argmax: Vec<u32>,
    pub flags: Vec<Flags>,
    /// Whether the row's logits are read for its loss.
    pub counts: Vec<bool>,
    pub counted: usize,
    pub scale: f64,
    pub options: CrossEntropyOptions,
    pub first_bad_row: Option<usize>,
}

impl Expected {
    pub fn of(batch: &Batch, options: &CrossEntropyOptions) -> Self {
        let (shape, targets) = (batch.shape, &batch.targets);
        let in_range = |target: i32| (0..shape.cols as i64).contains(&i64::from(target));
        let is_ignored = |target: i32| target == options.ignore_index;
        let counts: Vec<bool> = targets.iter().map(|&t| !is_ignored(t) && in_range(t)).collect();
        let counted = counts.iter().filter(|&&counts| counts).count();
        let scale = 1.0
            / match options.reduction {
                Reduction::Mean => counted as f64,
                Reduction::Sum => 1.0,
                Reduction::MeanOver(denominator) => f64::from(denominator),
            };
        let softmax_options = SoftmaxOptions { masked_row: options.masked_row };
        let mut expected = Self {
            probs: Vec::new(),
            log_probs: Vec::new(),
            dlogits: Vec::new(),
            losses: Vec::new(),
            lse: Vec::new(),
            argmax: Vec::new(),
            flags: Vec::new(),
            first_bad_row: targets.iter().position(|&t| !is_ignored(t) && !in_range(t)),
            counts,
            counted,
            scale,
            options: *options,
        };
        for row in 0..shape.rows {
            let (logits, target) = (batch.row(row), targets[row]);
            expected.probs.extend(reference::softmax_row(logits, &softmax_options));
            expected.log_probs.extend(reference::log_softmax_row(logits, &softmax_options));
            expected.dlogits.extend(cross_entropy::row_dlogits(logits, target, scale, options));
            expected.losses.push(cross_entropy::row_loss(logits, target, options));
            expected.lse.push(reference::logsumexp_row(logits));
            expected.argmax.push(reference::argmax_row(logits));
            expected.flags.push(flags_of(logits, expected.losses[row], target, options, shape.cols));
        }
        expected
    }

    /// Σ of the rows' losses.
    pub fn sum(&self) -> f64 {
        self.losses.iter().fold(0.0, |sum, loss| sum + loss)
    }

    /// The reduced loss.
    pub fn value(&self) -> f64 {
        self.sum() * self.scale
    }

    pub fn flags(&self) -> Flags {
        let of_rows = self.flags.iter().fold(Flags::empty(), |all, &flags| all | flags);
        if self.counted == 0 { of_rows | Flags::NO_ROW_COUNTS } else { of_rows }
    }

    /// What Σ loss may be off: the rows' own bounds, and f32 sums of them.
    pub fn sum_bound(&self) -> f64 {
        self.losses.iter().map(|&loss| loss_bound(loss) + 1e-6 * loss.abs()).sum()
    }
}

/// The contract's flags of a row.
fn flags_of(logits: &[f32], loss: f64, target: i32, options: &CrossEntropyOptions, cols: usize) -> Flags {
    if target == options.ignore_index {
        return Flags::empty();
    }
    if !(0..cols as i64).contains(&i64::from(target)) {
        return Flags::TARGET_OUT_OF_RANGE | Flags::NAN_LOSS;
    }
    let mut flags = if logits.iter().any(|x| x.is_nan()) {
        Flags::NAN_LOGIT
    } else if logits.contains(&f32::INFINITY) {
        Flags::INFINITE_LOGIT
    } else if logits.iter().all(|&x| x == f32::NEG_INFINITY) {
        Flags::MASKED_ROW
    } else {
        Flags::empty()
    };
    flags.set(Flags::NAN_LOSS, loss.is_nan());
    flags.set(Flags::INFINITE_LOSS, (loss as f32).is_infinite());
    flags
}
