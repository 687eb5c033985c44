//! The options of the operations: plain structs with defaults, shared by the kernels and the reference.

use crate::error::{Error, Result};
use crate::masks::MaskRows;
use crate::shape::Shape;

/// How row losses become one loss.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Reduction {
    /// Σ loss / Σ weight over the rows that count. NaN where no row counts, as in PyTorch: see [`EmptyBatch`].
    #[default]
    Mean,
    /// Σ loss. With an upstream gradient for each row, the way to differentiate row losses.
    Sum,
    /// Σ loss / the given denominator: for gradient accumulation and data parallel training, where the rows of
    /// one call are a part of the batch. A normal number above zero.
    MeanOver(f32),
}

impl Reduction {
    /// What the sum of row losses, and with it every gradient, is divided by, for rows of this weight in all.
    pub(crate) fn denominator(self, weight: f64) -> f64 {
        match self {
            Self::Mean => weight,
            Self::Sum => 1.0,
            Self::MeanOver(denominator) => f64::from(denominator),
        }
    }

    pub(crate) fn check(self) -> Result<()> {
        match self {
            // A denormal one may be zero on the device, where zero stands for the batch's own weight.
            Self::MeanOver(value) if !(value.is_normal() && value > 0.0) => {
                Err(Error::option("reduction: MeanOver", value, "a normal number above zero"))
            }
            _ => Ok(()),
        }
    }
}

/// What a row gives in which every logit is −∞, so that no class is possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MaskedRow {
    /// NaN throughout, as PyTorch gives.
    #[default]
    Nan,
    /// Probabilities, loss and gradient are zero (log-probabilities stay −∞: their exponential is zero). The row
    /// still counts in a mean.
    Zero,
}

/// What the mean is of a batch in which no row counts: all are ignored or masked, their weights sum to 0, or there is
/// none. Its sum is 0 and its gradient zero throughout, whatever the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EmptyBatch {
    /// NaN, as PyTorch gives.
    #[default]
    Nan,
    /// 0.
    Zero,
    /// Host methods give [`Error::NoRowCounts`]; in buffers NaN and
    /// [`Flags::NO_ROW_COUNTS`](crate::Flags::NO_ROW_COUNTS), which are there anyway.
    Error,
}

/// What the values are whose loss is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Input {
    /// Logits: any numbers, of which softmax makes probabilities.
    #[default]
    Logits,
    /// Log-probabilities, as log-softmax gives them: the loss is the negative log-likelihood, as PyTorch's `nll_loss`.
    /// They are taken as given, and not normalised. Temperature, softcap, z-loss and focal loss are for logits.
    LogProbs,
}

/// Options of [`Softmax`](crate::Softmax).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxOptions {
    /// Rows in which every logit is −∞. Default: [`MaskedRow::Nan`].
    pub masked_row: MaskedRow,
    /// T: the softmax is of logits / T; above 1 flatter, below 1 sharper. A normal number above zero. Default: 1.
    pub temperature: f32,
    /// κ: logits are capped to κ·tanh(x / κ) first, before the temperature, as Gemma 2 does. A normal number above
    /// zero. Default: none.
    pub softcap: Option<f32>,
}

impl Default for SoftmaxOptions {
    fn default() -> Self {
        Self { masked_row: MaskedRow::Nan, temperature: 1.0, softcap: None }
    }
}

impl SoftmaxOptions {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        check_temperature(self.temperature)?;
        check_softcap(self.softcap)
    }
}

/// Options of [`CrossEntropy`](crate::CrossEntropy). Weights and targets are data: see
/// [`CrossEntropyInputs`](crate::CrossEntropyInputs).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropyOptions {
    /// A row with this target is left out: loss and gradient exactly zero, not counted in the mean, its logits not
    /// read. Compared as i32, bit for bit. Of sparse targets, entries with this index are left out, and with them rows
    /// that have no other. Default: −100, as in PyTorch.
    pub ignore_index: i32,
    /// How row losses become one loss, of which `dlogits` is the gradient. Default: [`Reduction::Mean`].
    pub reduction: Reduction,
    /// Rows in which every logit is −∞. Default: [`MaskedRow::Nan`].
    pub masked_row: MaskedRow,
    /// The mean of a batch in which no row counts. Default: [`EmptyBatch::Nan`].
    pub empty_batch: EmptyBatch,
    /// Logits, or log-probabilities. Default: [`Input::Logits`].
    pub input: Input,
    /// ε in 0..=1: the target is 1 − ε of what it was, and ε spread evenly over all classes, as in PyTorch (with class
    /// weights: ε/C · Σ w_j ℓ_j). Default: 0.
    pub label_smoothing: f32,
    /// T: the loss is of logits / T. A normal number above zero. Default: 1.
    pub temperature: f32,
    /// κ: logits are capped to κ·tanh(x / κ) first, before the temperature, as Gemma 2 does. A normal number above
    /// zero. Default: none.
    pub softcap: Option<f32>,
    /// λ: adds λ·lse² to each row's loss (times the row's weight, not the class's), lse being ln Σ exp of the capped
    /// logits / T, which keeps it near 0 (PaLM, Liger-Kernel). At least 0. Default: 0.
    pub z_loss: f32,
    /// γ of the focal loss (Lin et al. 2017): the target's own term is multiplied by (1 − p_y)^γ, which fades rows that
    /// are easy already. At least 0; for class targets. Default: 0.
    pub focal_gamma: f32,
    /// Rows as positions of sequences, with targets ahead of their logits. Default: none.
    pub sequences: Option<Sequences>,
}

