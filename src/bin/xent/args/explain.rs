//! The arguments of `xent explain`.

use clap::Args;

pub const HELP: &str = "\
Examples:
  xent explain 2 1 0.5 -1 --names cat,dog,bird,fish --target cat
  xent explain 2 1 0.5 -1 --target 0 --temperature 0.5
  xent explain 1000 2000          what overflows without subtracting the maximum

Everything is computed in f64, on the CPU.";

#[derive(Args)]
pub struct ExplainArgs {
    /// The logits of one row: 2 1 0.5 -1
    #[arg(value_name = "LOGIT", required = true, allow_negative_numbers = true)]
    pub logits: Vec<f32>,
    /// The true class, by its number or its name
    #[arg(long, value_name = "CLASS")]
    pub target: Option<String>,
    /// The names of the classes: cat,dog,bird
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub names: Vec<String>,
    /// Divide logits by T
    #[arg(long, value_name = "T", default_value_t = 1.0, allow_negative_numbers = true)]
    pub temperature: f32,
}
