//! The arguments that say how logits become scores.

use clap::{Args, ValueEnum};
use xent::{Result, SoftmaxOptions};

use crate::output::bad_argument;

/// How logits become the scores that go into the softmax.
#[derive(Args)]
pub struct ScoreArgs {
    /// Cap logits to C*tanh(logit / C) first
    #[arg(hide_short_help = true, long, value_name = "C", allow_negative_numbers = true)]
    pub softcap: Option<f32>,
    /// Divide logits by T
    #[arg(long, value_name = "T", value_delimiter = ',', default_value = "1", allow_negative_numbers = true)]
    pub temperature: Vec<f32>,
    /// The result of a row whose logits are all -inf
    #[arg(hide_short_help = true, long, value_name = "HOW", value_enum, default_value_t = MaskedRow::Nan)]
    pub masked_row: MaskedRow,
}

impl ScoreArgs {
    /// The softmax of these scores, which needs one temperature.
    pub fn softmax(&self) -> Result<SoftmaxOptions> {
        let [temperature] = self.temperature[..] else {
            return Err(bad_argument("--temperature", "takes one value here; xent eval takes several"));
        };
        Ok(SoftmaxOptions { masked_row: self.masked_row.into(), temperature, softcap: self.softcap })
    }
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum MaskedRow {
    Nan,
    Zero,
}

impl From<MaskedRow> for xent::MaskedRow {
    fn from(row: MaskedRow) -> Self {
        match row {
            MaskedRow::Nan => Self::Nan,
            MaskedRow::Zero => Self::Zero,
        }
    }
}