/// Rows as positions of sequences: row t is position t mod `length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequences {
    /// Rows of a sequence, at least 1.
    pub length: usize,
    /// Row t is scored against the target of row t + shift of the same sequence: 1 for next-token targets. The last
    /// `shift` rows of each sequence have none and are left out. For class and sparse targets. Default: 0.
    pub shift: usize,
    /// Positions before this one are left out: a prompt. Default: 0.
    pub from: usize,
    /// Positions from this one on are left out. Default: all are scored.
    pub to: usize,
}

impl Sequences {
    /// Sequences of so many rows, scored throughout against the targets in their own place.
    pub const fn new(length: usize) -> Self {
        Self { length, shift: 0, from: 0, to: usize::MAX }
    }

    /// Next-token targets: `logits[t]` against `targets[t + shift]`.
    pub const fn shifted(length: usize, shift: usize) -> Self {
        Self { shift, ..Self::new(length) }
    }

    /// The row whose target this row has, or none if it is left out.
    pub fn target_row(&self, row: usize) -> Option<usize> {
        let position = row % self.length.max(1);
        let is_scored = (self.from..self.to).contains(&position)
            && position.checked_add(self.shift).is_some_and(|target| target < self.length);
        is_scored.then(|| row + self.shift)
    }
}

impl Default for CrossEntropyOptions {
    fn default() -> Self {
        Self {
            ignore_index: -100,
            reduction: Reduction::Mean,
            masked_row: MaskedRow::Nan,
            empty_batch: EmptyBatch::Nan,
            input: Input::Logits,
            label_smoothing: 0.0,
            temperature: 1.0,
            softcap: None,
            z_loss: 0.0,
            focal_gamma: 0.0,
            sequences: None,
        }
    }
}

