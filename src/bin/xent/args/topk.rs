//! The arguments of `xent topk`.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;

use super::device::DeviceArgs;
use super::logits::LogitsArgs;
use super::score::ScoreArgs;

pub const HELP: &str = "\
Examples:
  xent topk logits.npy -k 5
  xent topk logits.npy -k 10 --log-probs -o top.csv
  xent topk teacher.npy -k 64 --renormalize -o classes.npy --values-out probs.npy
  xent eval student.npy --sparse-targets classes.npy --sparse-probs probs.npy

The classes of a row are sorted: the most probable first, and the lowest index first among equals.
Files have the axes of the logits without the class axis, and a last one for the k classes. They
appear complete or not at all.";

#[derive(Args)]
pub struct TopkArgs {
    #[command(flatten)]
    pub logits: LogitsArgs,
    /// The number of classes of each row, at most 1024
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    pub k: usize,
    /// Give log-probabilities instead of probabilities, in nats
    #[arg(long, conflicts_with = "as_logits")]
    pub log_probs: bool,
    /// Give logits instead of probabilities
    #[arg(id = "as_logits", long = "logits", conflicts_with = "renormalize")]
    pub as_logits: bool,
    /// Divide the probabilities of the k classes by their sum
    #[arg(long)]
    pub renormalize: bool,
    /// Write the classes, u32: .npy or .safetensors; with a .csv name, a table with the values
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write the values, f32: .npy or .safetensors
    #[arg(long, value_name = "FILE")]
    pub values_out: Option<PathBuf>,
    #[command(flatten)]
    pub score: ScoreArgs,
    /// Use at most this much memory, driver included: 512MiB, 2GB
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    #[command(flatten)]
    pub device: DeviceArgs,
}
