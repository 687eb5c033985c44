//! What changes the scores of a row before it is sampled: a bias, penalties, a mask.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// What changes the logits of one row before all other steps of sampling: a bias, penalties on tokens of the past, and a
/// mask of the classes that are allowed. The order is that of Hugging Face's transformers, of vLLM and of llama.cpp alike:
///
/// 1. bias: x + b;
/// 2. repetition, once for each class of the past: x > 0 ? x / θ : x·θ (Keskar et al. 2019, arXiv:1909.05858);
/// 3. frequency and presence: x − (f·count + q), for classes of the output;
/// 4. mask: −∞ for classes that are not allowed, whatever their logits are, NaN included.
///
/// Scores are f32, and each of these operations is rounded to f32; x / θ is the product with the f32 1 / θ. So every
/// adapter has the same scores, and greedy, top-k and min-p keep the same classes. A finite score stays finite: it is
/// limited to ±3.4e38. A logit of −∞, +∞ or NaN stays what it is, also with a bias of −∞, as in PyTorch. Only the mask hides
/// it, as the boolean mask of [`MaskedSoftmax`](crate::MaskedSoftmax) does. Raw log-probabilities are of the untouched logits,
/// and so are NaN where one of those is.
///
/// Systems differ in the past that counts. Here repetition is of prompt and output (as in transformers and vLLM),
/// frequency and presence of the output only (as in vLLM, and as OpenAI documents it). For llama.cpp's way, give the whole
/// past as the output, with a window of 64.
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreChanges<'a> {
    /// Classes and what is added to their logits: finite, or −∞. Several values of a class are added in their order.
    /// Default: none.
    pub bias: &'a [(u32, f32)],
    /// The tokens of the prompt. Default: none.
    pub prompt: &'a [u32],
    /// The tokens that have been generated since. Default: none.
    pub output: &'a [u32],
    /// Only this many of the last tokens of prompt and output together count. 0 counts all. Default: 0.
    pub penalty_window: usize,
    /// θ of the repetition penalty, from 2^-10 to 2^10. Default: 1, which is off.
    pub repetition_penalty: f32,
    /// f: subtracted once for each time that the output has the class. Finite. Default: 0.
    pub frequency_penalty: f32,
    /// q: subtracted if the output has the class. Finite. Default: 0.
    pub presence_penalty: f32,
    /// The allowed classes, as bits: class j is bit j mod 32 of word j / 32, so there are ⌈cols / 32⌉ words. `None`
    /// allows all. Default: `None`.
    pub allowed: Option<&'a [u32]>,
}

impl Default for ScoreChanges<'_> {
    fn default() -> Self {
        Self {
            bias: &[],
            prompt: &[],
            output: &[],
            penalty_window: 0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            allowed: None,
        }
    }
}

/// What changes one class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ClassChange {
    pub bias: f32,
    /// Whether the repetition penalty applies.
    pub repeated: bool,
    /// Frequency and presence penalties together.
    pub subtracted: f32,
}

