//! The arguments of `xent compare`.

use std::path::PathBuf;

use clap::Args;

use super::device::DeviceArgs;
use super::given::Given;
use super::logits::ReadArgs;
use super::run::RunArgs;

pub const SHORT_HELP: &str = "\
Examples:
  xent compare full.npy quantised.npy --targets targets.npy
  xent compare full/ quantised/ --targets tokens.npy --shift 1 --html changes.html

'xent compare --help' explains the figures.";

pub const HELP: &str = "\
Examples:
  xent compare full.npy quantised.npy --targets targets.npy
  xent compare full.safetensors pruned.safetensors --targets tokens.npy --shift 1 --html a.html
  xent compare full/ quantised/ --rows-out rows.csv
  xent compare base.kld quantised.kld --llama-cpp
  xent compare before.json after.json

Both have the logits of the same rows and classes, of any float type; a folder is the shards of one
model. Without targets there are no losses. Rows are read in pairs, piece by piece, so both may be
larger than memory, and a stopped run continues with --resume. Either may come through a pipe, as -
or <(command): it is read once. Two names that end with .json are saved reports of
'xent eval --json': their figures come side by side, if they are of the same data.

What llama-perplexity --save-all-logits writes is read, too. Its targets are in the file, and its
log-probabilities are taken as they are: they are not normalised, so KL may be below 0. Targets that
are stored at the floor, 16 below the row's maximum, are counted; their losses are lower bounds. The
other may have logits in any other file, of the same chunks. --llama-cpp gives the figures and lines
of llama-perplexity --kl-divergence, whose KL leaves out the base's log-probabilities of -16 and
less, and whose errors are for independent rows.

KL is that of OTHER from BASE: the extra nats of a code for OTHER's distribution when BASE's is
true. A change is OTHER minus BASE. After \u{b1} is a standard error, of means for independent sequences
if there are several, else for independent rows; of shares for rows. It is of the pairs: a row that
is hard for one model is hard for the other, so the error of a change is far below those of both
means. Quantiles are within 1/128 of the rows' values; a row's KL is within 5e-6 of the
exact one. A row with a NaN or an infinite KL or loss is bad: losses, KL and probabilities are
without it. Predictions are compared in every row in which both have one (predicted).

The table of --rows-out has the columns row, sequence, position, target, kl, base_loss, other_loss,
base_argmax, other_argmax, overlap, logit_difference and flags.

JSON keys: format ('xent compare'), version (1; it rises when a key changes its meaning), xent,
complete, rows, cols, counted, left_out, bad, first_bad_row, independent_sequences (null: rows are
independent), equal_rows, equal, losses (null without targets: rows, base, other, change,
covariance, correlation, base_perplexity, other_perplexity, perplexity_ratio, perplexity_change),
kl and prob_change (rows, mean, min, max, quantiles, within; for prob_change also rms), predicted,
same_top, top_k, overlap, accuracy (base, other, lost, gained),
logit_difference (largest, row), changed_rows (rows, sequences, positions, kl, base_losses,
other_losses, targets, base_argmax, other_argmax), adapter, seconds, peak_memory_bytes, and inputs,
options, command, date as in docs/eval-json.md. A figure with a standard error is an object of value
and error. Of two saved reports: format ('xent compare reports'), version, xent, rows, mean (base,
other, change), perplexity, accuracy and options (base, other).";

#[derive(Args)]
pub struct CompareArgs {
    /// The base's logits: .npy, .npz, .safetensors or raw, or a folder of shards
    #[arg(value_name = "BASE")]
    pub base: PathBuf,
    /// The other model's logits, for the same rows and classes
    #[arg(value_name = "OTHER")]
    pub other: PathBuf,
    #[command(flatten)]
    pub read: ReadArgs,
    /// The array of the other's logits in its file [default: as --key, and none for .npy]
    #[arg(hide_short_help = true, long, value_name = "NAME")]
    pub other_key: Option<String>,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub rows: ComparedRowArgs,
    #[command(flatten)]
    pub output: CompareOutputArgs,
    #[command(flatten)]
    pub run: RunArgs,
    /// The arguments that were given.
    #[arg(skip)]
    pub given: Given,
}

#[derive(Args)]
#[command(next_help_heading = "Rows")]
pub struct ComparedRowArgs {
    /// A class for each row: integers [default: none, and no losses]
    #[arg(long, value_name = "FILE")]
    pub targets: Option<PathBuf>,
    /// The tensor of the targets, in their own file or in that of the base
    #[arg(hide_short_help = true, long, value_name = "NAME")]
    pub targets_key: Option<String>,
    /// Leave out rows with these targets: -100,50256
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "-100", allow_hyphen_values = true)]
    pub ignore_index: Vec<i32>,
    /// Which rows count: booleans or integers; rows with 0 are left out. Needs targets
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    pub row_mask: Option<PathBuf>,
    /// Score position t against the target of t + N (1: next tokens); needs targets
    #[arg(long, value_name = "N")]
    pub shift: Option<usize>,
    /// Rows per sequence [default: the axis before the classes if these are last, else all rows]
    #[arg(hide_short_help = true, long, value_name = "L")]
    pub sequence: Option<usize>,
    /// Divide the logits of both by T
    #[arg(
        hide_short_help = true,
        long,
        value_name = "T",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    pub temperature: f32,
    /// llama.cpp's convention and its lines: log-probabilities of the base of -16 and less have no part in KL
    #[arg(hide_short_help = true, long, conflicts_with = "temperature")]
    pub llama_cpp: bool,
    /// Count how many of the K largest classes both have in common; 0 for none
    #[arg(long, value_name = "K", default_value_t = 5)]
    pub top_k: usize,
}

#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct CompareOutputArgs {
    /// Write what was found in each row
    #[arg(long, value_name = "FILE.csv")]
    pub rows_out: Option<PathBuf>,
    /// Name the N rows that changed most
    #[arg(hide_short_help = true, long, value_name = "N", default_value_t = 10)]
    pub changed: usize,
    /// Draw the distributions of the divergence and of the change of the target's probability
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Write the summary and these plots as one page
    #[arg(long, value_name = "FILE.html")]
    pub html: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
