//! `xent completions`: a script with which a shell completes the command line.

use clap::CommandFactory;
use xent::Result;

use crate::args::{Cli, CompletionsArgs};
use crate::outcome::Outcome;
use crate::output;

pub fn run(args: &CompletionsArgs) -> Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "xent", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}
