use approx::assert_abs_diff_eq;

use super::*;
use crate::error::Error;
use crate::inputs::{NegativeSampler, Negatives};
use crate::options::{CrossEntropyOptions, Reduction};
use crate::reference::testing::{GRID, grid_logits};
use crate::targets::{RowTarget, Targets};

const INF: f32 = f32::INFINITY;

#[test]
fn worked_answers() {
    assert_abs_diff_eq!(log_uniform_prob(0, 10), 0.289064826, epsilon = 1e-9);
    assert_abs_diff_eq!(log_uniform_prob(9, 10), 0.039747432, epsilon = 1e-9);
    assert_abs_diff_eq!(expected_count(log_uniform_prob(0, 10), 5), 1.445324132, epsilon = 1e-9);
    assert_abs_diff_eq!(expected_unique_count(log_uniform_prob(0, 10), 8), 0.934741060, epsilon = 1e-9);
    assert_eq!((log_uniform_prob(10, 10), expected_unique_count(1.0, 1)), (0.0, 1.0));
    let log_count = |class: u32| expected_count(log_uniform_prob(class as usize, 10), 2).ln() as f32;
    let negatives = [0, 7].map(|class| Negative::new(class, log_count(class)));
    let (row, options) = ([2.0f32, 1.0, 0.5], SampledSoftmaxOptions::new(10));
    let scores = row_scores(&row, 3, log_count(3), &negatives, &options);
    for (score, expected) in scores.iter().zip([3.681384, 1.547957, 2.820355]) {
        assert_abs_diff_eq!(*score, expected, epsilon = 1e-6);
    }
    assert_abs_diff_eq!(row_loss(&row, 3, log_count(3), &negatives, &options), 0.432533837, epsilon = 1e-7);
    // Half the temperature, and half the logits.
    let half = SampledSoftmaxOptions { temperature: 0.5, ..options };
    let loss = row_loss(&row.map(|x| 0.5 * x), 3, log_count(3), &negatives, &half);
    assert_abs_diff_eq!(loss, 0.432533837, epsilon = 1e-7);
    assert_eq!(
        row_loss(&[9.0f32, 0.5], 3, 0.0, &[Negative::new(3, 0.0)], &options),
        0.0,
        "a hit is no negative"
    );
}

/// With all other classes as negatives, each expected once, it is cross-entropy.
#[test]
fn all_classes_are_the_full_loss() {
    let x = grid_logits(1, 9);
    let of_all = |class: usize| {
        let others = (0..9).filter(|&other| other != class);
        let row: Vec<f32> = std::iter::once(x[class]).chain(others.clone().map(|other| x[other])).collect();
        let negatives: Vec<Negative> = others.map(|other| Negative::new(other as u32, 0.0)).collect();
        row_loss(&row, class as u32, 0.0, &negatives, &SampledSoftmaxOptions::new(9))
    };
    for class in 0..9 {
        let target = RowTarget::Class(class as i64);
        let full = cross_entropy::row_loss(&x, &target, None, &CrossEntropyOptions::default()).total();
        assert_abs_diff_eq!(of_all(class), full, epsilon = 1e-12);
    }
}

#[test]
fn the_gradient_is_the_derivative() {
    let row: Vec<f32> = grid_logits(2, 7).iter().map(|x| x / 4.0).collect();
    let negatives: Vec<Negative> =
        [4, 2, 9, 4, 5, 0].iter().map(|&class| Negative::new(class, class as f32 / 3.0 - 1.0)).collect();
    for temperature in [1.0, 0.25] {
        let options = SampledSoftmaxOptions { temperature, ..SampledSoftmaxOptions::new(10) };
        let found = row_dlogits(&row, 4, -0.5, &negatives, &options, 2.0);
        assert_abs_diff_eq!(found.iter().sum::<f64>(), 0.0, epsilon = 1e-12);
        for col in 0..row.len() {
            let at = |step: f32| {
                let mut moved = row.clone();
                moved[col] += step;
                2.0 * row_loss(&moved, 4, -0.5, &negatives, &options)
            };
            let slope = (at(GRID / 4.0) - at(-GRID / 4.0)) / f64::from(GRID / 2.0);
            assert_abs_diff_eq!(found[col], slope, epsilon = 1e-5);
        }
        assert_eq!((found[1], found[4]), (0.0, 0.0), "hits have no gradient");
    }
}

