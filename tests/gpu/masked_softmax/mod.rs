//! Masked softmax against its reference: what it brings to the harness of maps.

mod kinds;
mod misuse;
mod requests;
mod special;

use xent::bounds::masked_prob_bounds;
use xent::{
    Bound, Causal, Context, Element, MaskRows, MaskedRow, MaskedSoftmax, MaskedSoftmaxBuffers,
    MaskedSoftmaxOptions, Masks, OutputBuffer, Shape, Tuning, reference,
};

use crate::harness::{Region, aligned_offset};
use crate::maps::{Map, Offsets, sentinel};
use crate::typed::{narrowed, noise, region};

const INF: f32 = f32::INFINITY;

/// Logits with their masks.
struct Batch<E> {
    labels: Vec<String>,
    shape: Shape,
    logits: Vec<E>,
    additive: Option<(Vec<f32>, MaskRows)>,
    boolean: Option<(Vec<bool>, MaskRows)>,
    options: MaskedSoftmaxOptions,
}

impl<E> Batch<E> {
    fn masks(&self) -> Masks<'_> {
        Masks {
            additive: self.additive.as_ref().map(|(mask, rows)| (&mask[..], *rows)),
            boolean: self.boolean.as_ref().map(|(mask, rows)| (&mask[..], *rows)),
        }
    }
}

/// Logits and masks on the device.
struct Regions {
    logits: Region,
    additive: Option<(Region, MaskRows)>,
    boolean: Option<(Region, MaskRows)>,
}

impl<E: Element> Map for Batch<E> {
    type E = E;
    type Op = MaskedSoftmax<E>;
    type Regions = Regions;

    fn shape(&self) -> Shape {
        self.shape
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn options(&self) -> String {
        format!("{:?}", self.options)
    }

    fn op(&self, gpu: &Context) -> MaskedSoftmax<E> {
        MaskedSoftmax::new(gpu, &self.options).expect("an operation")
    }

    fn tuned(op: MaskedSoftmax<E>, tuning: Tuning) -> MaskedSoftmax<E> {
        op.with_tuning(tuning).expect("a tuning")
    }

    fn expected_row(&self, row: usize) -> Vec<(f64, f64)> {
        let logits: Vec<E> = self.shape.row(&self.logits, row).copied().collect();
        let probs = reference::masked_softmax_row(&logits, row, self.masks(), &self.options);
        let bounds = masked_prob_bounds(&logits, row, self.masks(), &self.options);
        probs.into_iter().zip(bounds).collect()
    }

    fn host(&self, op: &MaskedSoftmax<E>) -> Vec<E> {
        op.softmax(&self.logits, self.masks(), self.shape).wait().expect("probabilities")
    }

    fn regions(&self, gpu: &Context, offsets: Offsets) -> Regions {
        let at = aligned_offset(gpu);
        // Whatever is not 0 may be attended to.
        let word = |(at, &attended): (usize, &bool)| if attended { 1u32 << (at % 32) } else { 0 };
        let words = |mask: &[bool]| mask.iter().enumerate().map(word).collect::<Vec<u32>>();
        Regions {
            logits: region(gpu, offsets.first, &self.logits),
            additive: self.additive.as_ref().map(|(mask, rows)| (Region::of_f32(gpu, at, mask), *rows)),
            boolean: self.boolean.as_ref().map(|(mask, rows)| (Region::new(gpu, at, &words(mask)), *rows)),
        }
    }

    fn bind(&self, op: &MaskedSoftmax<E>, regions: &Regions, probs: OutputBuffer<'_>) -> Bound {
        let buffers = MaskedSoftmaxBuffers {
            logits: regions.logits.binding(),
            additive: regions.additive.as_ref().map(|(region, rows)| (region.binding(), *rows)),
            boolean: regions.boolean.as_ref().map(|(region, rows)| (region.binding(), *rows)),
            probs,
        };
        op.bind(self.shape, &buffers).expect("bound")
    }

    fn overwritten(regions: &Regions) -> &Region {
        &regions.logits
    }
}

/// batch · heads · queries of noise, with masks of every kind.
fn attention<E: Element>(
    cols: usize,
    row_stride: usize,
    q_len: usize,
    kinds: (Option<MaskRows>, Option<MaskRows>),
    causal: Option<Causal>,
) -> Batch<E> {
    let rows = 2 * 3 * q_len;
    let shape = Shape::new(rows, cols).row_stride(row_stride);
    let mut logits: Vec<E> = narrowed(&noise(7, shape.len(), 8.0));
    // Padding is the sentinel: it must stay.
    for at in (0..logits.len()).filter(|at| at % row_stride >= cols) {
        logits[at] = sentinel();
    }
    let entries = |rows: MaskRows, seed| noise(seed, rows.rows * cols, 2.0);
    Batch {
        labels: Vec::new(),
        shape,
        logits,
        additive: kinds.0.map(|rows| {
            let hide = |x: f32| if x > 2.5 { -INF } else { x };
            (entries(rows, 8).into_iter().map(hide).collect(), rows)
        }),
        boolean: kinds.1.map(|rows| (entries(rows, 9).into_iter().map(|x| x < 1.0).collect(), rows)),
        options: MaskedSoftmaxOptions { scale: 0.125, causal, masked_row: MaskedRow::Zero },
    }
}
