//! `xent eval --part 3/16`: a part of the rows.

use std::ops::Range;
use std::path::Path;

use xent::eval::files::Layout;
use xent::{Result, Shape};

use super::{inputs, outputs};
use crate::args::EvalArgs;
use crate::merge::Stated;
use crate::origin::Origin;
use crate::outcome::Outcome;
use crate::output::{bad_argument, complain, shown};
use crate::places::Places;
use crate::report::{self, Summary};

/// Refuses what a part cannot have.
pub fn check(args: &EvalArgs) -> Result<()> {
    if args.part.part.is_none() {
        return Ok(());
    }
    for flag in ["html", "plot"] {
        if args.given.has(flag) {
            return Err(bad_argument(
                format!("--{flag}"),
                "does not apply to a part: xent merge draws the whole",
            ));
        }
    }
    if inputs::has_streams(args)? {
        let why = "stdin and pipes have no parts: the other parts could not read them again";
        return Err(bad_argument("--part", why));
    }
    Ok(())
}

/// With --resume, the report of a part that is done, if it is: its state is there, and so are its outputs, which nobody has written
/// to since then, and no checkpoint is.
pub fn done(args: &EvalArgs, stated: &Stated, checkpoint: &Path) -> Result<Option<Outcome>> {
    let Some(path) = args.part.state_out.as_deref().filter(|_| args.run.resume) else { return Ok(None) };
    let changed = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    let ended = changed(path);
    let is_of_then = |output: &&Path| changed(output).is_some_and(|written| Some(written) <= ended);
    let is_left = !checkpoint.exists() && outputs::paths(&args.output).iter().all(is_of_then);
    let Some(found) = stated.found_before(path).filter(|_| is_left) else { return Ok(None) };
    complain(format!("part {} is done: {} has its state", stated.part, shown(path)));
    let (report, origin) = (found.state.report(), Origin::again(&found.told.origin));
    let part = Some(stated.part).filter(|part| !part.is_whole());
    let summary = Summary { part, ..found.told.summary(&report, &found.tally, &origin) };
    report::print(&summary, args.output.json, args.output.strict, &[]).map(Some)
}

/// The rows of the part.
pub fn rows(args: &EvalArgs, shape: Shape, places: &Places) -> Result<Range<usize>> {
    let part = args.part.part();
    let rows = part.rows(shape, places);
    let is_cut = |row: usize| (1..shape.rows).contains(&row) && places.of(row).1 > 0;
    if args.output.sequences_out.is_some() && (is_cut(rows.start) || is_cut(rows.end)) {
        let why = format!(
            "part {part} begins or ends within a sequence, as the longest has {} of all {} rows: take fewer parts",
            places.longest(),
            shape.rows
        );
        return Err(bad_argument("--sequences-out", why));
    }
    Ok(rows)
}

/// The layout of these rows, which is that of all if they are all.
pub fn layout(whole: &Layout, rows: &Range<usize>) -> Result<Layout> {
    let Shape { rows: all, cols, inner, .. } = whole.shape();
    match (rows.len(), inner) {
        (part, _) if part == all => Ok(whole.clone()),
        (part, 1) => Layout::new(&[part, cols], 1),
        (part, inner) => Layout::new(&[part / inner, cols, inner], 1),
    }
}