#[test]
fn edge_cases() {
    let zero = SampledSoftmaxOptions { masked_row: MaskedRow::Zero, ..SampledSoftmaxOptions::new(5) };
    let nan = SampledSoftmaxOptions::new(5);
    let of = |class, log_count| Negative::new(class, log_count);
    let (none, hit) = (vec![], vec![of(1, 0.0), of(2, 0.0)]);
    for (name, row, log_count, negatives, options, expected) in [
        ("a NaN", &[f32::NAN, 0.0, 0.0][..], 0.0, &hit, zero, f64::NAN),
        ("a NaN in a hit", &[0.0, f32::NAN, 0.0], 0.0, &hit, zero, 2f64.ln()),
        ("a +∞", &[0.0, 0.0, INF], 0.0, &hit, zero, f64::NAN),
        ("a −∞", &[0.0, 0.0, -INF], 0.0, &hit, zero, 0.0),
        ("the own class at −∞", &[-INF, 0.0, 0.0], 0.0, &hit, zero, f64::INFINITY),
        ("all −∞", &[-INF; 3], 0.0, &hit, nan, f64::NAN),
        ("all −∞, zero", &[-INF; 3], 0.0, &hit, zero, 0.0),
        ("no negative", &[-3.0], 0.0, &none, nan, 0.0),
        ("another number of negatives", &[0.0, 0.0], 0.0, &hit, nan, f64::NAN),
        ("no count", &[0.0; 3], f32::NEG_INFINITY, &hit, zero, f64::NAN),
        ("no count of a negative", &[0.0; 3], 0.0, &vec![of(1, 0.0), of(2, f32::NAN)], zero, f64::NAN),
        ("no class", &[0.0; 3], 0.0, &hit, SampledSoftmaxOptions::new(1), f64::NAN),
        ("±3.4e38", &[f32::MIN, 0.0, f32::MAX], 0.0, &hit, zero, 2.0 * f64::from(f32::MAX)),
    ] {
        let found = row_loss(row, 1, log_count, negatives, &options);
        assert!(found == expected || (found.is_nan() && expected.is_nan()), "{name}: {found}");
        let dlogits = row_dlogits(row, 1, log_count, negatives, &options, 1.0);
        assert_eq!(dlogits.iter().all(|dx| dx.is_nan()), expected.is_nan(), "{name}: {dlogits:?}");
        assert_eq!(dlogits.iter().any(|dx| dx.is_nan()), expected.is_nan(), "{name}: {dlogits:?}");
    }
    assert_eq!(row_dlogits(&[-INF, 0.0, 0.0], 1, 0.0, &hit, &zero, 2.0), [-2.0, 0.0, 2.0]);
    assert!(row_loss::<f32>(&[], 1, 0.0, &none, &zero).is_nan());
}

#[test]
fn batches() {
    let logits = [1.0f32, 0.5, 9.0, 0.0, 7.0, 0.0];
    let negatives = [Negative::new(1, 0.0), Negative::new(2, 0.0)];
    let shape = Shape::new(2, 3);
    let counts = [0.0; 2];
    let shared = SampledSoftmaxInputs::new(Targets::Classes(&[2, 1]), &counts, Negatives::Shared(&negatives));
    let options = SampledSoftmaxOptions { reduction: Reduction::Sum, ..SampledSoftmaxOptions::new(3) };
    let [a, b] = [(1.0f64 + (-0.5f64).exp()).ln(), 2f64.ln()];
    let losses = row_losses(&logits, &shared.row_weights(&[1.0, 4.0]), shape, &options).expect("losses");
    assert_abs_diff_eq!(losses[0], a, epsilon = 1e-12);
    assert_abs_diff_eq!(losses[1], 4.0 * b, epsilon = 1e-12);
    let each = [negatives, [Negative::new(0, 0.0), Negative::new(0, 0.0)]].concat();
    let per_row = SampledSoftmaxInputs { negatives: Negatives::PerRow(&each), ..shared };
    let found = row_loss_at(&logits, &per_row, shape, &options, 1);
    assert_abs_diff_eq!(found, 7.0 + (1.0 + 2.0 * (-7f64).exp()).ln(), epsilon = 1e-12);
    let found = dlogits(&logits, &shared.upstream(3.0), shape, &options).expect("a gradient");
    assert_abs_diff_eq!(found[5], 1.5, epsilon = 1e-12);

    let error = |inputs: &SampledSoftmaxInputs<'_>| loss(&logits, inputs, shape, &options).err();
    let short = SampledSoftmaxInputs { negatives: Negatives::PerRow(&negatives), ..shared };
    assert_eq!(error(&short), Some(Error::Length { what: "negatives", found: 2, needed: 4 }));
    let out = SampledSoftmaxInputs { targets: Targets::Classes(&[2, 3]), ..shared };
    assert_eq!(error(&out), Some(Error::TargetOutOfRange { row: 1, target: 3, cols: 3 }));
    let few = SampledSoftmaxInputs { target_log_counts: &[0.0], ..shared };
    assert_eq!(error(&few), Some(Error::Length { what: "target_log_counts", found: 1, needed: 2 }));
    let option = |inputs: &SampledSoftmaxInputs<'_>| match error(inputs) {
        Some(Error::InvalidOption { option, at, .. }) => (option, at),
        other => panic!("{other:?}"),
    };
    let never = SampledSoftmaxInputs { target_log_counts: &[0.0, f32::NEG_INFINITY], ..shared };
    assert_eq!(option(&never), ("target_log_counts", Some(1)));
    let far = [Negative::new(1, 0.0), Negative::new(2, 1001.0)];
    let far = SampledSoftmaxInputs { negatives: Negatives::Shared(&far), ..shared };
    assert_eq!(option(&far), ("negatives: log_count", Some(1)));
    let no_class = [Negative::new(3, 0.0), Negative::new(2, 0.0)];
    let no_class = SampledSoftmaxInputs { negatives: Negatives::Shared(&no_class), ..shared };
    assert_eq!(option(&no_class), ("negatives: class", Some(0)));
    let soft = SampledSoftmaxInputs { targets: Targets::Soft(&[0.0; 6]), ..shared };
    assert!(matches!(error(&soft), Some(Error::TargetKind { .. })));
}

