//! How a run goes: what it may take, and where it goes on.

use std::ffi::OsString;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;

#[derive(Args)]
#[command(next_help_heading = "Run")]
pub struct RunArgs {
    /// Take at most this much memory, driver included: 512MiB, 2GB
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// Where a run that is stopped leaves how far it has come [default: LOGITS.xent-checkpoint, here]
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
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

impl RunArgs {
    /// Whether a checkpoint was asked for by its name.
    pub fn names_checkpoint(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// The checkpoint's file, of a run over these logits.
    pub fn checkpoint(&self, logits: &[PathBuf]) -> PathBuf {
        let default = || {
            let name = logits.first().and_then(|path| path.file_name());
            let mut name = name.map_or(OsString::from("logits"), OsString::from);
            name.push(".xent-checkpoint");
            name.into()
        };
        self.checkpoint.clone().unwrap_or_else(default)
    }
}
