//! What the reference says of a batch, and the tool with all its outputs.

use serde_json::Value;
use xent::bounds::loss_bound;
use xent::reference::{self, cross_entropy};
use xent::{CrossEntropyInputs, CrossEntropyOptions, Element, NO_CLASS, Reduction, Shape, Targets};

use crate::support::{Folder, Run, shape_of};

/// A batch of which a folder's files tell.
pub struct Batch<'a, E> {
    pub logits: &'a [E],
    pub inputs: CrossEntropyInputs<'a>,
    pub shape: Shape,
    pub options: CrossEntropyOptions,
    /// The axes of the logits, and of the rows.
    pub dims: (&'a [usize], &'a [usize]),
}

const OUTPUTS: &str =
    "--rows-out rows.npy --grad-out grad.npy --out-dtype f32 --lse-out lse.npy --argmax-out argmax.npy";

impl<'a, E: Element> Batch<'a, E> {
    /// Two axes, class axis last.
    pub fn new(logits: &'a [E], targets: Targets<'a>, dims: &'a [usize; 2]) -> Self {
        Self {
            logits,
            inputs: targets.into(),
            shape: Shape::new(dims[0], dims[1]),
            options: CrossEntropyOptions::default(),
            dims: (dims, &dims[..1]),
        }
    }

    pub fn options(self, options: CrossEntropyOptions) -> Self {
        Self { options, ..self }
    }

    /// Runs `xent eval logits.npy`, and holds all that it says and writes to the reference.
    pub fn check(&self, folder: &Folder, args: &str) -> Value {
        self.check_on(folder, args, |args| folder.run(args))
    }

    /// The same with another way to run it.
    pub fn check_on(&self, folder: &Folder, args: &str, run: impl Fn(&str) -> Run) -> Value {
        let run = run(&format!("eval logits.npy --json --verify 7 {OUTPUTS} {args}"));
        assert_eq!(run.status, Some(0), "{args}: {run:?}");
        let report: Value = serde_json::from_str(&run.stdout).unwrap();
        self.check_report(&report, args);
        self.check_rows(folder, args);
        let (shape, grad) = folder.values("grad.npy");
        assert_eq!(shape, shape_of(self.dims.0), "{args}");
        self.check_dlogits(&grad, 0.0, args);
        report
    }

    fn check_report(&self, report: &Value, args: &str) {
        let &Self { logits, inputs, shape, options, .. } = self;
        let loss = cross_entropy::loss(logits, inputs, shape, &options).unwrap();
        let z_loss = cross_entropy::z_loss(logits, inputs, shape, &options).unwrap();
        let batch = inputs.check(shape, &options).unwrap();
        let mean = CrossEntropyOptions { reduction: Reduction::Mean, ..options };
        let mean = cross_entropy::loss(logits, inputs, shape, &mean).unwrap();
        for (key, expected) in [
            ("loss", loss),
            ("z_loss", z_loss),
            ("perplexity", mean.exp()),
            ("weight", batch.weight),
            ("row_weight", batch.row_weight),
        ] {
            let off = report[key].as_f64().map(|value| (value - expected).abs());
            let bound = 5e-6 + 5e-6 * expected.abs();
            assert!(off.is_some_and(|off| off <= bound), "{args}: {key}: {expected} {report:#}");
        }
        assert_eq!(report["counted"], batch.counted, "{args}");
        assert_eq!(report["ignored"], shape.rows - batch.counted, "{args}");
        assert_eq!(report["verification"]["passed"], true, "{args}: {report:#}");
        // serde_json may be off by the last bit in what it parses.
        let accuracy = self.accuracy(batch.counted);
        let off = report["accuracy"].as_f64().map(|value| (value - accuracy).abs());
        assert!(off.is_some_and(|off| off < 1e-12), "{args}: accuracy: {accuracy} {report:#}");
    }

    /// The share of rows whose target's largest probability is where theirs is.
    fn accuracy(&self, counted: usize) -> f64 {
        let &Self { logits, inputs, shape, options, .. } = self;
        // No smoothing and no weights: then a row's shares are its target's probabilities.
        let plain = CrossEntropyOptions { label_smoothing: 0.0, ..options };
        let hits = (0..shape.rows).filter(|&row| self.is_scored(row)).filter(|&row| {
            let target_row =
                options.sequences.map_or(Some(row), |sequences| sequences.target_row(row)).unwrap();
            let target = inputs.targets.row(shape, target_row);
            let shares = cross_entropy::row_shares(&target, None, shape.cols, &plain).unwrap();
            let best = (0..shape.cols).rev().max_by(|&a, &b| shares[a].total_cmp(&shares[b])).unwrap();
            best == reference::argmax_row(&row_of(shape, logits, row)) as usize
        });
        hits.count() as f64 / counted as f64
    }

