//! The arguments of an evaluation by columns: those of `xent eval` that merge.

use std::num::NonZero;
use std::path::PathBuf;

use clap::Parser;
use xent::{CrossEntropyOptions, VocabularyShard};

use crate::asked::with_rank;

/// Evaluate logits of which each rank reads some columns of every row
///
/// Each rank reads its columns, one gather of 32 bytes a row tells all ranks what the others found, and rank 0 prints the
/// report. Options have the meaning that they have for `xent eval`; what is not here cannot be put together from parts of rows,
/// or is not made: split by rows for it.
#[derive(Parser)]
#[command(name = "xent-mpi eval --distributed vocab", disable_version_flag = true)]
pub struct VocabArgs {
    /// Logits (rows, columns): one file, of which each rank reads its columns, or a file for each rank, if {rank} is in the name
    ///
    /// {rank} is the number of the rank, from 0. Files lie in the order of the ranks; a rank's file may have any number of columns.
    #[arg(value_name = "LOGITS")]
    pub logits: PathBuf,
    /// Whether each rank has a file of its own.
    #[arg(skip)]
    pub is_own: bool,
    /// The array in a .npz or .safetensors file
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// A class of the whole row for each row: integers
    #[arg(long, value_name = "FILE")]
    pub targets: PathBuf,
    /// Leave out rows with this target
    #[arg(long, value_name = "N", default_value = "-100", allow_hyphen_values = true)]
    pub ignore_index: i32,
    /// A weight for each row: floats
    #[arg(long, value_name = "FILE")]
    pub row_weights: Option<PathBuf>,
    /// A weight for each class of the whole row: floats
    #[arg(long, value_name = "FILE")]
    pub class_weights: Option<PathBuf>,
    /// Divide logits by T
    #[arg(long, value_name = "T", default_value = "1")]
    pub temperature: f32,
    /// Cap logits to C*tanh(logit / C) first
    #[arg(long, value_name = "C")]
    pub softcap: Option<f32>,
    /// Spread X of the target evenly over all classes
    #[arg(long, value_name = "X", default_value = "0")]
    pub label_smoothing: f32,
    /// Add X times the square of each row's ln(sum of exp)
    #[arg(long, value_name = "X", default_value = "0")]
    pub z_loss: f32,
    /// Multiply the target's term by (1 - p)^G
    #[arg(long, value_name = "G", default_value = "0")]
    pub focal_gamma: f32,
    /// Take the adapter whose name contains NAME, or `cpu` [default: hardware, else the processor]
    #[arg(long, value_name = "NAME", env = "XENT_ADAPTER", hide_env_values = true)]
    pub adapter: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Continue a stopped job; needs the same files and options
    #[arg(long)]
    pub resume: bool,
    /// Read so many rows at a time: for tests
    #[arg(long, value_name = "ROWS", hide = true)]
    pub window_rows: Option<NonZero<usize>>,
}

impl VocabArgs {
    /// Takes the file of this rank.
    pub fn of_rank(self, rank: i32) -> Self {
        let own = with_rank(self.logits.clone().into(), rank).into();
        Self { is_own: own != self.logits, logits: own, ..self }
    }

    /// The options of the loss, of a rank with these columns.
    pub fn options(&self, shard: VocabularyShard) -> CrossEntropyOptions {
        CrossEntropyOptions {
            temperature: self.temperature,
            softcap: self.softcap,
            label_smoothing: self.label_smoothing,
            z_loss: self.z_loss,
            focal_gamma: self.focal_gamma,
            ignore_index: self.ignore_index,
            shard: Some(shard),
            ..Default::default()
        }
    }

    /// The same of the whole rows.
    pub fn options_of_the_whole(&self, cols: usize) -> CrossEntropyOptions {
        CrossEntropyOptions { shard: None, ..self.options(VocabularyShard::new(0, cols)) }
    }

    /// What decides the figures, beside the files.
    pub fn identity(&self) -> String {
        let Self { key, ignore_index, temperature, softcap, adapter, .. } = self;
        format!("{key:?} {ignore_index} {temperature:e} {softcap:?} {:e} {adapter:?}", self.label_smoothing)
    }
}
