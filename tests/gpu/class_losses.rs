//! Bound losses against target classes, with everything that a row may have: what their tests share.

use xent::{Element, LossOutputs, LossRecord, RowInputBuffers, RowInputs, Shape};

use crate::harness::{Region, gpu};
use crate::typed::{Expected, To, check, read, unwritten};

/// Classes in turn, with some rows left out.
pub fn classes(rows: usize, classes: usize) -> Vec<i32> {
    (0..rows).map(|row| if row % 7 == 5 { -100 } else { (row * 31 % classes) as i32 }).collect()
}

/// Row weights, a mask, and upstream gradients of the whole and of each row; in slices and in buffers.
pub struct OfRows {
    weights: Vec<f32>,
    mask: Vec<bool>,
    upstream: Vec<f32>,
    /// Weights, upstream gradients, the upstream gradient of the whole, the mask.
    regions: [Region; 4],
}

impl OfRows {
    pub fn new(rows: usize) -> Self {
        let gpu = gpu();
        let weights: Vec<f32> = (0..rows).map(|row| [1.0, 0.0, 2.5, 4.0][row % 4]).collect();
        let mask: Vec<bool> = (0..rows).map(|row| row % 5 != 3).collect();
        let upstream: Vec<f32> = (0..rows).map(|row| [1.0, -0.5][row % 2]).collect();
        let words: Vec<i32> = mask.iter().map(|&scored| i32::from(scored)).collect();
        let [to_weights, to_upstream, to_whole] =
            [&weights, &upstream, &vec![0.5]].map(|values| Region::of_f32(gpu, 256, values));
        let regions = [to_weights, to_upstream, to_whole, Region::of_i32(gpu, &words)];
        Self { weights, mask, upstream, regions }
    }

    pub fn inputs(&self) -> RowInputs<'_> {
        RowInputs {
            row_weights: Some(&self.weights),
            row_mask: Some(&self.mask),
            upstream: 0.5,
            row_upstream: Some(&self.upstream),
        }
    }

    pub fn buffers(&self) -> RowInputBuffers<'_> {
        let [weights, upstream, whole, mask] = &self.regions;
        RowInputBuffers {
            row_weights: Some(weights.binding()),
            row_mask: Some(mask.binding()),
            upstream: Some(whole.binding()),
            row_upstream: Some(upstream.binding()),
        }
    }
}

/// What the reference says of a batch.
pub struct ExpectedLoss {
    pub row_losses: Expected,
    pub value: f64,
    pub dlogits: Expected,
}

/// All outputs of a bound loss.
pub struct Outputs {
    shape: Shape,
    to: To,
    loss: Region,
    row_losses: Region,
    dlogits: Region,
}

impl Outputs {
    pub fn new<E: Element>(shape: Shape, to: To) -> Self {
        let gpu = gpu();
        let [loss, row_losses] =
            [LossRecord::BYTES as usize / 4, shape.rows].map(|words| Region::unwritten(gpu, words));
        let dlogits = if to == To::F32 {
            unwritten::<f32>(gpu, 260, shape.len())
        } else {
            unwritten::<E>(gpu, 260, shape.len())
        };
        Self { shape, to, loss, row_losses, dlogits }
    }

    pub fn buffers(&self) -> LossOutputs<'_> {
        LossOutputs {
            loss: Some(self.loss.binding()),
            row_losses: Some(self.row_losses.binding()),
            dlogits: Some(self.to.buffer(&self.dlogits)),
        }
    }

    /// The record of the batch's loss.
    pub fn record(&self) -> LossRecord {
        self.loss.read_as(gpu())[0]
    }

    /// Compares what was written with what is expected. `logits` are those of the call, which may hold the gradient.
    pub fn check<E: Element>(&self, context: &str, logits: &Region, expected: &ExpectedLoss) {
        let (gpu, shape) = (gpu(), self.shape);
        let found: Vec<f32> = read(gpu, &self.row_losses, shape.rows);
        check(context, &[], Shape::new(1, shape.rows), &found, &expected.row_losses, true);
        let (record, whole) = (self.record(), expected.value);
        let value = f64::from(record.value);
        assert!((value - whole).abs() <= 5e-6 + 4e-6 * whole.abs(), "{context}: {record:?} {whole}");
        let of = |region: &Region| read::<E>(gpu, region, shape.len());
        match self.to {
            To::F32 => {
                let found = read::<f32>(gpu, &self.dlogits, shape.len());
                check(context, &[], shape, &found, &expected.dlogits, false);
            }
            To::Element => check(context, &[], shape, &of(&self.dlogits), &expected.dlogits, false),
            To::InPlace => check(context, &[], shape, &of(logits), &expected.dlogits, false),
        }
    }
}
