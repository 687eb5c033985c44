//! The options of sampling: how a token is drawn from a row.

use crate::error::{Error, Result};
use crate::options::check_temperature;

/// The largest number of samples of a row in one call of a [`Sampler`](crate::Sampler).
pub const MAX_SAMPLES: usize = 256;

/// Options of a [`Sampler`](crate::Sampler).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplerOptions {
    /// Tokens drawn from each row, in 1..=[`MAX_SAMPLES`]. Default: 1.
    pub samples: usize,
    /// Whether a token may be drawn more than once. If not, the samples of a row are different classes, in the order in
    /// which they would be drawn one after another, all by the random numbers of its first draw. If fewer are left, the
    /// rest are [`NO_CLASS`](crate::NO_CLASS). Default: true.
    pub replacement: bool,
    /// The order of the truncations. Default: Hugging Face's.
    pub order: StepOrder,
    /// The truncations that rows may have. A kernel without the others is smaller, and takes longer rows. Default: all.
    pub truncations: Truncations,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self { samples: 1, replacement: true, order: StepOrder::default(), truncations: Truncations::all() }
    }
}

impl SamplerOptions {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        if (1..=MAX_SAMPLES).contains(&self.samples) {
            return Ok(());
        }
        Err(Error::option("samples", self.samples as f64, "in 1..=256"))
    }
}

/// The order in which the steps of [`Sampling`] apply. Each step sees the classes that the steps before it left, with
/// their probabilities renormalised. The three orders give different tokens: with logits 3, 2, 1, temperature 0.5 and
/// top-p 0.8, Hugging Face's order keeps one class and llama.cpp's two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StepOrder {
    /// Temperature, top-n-σ, top-k, top-p, min-p, typical, epsilon, eta, XTC: the order of Hugging Face's
    /// `transformers`.
    #[default]
    HuggingFace,
    /// Temperature, top-n-σ, min-p, top-k, top-p, typical, epsilon, eta, XTC: vLLM's order.
    Vllm,
    /// Top-n-σ, top-k, typical, top-p, min-p, epsilon, eta, XTC, temperature: llama.cpp's order. The truncations see
    /// probabilities at temperature 1.
    LlamaCpp,
}

bitflags::bitflags! {
    /// Truncations: steps that leave out classes. The fields of [`Sampling`] say what each keeps.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Truncations: u32 {
        /// `top_n_sigma`
        const TOP_N_SIGMA = 1 << Step::TopNSigma as u32;
        /// `top_k`
        const TOP_K = 1 << Step::TopK as u32;
        /// `top_p`
        const TOP_P = 1 << Step::TopP as u32;
        /// `min_p`
        const MIN_P = 1 << Step::MinP as u32;
        /// `typical_p`
        const TYPICAL = 1 << Step::Typical as u32;
        /// `epsilon`
        const EPSILON = 1 << Step::Epsilon as u32;
        /// `eta`
        const ETA = 1 << Step::Eta as u32;
        /// `xtc_probability` and `xtc_threshold`
        const XTC = 1 << Step::Xtc as u32;
    }
}

/// A step that leaves out classes. Its number is that of its value in a record, and of its bit in [`Truncations`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    TopNSigma = 1,
    TopK = 2,
    TopP = 3,
    MinP = 4,
    Typical = 5,
    Epsilon = 6,
    Eta = 7,
    Xtc = 8,
}

impl StepOrder {
    /// The truncations in their order.
    pub(crate) fn steps(self) -> [Step; 8] {
        use Step::{Epsilon, Eta, MinP, TopK, TopNSigma, TopP, Typical, Xtc};
        match self {
            Self::HuggingFace => [TopNSigma, TopK, TopP, MinP, Typical, Epsilon, Eta, Xtc],
            Self::Vllm => [TopNSigma, MinP, TopK, TopP, Typical, Epsilon, Eta, Xtc],
            Self::LlamaCpp => [TopNSigma, TopK, Typical, TopP, MinP, Epsilon, Eta, Xtc],
        }
    }

    /// The temperature that the truncations see.
    pub(crate) fn truncation_temperature(self, temperature: f32) -> f32 {
        if self == Self::LlamaCpp { 1.0 } else { temperature }
    }
}