impl ScoreChanges<'_> {
    /// Refuses values outside their range, and tokens that are not classes of a row of `cols` logits.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value; [`Error::Length`] for a mask of another length.
    pub fn check(&self, cols: usize) -> Result<()> {
        let range = 2f32.powi(-10)..=2f32.powi(10);
        if !range.contains(&self.repetition_penalty) {
            let needed = "from 2^-10 to 2^10 (1 is off)";
            return Err(Error::option("repetition_penalty", self.repetition_penalty, needed));
        }
        for (name, value) in
            [("frequency_penalty", self.frequency_penalty), ("presence_penalty", self.presence_penalty)]
        {
            if !value.is_finite() {
                return Err(Error::option(name, value, "finite (0 is off)"));
            }
        }
        let biased = self.bias.iter().map(|&(class, _)| class);
        let past = self.prompt.iter().chain(self.output).copied();
        let outside = |class: &u32| *class as usize >= cols;
        for (name, class) in
            [("bias", biased.clone().find(outside)), ("past tokens", past.clone().find(outside))]
        {
            if let Some(class) = class {
                return Err(Error::option(name, class, "a class of the row, below its number of classes"));
            }
        }
        let is_bad = |&&(_, bias): &&(u32, f32)| bias.is_nan() || bias == f32::INFINITY;
        if let Some(&(_, bias)) = self.bias.iter().find(is_bad) {
            return Err(Error::option("bias", bias, "finite, or −∞"));
        }
        match self.allowed {
            Some(allowed) if allowed.len() != cols.div_ceil(32) => {
                Err(Error::Length { what: "allowed", found: allowed.len(), needed: cols.div_ceil(32) })
            }
            _ => Ok(()),
        }
    }

    /// Whether the mask allows a class.
    pub(crate) fn allows(&self, class: usize) -> bool {
        self.allowed.is_none_or(|words| words[class / 32] >> (class % 32) & 1 == 1)
    }

    /// The classes with a bias or a penalty, and what changes them.
    pub(crate) fn classes(&self) -> BTreeMap<u32, ClassChange> {
        let mut classes: BTreeMap<u32, ClassChange> = BTreeMap::new();
        for &(class, bias) in self.bias {
            classes.entry(class).or_default().bias += bias;
        }
        // The first tokens of the past that do not count.
        let past = self.prompt.len() + self.output.len();
        let skipped = if self.penalty_window == 0 { 0 } else { past.saturating_sub(self.penalty_window) };
        let prompt = &self.prompt[skipped.min(self.prompt.len())..];
        let output = &self.output[skipped.saturating_sub(self.prompt.len())..];
        if self.repetition_penalty != 1.0 {
            for &class in prompt.iter().chain(output) {
                classes.entry(class).or_default().repeated = true;
            }
        }
        if self.frequency_penalty != 0.0 || self.presence_penalty != 0.0 {
            let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
            output.iter().for_each(|&class| *counts.entry(class).or_default() += 1);
            for (class, count) in counts {
                let of_count = f64::from(self.frequency_penalty) * f64::from(count);
                let sum = of_count + f64::from(self.presence_penalty);
                classes.entry(class).or_default().subtracted = limited(sum);
            }
        }
        // Sums of finite biases stay finite.
        let finite = |change: &mut ClassChange| {
            change.bias =
                if change.bias == f32::NEG_INFINITY { change.bias } else { limited(f64::from(change.bias)) }
        };
        classes.values_mut().for_each(finite);
        classes
    }
}

/// A finite f32.
fn limited(value: f64) -> f32 {
    value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

/// Words before a row's classes in its record, and words of a class: as in `shaders/change_scores.wgsl`.
const HEAD_WORDS: usize = 5;
const CLASS_WORDS: usize = 3;

/// What changes the scores of each row, in the form that the kernel reads.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ScoreRecords {
    /// The records (rows, row_words).
    pub words: Vec<u32>,
    /// Words of a row's record.
    pub row_words: usize,
}

impl ScoreRecords {
    /// The records of `rows` rows of `cols` classes: `changes` has one value for each row, or one for all.
    ///
    /// # Errors
    /// As for [`ScoreChanges::check`], with the row; [`Error::Length`].
    pub fn of(changes: &[ScoreChanges<'_>], rows: usize, cols: usize) -> Result<Self> {
        if changes.len() != 1 && changes.len() != rows {
            return Err(Error::Length { what: "changes", found: changes.len(), needed: rows });
        }
        for (row, changes) in changes.iter().enumerate() {
            changes.check(cols).map_err(|error| error.at_index(row))?;
        }
        let classes: Vec<_> = changes.iter().map(ScoreChanges::classes).collect();
        let most = classes.iter().map(BTreeMap::len).max().unwrap_or(0);
        let has_masks = changes.iter().any(|changes| changes.allowed.is_some());
        let mask_at = HEAD_WORDS + most * CLASS_WORDS;
        let row_words = mask_at + if has_masks { cols.div_ceil(32) } else { 0 };
        let mut words = Vec::with_capacity(rows.saturating_mul(row_words));
        for (changes, classes) in changes.iter().zip(&classes) {
            let begin = words.len();
            let factor = changes.repetition_penalty;
            let inverse = 1.0 / factor;
            words.extend([
                classes.len() as u32,
                if changes.allowed.is_some() { mask_at as u32 } else { 0 },
                factor.to_bits(),
                inverse.to_bits(),
                product_limit(factor).to_bits(),
            ]);
            for (&class, change) in classes {
                // Classes are below 2^31.
                words.extend([
                    class | u32::from(change.repeated) << 31,
                    change.bias.to_bits(),
                    change.subtracted.to_bits(),
                ]);
            }
            words.resize(begin + mask_at, 0);
            words.extend(changes.allowed.unwrap_or_default());
            words.resize(begin + row_words, 0);
        }
        if changes.len() == 1 {
            words = words.repeat(rows);
        }
        Ok(Self { words, row_words })
    }
}

/// The largest score that the factors θ and 1 / θ leave finite.
pub(crate) fn product_limit(factor: f32) -> f32 {
    f32::MAX / factor.max(1.0 / factor) * (1.0 - f32::EPSILON)
}
