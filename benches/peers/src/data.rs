//! The batch for all contestants: made once, written to a folder, read by each of them. Also its answers in f64.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytemuck::Pod;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, StandardNormal};
use xent::{CrossEntropyInputs, Shape, Targets, reference};

use crate::error::Result;

/// Rows × cols.
pub const SHAPES: [(usize, usize); 6] =
    [(256, 50_304), (256, 50_257), (64, 128_256), (4_096, 1_000), (1_000_000, 10), (1, 8_000_000)];

/// An operation that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The mean loss.
    Loss,
    /// The mean loss and its gradient (rows, cols).
    LossAndGradient,
    /// Probabilities (rows, cols).
    Softmax,
    /// The 5 largest classes of each row with their log-probabilities.
    Top5,
    /// The 64 largest.
    Top64,
}

impl Operation {
    pub const ALL: [Self; 5] = [Self::Loss, Self::LossAndGradient, Self::Softmax, Self::Top5, Self::Top64];

    /// The number of classes that it gives of each row; 0 if it gives something else.
    pub fn classes(self) -> usize {
        match self {
            Self::Loss | Self::LossAndGradient | Self::Softmax => 0,
            Self::Top5 => 5,
            Self::Top64 => 64,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::LossAndGradient => "loss+gradient",
            Self::Softmax => "softmax",
            Self::Top5 => "top-5",
            Self::Top64 => "top-64",
        }
    }

    pub fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|operation| operation.name() == name);
        found.ok_or_else(|| format!("no operation '{name}'").into())
    }
}

/// A batch, and the places in its gradient and its probabilities where contestants are asked for values.
pub struct Batch {
    pub rows: usize,
    pub cols: usize,
    /// (rows, cols)
    pub logits: Vec<f32>,
    /// (rows,)
    pub targets: Vec<i32>,
    /// Indices into (rows, cols).
    pub probes: Vec<i64>,
}

/// The number of rows that probes are taken from.
const PROBED_ROWS: usize = 48;

fn probed_rows(rows: usize) -> impl Iterator<Item = usize> {
    xent::Verification::sample(rows, PROBED_ROWS)
}

impl Batch {
    /// Peaky logits, like those of a language model: noise of unit variance, one class in a thousand far above it.
    pub fn new(rows: usize, cols: usize) -> Self {
        let mut random = StdRng::seed_from_u64(7);
        let logits = (0..rows * cols)
            .map(|_| {
                let noise: f32 = StandardNormal.sample(&mut random);
                noise + if random.random_ratio(1, 1000) { 9.0 } else { 0.0 }
            })
            .collect();
        let targets: Vec<i32> = (0..rows).map(|_| random.random_range(0..cols as i32)).collect();
        // The first class, the last one and the target show a row that was shifted, or not read or written to its end.
        let probes = probed_rows(rows).flat_map(|row| {
            let classes = [0, cols / 2, random.random_range(0..cols), targets[row] as usize, cols - 1];
            classes.map(|class| (row * cols + class) as i64)
        });
        let probes = probes.collect();
        Self { rows, cols, logits, targets, probes }
    }

    /// The values at the probes, of (rows, cols) values.
    pub fn probe(&self, values: &[f32]) -> Vec<f64> {
        self.probes.iter().map(|&at| f64::from(values[at as usize])).collect()
    }

    /// The probed rows' largest classes, of (rows, k) values and indices: values first, row by row.
    pub fn probe_classes(&self, values: &[f32], indices: &[i32]) -> Vec<f64> {
        let k = values.len() / self.rows;
        let places = || probed_rows(self.rows).flat_map(|row| row * k..(row + 1) * k);
        let values = places().map(|place| f64::from(values[place]));
        values.chain(places().map(|place| f64::from(indices[place]))).collect()
    }

    pub fn shape(&self) -> Shape {
        Shape::new(self.rows, self.cols)
    }

    /// Writes raw little-endian files, without headers.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::write(folder.join("logits.f32"), bytemuck::cast_slice(&self.logits))?;
        fs::write(folder.join("targets.i32"), bytemuck::cast_slice(&self.targets))?;
        fs::write(folder.join("probes.i64"), bytemuck::cast_slice(&self.probes))?;
        Ok(())
    }

    pub fn read(folder: &Path, rows: usize, cols: usize) -> Result<Self> {
        fn values<T: Pod>(folder: &Path, name: &str) -> Result<Vec<T>> {
            Ok(bytemuck::allocation::pod_collect_to_vec(&fs::read(folder.join(name))?))
        }
        Ok(Self {
            rows,
            cols,
            logits: values(folder, "logits.f32")?,
            targets: values(folder, "targets.i32")?,
            probes: values(folder, "probes.i64")?,
        })
    }
}

