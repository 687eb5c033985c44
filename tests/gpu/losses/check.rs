//! Runs of a case on the shared device, compared with the reference.

use xent::{Element, Tuning};

use crate::losses::{Case, Expected, Found, Loss, Offsets, Run, run};
use crate::typed::To;

/// Runs a case by each of these paths, with one tuning, and compares.
pub fn check_runs<L: Loss, E: Element>(
    case: &Case<L, E>,
    tuning: Option<Tuning>,
    runs: &[Run],
) -> Vec<Found> {
    let expected = Expected::of(case);
    check_against(&expected, case, tuning, runs)
}

/// A case by the host path, and bound with every tuning at all these offsets; the places of the gradient in turn.
pub fn check<L: Loss, E: Element>(case: &Case<L, E>, tunings: &[Option<Tuning>], offsets: &[Offsets]) {
    let expected = Expected::of(case);
    check_against(&expected, case, None, &[Run::Host]);
    let places = To::all::<E>(case.shape);
    for (i, &tuning) in tunings.iter().enumerate() {
        for (k, &offsets) in offsets.iter().enumerate() {
            let to = places[(i + k) % places.len()];
            // In place, 16-bit logits begin on a word.
            let logits = if to == To::InPlace { offsets.logits / 4 * 4 } else { offsets.logits };
            check_against(&expected, case, tuning, &[Run::Bound(Offsets { logits, ..offsets }, to)]);
        }
    }
}

fn check_against<L: Loss, E: Element>(
    expected: &Expected,
    case: &Case<L, E>,
    tuning: Option<Tuning>,
    runs: &[Run],
) -> Vec<Found> {
    let op = tuning.map_or_else(|| case.op(), |tuning| L::tuned(case.op(), tuning));
    let checked = |&by| {
        let mut found = run(&op, case, by);
        found.path += &format!(", {tuning:?}");
        expected.check(case, &found);
        found
    };
    runs.iter().map(checked).collect()
}