    fn is_scored(&self, row: usize) -> bool {
        let sum = CrossEntropyOptions { reduction: Reduction::Sum, ..self.options };
        let batch = self.inputs.check(self.shape, &sum).unwrap();
        cross_entropy::row_scale(self.inputs, self.shape, &sum, &batch, row).loss != 0.0
    }

    fn check_rows(&self, folder: &Folder, args: &str) {
        let &Self { logits, inputs, shape, options, .. } = self;
        let (rows_shape, rows) = folder.values("rows.npy");
        let (lse_shape, lse) = folder.values("lse.npy");
        let (argmax_shape, argmax) = folder.values_of::<u32>("argmax.npy");
        let expected_shape = shape_of(self.dims.1);
        assert_eq!([rows_shape, lse_shape, argmax_shape], [(); 3].map(|()| expected_shape.clone()), "{args}");
        let losses = cross_entropy::row_losses(logits, inputs, shape, &options).unwrap();
        for row in 0..shape.rows {
            let at = format!("{args}: row {row}");
            // Weights of the tests are at most 4.
            assert!((f64::from(rows[row]) - losses[row]).abs() <= 4.0 * loss_bound(losses[row]), "{at}");
            let expected = cross_entropy::row_loss_at(logits, inputs, shape, &options, row).lse;
            assert!((f64::from(lse[row]) - expected).abs() <= loss_bound(expected), "{at}: lse {expected}");
            let best = match self.is_scored(row) {
                true => reference::argmax_row(&row_of(shape, logits, row)),
                false => NO_CLASS,
            };
            assert_eq!(argmax[row], best, "{at}");
        }
    }

    /// Holds a gradient to the reference; `rounding` is how far apart neighbours are in its type, relative to them.
    pub fn check_dlogits<D: Element>(&self, grad: &[D], rounding: f64, args: &str) {
        let expected = cross_entropy::dlogits(self.logits, self.inputs, self.shape, &self.options).unwrap();
        assert_eq!(grad.len(), expected.len(), "{args}");
        let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        for (at, (value, expected)) in grad.iter().zip(&expected).enumerate() {
            let bound = (3e-5 + rounding) * expected.abs() + 3e-6 * largest + D::rounding(0.0);
            assert!((value.to_f64() - expected).abs() <= bound, "{args}: dlogits[{at}]: {expected}");
        }
    }
}

#[test]
fn a_comparator_that_cannot_fail_is_none() {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    let logits = crate::support::logits(12);
    let folder = Folder::new();
    folder.logits(&logits, 3).targets(&[0, 1, 2, -100]);
    let (right, wrong) = (Targets::Classes(&[0, 1, 2, -100]), Targets::Classes(&[0, 1, 1, -100]));
    let batch = |targets| Batch::new(&logits, targets, &[4, 3]);
    let smooth = CrossEntropyOptions { label_smoothing: 0.01, ..Default::default() };
    let fails = |batch: Batch<'_, f32>| {
        catch_unwind(AssertUnwindSafe(|| batch.check(&folder, "--targets targets.npy"))).is_err()
    };
    assert!(!fails(batch(right)));
    assert!(fails(batch(wrong)), "one target");
    assert!(fails(batch(right).options(smooth)), "an option");
    assert!(fails(Batch { dims: (&[2, 2, 3], &[4]), ..batch(right) }), "the axes");
    let dlogits = cross_entropy::dlogits(&logits, right, batch(right).shape, &Default::default()).unwrap();
    let good: Vec<f32> = dlogits.iter().map(|&value| value as f32).collect();
    batch(right).check_dlogits(&good, 0.0, "good");
    for (name, row) in [
        ("a zero row", [0.0; 3]),
        ("NaN", [good[0], f32::NAN, good[2]]),
        ("another row", [good[3], good[4], good[5]]),
    ] {
        let bad = [&row[..], &good[3..]].concat();
        let check = || batch(right).check_dlogits(&bad, 0.0, name);
        assert!(catch_unwind(AssertUnwindSafe(check)).is_err(), "{name}");
    }
}

fn row_of<E: Element>(shape: Shape, logits: &[E], row: usize) -> Vec<E> {
    shape.row(logits, row).copied().collect()
}
