//! The report of a batch: for people, for programs, and as the exit status.

mod figures;
mod json;
mod summary;
mod text;

use xent::Verification;
use xent::eval::Notice;

use crate::outcome::Outcome;
use crate::output::{self, complain};

pub use figures::{digits, of_quantile};
pub use json::{VERSION, in_lines};
pub use summary::Summary;
use text::verified;
pub use text::{Line, Tone, bad_rows, lines};

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
    let bad_rows = bad_rows(summary.tally.bad() as usize, summary.tally.first_bad());
    let wrong = wrong(strict, bad_rows, &summary.report.notices());
    Ok(outcome(summary.report.verification.as_ref(), wrong))
}

/// How a run without a verification ended.
pub fn strictly(strict: bool, bad_rows: Option<String>, notices: &[Notice]) -> Outcome {
    outcome(None, wrong(strict, bad_rows, notices))
}

/// What is wrong in a strict run: bad rows, and notices.
fn wrong(strict: bool, bad_rows: Option<String>, notices: &[Notice]) -> Vec<String> {
    let bad_rows = bad_rows.map(|bad| format!("bad rows: {bad}"));
    let notices = notices.iter().map(|notice| format!("notice: {notice}"));
    bad_rows.into_iter().chain(notices).filter(|_| strict).collect()
}

/// Prints names and values in aligned columns.
pub fn print_lines(lines: &[(&str, String)]) -> xent::Result<()> {
    let lines: Vec<Line> = lines.iter().map(|(name, value)| Line::new(name, value)).collect();
    print_toned(&lines)
}

/// Prints lines in aligned columns.
pub fn print_toned(lines: &[Line]) -> xent::Result<()> {
    output::print_styled(&text::aligned(lines))
}

/// How a run ended in which these things are wrong.
fn outcome(verification: Option<&Verification>, wrong: Vec<String>) -> Outcome {
    match verification {
        Some(verification) if !verification.passed => {
            complain(format!("not verified: {}", verified(verification)));
            Outcome::NotVerified
        }
        _ if wrong.is_empty() => Outcome::Done,
        _ => {
            wrong.into_iter().for_each(complain);
            Outcome::BadRows
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_an_outcome_of_its_own() {
        let bad = || vec!["bad rows: 1: the first is row 0".to_owned()];
        let mut verification = Verification::new();
        verification.compare(3, 1.0, 1.0, 0.1);
        assert!(matches!(outcome(Some(&verification), vec![]), Outcome::Done));
        assert!(matches!(outcome(Some(&verification), bad()), Outcome::BadRows));
        verification.compare(3, 1.0, 1.5, 0.1);
        assert!(matches!(outcome(Some(&verification), vec![]), Outcome::NotVerified));
        assert!(matches!(outcome(Some(&verification), bad()), Outcome::NotVerified));
        assert!(matches!(outcome(None, vec![]), Outcome::Done));
        assert!(matches!(outcome(None, bad()), Outcome::BadRows));
        assert_eq!(
            verified(&verification),
            "1 rows against f64: NOT within bounds; worst is row 3, off by 5.0e-1 (3.3e-1 relative)"
        );
    }
}
