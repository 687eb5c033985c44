//! The types of output values.

use clap::ValueEnum;

/// The type of an output's values.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Dtype {
    F32,
    F16,
    Bf16,
}
