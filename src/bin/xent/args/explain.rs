//! The arguments of `xent explain`.

use clap::Args;

pub const HELP: &str = "\
Examples:
  xent explain 2 1 0.5 -1 --names cat,dog,bird,fish --target cat
  xent explain 2 1 0.5 -1 --target 0 --temperature 0.5
  xent explain 1000 2000          what overflows without subtracting the maximum

The logits are taken as f32, as the kernels have them. Everything else is f64, on the CPU.";

/// A logit. A number that f32 cannot hold is not taken for an infinity.
pub fn logit(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|error| format!("{error}"))?;
    let is_number = text != MINUS_INFINITY && text.contains(|c: char| c.is_ascii_digit());
    match value.is_infinite() && is_number {
        true => Err("it is beyond f32, whose largest number is 3.4e38".to_owned()),
        false => Ok(value),
    }
}

/// How `-inf` comes to the parser, which would take it for options.
pub const MINUS_INFINITY: &str = "-1e999";

#[derive(Args)]
pub struct ExplainArgs {
    /// The logits of one row: 2 1 0.5 -1
    #[arg(value_name = "LOGIT", required = true, allow_negative_numbers = true, value_parser = logit)]
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