impl CrossEntropyOptions {
    /// Refuses values outside their range, and log-probabilities with what is for logits.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        self.reduction.check()?;
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            return Err(Error::option("label_smoothing", self.label_smoothing, "in 0..=1"));
        }
        check_temperature(self.temperature)?;
        check_softcap(self.softcap)?;
        let not_negative = [("z_loss", self.z_loss), ("focal_gamma", self.focal_gamma)];
        for (option, value) in not_negative {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::option(option, value, "finite and at least 0"));
            }
        }
        if self.sequences.is_some_and(|sequences| sequences.length == 0) {
            return Err(Error::option("sequences: length", 0, "at least 1"));
        }
        if self.input == Input::LogProbs {
            for (option, value, neutral) in [
                ("temperature", self.temperature, 1.0),
                ("softcap", self.softcap.unwrap_or(0.0), 0.0),
                ("z_loss", self.z_loss, 0.0),
                ("focal_gamma", self.focal_gamma, 0.0),
            ] {
                if value != neutral {
                    return Err(Error::option(
                        option,
                        value,
                        "left alone where the input is log-probabilities",
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Options of [`SigmoidBce`](crate::SigmoidBce). Weights and targets are data: see
/// [`SigmoidBceInputs`](crate::SigmoidBceInputs).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SigmoidBceOptions {
    /// How row losses, each the sum over its classes, become one loss, of which `dlogits` is the gradient. A mean is over
    /// all classes of the rows that count, as in PyTorch: it divides by Σ row weight · cols, whatever class weights and
    /// `pos_weight` are. Default: [`Reduction::Mean`].
    pub reduction: Reduction,
    /// The mean of a batch in which no row counts. Default: [`EmptyBatch::Nan`].
    pub empty_batch: EmptyBatch,
}

impl SigmoidBceOptions {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        self.reduction.check()
    }

    /// The same of a [`CrossEntropy`](crate::CrossEntropy), for what reduces both alike.
    pub(crate) fn of_cross_entropy(&self) -> CrossEntropyOptions {
        let Self { reduction, empty_batch } = *self;
        CrossEntropyOptions { reduction, empty_batch, ..Default::default() }
    }
}

/// Options of [`MaskedSoftmax`](crate::MaskedSoftmax). Masks are data: see [`Masks`](crate::Masks).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskedSoftmaxOptions {
    /// What the logits are multiplied by before the masks come in: attention's 1/√d, d being the values of a query
    /// (Vaswani et al. 2017). A normal number; a negative one is allowed, and turns the order of the classes around (and
    /// the sign of infinite logits). Default: 1.
    pub scale: f32,
    /// Whether a query attends only to keys before its own place. Default: no.
    pub causal: Option<Causal>,
    /// Rows that may attend to nothing. Default: [`MaskedRow::Nan`], as in PyTorch's softmax; some attention libraries
    /// give zeros.
    pub masked_row: MaskedRow,
}

impl Default for MaskedSoftmaxOptions {
    fn default() -> Self {
        Self { scale: 1.0, causal: None, masked_row: MaskedRow::Nan }
    }
}

impl MaskedSoftmaxOptions {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        check_scale(self.scale)?;
        match self.causal {
            Some(Causal { q_len: 0, .. }) => Err(Error::option("causal: q_len", 0, "at least 1")),
            _ => Ok(()),
        }
    }

    /// [`check`](Self::check), and that the queries go into a shape's rows.
    pub(crate) fn check_shape(&self, shape: Shape) -> Result<()> {
        self.check()?;
        if shape.inner != 1 {
            return Err(Error::ClassAxisNotLast { inner: shape.inner });
        }
        self.causal
            .map_or(Ok(()), |Causal { q_len, .. }| MaskRows::each(q_len).check("causal: q_len", shape.rows))
    }
}

/// Causal attention: row r is the query at position t = r mod `q_len` of its sequence, and attends to key j where
/// `j ≤ t + offset`. A row that this leaves no key is masked throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Causal {
    /// Queries of a sequence, at least 1; a divisor of the rows.
    pub q_len: usize,
    /// The last key that the first query attends to. Default: keys − `q_len`, so that the last query attends to all keys
    /// (see [`lower_right`](Self::lower_right)).
    pub offset: Option<i64>,
}

impl Causal {
    /// The last query attends to all keys: the triangle ends in the lower right corner, as with a cache of earlier keys.
    /// PyTorch's `causal_lower_right`, FlashAttention's `causal` since 2.1.
    pub const fn lower_right(q_len: usize) -> Self {
        Self { q_len, offset: None }
    }

    /// The first query attends to the first key only: the triangle begins in the upper left corner. PyTorch's
    /// `causal_upper_left`, and its `is_causal`.
    pub const fn upper_left(q_len: usize) -> Self {
        Self::at(q_len, 0)
    }

    /// The first query attends to the keys up to and with this one; below 0, it and those behind it attend to none.
    pub const fn at(q_len: usize, offset: i64) -> Self {
        Self { q_len, offset: Some(offset) }
    }

    /// The offset, among so many keys.
    pub(crate) fn offset_of(&self, cols: usize) -> i64 {
        self.offset.unwrap_or(cols as i64 - self.q_len as i64)
    }

    /// Whether a row attends to a class, of so many.
    pub fn attends(&self, row: usize, col: usize, cols: usize) -> bool {
        let position = (row % self.q_len.max(1)) as i128;
        col as i128 <= position + i128::from(self.offset_of(cols))
    }
}

/// Options of [`SoftmaxBackward`](crate::SoftmaxBackward).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxBackwardOptions {
    /// Whether it is a log-softmax, given by its log-probabilities, that is differentiated. Default: a softmax, given by
    /// its probabilities.
    pub log: bool,
    /// What the logits were multiplied by: 1/temperature, or the scale of a
    /// [`MaskedSoftmax`](crate::MaskedSoftmax). A normal number. Default: 1.
    pub scale: f32,
}

impl Default for SoftmaxBackwardOptions {
    fn default() -> Self {
        Self { log: false, scale: 1.0 }
    }
}

impl SoftmaxBackwardOptions {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        check_scale(self.scale)
    }
}

pub(crate) fn check_scale(value: f32) -> Result<()> {
    // A device may take a denormal one for zero; the kernels use its double too.
    if value.is_normal() && (2.0 * value).is_finite() {
        Ok(())
    } else {
        Err(Error::option("scale", value, "a normal number, as its double"))
    }
}