/// How tokens are drawn from one row. Rows of a batch may differ in every value: a serving batch mixes requests.
///
/// The defaults leave out no class: a draw from the softmax. Every truncation keeps at least
/// [`min_keep`](Self::min_keep) classes. Classes are ordered by falling logit, and by rising index among equals.
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// The key of the random numbers. Default: 0.
    pub seed: u64,
    /// The row's counter. The same seed, counter and draw give the same random number, whatever the batch, so a
    /// request needs another counter for each token: for example its position. Default: 0.
    pub counter: u64,
    /// The number of the row's first draw. Samples of one call are draws `first_draw`, `first_draw` + 1, … Default: 0.
    pub first_draw: u32,
    /// T: probabilities are the softmax of logits / T. 0 is greedy: the class of the largest logit, the lowest index
    /// among equals, and no truncation applies. Else from 2^-100 (7.9e-31) to 2^126 (8.5e37). Default: 1.
    pub temperature: f32,
    /// Top-k: keeps the first k classes, exactly k (Fan et al. 2018). 0 is off. Default: 0.
    pub top_k: usize,
    /// Top-p, the nucleus: keeps the shortest prefix of the order whose mass is at least p, the class that crosses p
    /// included (Holtzman et al. 2020). It is taken in steps of 2^-32. At least 1 is off; 0 keeps one. Default: 1.
    pub top_p: f32,
    /// Min-p: keeps the classes with at least this share of the largest probability, x_j / T ≥ x_max / T + ln m
    /// (Nguyen et al. 2024). In 0..=1; 0 is off. Default: 0.
    pub min_p: f32,
    /// Typical sampling: keeps the classes whose information −ln p is closest to the entropy, the shortest prefix of
    /// that order whose mass is at least τ (Meister et al. 2023). The most probable class may be left out. At least 1
    /// is off. Default: 1.
    pub typical_p: f32,
    /// Top-n-σ: keeps x_j ≥ x_max − n·σ, where σ is the standard deviation of the row's finite logits, divided by
    /// their number (Tang et al. 2024). 0 or less is off. Default: 0.
    pub top_n_sigma: f32,
    /// Epsilon sampling: keeps p_j ≥ ε (Hewitt et al. 2022). In 0..1; 0 is off. Default: 0.
    pub epsilon: f32,
    /// Eta sampling: keeps p_j ≥ min(ε, √ε·e^−H), where H is the entropy (Hewitt et al. 2022). In 0..1; 0 is off.
    /// Default: 0.
    pub eta: f32,
    /// XTC: with this probability, if at least two classes have p ≥ `xtc_threshold`, leaves out all of them except the
    /// least likely. In 0..=1; 0 is off. Default: 0.
    pub xtc_probability: f32,
    /// The threshold of XTC, at least 1e-6. Above 0.5 it is off. Default: 0.1.
    pub xtc_threshold: f32,
    /// The classes that every truncation keeps at least, if there are as many. At least 1. Default: 1.
    pub min_keep: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            seed: 0,
            counter: 0,
            first_draw: 0,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            top_n_sigma: 0.0,
            epsilon: 0.0,
            eta: 0.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            min_keep: 1,
        }
    }
}

impl Sampling {
    /// The class of the largest logit.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// The defaults of vLLM's `SamplingParams`: temperature 1, and no truncation, as [`Sampling::default`]. (Its server
    /// takes other values from a model's generation_config.json.) Use them with [`StepOrder::Vllm`].
    pub fn vllm() -> Self {
        Self::default()
    }

    /// llama.cpp's defaults: top-k 40, top-p 0.95, min-p 0.05, temperature 0.8. Use them with
    /// [`StepOrder::LlamaCpp`].
    pub fn llama_cpp() -> Self {
        Self { temperature: 0.8, top_k: 40, top_p: 0.95, min_p: 0.05, ..Self::default() }
    }

