use super::*;

fn of(losses: &[f32]) -> Histogram {
    let mut histogram = Histogram::default();
    losses.iter().for_each(|&loss| histogram.add(loss));
    assert!(histogram.is_sound(), "{losses:?}");
    histogram
}

#[test]
fn losses_lie_in_their_bins_whatever_their_size() {
    for (name, losses) in [
        ("usual", &[0.0f32, 0.7, 12.5, 3.0][..]),
        ("one", &[2.5]),
        ("tiny", &[1e-7, 3e-7, 0.0]),
        ("denormal", &[1e-45, -1e-45]),
        ("negative", &[-3.0, -0.001, 5.0]),
        ("huge", &[f32::MAX, f32::MIN]),
        ("both zeros", &[0.0, -0.0]),
        ("growing", &[1e-6, 1e-3, 1.0, 1e3, 1e6, 1e12, 1e30]),
        ("shrinking", &[1e30, 1e12, 1e6, 1e3, 1.0, 1e-3, 1e-6]),
    ] {
        let histogram = of(losses);
        for (bin, count) in histogram.bins() {
            let is_in = |loss: f64| {
                if bin.start < 0.0 { bin.start < loss && loss <= bin.end } else { bin.contains(&loss) }
            };
            let is_in = |loss: &&f32| is_in(f64::from(**loss)) && (bin.start >= 0.0 || **loss < 0.0);
            assert_eq!(losses.iter().filter(is_in).count() as u64, count, "{name}: {bin:?}");
        }
        let least = losses.iter().copied().fold(f32::INFINITY, f32::min);
        let greatest = losses.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert_eq!(histogram.range(), Some((least, greatest)), "{name}");
        let backwards: Vec<f32> = losses.iter().rev().copied().collect();
        assert_eq!(of(&backwards), histogram, "{name}: order");
        for cut in 0..=losses.len() {
            let mut merged = of(&losses[cut..]);
            merged.merge(&of(&losses[..cut]));
            assert_eq!(merged, histogram, "{name}: merged at {cut}");
        }
    }
    assert_eq!(of(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]), Histogram::default());
}

/// The 5 %, 25 %, 50 % and 95 % of losses over eleven octaves, which bins of equal width put into the first one.
#[test]
fn quantiles_are_right_to_one_per_cent() {
    let losses: Vec<f32> = (0..1000).map(|at| 0.001 * 1.0077f32.powi(at * 617 % 1000)).collect();
    let histogram = of(&losses);
    let mut sorted = losses.clone();
    sorted.sort_by(f32::total_cmp);
    for (share, rank) in [(0.0, 1), (0.001, 1), (0.05, 50), (0.25, 250), (0.5, 500), (0.95, 950), (1.0, 1000)]
    {
        let Quantile { value, within } = histogram.quantile(share).unwrap();
        let expected = f64::from(sorted[rank - 1]);
        assert!((value - expected).abs() <= within, "{share}: {value} ± {within}, {expected}");
        assert!(within <= expected / 100.0, "{share}");
    }
    // Exact zeros, as an entmax has them, are not the middle of a bin of denormals.
    let zeros = of(&[0.0, 0.0, 0.0, 2.0]).quantile(0.5).unwrap();
    assert!(zeros.value == 0.0 && zeros.within < 1e-38, "{zeros:?}");
    for share in [f64::NAN, -0.1, 1.1, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(histogram.quantile(share), None, "{share}");
    }
    assert_eq!(of(&[3.0; 7]).quantile(0.5), Some(Quantile { value: 3.0, within: 0.0 }));
}

#[test]
fn bins_of_equal_width_hold_every_loss() {
    let losses: Vec<f32> = (0..3000).map(|at| (at as f32).sqrt() - 4.99).collect();
    let histogram = of(&losses);
    for most in [4, 10, 60, 256, 5000] {
        let EqualBins { start, width, counts } = histogram.equal_bins(most);
        assert!(counts.len() <= most.max(128), "{most}: {}", counts.len());
        assert!(counts[0] > 0 && counts[counts.len() - 1] > 0, "{most}");
        for (at, &count) in counts.iter().enumerate() {
            let bin = start + at as f64 * width..start + (at + 1) as f64 * width;
            let inside = losses.iter().filter(|&&loss| bin.contains(&f64::from(loss))).count();
            assert_eq!(count, inside as u64, "{most}: {bin:?}");
        }
    }
    assert_eq!(of(&[2.5]).equal_bins(60).counts, [1]);
    assert_eq!(of(&[f32::MAX, f32::MIN, 0.0]).equal_bins(60).counts.iter().sum::<u64>(), 3);
    assert!(of(&[]).equal_bins(60).counts.is_empty());
}

#[test]
fn the_outermost_losses_can_be_left_out() {
    let histogram = of(&[-5.0, 1.0, 1.0, 2.0, 3.0, 900.0]);
    assert_eq!(histogram.without_outermost(0), histogram);
    let inner = histogram.without_outermost(1);
    assert!(inner.is_sound());
    assert_eq!((inner.rows(), inner.range().map(|range| range.0)), (4, Some(1.0)));
    assert!(inner.range().is_some_and(|range| (3.0..3.07).contains(&range.1)), "{inner:?}");
    assert_eq!(histogram.without_outermost(3), histogram, "nothing would be left");
}
