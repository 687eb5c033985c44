//! The options of a temperature calibration.

use crate::error::{Error, Result};
use crate::options::{CrossEntropyOptions, Sequences};

/// Options of a [`Calibrator`](crate::eval::calibrate::Calibrator).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibratorOptions {
    /// Rows with this target do not count. Default: −100.
    pub ignore_index: i32,
    /// Caps logits to ±κ before the temperature divides them: κ·tanh(x / κ). Default: no cap.
    pub softcap: Option<f32>,
    /// Where a row's target is, as in [`CrossEntropyOptions::sequences`]. Default: in the row itself.
    pub sequences: Option<Sequences>,
    /// The number of reliability bins of equal width, in 1..=1000. Default: 15.
    pub bins: usize,
}

impl Default for CalibratorOptions {
    fn default() -> Self {
        Self { ignore_index: -100, softcap: None, sequences: None, bins: 15 }
    }
}

impl CalibratorOptions {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        if !(1..=1000).contains(&self.bins) {
            return Err(Error::option("bins", self.bins as f64, "in 1..=1000"));
        }
        self.loss().check()
    }

    /// The loss whose mean is made smallest.
    pub(crate) fn loss(&self) -> CrossEntropyOptions {
        CrossEntropyOptions {
            ignore_index: self.ignore_index,
            softcap: self.softcap,
            sequences: self.sequences,
            ..Default::default()
        }
    }
}
