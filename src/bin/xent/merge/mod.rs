//! `xent merge`: the parts of an evaluation, put together.

mod found;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use xent::eval::WholeFile;
use xent::{Error, Result};

use crate::args::{MergeArgs, Part};
use crate::eval::draw;
use crate::kept::{Difference, Identity};
use crate::names::Names;
use crate::numbers::thousands;
use crate::origin::Origin;
use crate::outcome::Outcome;
use crate::output::{bad_argument, check_distinct, complain, shown};
use crate::pictures::{Pictures, check_ending};
use crate::report;

pub use found::{Found, Stated, Told};

/// The most parts, or ranges of rows, that a message names.
const MOST_NAMED: usize = 8;

pub fn run(args: &MergeArgs) -> Result<Outcome> {
    for (path, endings) in [(&args.plot, &["svg"][..]), (&args.html, &["html", "htm"])] {
        path.as_ref().map_or(Ok(()), |path| check_ending(path, endings))?;
    }
    let written: Vec<&Path> =
        [&args.state_out, &args.plot, &args.html].into_iter().flatten().map(PathBuf::as_path).collect();
    let mut read: Vec<_> = args.files.iter().map(|path| ("a state", path.clone())).collect();
    read.extend(args.names.iter().map(|path| ("the names of the classes", path.clone())));
    check_distinct(&read, &written)?;
    Pictures::check([&args.state_out, &args.plot, &args.html])?;
    let (whole, found) = merged(&args.files)?;
    let run = whole.name();
    let state = args.state_out.as_ref().map(|path| WholeFile::create(path, &run)).transpose()?;
    if !found.state.is_whole() {
        let missing = missing(&found);
        let asks = [("--html", args.html.is_some()), ("--plot", args.plot.is_some()), ("--json", args.json)];
        let asked = asks.into_iter().find_map(|(flag, is_asked)| is_asked.then_some(flag));
        return match (state, asked) {
            (Some(mut file), None) => {
                found.write(&whole, &mut file)?;
                file.finish()?;
                complain(format!("no report yet: {missing}"));
                Ok(Outcome::Done)
            }
            (_, asked) => Err(bad_argument(asked.unwrap_or("the states"), missing)),
        };
    }
    print(args, &whole, found, state)
}

/// Prints the report of the whole, and writes what was asked for.
fn print(args: &MergeArgs, whole: &Identity, found: Found, state: Option<WholeFile>) -> Result<Outcome> {
    let report = found.state.report();
    let names = args.names.as_ref().map(|path| Names::open(path, report.cols)).transpose()?;
    let mut pictures = Pictures::create(&args.plot, &args.html, &whole.name())?;
    let origin = Origin::again(&found.told.origin);
    let summary = found.told.summary(&report, &found.tally, &origin);
    draw(&mut pictures, &summary, &found.told.name, names.as_ref())?;
    let outcome = report::print(&summary, args.json, args.strict, &[])?;
    // Results that were not verified replace no file.
    if matches!(outcome, Outcome::NotVerified) {
        return Ok(outcome);
    }
    if let Some(mut file) = state {
        found.write(whole, &mut file)?;
        file.finish()?;
    }
    pictures.finish()?;
    Ok(outcome)
}

/// All of these states, and what they are of.
fn merged(files: &[PathBuf]) -> Result<(Identity, Found)> {
    let mut all: Option<(Identity, Found)> = None;
    let mut seen = Seen::default();
    for path in files {
        let (whole, found) = Found::read(path)?;
        let refused = |why: String| -> Error { bad_argument(path.display().to_string(), why) };
        seen.add(path, &found).map_err(refused)?;
        let Some((first, merged)) = &mut all else {
            all = Some((whole, found));
            continue;
        };
        if let Some(Difference { name, before, now }) = whole.difference(first) {
            let other = shown(&files[0]);
            let why =
                format!("it is not of the same whole as {other}: {name} is {now} here, and {before} there");
            return Err(refused(why));
        }
        merged.state.merge(&found.state).map_err(|error| refused(error.to_string()))?;
        merged.tally.merge(&found.tally);
        // What is told beside the figures is that of the lowest part, whatever the order.
        if found.parts < merged.parts {
            merged.told = found.told;
        }
        merged.parts.extend(found.parts);
        merged.parts.sort_unstable();
    }
    all.ok_or_else(|| bad_argument("the states", "none was given"))
}

/// Which file each part and each row came from.
#[derive(Default)]
struct Seen<'a> {
    parts: BTreeMap<Part, &'a Path>,
    /// The end of each range of rows by its start.
    rows: BTreeMap<usize, (usize, &'a Path)>,
}

impl<'a> Seen<'a> {
    /// Adds what a file has, or says what of it is in another file already.
    fn add(&mut self, path: &'a Path, found: &Found) -> Result<(), String> {
        for &part in &found.parts {
            if let Some(other) = self.parts.insert(part, path) {
                return Err(format!("part {part} is also in {}", shown(other)));
            }
        }
        for rows in found.state.row_ranges() {
            let before = self.rows.range(..rows.end).next_back();
            if let Some((&start, &(end, other))) = before.filter(|(_, (end, _))| *end > rows.start) {
                let both = start.max(rows.start)..end.min(rows.end);
                return Err(format!("{} are also in {}", in_words(&both), shown(other)));
            }
            self.rows.insert(rows.start, (rows.end, path));
        }
        Ok(())
    }
}

/// Rows in words, from the first to the last.
fn in_words(rows: &Range<usize>) -> String {
    format!("rows {} to {}", thousands(rows.start), thousands(rows.end.saturating_sub(1)))
}

/// The rows and the parts that are missing, in words.
fn missing(found: &Found) -> String {
    let mut gaps = Vec::new();
    let mut end = 0;
    for rows in found.state.row_ranges().chain(std::iter::once(found.told.rows..found.told.rows)) {
        if rows.start > end {
            gaps.push(end..rows.start);
        }
        end = rows.end;
    }
    let gaps = listed(gaps.iter().map(in_words), gaps.len());
    let (parts, count) = Part::missing(&found.parts, MOST_NAMED);
    let parts = listed(parts.iter().map(Part::to_string), count);
    let parts = if parts.is_empty() { parts } else { format!(": of the parts, {parts}") };
    format!("{gaps} of {} are missing{parts}", thousands(found.told.rows))
}

/// The first of so many, and the number of the others.
fn listed(all: impl Iterator<Item = String>, count: usize) -> String {
    let more = count.saturating_sub(MOST_NAMED);
    let first = all.take(MOST_NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{first} and {} more", thousands(more)) } else { first }
}