/// The mean and its standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let len = values.len() as f64;
    let mean = values.iter().sum::<f64>() / len;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (len - 1.0);
    (mean, (variance / len).sqrt())
}

/// Losses of one row of 1,000 classes whose own class is 17, over many draws of negatives.
fn losses(x: &[f32], count: usize, own_count: fn(f64) -> f32) -> Vec<f64> {
    let sampler = NegativeSampler::log_uniform(x.len()).expect("a sampler");
    let draws = 2000;
    let drawn = sampler.draw(draws, count, 3, 0).expect("negatives");
    let own = own_count(drawn.log_count(0, 17));
    let of_draw = |negatives: &[Negative]| {
        let logits = negatives.iter().map(|negative| x[negative.class as usize]);
        let row: Vec<f32> = std::iter::once(x[17]).chain(logits).collect();
        row_loss(&row, 17, own, negatives, &SampledSoftmaxOptions::new(x.len()))
    };
    drawn.values().chunks(count).map(of_draw).collect()
}

/// With a count of 1 for the own class, the sum of exponentials has no bias, and so the loss is too small on average, by half
/// the sum's relative variance: 1 / negatives. With the own class's expected count, it is the loss of other logits.
#[test]
fn the_bias_against_the_full_loss() {
    let x: Vec<f32> = grid_logits(3, 1000).iter().map(|x| x / 8.0).collect();
    let target = RowTarget::Class(17);
    let full = cross_entropy::row_loss(&x, &target, None, &CrossEntropyOptions::default()).total();
    let mut biases = Vec::new();
    for count in [16, 64] {
        let losses = losses(&x, count, |_| 0.0);
        let (found, error) = mean(&losses);
        // exp(loss) is the sum of exponentials over the own one.
        let (sum, sum_error) = mean(&losses.iter().map(|loss| (loss - full).exp()).collect::<Vec<_>>());
        assert!((sum - 1.0).abs() < 5.0 * sum_error, "{count}: {sum} ± {sum_error}");
        let half_variance = 0.5 * sum_error.powi(2) * losses.len() as f64;
        let bias = found - full;
        let slack = 5.0 * error + 4.0 * half_variance.powi(2);
        assert!(bias < 0.0 && (bias + half_variance).abs() < slack, "{count}: {bias}, {half_variance}");
        biases.push(bias * count as f64);
    }
    let ratio = biases[1] / biases[0];
    assert!((0.5..1.5).contains(&ratio), "bias · negatives: {biases:?}");
    // The own class is expected more often than once, so that its score is smaller and the loss larger.
    let (found, error) = mean(&losses(&x, 256, |log_count| log_count as f32));
    let own = expected_count(log_uniform_prob(17, 1000), 256);
    assert!(own > 1.5 && found - full > 0.5 * own.ln() && error < 0.02, "{found} ± {error}, {full}, {own}");
}
