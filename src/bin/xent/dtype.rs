//! Types of values.

use clap::ValueEnum;

/// What the values of an output are.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Dtype {
    F32,
    F16,
    Bf16,
}