/// T and 1/T are both of use to the kernels.
pub(crate) fn check_temperature(value: f32) -> Result<()> {
    if value > 0.0 && value.is_normal() && (1.0 / value).is_normal() {
        Ok(())
    } else {
        Err(Error::option("temperature", value, "a normal number above zero, as its reciprocal"))
    }
}

pub(crate) fn check_softcap(value: Option<f32>) -> Result<()> {
    match value {
        Some(value) if !(value > 0.0 && value.is_normal() && (1.0 / value).is_normal()) => {
            Err(Error::option("softcap", value, "a normal number above zero, as its reciprocal"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Options = CrossEntropyOptions;
    const PLAIN: Options = Options {
        ignore_index: -100,
        reduction: Reduction::Mean,
        masked_row: MaskedRow::Nan,
        empty_batch: EmptyBatch::Nan,
        input: Input::Logits,
        label_smoothing: 0.0,
        temperature: 1.0,
        softcap: None,
        z_loss: 0.0,
        focal_gamma: 0.0,
        sequences: None,
    };
    const INF: f32 = f32::INFINITY;
    const DENORMAL: f32 = f32::MIN_POSITIVE / 2.0;

    #[test]
    fn the_default_is_plain() {
        assert_eq!(Options::default(), PLAIN);
        assert_eq!(PLAIN.check(), Ok(()));
    }

    #[test]
    fn values_outside_their_range_are_named() {
        type Set = fn(f32) -> Options;
        let cases: [(&str, Set, &[f32], &[f32]); 6] = [
            (
                "reduction: MeanOver",
                |value| Options { reduction: Reduction::MeanOver(value), ..PLAIN },
                &[0.0, -1.0, INF, f32::NAN, DENORMAL],
                &[3.5, f32::MIN_POSITIVE],
            ),
            (
                "label_smoothing",
                |label_smoothing| Options { label_smoothing, ..PLAIN },
                &[-0.1, 1.1, f32::NAN, INF],
                &[0.0, -0.0, 0.5, 1.0],
            ),
            (
                "temperature",
                |temperature| Options { temperature, ..PLAIN },
                &[0.0, -1.0, f32::NAN, INF, DENORMAL, 3e38],
                &[0.01, 1.0, 1e6],
            ),
            (
                "softcap",
                |softcap| Options { softcap: Some(softcap), ..PLAIN },
                &[0.0, -30.0, f32::NAN, INF, DENORMAL],
                &[30.0],
            ),
            ("z_loss", |z_loss| Options { z_loss, ..PLAIN }, &[-1e-4, f32::NAN, INF], &[0.0, 1e-4]),
            (
                "focal_gamma",
                |focal_gamma| Options { focal_gamma, ..PLAIN },
                &[-1.0, f32::NAN, INF],
                &[0.0, 0.5, 2.0],
            ),
        ];
        for (name, set, bad, good) in cases {
            for &value in bad {
                match set(value).check() {
                    Err(Error::InvalidOption { option, value: found, .. }) => {
                        assert_eq!(option, name);
                        assert!(found == f64::from(value) || value.is_nan(), "{name}: {found}");
                    }
                    other => panic!("{name} = {value}: {other:?}"),
                }
            }
            for &value in good {
                assert_eq!(set(value).check(), Ok(()), "{name} = {value}");
            }
        }
    }

    #[test]
    fn log_probabilities_take_no_option_of_logits() {
        let nll = Options { input: Input::LogProbs, ..PLAIN };
        assert_eq!(Options { label_smoothing: 0.1, ..nll }.check(), Ok(()));
        for options in [
            Options { temperature: 2.0, ..nll },
            Options { softcap: Some(30.0), ..nll },
            Options { z_loss: 1e-4, ..nll },
            Options { focal_gamma: 2.0, ..nll },
        ] {
            assert!(matches!(options.check(), Err(Error::InvalidOption { .. })), "{options:?}");
        }
    }

    #[test]
    fn sequences_say_whose_target_a_row_has() {
        let of = |sequences: Sequences| (0..8).map(|row| sequences.target_row(row)).collect::<Vec<_>>();
        let plain: Vec<_> = (0..8).map(Some).collect();
        assert_eq!(of(Sequences::new(4)), plain);
        let next = [Some(1), Some(2), Some(3), None, Some(5), Some(6), Some(7), None];
        assert_eq!(of(Sequences::shifted(4, 1)), next);
        assert_eq!(of(Sequences::shifted(4, 4)), [None; 8]);
        assert_eq!(of(Sequences::shifted(4, usize::MAX)), [None; 8]);
        let response = Sequences { from: 1, to: 3, ..Sequences::new(4) };
        assert_eq!(of(response), [None, Some(1), Some(2), None, None, Some(5), Some(6), None]);
    }
}
