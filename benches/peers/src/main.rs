//! Compares xent with other implementations of a loss: the same logits, the same machine, one table.
//!
//! `make peers` runs this. Each contestant is a child process that answers on its standard output (`serve`). So one that
//! panics, hangs or takes all memory loses only its own cell, and a Python script can be a contestant like any other.
//! This process makes the data and knows the answers (`data`), asks the contestants in turn (`contest`) and writes the
//! table (`record`).

mod contest;
mod contestants;
mod data;
mod error;
mod record;
mod serve;
mod version;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [] => contest::run(),
        ["serve", name] => contestants::serve(name),
        _ => Err("no arguments: run `make peers`".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xent-peers: {error}");
            ExitCode::FAILURE
        }
    }
}
