//! Numbers that are hard on the sums: far logits, offsets, almost equal batches, rising rows.

use xent::half::bf16;
use xent::{Reduction, Shape, Tuning};

use crate::harness::gpu;
use crate::kl_divergence::{Case, Options, Rows, noise, noise_rows};
use crate::losses::{ALIGNED, Calls, Given, check, run_host};
use crate::typed::tunings_of;

/// A divergence within f32 at a temperature that its distance is not within.
#[test]
fn far_logits_at_high_temperatures() {
    let (student, teacher) = ([3e38, -3e38, 2.9e38, 0.0], [-3e38, 3e38, 2.9e38, 0.0f32]);
    let kl = Options { temperature: 100.0, ..Options::default() }.op::<f32>(gpu());
    let (loss, _) = kl.loss_and_dlogits(&student, &teacher, Shape::new(1, 4)).wait().expect("a loss");
    assert!((loss.value / 6.0e36 - 1.0).abs() < 1e-5 && loss.flags.is_empty(), "{loss:?}");

    let mut rows: Rows = vec![("four".into(), student.to_vec(), teacher.to_vec())];
    rows.push(("swapped".into(), teacher.to_vec(), student.to_vec()));
    rows.push((
        "ends".into(),
        vec![f32::MIN, f32::MAX, f32::MAX, 0.0],
        vec![f32::MAX, f32::MIN, f32::MAX, 1.0],
    ));
    let wide = |x: &[f32]| x.iter().copied().cycle().take(300).collect::<Vec<_>>();
    let long = rows.iter().map(|(label, x, b)| (label.clone(), wide(x), wide(b))).collect();
    for rows in [rows, long] {
        for temperature in [1e-10, 100.0, 1e15] {
            for scale_by_t_squared in [false, true] {
                let options = Options { temperature, scale_by_t_squared, ..Options::default() };
                let case = Case::<f32>::dense("far", &rows, options);
                check(&case, &tunings_of(&[1, 8]), &[ALIGNED]);
                check(&case.with(Given::row_weights(&[1.0, 1e-10, 0.5])), &[None], &[ALIGNED]);
                if !scale_by_t_squared {
                    check(&Case::<bf16>::dense("far", &rows, options), &[None], &[ALIGNED]);
                }
            }
        }
    }
}

/// A base stays below a maximum that is less than T above it. Behind it, what one batch's logit is above its base and what
/// the other's is below are together more than f32 holds, halved too.
#[test]
fn bases_that_stay_below_the_maximum() {
    let row = |first: f32, later: f32| {
        let mut row = vec![0.0; 130];
        (row[0], row[100]) = (first, later);
        row
    };
    for temperature in [1e37, 8e37] {
        let below = f32::MAX - 0.9 * temperature;
        let rows = vec![
            ("teacher".into(), row(f32::MAX, f32::MIN), row(below, f32::MAX)),
            ("student".into(), row(below, f32::MAX), row(f32::MAX, f32::MIN)),
        ];
        let options = Options { temperature, ..Options::default() };
        check(&Case::<f32>::dense("far bases", &rows, options), &tunings_of(&[1, 8]), &[ALIGNED]);
    }
}

/// Offsets of 1e4 … 1e8 in one batch or both, each on the grid that its offset leaves: the other's digits all count.
#[test]
fn offsets_do_no_harm() {
    for (offset, step) in [(1e4f32, 1.0 / 512.0), (1e6, 0.0625), (1e7, 1.0), (1e8, 8.0)] {
        for cols in [7, 300, 4099] {
            let mut rows = Rows::new();
            for (row, (label, x, b)) in noise_rows(9, 6, cols).into_iter().enumerate() {
                let on_grid =
                    |row: Vec<f32>| row.into_iter().map(|v| (v / step).round() * step).collect::<Vec<_>>();
                let moved = |row: Vec<f32>, by: f32| row.into_iter().map(|v| v + by).collect::<Vec<_>>();
                rows.push(match row % 3 {
                    0 => (format!("{label}: student + {offset}"), moved(on_grid(x), offset), b),
                    1 => (format!("{label}: teacher - {offset}"), x, moved(on_grid(b), -offset)),
                    _ => (
                        format!("{label}: both apart"),
                        moved(on_grid(x), -offset),
                        moved(on_grid(b), offset),
                    ),
                });
            }
            check(
                &Case::<f32>::dense("offsets", &rows, Options::default()),
                &tunings_of(&[1, 64]),
                &[ALIGNED],
            );
        }
    }
}

