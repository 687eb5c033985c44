//! What may stand behind `xent softmax`.

use std::path::PathBuf;

use clap::Args;

use super::{DeviceArgs, Dtype, ScoreArgs};

pub const HELP: &str = "\
Examples:
  xent softmax logits.npy -o probs.npy
  xent softmax logits.npy -o log_probs.npy --log --temperature 0.7
  xent softmax segmentation.npy -o probs.npy --class-axis 1

The output has the axes of the logits, and is there whole or not at all.";

#[derive(Args)]
pub struct SoftmaxArgs {
    /// Logits in a .npy file: f16, f32 or f64, any number of axes
    #[arg(value_name = "LOGITS.npy")]
    pub logits: PathBuf,
    /// Where probabilities go, laid out as the logits are
    #[arg(short, long, value_name = "OUT.npy")]
    pub output: PathBuf,
    /// The axis of the classes; -1 is the last
    #[arg(long, value_name = "K", default_value_t = -1, allow_negative_numbers = true)]
    pub class_axis: isize,
    /// Log-probabilities, in nats
    #[arg(long)]
    pub log: bool,
    #[command(flatten)]
    pub score: ScoreArgs,
    /// The type of the output
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = Dtype::F32)]
    pub out_dtype: Dtype,
    #[command(flatten)]
    pub device: DeviceArgs,
}
