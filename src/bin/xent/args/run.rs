//! How a run goes: what it may take, and where it goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

#[derive(Args)]
#[command(next_help_heading = "Run")]
pub struct RunArgs {
    /// Take at most this much memory, driver included: 512MiB, 2GB
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// Where a run writes how far it has come [default: LOGITS.RUN.xent-checkpoint, here]
    ///
    /// RUN is a number made of the files, the options and the adapter, so that no two runs share one.
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Write it every so many seconds, and at each error or stop; the first time after a tenth of them
    ///
    /// Outputs are brought to the disk before. Where that takes long, it is done less often, so that it
    /// takes at most a twentieth of the time.
    #[arg(hide_short_help = true, long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub checkpoint_every: Duration,
    /// Go on where a run was stopped: with the same files and options
    #[arg(long)]
    pub resume: bool,
    /// Let windows take this much, whatever the rest does: for tests
    #[arg(long, value_name = "SIZE", hide = true, conflicts_with = "memory")]
    pub windows: Option<ByteSize>,
    /// Stop as by Ctrl-C before the window that goes beyond this row: for tests
    #[arg(long, value_name = "ROW", hide = true)]
    pub stop_after: Option<usize>,
}

/// The bytes of the logits' name that a checkpoint's has: what is behind it must have room.
const NAME_BYTES: usize = 120;

impl RunArgs {
    /// The checkpoint that was asked for by its name.
    pub fn named_checkpoint(&self) -> Option<&Path> {
        self.checkpoint.as_deref()
    }

    /// The checkpoint's file, of this run over these logits.
    pub fn checkpoint(&self, logits: &[PathBuf], run: &str) -> PathBuf {
        let default = || format!("{}{run}{CHECKPOINT_END}", checkpoint_start(logits)).into();
        self.checkpoint.clone().unwrap_or_else(default)
    }
}

/// How the names of checkpoints end.
pub const CHECKPOINT_END: &str = ".xent-checkpoint";

/// How the names of checkpoints of runs over these logits begin.
pub fn checkpoint_start(logits: &[PathBuf]) -> String {
    let name = logits.first().and_then(|path| path.file_name());
    let name = name.map_or("logits".into(), |name| name.to_string_lossy());
    let mut end = name.len().min(NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}.", &name[..end])
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
