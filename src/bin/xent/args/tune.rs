//! The arguments of `xent tune`.

use std::path::PathBuf;

use clap::Args;
use xent::Shape;

use super::device::AdapterArgs;
use super::shape::parse_shape;

pub const HELP: &str = "\
Examples:
  xent tune -o tuning.json
  xent tune --quick -o tuning.json && xent eval logits.npy --targets t.npy --tuning tuning.json

The tool tries how many invocations share a row, how many rows a workgroup has, and how long rows
are split over workgroups. It tries them on f32 batches of short and of long rows. Each candidate's
answer is compared with an f64 reference before its time counts. A change is accepted only if it
saves more than 3 %. Leave the machine idle meanwhile.

The file is for this adapter, its driver and this version of xent; elsewhere it is ignored.";

#[derive(Args)]
pub struct TuneArgs {
    /// Write the tuning to this file
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Try fewer candidates on smaller batches: about one minute instead of five
    #[arg(long)]
    pub quick: bool,
    /// Stop after this time, with the best found so far [default: 300, or 60 with --quick]
    #[arg(long, value_name = "SECONDS")]
    pub time: Option<u32>,
    /// Measure on this batch, rows x classes; may be repeated [default: six batches, made smaller to fit the device]
    #[arg(long = "shape", value_name = "RxC", value_parser = parse_shape)]
    pub shapes: Vec<Shape>,
    #[command(flatten)]
    pub adapter: AdapterArgs,
}
