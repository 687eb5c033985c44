//! A contestant's side of the conversation, line by line:
//!
//! | asked on standard input | answered on standard output |
//! | --- | --- |
//! | (at the start) | `ready ABOUT`, or `failed WHY` |
//! | `load FOLDER ROWS COLS` | `loaded` |
//! | `check OPERATION` | `values` and the loss, then the values at the probes; of top-k, the probed rows' values, then their classes |
//! | `time OPERATION UNTIMED TIMED` | `times` and the seconds of TIMED runs |
//!
//! `failed not compared` is the answer to an operation that is not timed of this contestant. `failed WHY` may be the answer to all of them. `torch_peer.py` uses the same words.

use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use crate::data::{Batch, Operation};
use crate::error::Result;

/// What a contestant answers to an operation that is not timed of it.
pub const NOT_COMPARED: &str = "not compared";

/// A contestant.
pub trait Contestant {
    /// What it is: name, version, and what it runs on.
    fn about(&self) -> String;

    /// Moves a batch to where the contestant computes.
    fn load(&mut self, batch: &Batch) -> Result<()>;

    /// Runs an operation on the batch to its end, and keeps the result. This is what is timed.
    fn run(&mut self, operation: Operation) -> Result<()>;

    /// What the last run gave: the loss of [`Operation::Loss`]; that and the gradient at the probes; probabilities at
    /// the probes; the classes of the probed rows, as [`Batch::probe_classes`] lists them.
    fn values(&mut self, batch: &Batch) -> Result<Vec<f64>>;
}

/// Answers until there are no more questions.
pub fn serve<C: Contestant>(open: impl FnOnce() -> Result<C>) -> Result<()> {
    let mut contestant = match guarded(open) {
        Ok(contestant) => contestant,
        Err(why) => {
            say(&format!("failed {why}"));
            return Ok(());
        }
    };
    say(&format!("ready {}", contestant.about()));
    let mut batch = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match guarded(|| answer(&mut contestant, &mut batch, &line)) {
            Ok(answer) => say(&answer),
            Err(why) => say(&format!("failed {why}")),
        }
    }
    Ok(())
}

fn answer(contestant: &mut impl Contestant, batch: &mut Option<Batch>, line: &str) -> Result<String> {
    let words: Vec<&str> = line.split('\t').collect();
    match words[..] {
        ["load", folder, rows, cols] => {
            let read = Batch::read(Path::new(folder), rows.parse()?, cols.parse()?)?;
            contestant.load(&read)?;
            *batch = Some(read);
            Ok("loaded".into())
        }
        ["check", operation] => {
            let batch = batch.as_ref().ok_or("nothing is loaded")?;
            contestant.run(Operation::named(operation)?)?;
            let values = contestant.values(batch)?;
            Ok(listed("values", &values))
        }
        ["time", operation, untimed, timed] => {
            let operation = Operation::named(operation)?;
            for _ in 0..untimed.parse()? {
                contestant.run(operation)?;
            }
            let mut times = Vec::new();
            for _ in 0..timed.parse()? {
                let start = Instant::now();
                contestant.run(operation)?;
                times.push(start.elapsed().as_secs_f64());
            }
            Ok(listed("times", &times))
        }
        _ => Err(format!("not understood: {line}").into()),
    }
}

fn listed(what: &str, values: &[f64]) -> String {
    values.iter().fold(what.to_owned(), |list, value| format!("{list} {value:e}"))
}

/// Catches panics: some contestants panic when they cannot continue.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> std::result::Result<T, String> {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(one_line(&error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(one_line(text.unwrap_or("a panic without a message")))
        }
    }
}

fn say(line: &str) {
    println!("{line}");
    // If nobody reads any more, the next read from standard input ends this process.
    let _ = std::io::stdout().flush();
}
