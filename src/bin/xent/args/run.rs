//! The arguments of a run: how much memory it may use, and where its checkpoint is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use xent::Result;

use crate::output::bad_argument;

#[derive(Args)]
#[command(next_help_heading = "Run")]
pub struct RunArgs {
    /// Use at most this much memory, driver included: 512MiB, 2GB
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// Save the progress of the run in this file [default: LOGITS.RUN.xent-checkpoint, here]
    ///
    /// RUN is a number computed from the files, the options and the adapter, so that no two runs share a file.
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Save every SECONDS, and at each error or stop; the first time after a tenth of that
    ///
    /// The outputs are written to the disk first. If that takes long, it is done less often, so that it takes at most a
    /// twentieth of the time.
    #[arg(hide_short_help = true, long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub checkpoint_every: Duration,
    /// Continue a stopped run; needs the same files and options
    #[arg(long)]
    pub resume: bool,
    /// Let windows use this much memory, whatever the rest uses: for tests
    #[arg(long, value_name = "SIZE", hide = true, conflicts_with = "memory")]
    pub windows: Option<ByteSize>,
    /// Stop, as after Ctrl-C, before the window that goes beyond this row: for tests
    #[arg(long, value_name = "ROW", hide = true)]
    pub stop_after: Option<usize>,
}

/// The most bytes of the logits' name that go into a checkpoint's name, so that there is room for the rest.
const NAME_BYTES: usize = 120;

impl RunArgs {
    /// The checkpoint's path, if one was given.
    pub fn named_checkpoint(&self) -> Option<&Path> {
        self.checkpoint.as_deref()
    }

    /// Refuses a checkpoint of a run whose input comes through stdin or a pipe.
    pub fn check_stream(&self) -> Result<()> {
        let why = "input from stdin or a pipe cannot be read again";
        match (self.resume, &self.checkpoint) {
            (true, _) => Err(bad_argument("--resume", why)),
            (_, Some(_)) => Err(bad_argument("--checkpoint", why)),
            (false, None) => Ok(()),
        }
    }

    /// The path of the checkpoint of this run over these logits.
    pub fn checkpoint(&self, logits: &[PathBuf], run: &str) -> PathBuf {
        let default = || format!("{}{run}{CHECKPOINT_END}", checkpoint_start(logits)).into();
        self.checkpoint.clone().unwrap_or_else(default)
    }
}

/// The end of every checkpoint's name.
pub const CHECKPOINT_END: &str = ".xent-checkpoint";

/// The start of the names of all checkpoints of runs over these logits.
pub fn checkpoint_start(logits: &[PathBuf]) -> String {
    let name = logits.first().and_then(|path| path.file_name());
    let name = name.map_or("logits".into(), |name| name.to_string_lossy());
    let mut end = name.len().min(NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}.", &name[..end])
}

fn parse_seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
