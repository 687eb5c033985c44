//! Everything that is known about a batch when it is reported.

use xent::eval::{Report, Tally};

use crate::args::{LossName, Part};
use crate::losses::LossFacts;
use crate::origin::Origin;

/// Everything that a report can say.
#[derive(Clone, Copy)]
pub struct Summary<'a> {
    pub report: &'a Report,
    pub tally: &'a Tally,
    pub loss: LossFacts,
    pub adapter: &'a str,
    /// Why this one computed.
    pub why: &'a str,
    /// The rows of the input. The report covers fewer if the run was stopped, or is of a part.
    pub rows_given: usize,
    /// The part that it is of, if that is not the whole.
    pub part: Option<Part>,
    /// Bytes of logits, and of arrays with their layout, that came from files; none if they did not come from files.
    pub bytes_read: Option<u64>,
    /// The k of a top-k accuracy, if it was asked for.
    pub top_k: Option<usize>,
    /// The bytes of the text that is scored, if they were given.
    pub text_bytes: Option<u64>,
    /// The most memory that this process has had, if the system tells.
    pub peak_memory: Option<u64>,
    /// What the report is of.
    pub origin: &'a Origin,
}

/// The quantile of the standard normal distribution for an interval of 95 %.
const Z_95: f64 = 1.959963984540054;

impl Summary<'_> {
    /// Classes that one row's loss is a mean of: a binary loss is one over all classes.
    fn parts(&self) -> f64 {
        if self.loss.name == LossName::Bce { self.report.cols as f64 } else { 1.0 }
    }

    /// The mean of the rows with a finite loss; `None` if there are none, or if a z-loss has a mean of its own.
    pub fn finite_mean(&self) -> Option<f64> {
        let mean = self.tally.finite_mean() / self.parts();
        let is_of_one_weight =
            !self.loss.has_z_loss || self.report.loss.weight == self.report.loss.row_weight;
        Some(mean).filter(|mean| mean.is_finite() && is_of_one_weight)
    }

    /// The standard errors of that mean: with independent rows, and with independent sequences.
    pub fn standard_errors(&self) -> [Option<f64>; 2] {
        let of = |error: Option<f64>| {
            error.filter(|_| self.finite_mean().is_some()).map(|error| error / self.parts())
        };
        [self.tally.standard_error(), self.tally.sequence_standard_error()].map(of)
    }

    /// The honest one of the two: by sequences, if there are several.
    pub fn standard_error(&self) -> Option<f64> {
        let [by_rows, by_sequences] = self.standard_errors();
        by_sequences.or(by_rows)
    }

    /// The 95 % interval of the perplexity of the rows with a finite loss.
    pub fn perplexity_interval(&self) -> Option<[f64; 2]> {
        let (mean, error) = (self.finite_mean()?, self.standard_error()?);
        Some([mean - Z_95 * error, mean + Z_95 * error].map(f64::exp))
    }

    /// The bits that one byte of the text costs; `None` if the bytes were not given.
    pub fn bits_per_byte(&self) -> Option<f64> {
        Some(self.report.loss.sum / std::f64::consts::LN_2 / self.text_bytes? as f64)
    }
}
