//! `xent eval --part 3/16`: a part of the rows.

use std::ops::Range;

use xent::eval::files::Layout;
use xent::{Result, Shape};

use super::inputs;
use crate::args::EvalArgs;
use crate::output::bad_argument;
use crate::places::Places;

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
