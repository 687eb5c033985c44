//! The options of cross-entropy.

use crate::error::{Error, Result};
use crate::options::{
    EmptyBatch, MaskedRow, Reducing, Reduction, VocabularyShard, check_softcap, check_temperature,
};
use crate::row_fields::RowFields;

/// Whether the input of a loss is logits or log-probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Input {
    /// Logits: any numbers. Softmax turns them into probabilities.
    #[default]
    Logits,
    /// Log-probabilities, as log-softmax gives them: the loss is the negative log-likelihood, as in PyTorch's
    /// `nll_loss`. They are used as given and not normalised. Temperature, softcap, z-loss and focal loss are for
    /// logits only.
    LogProbs,
}

/// Options of [`CrossEntropy`](crate::CrossEntropy). Weights and targets are data: see
/// [`CrossEntropyInputs`](crate::CrossEntropyInputs).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropyOptions {
    /// A row with this target is left out: its loss and gradient are exactly zero, a mean does not count it, and its
    /// logits are not read. Compared as i32, bit for bit. For sparse targets, entries with this index are left out, and
    /// so are rows that have no other entries. Default: −100, as in PyTorch.
    pub ignore_index: i32,
    /// How row losses become one loss. `dlogits` is the gradient of that loss. Default: [`Reduction::Mean`].
    pub reduction: Reduction,
    /// The result of rows in which every logit is −∞. Default: [`MaskedRow::Nan`].
    pub masked_row: MaskedRow,
    /// The mean when no row counts. Default: [`EmptyBatch::Nan`].
    pub empty_batch: EmptyBatch,
    /// Whether the input is logits or log-probabilities. Default: [`Input::Logits`].
    pub input: Input,
    /// ε in 0..=1: scales the target by 1 − ε and spreads ε evenly over all classes, as in PyTorch (with class weights:
    /// ε/C · Σ w_j ℓ_j). Default: 0.
    pub label_smoothing: f32,
    /// T: the loss is that of logits / T. From 2^-100 (7.9e-31) to 2^126 (8.5e37). Default: 1.
    pub temperature: f32,
    /// κ: logits are first capped to κ·tanh(x / κ), before the temperature, as in Gemma 2. From 2^-126 (1.2e-38) to
    /// 2^126 (8.5e37), and at most 2^100 times the temperature. Default: no cap.
    pub softcap: Option<f32>,
    /// λ: adds λ·lse² to each row's loss, times the row's weight but not the class weight. lse is ln Σ exp of the
    /// capped logits / T; the term keeps it near 0 (PaLM, Liger-Kernel). At least 0. Default: 0.
    pub z_loss: f32,
    /// γ of the focal loss (Lin et al. 2017): multiplies the target's own term by (1 − p_y)^γ, which reduces the weight
    /// of rows that are already easy. At least 0; for class targets only. Default: 0.
    pub focal_gamma: f32,
    /// Treats rows as positions of sequences, with targets shifted ahead of their logits. Default: none.
    pub sequences: Option<Sequences>,
    /// The columns that the logits are, where the classes of a row are spread over devices. For class targets and logits;
    /// without the row fields that other devices' logits decide (rank, mass ahead, entropy, Brier score, margin, smallest and mean
    /// logit). Default: all columns.
    pub shard: Option<VocabularyShard>,
    /// The results of each row that `row_results`, streams and the buffer of that name give. Default: loss, flags, lse
    /// and argmax.
    pub row_fields: RowFields,
}

/// What the places of [`Sequences`] are places of, where targets are shifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SequenceUnit {
    /// Tokens of the input. The row that predicts a token is `shift` rows before it. A prompt of P tokens, a mask over
    /// tokens (such as an attention mask) and weights of tokens are given as they are, and move with the targets. This is
    /// Hugging Face's convention: labels of −100 at the tokens that are not scored, then `logits[:, :-1]` against
    /// `labels[:, 1:]`.
    #[default]
    Tokens,
    /// Positions of the logits: the row at each position has this mask and this weight, whatever its target is.
    Positions,
}

/// Rows as positions of sequences: row t is position t mod `length`, unless
/// [`sequence_ends`](crate::CrossEntropyInputs::sequence_ends) say where each sequence ends.
///
/// Row weights and a row mask are those of tokens, too, unless [`unit`](Self::unit) says otherwise. Upstream gradients and
/// whatever a row gives are always in the row of the logits.
///
/// More fields may come: end a literal with `..Sequences::new(length)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequences {
    /// Rows per sequence, at least 1.
    pub length: usize,
    /// Row t is scored against the target of row t + shift of the same sequence: 1 for next-token targets. The last
    /// `shift` rows of each sequence have no target and are left out. For class and sparse targets. Default: 0.
    pub shift: usize,
    /// Tokens of a sequence before this one are not scored, such as a prompt of so many tokens. Default: 0.
    pub from: usize,
    /// Tokens of a sequence from this one on are not scored. Default: all are.
    pub to: usize,
    /// Whether `from`, `to`, a row mask and row weights are of tokens or of positions. Default: tokens.
    pub unit: SequenceUnit,
}

impl Sequences {
    /// Sequences of `length` rows. Every position is scored against the target in its own row.
    pub const fn new(length: usize) -> Self {
        Self { length, shift: 0, from: 0, to: usize::MAX, unit: SequenceUnit::Tokens }
    }