/// Equal batches give exactly 0, loss and gradient; almost equal ones almost 0, and never much below.
#[test]
fn near_equal_batches() {
    for temperature in [0.1, 1.0, 100.0] {
        let options = Options { temperature, ..Options::default() };
        for (i, cols) in [1, 2, 31, 1000, 50_257].into_iter().enumerate() {
            let mut rows = Rows::new();
            for (label, x, _) in noise_rows(4, 4, cols) {
                rows.push((format!("{label}, equal"), x.clone(), x.clone()));
                rows.push((
                    format!("{label}, + 8192"),
                    x.iter().map(|x| (x * 64.0).round() / 64.0 + 8192.0).collect(),
                    x.iter().map(|x| (x * 64.0).round() / 64.0).collect(),
                ));
                for nudge in [1e-6, 1e-4, 1e-2] {
                    let by = noise(5, cols, 1.0);
                    let near = x.iter().zip(by).map(|(x, by)| x + nudge * by).collect();
                    rows.push((format!("{label}, {nudge} off"), near, x.clone()));
                }
            }
            let case = Case::<f32>::dense("near", &rows, options);
            // The plan's lanes by the host path.
            check(&case, &[Some(Tuning::fixed([2, 64][i % 2], 1))], &[ALIGNED]);
            let found = run_host(&case.op(), &case);
            for (row, loss) in found.row_losses().enumerate() {
                assert!(loss >= -5e-6, "{}: {loss:e}", case.labels[row]);
                if row % 5 == 0 {
                    assert_eq!(loss, 0.0, "{}", case.labels[row]);
                    assert!(found.row_dlogits(&case, row).iter().all(|&g| g == 0.0));
                }
            }
        }
    }
}

/// Sums over long rows, in which maxima rise at every step.
#[test]
fn ramps() {
    let cols = 60_001;
    let row_of = |of: &dyn Fn(usize) -> f32| (0..cols).map(of).collect::<Vec<f32>>();
    let up = row_of(&|col| col as f32 * 1e-3);
    let down = row_of(&|col| col as f32 * -1e-3);
    let slow = row_of(&|col| col as f32 * 1e-5);
    let flat = row_of(&|_| 0.25);
    let last = row_of(&|col| if col == cols - 1 { 12.0 } else { 0.0 });
    let names = [("up", up), ("down", down), ("slow", slow), ("flat", flat), ("last", last)];
    let mut rows = Rows::new();
    for (x_name, x) in &names {
        for (b_name, b) in &names {
            rows.push((format!("{x_name} against {b_name}"), x.clone(), b.clone()));
        }
    }
    check(&Case::<f32>::dense("ramps", &rows, Options::default()), &tunings_of(&[2, 64]), &[ALIGNED]);
}

#[test]
fn gradients_of_a_row_sum_to_zero() {
    for temperature in [0.5, 1.0, 4.0] {
        let options = Options { temperature, reduction: Reduction::Sum, ..Options::default() };
        let case = Case::<f32>::dense("sum", &noise_rows(2, 6, 3000), options);
        let found = run_host(&case.op(), &case);
        for row in 0..6 {
            let row = found.row_dlogits(&case, row);
            let sum: f64 = row.iter().map(|&g| f64::from(g)).sum();
            let size: f64 = row.iter().map(|&g| f64::from(g.abs())).sum();
            assert!(size > 0.1 && sum.abs() <= 4e-6 * size, "{sum:e} of {size}");
        }
    }
}
