//! The report of a batch: for people, for programs, and as the exit status.

mod figures;
mod json;
mod summary;
mod text;

use xent::Verification;

use crate::outcome::Outcome;
use crate::output::{self, complain};

pub use figures::digits;
pub use summary::Summary;
use text::verified;
pub use text::{Line, Tone, lines};

/// Prints a report, and returns how the run ended. If `strict`, bad rows are an outcome of their own.
pub fn print(
    summary: &Summary<'_>,
    as_json: bool,
    strict: bool,
    more: &[(&str, String)],
) -> xent::Result<Outcome> {
    if as_json {
        output::print_json(&json::text(summary))?;
    } else {
        let mut lines = lines(summary);
        lines.extend(more.iter().map(|(name, value)| Line::new(name, value)));
        output::print_styled(&text::aligned(&lines))?;
    }
    let bad_rows = text::bad_rows(summary).filter(|_| strict);
    Ok(outcome(summary.report.verification.as_ref(), bad_rows))
}

/// Prints names and values in aligned columns.
pub fn print_lines(lines: &[(&str, String)]) -> xent::Result<()> {
    let lines: Vec<Line> = lines.iter().map(|(name, value)| Line::new(name, value)).collect();
    output::print_styled(&text::aligned(&lines))
}

fn outcome(verification: Option<&Verification>, bad_rows: Option<String>) -> Outcome {
    match (verification, bad_rows) {
        (Some(verification), _) if !verification.passed => {
            complain(format!("not verified: {}", verified(verification)));
            Outcome::NotVerified
        }
        (_, Some(bad)) => {
            complain(format!("bad rows: {bad}"));
            Outcome::BadRows
        }
        _ => Outcome::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_an_outcome_of_its_own() {
        let bad = || Some("1: the first is row 0".to_owned());
        let mut verification = Verification::new();
        verification.compare(3, 1.0, 1.0, 0.1);
        assert!(matches!(outcome(Some(&verification), None), Outcome::Done));
        assert!(matches!(outcome(Some(&verification), bad()), Outcome::BadRows));
        verification.compare(3, 1.0, 1.5, 0.1);
        assert!(matches!(outcome(Some(&verification), None), Outcome::NotVerified));
        assert!(matches!(outcome(Some(&verification), bad()), Outcome::NotVerified));
        assert!(matches!(outcome(None, None), Outcome::Done));
        assert!(matches!(outcome(None, bad()), Outcome::BadRows));
        assert_eq!(
            verified(&verification),
            "1 rows against f64: NOT within bounds; worst is row 3, off by 5.0e-1 (3.3e-1 relative)"
        );
    }
}
