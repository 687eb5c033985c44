//! Batches, and the operations that the tests share.

use std::sync::OnceLock;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Normal};
use xent::{
    Argmax, Context, CrossEntropy, CrossEntropyInputs, CrossEntropyOptions, Element, LogSumExp, MaskedRow,
    RowInputs, Shape, Softmax, SoftmaxOptions, TargetKind, Targets, Tuning,
};

use crate::harness::gpu;

/// Logits laid out by a shape, a target for each row, and what else a loss takes.
#[derive(Clone)]
pub struct Batch<E = f32> {
    pub name: String,
    pub shape: Shape,
    pub logits: Vec<E>,
    /// Class indices; looked at where `given` has no other targets.
    pub targets: Vec<i32>,
    pub given: Given,
    /// What each row is there for; may be empty.
    pub labels: Vec<String>,
}

/// What a loss takes beside logits and class indices.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Soft targets, laid out as the logits are.
    pub soft: Option<Vec<f32>>,
    pub sparse: Option<Sparse>,
    pub class_weights: Option<Vec<f32>>,
    pub row_weights: Option<Vec<f32>>,
    pub row_mask: Option<Vec<bool>>,
    pub upstream: Option<f32>,
    pub row_upstream: Option<Vec<f32>>,
}

/// Sparse targets, (rows, entries) both.
#[derive(Clone, Debug)]
pub struct Sparse {
    pub indices: Vec<i32>,
    pub probs: Vec<f32>,
    pub entries: usize,
}

impl<E: Element> Batch<E> {
    /// Rows one behind the other.
    pub fn dense(name: &str, cols: usize, logits: Vec<E>, targets: Vec<i32>) -> Self {
        let shape = Shape::new(targets.len(), cols);
        assert_eq!(logits.len(), shape.len());
        let (labels, given) = (Vec::new(), Given::default());
        Self { name: name.to_owned(), shape, logits, targets, given, labels }
    }

    /// The same rows laid out otherwise, with NaN between them.
    pub fn laid_out(&self, shape: Shape) -> Self {
        assert_eq!((shape.rows, shape.cols), (self.shape.rows, self.shape.cols));
        let mut given = self.given.clone();
        given.soft = self.given.soft.as_ref().map(|soft| relaid(soft, self.shape, shape, f32::NAN));
        let logits = relaid(&self.logits, self.shape, shape, E::from_f32(f32::NAN));
        Self { shape, logits, given, ..self.clone() }
    }

    /// The same rows `row_stride` values apart, with NaN between them.
    pub fn with_stride(&self, row_stride: usize) -> Self {
        self.laid_out(Shape::new(self.shape.rows, self.shape.cols).row_stride(row_stride))
    }

    /// The same batch in another type, its logits rounded to it.
    pub fn cast<F: Element>(&self) -> Batch<F> {
        let Self { name, shape, logits, targets, given, labels } = self.clone();
        let logits = logits.into_iter().map(|x| F::from_f32(x.to_f64() as f32)).collect();
        Batch { name: format!("{name}, {}", F::NAME), shape, logits, targets, given, labels }
    }

    pub fn row(&self, row: usize) -> Vec<E> {
        self.shape.row(&self.logits, row).copied().collect()
    }