    /// Sequences with shifted targets, such as next-token targets: `logits[t]` against `targets[t + shift]`.
    pub const fn shifted(length: usize, shift: usize) -> Self {
        Self { shift, ..Self::new(length) }
    }

    /// The row that holds the target of this row, or `None` if this row is left out.
    pub fn target_row(&self, row: usize) -> Option<usize> {
        self.target_in(row, row % self.length.max(1), self.length)
    }

    /// Like [`target_row`](Self::target_row), for a row at this position of a sequence of this length, whatever
    /// [`length`](Self::length) is.
    pub fn target_in(&self, row: usize, position: usize, length: usize) -> Option<usize> {
        let token = position.checked_add(self.shift).filter(|&token| token < length)?;
        let place = match self.unit {
            SequenceUnit::Tokens => token,
            SequenceUnit::Positions => position,
        };
        row.checked_add(self.shift).filter(|_| (self.from..self.to).contains(&place))
    }

    /// The distance from a row to the one that holds its mask and its weight.
    pub(crate) fn input_shift(&self) -> usize {
        match self.unit {
            SequenceUnit::Tokens => self.shift,
            SequenceUnit::Positions => 0,
        }
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
            shard: None,
            row_fields: RowFields::default(),
        }
    }
}

impl CrossEntropyOptions {
    /// Refuses values outside their range, and logits-only options when the input is log-probabilities.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        self.reduction.check()?;
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            return Err(Error::option("label_smoothing", self.label_smoothing, "in 0..=1"));
        }
        check_temperature(self.temperature)?;
        check_softcap(self.softcap, self.temperature)?;
        let not_negative = [("z_loss", self.z_loss), ("focal_gamma", self.focal_gamma)];
        for (option, value) in not_negative {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::option(option, value, "finite and at least 0"));
            }
        }
        if self.sequences.is_some_and(|sequences| sequences.length == 0) {
            return Err(Error::option("sequences: length", 0, "at least 1"));
        }
        if let Some(shard) = self.shard {
            shard.check()?;
            if self.input == Input::LogProbs {
                let needed = "unset when the input is log-probabilities";
                return Err(Error::option("shard: total_cols", shard.total_cols as f64, needed));
            }
            let needed = "without fields that the logits of other shards decide, if shard is set";
            self.row_fields.check_within((!RowFields::SWEPT).union(RowFields::PARTIALS), needed)?;
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
                        "left at its default when the input is log-probabilities",
                    ));
                }
            }
        }
        Ok(())
    }

    /// The class of the first column.
    pub(crate) fn first_col(&self) -> usize {
        self.shard.map_or(0, |shard| shard.first_col)
    }

    /// The classes of a whole row, of which the logits are these columns.
    pub(crate) fn total_cols(&self, cols: usize) -> usize {
        self.shard.map_or(cols, |shard| shard.total_cols)
    }

    /// How rows become one loss.
    pub(crate) fn reducing(&self) -> Reducing {
        Reducing { reduction: self.reduction, empty_batch: self.empty_batch, z_loss: self.z_loss }
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
        shard: None,
        row_fields: RowFields::LOSS.union(RowFields::FLAGS).union(RowFields::LSE).union(RowFields::ARGMAX),
    };
    const INF: f32 = f32::INFINITY;
    const DENORMAL: f32 = f32::MIN_POSITIVE / 2.0;
    const TWO_100: f32 = (1u128 << 100) as f32;
    const TWO_126: f32 = (1u128 << 126) as f32;

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
                &[0.0, -1.0, f32::NAN, INF, DENORMAL, f32::MIN_POSITIVE, 7.8e-31, 8.6e37, 3e38],
                &[1.0 / TWO_100, 0.01, 1.0, 1e6, TWO_126],
            ),
            (
                "softcap",
                |softcap| Options { softcap: Some(softcap), ..PLAIN },
                &[0.0, -30.0, f32::NAN, INF, DENORMAL, 1.3e30, 8.6e37],
                &[f32::MIN_POSITIVE, 30.0, TWO_100],
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
    fn a_cap_is_measured_by_the_temperature() {
        for (softcap, temperature, is_taken) in [
            (TWO_126, TWO_126, true),
            (TWO_126, 1e8, true),
            (TWO_126, 1e7, false),
            (2.0, 1.0 / TWO_100, false),
            (0.5, 1.0 / TWO_100, true),
        ] {
            let options = Options { softcap: Some(softcap), temperature, ..PLAIN };
            assert_eq!(
                options.check().is_ok(),
                is_taken,
                "{softcap:e}, {temperature:e}: {:?}",
                options.check()
            );
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
        // usize::MAX is a multiple of 3: a first position, whose target would be beyond every row.
        assert_eq!(Sequences::shifted(3, 2).target_row(usize::MAX), None);
        let response = Sequences { from: 1, to: 3, ..Sequences::new(4) };
        assert_eq!(of(response), [None, Some(1), Some(2), None, None, Some(5), Some(6), None]);
        // A prompt of two tokens: the row of its last token predicts the first of the response.
        let tokens = Sequences { from: 2, ..Sequences::shifted(4, 1) };
        assert_eq!(of(tokens), [None, Some(2), Some(3), None, None, Some(6), Some(7), None]);
        let positions = Sequences { unit: SequenceUnit::Positions, ..tokens };
        assert_eq!(of(positions), [None, None, Some(3), None, None, None, Some(7), None]);
    }
}
