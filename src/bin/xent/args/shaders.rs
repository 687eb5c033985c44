//! The arguments of `xent shaders`.

use std::path::PathBuf;

use clap::Args;

pub const HELP: &str = "\
Each module is complete: a pass, for one type of logits, kind of target and way to load and write.
It begins with a comment that says what it computes, its bindings and its override constants. Names
that end in int64 have 64-bit integers, which wgpu compiles on some devices and a browser does not.

Examples:
  xent shaders
  xent shaders --export wgsl";

#[derive(Args)]
pub struct ShadersArgs {
    /// Write each module to a file NAME.wgsl in this folder, made if there is none
    #[arg(long, value_name = "DIR")]
    pub export: Option<PathBuf>,
}