    /// Whether the row takes the class of the largest logit.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        if !self.is_greedy() {
            check_temperature(self.temperature)?;
        }
        for (name, value) in [("top_p", self.top_p), ("typical_p", self.typical_p)] {
            if value.is_nan() || value < 0.0 {
                return Err(Error::option(name, value, "at least 0 (1 and more are off)"));
            }
        }
        for (name, value) in [("min_p", self.min_p), ("xtc_probability", self.xtc_probability)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::option(name, value, "in 0..=1 (0 is off)"));
            }
        }
        for (name, value) in [("epsilon", self.epsilon), ("eta", self.eta)] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::option(name, value, "at least 0 (off) and below 1"));
            }
        }
        if !self.top_n_sigma.is_finite() {
            return Err(Error::option("top_n_sigma", self.top_n_sigma, "finite (0 or less is off)"));
        }
        if self.xtc_threshold.is_nan() || self.xtc_threshold < 1e-6 {
            return Err(Error::option(
                "xtc_threshold",
                self.xtc_threshold,
                "at least 1e-6 (above 0.5 is off)",
            ));
        }
        if self.min_keep == 0 {
            return Err(Error::option("min_keep", 0, "at least 1"));
        }
        Ok(())
    }

    /// The truncations that may leave out a class.
    pub fn truncations(&self) -> Truncations {
        let on = StepOrder::default().steps().into_iter().filter(|&step| self.has(step));
        on.map(|step| Truncations::from_bits_truncate(1 << step as u32)).collect()
    }

    /// Whether a step may leave out a class.
    pub(crate) fn has(&self, step: Step) -> bool {
        match step {
            Step::TopNSigma => self.top_n_sigma > 0.0,
            Step::TopK => self.top_k > 0,
            Step::TopP => self.top_p < 1.0,
            Step::MinP => self.min_p > 0.0,
            Step::Typical => self.typical_p < 1.0,
            Step::Epsilon => self.epsilon > 0.0,
            Step::Eta => self.eta > 0.0,
            Step::Xtc => self.xtc_probability > 0.0 && self.xtc_threshold <= 0.5,
        }
    }
}

/// A share of 1 in steps of 2^-32, rounded down.
pub(crate) fn share_of_32_bits(share: f32) -> u32 {
    // Exact for shares below 1: a power of two scales them.
    (f64::from(share) * 2f64.powi(32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_outside_their_range_are_named() {
        let plain = Sampling::default();
        let cases = [
            (Sampling { temperature: -1.0, ..plain }, "temperature"),
            (Sampling { temperature: f32::NAN, ..plain }, "temperature"),
            (Sampling { temperature: 1e-38, ..plain }, "temperature"),
            (Sampling { top_p: -0.1, ..plain }, "top_p"),
            (Sampling { top_p: f32::NAN, ..plain }, "top_p"),
            (Sampling { typical_p: -1.0, ..plain }, "typical_p"),
            (Sampling { min_p: 1.5, ..plain }, "min_p"),
            (Sampling { epsilon: 1.0, ..plain }, "epsilon"),
            (Sampling { eta: f32::NAN, ..plain }, "eta"),
            (Sampling { top_n_sigma: f32::INFINITY, ..plain }, "top_n_sigma"),
            (Sampling { xtc_probability: 2.0, ..plain }, "xtc_probability"),
            (Sampling { xtc_threshold: -0.5, ..plain }, "xtc_threshold"),
            (Sampling { min_keep: 0, ..plain }, "min_keep"),
        ];
        for (sampling, name) in cases {
            let error = sampling.check();
            assert!(matches!(error, Err(Error::InvalidOption { option, .. }) if option == name), "{error:?}");
        }
        for sampling in [plain, Sampling::greedy(), Sampling::vllm(), Sampling::llama_cpp()] {
            assert_eq!(sampling.check(), Ok(()));
        }
        for samples in [0, 257] {
            assert!(SamplerOptions { samples, ..Default::default() }.check().is_err());
        }
    }

    #[test]
    fn shares_in_steps() {
        let found = [0.0, 0.5, 0.25, 1e-10, 0.99999994].map(share_of_32_bits);
        assert_eq!(found, [0, 1 << 31, 1 << 30, 0, 0xffff_ff00]);
    }
}
