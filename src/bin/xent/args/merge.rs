//! The arguments of `xent merge`.

use std::path::PathBuf;

use clap::Args;

pub const HELP: &str = "\
Examples:
  for k in 1 2 3 4; do
    xent eval logits.npy --targets targets.npy --part $k/4 --state-out $k.state
  done
  xent merge *.state
  xent merge *.state --json --html report.html
  xent merge 1.state 2.state --state-out half.state

The parts may be given in any order, and what was merged may be merged again. The report is that of
one run over all rows, digit by digit: every sum is exact. Parts that overlap or are missing, and
parts of other files, options, adapters or versions are refused. With --state-out, parts may be
missing; there is a report once they are all there. A part that holds no row need not be there.

JSON keys: those of xent eval --json.";

#[derive(Args)]
pub struct MergeArgs {
    /// States that xent eval or xent merge wrote with --state-out
    #[arg(value_name = "STATES", required = true)]
    pub files: Vec<PathBuf>,
    /// Write what was merged as one state
    #[arg(long, value_name = "FILE")]
    pub state_out: Option<PathBuf>,
    /// Draw a histogram of the row losses, and the loss by position
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Write the summary and these plots as one page
    #[arg(long, value_name = "FILE.html")]
    pub html: Option<PathBuf>,
    /// Names of the classes, for the page, as for xent eval
    #[arg(long, value_name = "FILE", requires = "html")]
    pub names: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Exit with status 1 if a row is bad, such as a NaN loss, or for a notice
    #[arg(long)]
    pub strict: bool,
}
