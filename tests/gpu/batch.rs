//! Batches, and the operations that the tests share.

use std::sync::OnceLock;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Normal};
use xent::{
    Argmax, Context, CrossEntropy, CrossEntropyOptions, LogSumExp, MaskedRow, Shape, Softmax, SoftmaxOptions,
    Targets, Tuning,
};

use crate::harness::gpu;

/// Logits laid out by a shape, and a target for each row.
#[derive(Clone)]
pub struct Batch {
    pub name: String,
    pub shape: Shape,
    pub logits: Vec<f32>,
    pub targets: Vec<i32>,
    /// What each row is there for; may be empty.
    pub labels: Vec<String>,
}

impl Batch {
    /// Rows one behind the other.
    pub fn dense(name: &str, cols: usize, logits: Vec<f32>, targets: Vec<i32>) -> Self {
        let shape = Shape::new(targets.len(), cols);
        assert_eq!(logits.len(), shape.len());
        Self { name: name.to_owned(), shape, logits, targets, labels: Vec::new() }
    }

    /// The same rows `row_stride` values apart, with NaN between them.
    pub fn with_stride(&self, row_stride: usize) -> Self {
        let shape = Shape::new(self.shape.rows, self.shape.cols).row_stride(row_stride);
        let mut logits = vec![f32::NAN; shape.len()];
        for row in 0..shape.rows {
            logits[shape.row_start(row)..][..shape.cols].copy_from_slice(self.row(row));
        }
        Self { shape, logits, ..self.clone() }
    }

    pub fn row(&self, row: usize) -> &[f32] {
        &self.logits[self.shape.row_start(row)..][..self.shape.cols]
    }

    pub fn classes(&self) -> Targets<'_> {
        Targets::Classes(&self.targets)
    }

    pub fn label(&self, row: usize) -> &str {
        self.labels.get(row).map_or("", String::as_str)
    }
}

/// The operations with one set of options.
#[derive(Clone)]
pub struct Ops {
    pub softmax: Softmax<f32>,
    pub logsumexp: LogSumExp<f32>,
    pub argmax: Argmax<f32>,
    pub loss: CrossEntropy<f32>,
    pub options: CrossEntropyOptions,
    pub tuning: Option<Tuning>,
}

impl Ops {
    pub fn new(gpu: &Context, options: CrossEntropyOptions) -> Self {
        let device = &gpu.device;
        let softmax_options = SoftmaxOptions { masked_row: options.masked_row };
        Self {
            softmax: Softmax::new(device, &softmax_options).expect("softmax"),
            logsumexp: LogSumExp::new(device).expect("logsumexp"),
            argmax: Argmax::new(device).expect("argmax"),
            loss: CrossEntropy::new(device, &options).expect("cross_entropy"),
            options,
            tuning: None,
        }
    }

    /// The same operations, with the plan's tuning or another.
    pub fn tuned(&self, tuning: Option<Tuning>) -> Self {
        let ops = self.clone();
        let Some(tuning) = tuning else { return ops };
        Self {
            softmax: ops.softmax.with_tuning(tuning),
            logsumexp: ops.logsumexp.with_tuning(tuning),
            argmax: ops.argmax.with_tuning(tuning),
            loss: ops.loss.with_tuning(tuning),
            options: ops.options,
            tuning: Some(tuning),
        }
    }
}

/// The operations with default options on the shared device: their pipelines are made once for all tests.
pub fn ops() -> &'static Ops {
    static OPS: OnceLock<Ops> = OnceLock::new();
    OPS.get_or_init(|| Ops::new(gpu(), CrossEntropyOptions::default()))
}

/// The same with [`MaskedRow::Zero`].
pub fn masked_zero_ops() -> &'static Ops {
    static OPS: OnceLock<Ops> = OnceLock::new();
    let options = CrossEntropyOptions { masked_row: MaskedRow::Zero, ..Default::default() };
    OPS.get_or_init(|| Ops::new(gpu(), options))
}

/// A batch of noise; about every eighth row is ignored, never the first.
pub fn noise(name: &str, seed: u64, rows: usize, cols: usize) -> Batch {
    let mut rng = StdRng::seed_from_u64(seed);
    let logits = Normal::new(0.0f32, 3.0).unwrap().sample_iter(&mut rng).take(rows * cols).collect();
    let targets = (0..rows)
        .map(|row| match rng.random_range(0..8) {
            0 if row > 0 => -100,
            _ => rng.random_range(0..cols as i32),
        })
        .collect();
    Batch::dense(&format!("{name}, seed {seed}"), cols, logits, targets)
}
