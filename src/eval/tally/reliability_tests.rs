use super::*;

fn of(rows: &[(f32, bool)], bins: usize) -> Reliability {
    let mut reliability = Reliability::new(bins);
    rows.iter().for_each(|&(confidence, is_correct)| reliability.add(confidence, is_correct));
    assert!(reliability.is_sound(bins), "{rows:?}");
    reliability
}

fn close(found: Option<f64>, expected: f64) -> bool {
    found.is_some_and(|found| (found - expected).abs() < 1e-6)
}

/// A confidence on the edge of a bin: the f32 nearest to 0.6 is above it, and so in the next bin.
fn at_most(confidence: f32) -> f32 {
    confidence.next_down()
}

#[test]
fn worked_answers() {
    let confidences = [0.5, at_most(0.6), at_most(0.8), 0.9, 1.0, 1.0];
    let rows: Vec<_> = confidences.into_iter().zip([true, false, true, true, true, false]).collect();
    let five = of(&rows, 5);
    assert!(close(five.ece(), 0.2) && close(five.mce(), 0.3), "{five:?}");
    let equal = five.equal_mass(3).unwrap();
    assert!((equal.ece - 1.4 / 6.0).abs() < 1e-6 && equal.within < 0.34, "{equal:?}");
    assert_eq!((five.rows(), five.bins().map(|bin| bin.rows).collect::<Vec<_>>()), (6, vec![0, 0, 2, 1, 3]));
    let ten = of(&[(0.95, true), (1.0, false)], 10);
    assert!(close(ten.ece(), 0.475) && close(ten.mean_confidence(), 0.975), "{ten:?}");
    let none = of(&[(f32::NAN, true), (-0.5, true)], 15);
    assert_eq!(
        (none.ece(), none.mce(), none.equal_mass(15), none.mean_confidence()),
        (None, None, None, None)
    );
    assert!(close(of(&[(3.0, true)], 15).mean_confidence(), 1.0));
    assert!(close(of(&[(1e-45, false), (0.0, false)], 15).ece(), 0.0));
}

/// Confidences of every size, as softmax gives them.
fn rows(count: usize) -> Vec<(f32, bool)> {
    let mut state = 3u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..count)
        .map(|_| {
            let margin = 20.0 * next() - 4.0;
            let confidence = 1.0 / (1.0 + (-margin).exp());
            (confidence, next() < confidence * 0.9)
        })
        .collect()
}

#[test]
fn parts_merge_to_the_whole() {
    let rows = rows(5_000);
    let whole = of(&rows, 15);
    for parts in [1, 2, 7, 100] {
        let mut merged = Reliability::default();
        rows.chunks(rows.len().div_ceil(parts)).rev().for_each(|part| merged.merge(&of(part, 15)));
        assert_eq!(merged, whole, "{parts}");
    }
}

/// Against the definitions, over the sorted rows.
#[test]
fn bins_are_those_of_the_definition() {
    let mut rows = rows(5_000);
    let reliability = of(&rows, 15);
    let gap = |part: &[(f32, bool)]| {
        let confidence: f64 = part.iter().map(|&(confidence, _)| f64::from(confidence)).sum();
        (confidence - part.iter().filter(|row| row.1).count() as f64).abs()
    };
    let mut by_bin = vec![Vec::new(); 15];
    rows.iter()
        .for_each(|&row| by_bin[((15.0 * f64::from(row.0)).ceil() as usize).clamp(1, 15) - 1].push(row));
    let expected = by_bin.iter().map(|part| gap(part)).sum::<f64>() / 5_000.0;
    assert!((reliability.ece().unwrap() - expected).abs() < 1e-12);
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    for bins in [1, 3, 15, 100] {
        let parts = (0..bins).map(|bin| &rows[bin * 5_000 / bins..(bin + 1) * 5_000 / bins]);
        let expected = parts.map(gap).sum::<f64>() / 5_000.0;
        let EqualMass { ece, within } = reliability.equal_mass(bins).unwrap();
        assert!((ece - expected).abs() <= within + 1e-12, "{bins}: {ece} ± {within}, {expected}");
        assert!(within < 0.002 * bins as f64 + 1e-12, "{bins}: {within}");
    }
}
