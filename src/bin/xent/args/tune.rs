//! What may stand behind `xent tune`.

use std::path::PathBuf;

use clap::Args;
use xent::Shape;

use super::device::AdapterArgs;
use super::shape::parse_shape;

pub const HELP: &str = "\
Examples:
  xent tune -o tuning.json
  xent tune --quick -o tuning.json && xent eval logits.npy --targets t.npy --tuning tuning.json

How many invocations share a row, how many rows a workgroup has, and how long rows are split: tried
on batches of short and of long rows, of f32. An answer is compared with an f64 reference before it
counts, and a change is taken only where it saves more than 3 %. Let the machine rest meanwhile.

The file is for this adapter, its driver and this version of xent; elsewhere it is ignored.";

#[derive(Args)]
pub struct TuneArgs {
    /// Where the tuning goes
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Fewer candidates, smaller batches: about a minute, not five
    #[arg(long)]
    pub quick: bool,
    /// Stop trying after so long, and keep what was best [default: 300, with --quick 60]
    #[arg(long, value_name = "SECONDS")]
    pub time: Option<u32>,
    /// Try on this batch, rows x classes; may be given again [default: six, as far as they fit]
    #[arg(long = "shape", value_name = "RxC", value_parser = parse_shape)]
    pub shapes: Vec<Shape>,
    #[command(flatten)]
    pub adapter: AdapterArgs,
}
