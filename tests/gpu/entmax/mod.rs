//! Entmax and its backward pass against their references: what they bring to the harness of maps.

mod layouts;
mod loss;
mod requests;
mod special;

use xent::bounds::{entmax_backward_bounds, entmax_bounds};
use xent::{
    BackwardBuffers, Bound, Context, Element, Entmax, EntmaxBackward, EntmaxBackwardOptions, EntmaxBuffers,
    EntmaxOptions, OutputBuffer, Shape, Tuning, reference,
};

use crate::harness::Region;
use crate::maps::{Map, Offsets};
use crate::typed::region;

const INF: f32 = f32::INFINITY;

fn of(alpha: f32) -> EntmaxOptions {
    EntmaxOptions { alpha, ..Default::default() }
}

/// Logits of an entmax.
struct Batch<E> {
    labels: Vec<String>,
    shape: Shape,
    logits: Vec<E>,
    options: EntmaxOptions,
}

impl<E: Element> Map for Batch<E> {
    type E = E;
    type Op = Entmax<E>;
    type Regions = Region;

    fn shape(&self) -> Shape {
        self.shape
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn options(&self) -> String {
        format!("{:?}", self.options)
    }

    fn op(&self, gpu: &Context) -> Entmax<E> {
        Entmax::new(gpu, &self.options).expect("an operation")
    }

    fn tuned(op: Entmax<E>, tuning: Tuning) -> Entmax<E> {
        op.with_tuning(tuning).expect("a tuning")
    }

    fn expected_row(&self, row: usize) -> Vec<(f64, f64)> {
        let row: Vec<E> = self.shape.row(&self.logits, row).copied().collect();
        let bounds = entmax_bounds(&row, &self.options);
        reference::entmax_row(&row, &self.options).into_iter().zip(bounds).collect()
    }

    fn host(&self, op: &Entmax<E>) -> Vec<E> {
        op.entmax(&self.logits, self.shape).wait().expect("probabilities")
    }

    fn regions(&self, gpu: &Context, offsets: Offsets) -> Region {
        region(gpu, offsets.first, &self.logits)
    }

    fn bind(&self, op: &Entmax<E>, logits: &Region, probs: OutputBuffer<'_>) -> Bound {
        op.bind(self.shape, &EntmaxBuffers { logits: logits.binding(), probs }).expect("bound")
    }

    fn overwritten(logits: &Region) -> &Region {
        logits
    }
}

/// Probabilities of an entmax, and the gradient by them.
struct Pairs<E> {
    labels: Vec<String>,
    shape: Shape,
    probs: Vec<E>,
    dprobs: Vec<E>,
    options: EntmaxBackwardOptions,
}

impl<E: Element> Map for Pairs<E> {
    type E = E;
    type Op = EntmaxBackward<E>;
    type Regions = [Region; 2];

    fn shape(&self) -> Shape {
        self.shape
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn options(&self) -> String {
        format!("backward, {:?}", self.options)
    }

    fn op(&self, gpu: &Context) -> EntmaxBackward<E> {
        EntmaxBackward::new(gpu, &self.options).expect("an operation")
    }

    fn tuned(op: EntmaxBackward<E>, tuning: Tuning) -> EntmaxBackward<E> {
        op.with_tuning(tuning).expect("a tuning")
    }

    fn expected_row(&self, row: usize) -> Vec<(f64, f64)> {
        let wide = |values: &[E]| self.shape.row(values, row).map(|x| x.to_f64()).collect::<Vec<f64>>();
        let (probs, dprobs) = (wide(&self.probs), wide(&self.dprobs));
        let bounds = entmax_backward_bounds(&probs, &dprobs, &self.options);
        reference::entmax_backward_row(&probs, &dprobs, &self.options).into_iter().zip(bounds).collect()
    }

    fn host(&self, op: &EntmaxBackward<E>) -> Vec<E> {
        op.backward(&self.probs, &self.dprobs, self.shape).wait().expect("a gradient")
    }

    fn regions(&self, gpu: &Context, offsets: Offsets) -> [Region; 2] {
        [region(gpu, offsets.first, &self.probs), region(gpu, offsets.second, &self.dprobs)]
    }

    fn bind(
        &self,
        op: &EntmaxBackward<E>,
        [probs, dprobs]: &[Region; 2],
        dlogits: OutputBuffer<'_>,
    ) -> Bound {
        let (probs, dprobs) = (probs.binding(), dprobs.binding());
        op.bind(self.shape, &BackwardBuffers { probs, dprobs, dlogits }).expect("bound")
    }

    fn overwritten([_, dprobs]: &[Region; 2]) -> &Region {
        dprobs
    }
}

/// The probabilities of a batch by the reference, and a gradient by them.
fn pairs_of<E: Element>(batch: &Batch<E>, dprobs: Vec<E>) -> Pairs<E> {
    let probs = reference::entmax(&batch.logits, batch.shape, &batch.options).expect("a batch");
    let probs = probs.into_iter().map(|p| E::from_f32(p as f32)).collect();
    let Batch { labels, shape, options, .. } = batch;
    let options = EntmaxBackwardOptions { alpha: options.alpha };
    Pairs { labels: labels.clone(), shape: *shape, probs, dprobs, options }
}
