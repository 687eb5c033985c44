//! The arguments of `xent calibrate`.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use xent::eval::calibrate::ConformalScore;

use super::device::DeviceArgs;
use super::given::Given;
use super::logits::LogitsArgs;

pub const HELP: &str = "\
Examples:
  xent calibrate held_out.npy --targets targets.npy
  xent calibrate batch.safetensors --targets-key targets --shift 1
  xent calibrate held_out.npy --targets targets.npy --coverage 0.9 --score aps
  xent calibrate held_out.npy --targets targets.npy --coverage 0.9 \\
      --others test.npy --others-targets test_targets.npy
  xent eval test.npy --targets test_targets.npy --temperature 1.82

It fits the temperature T for which the mean loss of logits/T is smallest, and reads the logits at
most four times. Fit it on rows that the model was not trained on. It changes no prediction, only
how confident predictions are.

JSON keys: format ('xent calibrate'), version (1; it rises when a key changes its meaning), xent,
temperature, uncertainty (relative; null at a limit), limit ('cold' or 'hot' if the loss still falls
towards T = 0 or T = infinity; else null), reads, rows, cols, counted, ignored, bad, adapter, before
and after: objects of temperature, loss, ece, mce, accuracy, bins (an array of from, to, rows,
confidence, accuracy). With --coverage, conformal: score, threshold (null: every class is
in), rank, rows, keeps_top, and with --others, others: rows, coverage, sets, mean_size, largest,
empty, cut (0: every set is counted whole). inputs, options, command and date:
see docs/eval-json.md.";

#[derive(Args)]
pub struct CalibrateArgs {
    #[command(flatten)]
    pub logits: LogitsArgs,
    /// A class for each row: integers
    ///
    /// llama.cpp's saved logits hold their own.
    #[arg(long, value_name = "FILE")]
    pub targets: Option<PathBuf>,
    /// The tensor of the targets, in their own file or in that of the logits
    #[arg(long, value_name = "NAME")]
    pub targets_key: Option<String>,
    /// Leave out rows with this target
    #[arg(long, value_name = "N", default_value_t = -100, allow_negative_numbers = true)]
    pub ignore_index: i32,
    /// Score position t against the target of t + N: 1 for next tokens
    #[arg(long, value_name = "N")]
    pub shift: Option<usize>,
    /// Rows per sequence [default: the axis before the classes if these are last, else all rows]
    #[arg(hide_short_help = true, long, value_name = "L", requires = "shift")]
    pub sequence: Option<usize>,
    /// Cap logits to C*tanh(logit / C) first
    #[arg(hide_short_help = true, long, value_name = "C", allow_negative_numbers = true)]
    pub softcap: Option<f32>,
    /// Bins of equal width for the calibration errors
    #[arg(long, value_name = "N", default_value_t = 15)]
    pub bins: usize,
    /// Find the threshold of sets that hold the right class in this share of rows: 0.9
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub coverage: Option<(u64, u64)>,
    /// What sets are made by: lac gives the smallest, aps larger ones for harder rows
    #[arg(long, value_name = "SCORE", value_enum, default_value_t = Score::Lac, requires = "coverage")]
    pub score: Score,
    /// Keep the most probable class in each set, so that none is empty
    #[arg(hide_short_help = true, long, requires = "coverage")]
    pub keep_top: bool,
    /// Other rows to count these sets on: logits of as many classes, with the same keys
    #[arg(long, value_name = "LOGITS", requires = "coverage")]
    pub others: Option<PathBuf>,
    /// The targets of --others [default: in its file, by --targets-key or as llama.cpp saves them]
    #[arg(long, value_name = "FILE", requires = "others")]
    pub others_targets: Option<PathBuf>,
    /// Use at most this much memory, driver included: 512MiB, 2GB
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// The arguments that were given.
    #[arg(skip)]
    pub given: Given,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Score {
    Lac,
    Aps,
}

impl From<Score> for ConformalScore {
    fn from(score: Score) -> Self {
        match score {
            Score::Lac => Self::Lac,
            Score::Aps => Self::Aps,
        }
    }
}

/// A share below 1 as a ratio of integers, exactly as it is written.
fn parse_share(text: &str) -> Result<(u64, u64), String> {
    let digits = text.trim_start_matches('0').strip_prefix('.').unwrap_or_default().trim_end_matches('0');
    let parsed = digits.parse().ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_digit()));
    match parsed {
        Some(share) if digits.len() <= 18 => Ok((share, 10u64.pow(digits.len() as u32))),
        _ => Err("must be above 0 and below 1, such as 0.9".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact() {
        let good = ["0.9", ".95", "0.125", "00.50"].map(parse_share);
        assert_eq!(good, [Ok((9, 10)), Ok((95, 100)), Ok((125, 1000)), Ok((5, 10))]);
        for bad in ["0", "1", "1.5", "0.0", "", "90%", "-0.5", "0.-5", "0.+5", "nan", "0.1234567890123456789"]
        {
            assert!(parse_share(bad).is_err(), "{bad}");
        }
    }
}
