//! The arguments of `xent bench`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use xent::Shape;

use super::device::DeviceArgs;
use super::shape::parse_shape;
use crate::operation::Operation;

pub const HELP: &str = "\
Examples:
  xent bench
  xent bench --shape 256x50257 --dtype bf16 --dtype f16 --op softmax
  xent bench --plot roofline.svg --json > bench.json

GB/s counts the bytes that must move: each logit is read once, and each value of an output of the
logits' size is written once. A second read of the logits is not counted, so it lowers the number.
'of copy' is GB/s relative to a copy of the logits, one read and one write, by a kernel or by the
driver, whichever is faster. The operations run in turn, and times are medians, by the GPU's own
clock where it has one.

top-5 (or topk) and top-64 find the largest classes of each row with their log-probabilities. sample
draws a token of each row at temperature 0.8; sample-top-k does so from the 50 largest classes, and
sample-top-p from the shortest part with a mass of 0.9. sampled-softmax is the loss of each row's own
class, in column 0, among negatives that all rows share: --shape 64x8193 has 8,192 of them.

JSON keys: format ('xent bench'), version (1; it rises when a key changes its meaning), xent,
adapter, clock ('gpu' or 'wall'), tuned, runs (timed runs of each op), results: an array of rows,
cols, dtype, op, checked (whether rows_checked rows are within error bounds of an f64 reference; if
not, ms and all that follows from it is null), bytes, ms, logits_per_second, gb_per_second,
share_of_copy. The op 'copy' also has by: 'kernel' or 'driver'.";

#[derive(Args)]
pub struct BenchArgs {
    /// Rows x classes; may be repeated [default: those of six shapes that fit]
    #[arg(long = "shape", value_name = "RxC", value_parser = parse_shape)]
    pub shapes: Vec<Shape>,
    /// The type of the logits; may be repeated
    #[arg(long = "dtype", value_name = "TYPE", value_enum, default_values_t = [BenchDtype::F32])]
    pub dtypes: Vec<BenchDtype>,
    /// What to measure beside the copy; may be repeated
    #[arg(
        long = "op",
        value_name = "OP",
        value_enum,
        default_values_t = [Operation::Loss, Operation::LossAndGradient, Operation::Softmax]
    )]
    pub ops: Vec<Operation>,
    /// Draw GB/s for each shape, with a line for the copy
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub device: DeviceArgs,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum BenchDtype {
    F32,
    F16,
    Bf16,
}
