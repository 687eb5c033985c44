//! The arguments that say where kernels run.

use std::path::{Path, PathBuf};

use clap::Args;

/// The help of `--adapter` for commands that only run kernels.
pub const ADAPTER_ONLY: &str =
    "Take the adapter whose name contains NAME [default: hardware before software]";

#[derive(Args)]
pub struct AdapterArgs {
    /// Take the adapter whose name contains NAME, or `cpu` [default: hardware before software]
    ///
    /// NAME#1 is the second of several with that name, in the order of `xent adapters`; #1 the second of all.
    #[arg(
        id = "adapter",
        long = "adapter",
        value_name = "NAME",
        env = "XENT_ADAPTER",
        hide_env_values = true
    )]
    name: Option<String>,
}

impl AdapterArgs {
    /// The part of a name that was given, if any. An empty environment variable counts as none.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref().filter(|name| !name.is_empty())
    }
}

/// The adapter, and how its kernels are laid out.
#[derive(Args)]
pub struct DeviceArgs {
    #[command(flatten)]
    pub adapter: AdapterArgs,
    /// Use the kernel layout that `xent tune` found; a file for another adapter, driver or version is ignored
    #[arg(hide_short_help = true, id = "tuning", long = "tuning", value_name = "FILE")]
    tuning: Option<PathBuf>,
}

impl DeviceArgs {
    /// The path of a tuning file, if one was given.
    pub fn tuning(&self) -> Option<&Path> {
        self.tuning.as_deref()
    }

    /// The tuning file as an input, which no output may overwrite.
    pub fn input(&self) -> Option<(&'static str, PathBuf)> {
        self.tuning.clone().map(|path| ("the tuning", path))
    }
}