/// A batch's answers, from the f64 reference.
pub struct Answers {
    loss: f64,
    /// At the probes.
    dlogits: Vec<f64>,
    /// At the probes.
    probs: Vec<f64>,
    /// The probed rows' classes, from the largest down, as many as an operation asks for: log-probabilities and indices.
    tops: Vec<Vec<(f64, usize)>>,
}

/// The largest relative error of an answer. It is wide, because it only has to catch wrong answers, not to rank right ones.
pub const TOLERANCE: f64 = 1e-3;

impl Answers {
    pub fn of(batch: &Batch) -> Result<Self> {
        let (shape, options) = (batch.shape(), Default::default());
        let inputs = CrossEntropyInputs::new(Targets::Classes(&batch.targets));
        let weight = inputs.check(shape, &options)?;
        let mut rows = BTreeMap::new();
        for &at in &batch.probes {
            let row = at as usize / batch.cols;
            rows.entry(row).or_insert_with(|| {
                let logits = &batch.logits[row * batch.cols..][..batch.cols];
                let probs = reference::softmax_row(logits, &Default::default());
                let dlogits = reference::cross_entropy::row_dlogits_at(
                    &batch.logits,
                    inputs,
                    shape,
                    &options,
                    &weight,
                    row,
                );
                (dlogits, probs)
            });
        }
        let probed =
            batch.probes.iter().map(|&at| (&rows[&(at as usize / batch.cols)], at as usize % batch.cols));
        let (dlogits, probs) = probed.map(|((dlogits, probs), class)| (dlogits[class], probs[class])).unzip();
        let loss = reference::cross_entropy::loss(&batch.logits, inputs, shape, &options)?;
        let tops = probed_rows(batch.rows).map(|row| {
            let logits = &batch.logits[row * batch.cols..][..batch.cols];
            let log_probs = reference::log_softmax_row(logits, &Default::default());
            let mut classes: Vec<(f64, usize)> = log_probs.into_iter().zip(0..).collect();
            classes.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            classes.truncate(Operation::ALL.map(Operation::classes).into_iter().max().unwrap_or(0));
            classes
        });
        Ok(Self { loss, dlogits, probs, tops: tops.collect() })
    }

    /// The values that an operation gives: those whose name is a loss, and the others with their name.
    fn of_operation(&self, operation: Operation) -> (&[f64], Vec<f64>, &'static str) {
        let loss = std::slice::from_ref(&self.loss);
        let classes = || self.tops.iter().flat_map(|row| &row[..operation.classes()]);
        match operation {
            Operation::Loss => (loss, vec![], ""),
            Operation::LossAndGradient => (loss, self.dlogits.clone(), "a gradient of "),
            Operation::Softmax => (&[], self.probs.clone(), "a probability of "),
            Operation::Top5 | Operation::Top64 => {
                let indices = classes().map(|&(_, class)| class as f64);
                (
                    &[],
                    classes().map(|&(log_prob, _)| log_prob).chain(indices).collect(),
                    "a class or value of ",
                )
            }
        }
    }

    /// Says what is wrong with the values that a contestant gave, if anything is.
    pub fn verdict(&self, operation: Operation, values: &[f64]) -> Option<String> {
        let (losses, others, what) = self.of_operation(operation);
        let expected = [losses, &others].concat();
        if values.len() != expected.len() {
            return Some(format!("{} values, but {} were asked for", values.len(), expected.len()));
        }
        let wrong = values.iter().zip(&expected).enumerate().find(|(_, (value, expected))| {
            // A NaN is never within the tolerance.
            let is_right = (*value - *expected).abs() <= TOLERANCE * expected.abs();
            !is_right
        });
        wrong.map(|(at, (value, expected))| {
            let what = if at < losses.len() { "a loss of " } else { what };
            format!("{what}{value:.5e}, not {expected:.5e}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_answer_is_found() {
        let batch = Batch::new(3, 20);
        let answers = Answers::of(&batch).unwrap();
        let mut values = vec![answers.loss];
        values.extend(&answers.dlogits);
        let verdict = |values: &[f64]| answers.verdict(Operation::LossAndGradient, values);
        assert_eq!(verdict(&values), None);
        for at in 0..values.len() {
            for wrong in [0.0, f64::NAN, f64::INFINITY, values[at] * 1.01] {
                let mut values = values.clone();
                values[at] = wrong;
                assert!(verdict(&values).is_some(), "{wrong} at {at}");
            }
        }
        assert!(verdict(&values[1..]).is_some());
    }

    #[test]
    fn files_give_the_batch_back() {
        let folder = tempfile::tempdir().unwrap();
        let batch = Batch::new(5, 7);
        batch.write(folder.path()).unwrap();
        let read = Batch::read(folder.path(), 5, 7).unwrap();
        assert_eq!(read.logits, batch.logits);
        assert_eq!(read.targets, batch.targets);
        assert_eq!(read.probes, batch.probes);
    }
}
