//! The arguments of `xent softmax`.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;

use xent::EntmaxOptions;

use super::device::DeviceArgs;
use super::given::Given;
use super::logits::LogitsArgs;
use super::score::ScoreArgs;
use crate::dtype::Dtype;

pub const HELP: &str = "\
Examples:
  xent softmax logits.npy -o probs.npy
  xent softmax logits.npy -o log_probs.npy --log --temperature 0.7
  xent softmax segmentation.npy -o probs.npy --class-axis 1
  xent softmax model.safetensors --key logits -o probs.safetensors --out-dtype f32
  xent softmax labels.npy -o probs.npy --sigmoid
  xent softmax logits.npy -o probs.npy --mask allowed.npy --masked-row zero
  xent softmax 2 1 0.5
  xent softmax 2 1 0.5 --entmax 1.5
  cat logits.bin | xent softmax - --dtype bf16 --cols 32000 --rows 512 -o probs.safetensors

Numbers instead of files are the logits of one row, and their probabilities are printed.
The output has the axes of the logits. The file appears complete or not at all.";

#[derive(Args)]
pub struct SoftmaxArgs {
    #[command(flatten)]
    pub logits: LogitsArgs,
    /// Write the probabilities, in the layout of the logits: .npy or .safetensors
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write log-probabilities instead, in nats
    #[arg(long)]
    pub log: bool,
    /// Take each class by itself, as a yes-or-no question: 1 / (1 + e^-x)
    #[arg(long, conflicts_with_all = ["mask", "softcap", "masked_row"])]
    pub sigmoid: bool,
    /// Forbid classes: booleans or integers, 0 where forbidden, or floats that are added
    ///
    /// The file has the axes of the logits, or one value for each class.
    #[arg(long, value_name = "FILE")]
    pub mask: Option<PathBuf>,
    /// Sparsemax instead: most probabilities are exactly 0
    #[arg(long, conflicts_with_all = ["log", "temperature", "softcap", "sigmoid"])]
    pub sparsemax: bool,
    /// Alpha-entmax instead, from softmax (towards 1) to sparsemax (2) and beyond (up to 3)
    #[arg(
        long,
        value_name = "ALPHA",
        allow_negative_numbers = true,
        conflicts_with_all = ["log", "temperature", "softcap", "sigmoid", "sparsemax"]
    )]
    pub entmax: Option<f32>,
    #[command(flatten)]
    pub score: ScoreArgs,
    /// The type of the output [default: the logits', or f32 for f64]
    #[arg(long, value_name = "TYPE", value_enum)]
    pub out_dtype: Option<Dtype>,
    /// Use at most this much memory, driver included: 512MiB, 2GB
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// The arguments that were given.
    #[arg(skip)]
    pub given: Given,
}

impl SoftmaxArgs {
    /// The options of an entmax, if one is asked for.
    pub fn entmax(&self) -> Option<EntmaxOptions> {
        let alpha = if self.sparsemax { Some(2.0) } else { self.entmax }?;
        Some(EntmaxOptions { alpha, masked_row: self.score.masked_row.into() })
    }
}