    pub fn classes(&self) -> Targets<'_> {
        Targets::Classes(&self.targets)
    }

    /// All that the loss takes beside the logits.
    pub fn inputs(&self) -> CrossEntropyInputs<'_> {
        let given = &self.given;
        let targets = match (&given.soft, &given.sparse) {
            (Some(soft), _) => Targets::Soft(soft),
            (_, Some(Sparse { indices, probs, entries })) => {
                Targets::Sparse { indices, probs, entries: *entries }
            }
            _ => self.classes(),
        };
        CrossEntropyInputs {
            class_weights: given.class_weights.as_deref(),
            rows: RowInputs {
                row_weights: given.row_weights.as_deref(),
                row_mask: given.row_mask.as_deref(),
                upstream: given.upstream.unwrap_or(1.0),
                row_upstream: given.row_upstream.as_deref(),
            },
            ..CrossEntropyInputs::new(targets)
        }
    }

    /// The same rows with random targets of another kind. Sparse ones name classes twice, and none; one row names none at
    /// all. No row of soft ones sums to 1.
    pub fn with_targets(&self, kind: TargetKind, seed: u64) -> Self {
        let (mut rng, Shape { rows, cols, .. }) = (StdRng::seed_from_u64(seed), self.shape);
        let mut batch = Self { name: format!("{}, {kind:?}", self.name), ..self.clone() };
        let mut prob = move || if rng.random_range(0..3) == 0 { 0.0 } else { rng.random_range(0.0..1.0f32) };
        match kind {
            TargetKind::Soft => {
                let dense: Vec<f32> = (0..rows * cols).map(|_| prob()).collect();
                let soft = relaid(&dense, Shape::new(rows, cols), self.shape, f32::NAN);
                batch.given.soft = Some(soft);
            }
            TargetKind::Sparse { entries } => {
                let mut rng = StdRng::seed_from_u64(seed + 1);
                let index = |_| match rng.random_range(0..6) {
                    0 => -100,
                    1 => 0,
                    _ => rng.random_range(0..cols as i32),
                };
                let mut indices: Vec<i32> = (0..rows * entries).map(index).collect();
                if rows > 1 {
                    indices[(rows - 2) * entries..][..entries].fill(-100);
                }
                let probs = indices.iter().map(|&index| if index < 0 { f32::NAN } else { prob() }).collect();
                batch.given.sparse = Some(Sparse { indices, probs, entries });
            }
            TargetKind::Classes => {}
        }
        batch
    }

    /// The same with random weights of classes and of rows, about every seventh 0.
    pub fn with_weights(&self, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut weights = |count: usize| {
            let weight = |_| if rng.random_range(0..7) == 0 { 0.0 } else { rng.random_range(0.1..3.0f32) };
            Some((0..count).map(weight).collect())
        };
        let mut batch = Self { name: format!("{}, weights", self.name), ..self.clone() };
        batch.given.class_weights = weights(self.shape.cols);
        batch.given.row_weights = weights(self.shape.rows);
        batch
    }

    pub fn label(&self, row: usize) -> &str {
        self.labels.get(row).map_or("", String::as_str)
    }
}

/// Values of one layout in another, `between` in the places of none.
fn relaid<T: Copy>(values: &[T], from: Shape, to: Shape, between: T) -> Vec<T> {
    let mut all = vec![between; to.len()];
    for row in 0..from.rows {
        for (col, &value) in from.row(values, row).enumerate() {
            all[to.row_start(row) + col * to.inner] = value;
        }
    }
    all
}

/// The operations with one set of options.
#[derive(Clone)]
pub struct Ops<E: Element = f32> {
    pub softmax: Softmax<E>,
    pub logsumexp: LogSumExp<E>,
    pub argmax: Argmax<E>,
    pub loss: CrossEntropy<E>,
    pub options: CrossEntropyOptions,
    pub tuning: Option<Tuning>,
}

/// The options of a softmax that a loss with these options takes its probabilities from.
pub fn softmax_options(options: &CrossEntropyOptions) -> SoftmaxOptions {
    SoftmaxOptions {
        masked_row: options.masked_row,
        temperature: options.temperature,
        softcap: options.softcap,
    }
}

impl<E: Element> Ops<E> {
    pub fn new(gpu: &Context, options: CrossEntropyOptions) -> Self {
        Self {
            softmax: Softmax::new(gpu, &softmax_options(&options)).expect("softmax"),
            logsumexp: LogSumExp::new(gpu).expect("logsumexp"),
            argmax: Argmax::new(gpu).expect("argmax"),
            loss: CrossEntropy::new(gpu, &options).expect("cross_entropy"),
            options,
            tuning: None,
        }
    }

    /// The same pipelines with other options.
    pub fn with(&self, options: CrossEntropyOptions) -> Self {
        Self {
            softmax: self.softmax.with_options(&softmax_options(&options)).expect("softmax"),
            loss: self.loss.with_options(&options).expect("cross_entropy"),
            options,
            ..self.clone()
        }
    }

    /// The same operations, with the plan's tuning or another.
    pub fn tuned(&self, tuning: Option<Tuning>) -> Self {
        let ops = self.clone();
        let Some(tuning) = tuning else { return ops };
        Self {
            softmax: ops.softmax.with_tuning(tuning).expect("a tuning"),
            logsumexp: ops.logsumexp.with_tuning(tuning).expect("a tuning"),
            argmax: ops.argmax.with_tuning(tuning).expect("a tuning"),
            loss: ops.loss.with_tuning(tuning).expect("a tuning"),
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
