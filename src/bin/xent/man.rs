//! `xent man`: the manual pages.

use clap::CommandFactory;
use clap_mangen::Man;
use xent::{Error, Result};

use crate::args::{Cli, ManArgs};
use crate::outcome::Outcome;
use crate::output::{bad_argument, print};

/// The version, at the foot of a page.
const SOURCE: &str = concat!("xent ", env!("CARGO_PKG_VERSION"));

pub fn run(args: &ManArgs) -> Result<Outcome> {
    let mut tool = Cli::command();
    tool.build();
    let mut title = "xent".to_owned();
    let page = match &args.command {
        None => tool,
        Some(command_name) => {
            let command = tool.find_subcommand(command_name).cloned();
            let command = command.ok_or_else(|| bad_argument(command_name, "there is no such command"))?;
            // As git's pages are called: xent-eval(1).
            title = format!("xent-{command_name}");
            command
        }
    };
    let mut text = Vec::new();
    let written = Man::new(page).title(title).source(SOURCE).render(&mut text);
    written.map_err(|error| Error::File { path: "stdout".to_owned(), message: error.to_string() })?;
    print(&String::from_utf8_lossy(&text))?;
    Ok(Outcome::Done)
}
