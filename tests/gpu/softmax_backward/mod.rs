//! The backward of softmax and of log-softmax against its reference: what it brings to the harness of maps.

mod layouts;
mod misuse;
mod requests;
mod special;

use xent::bounds::softmax_backward_bounds;
use xent::{
    BackwardBuffers, Bound, Context, Element, OutputBuffer, Shape, SoftmaxBackward, SoftmaxBackwardOptions,
    SoftmaxOptions, Tuning, reference,
};

use crate::harness::Region;
use crate::maps::{Map, Offsets};
use crate::typed::region;

const INF: f32 = f32::INFINITY;

/// Probabilities, or their logarithms, and the gradient by them.
struct Batch<E> {
    labels: Vec<String>,
    shape: Shape,
    probs: Vec<E>,
    dprobs: Vec<E>,
    options: SoftmaxBackwardOptions,
}

impl<E: Element> Map for Batch<E> {
    type E = E;
    type Op = SoftmaxBackward<E>;
    /// Probabilities, and the gradient by them.
    type Regions = [Region; 2];

    fn shape(&self) -> Shape {
        self.shape
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn options(&self) -> String {
        format!("{:?}", self.options)
    }

    fn op(&self, gpu: &Context) -> SoftmaxBackward<E> {
        SoftmaxBackward::new(gpu, &self.options).expect("an operation")
    }

    fn tuned(op: SoftmaxBackward<E>, tuning: Tuning) -> SoftmaxBackward<E> {
        op.with_tuning(tuning).expect("a tuning")
    }

    fn expected_row(&self, row: usize) -> Vec<(f64, f64)> {
        let wide = |values: &[E]| self.shape.row(values, row).map(|x| x.to_f64()).collect::<Vec<f64>>();
        let (probs, dprobs) = (wide(&self.probs), wide(&self.dprobs));
        let dlogits = if self.options.log {
            reference::log_softmax_backward_row(&probs, &dprobs)
        } else {
            reference::softmax_backward_row(&probs, &dprobs)
        };
        let bounds = softmax_backward_bounds(&probs, &dprobs, &self.options);
        dlogits.into_iter().map(|dx| dx * f64::from(self.options.scale)).zip(bounds).collect()
    }

    fn host(&self, op: &SoftmaxBackward<E>) -> Vec<E> {
        op.backward(&self.probs, &self.dprobs, self.shape).wait().expect("a gradient")
    }

    fn regions(&self, gpu: &Context, offsets: Offsets) -> [Region; 2] {
        [region(gpu, offsets.first, &self.probs), region(gpu, offsets.second, &self.dprobs)]
    }

    fn bind(
        &self,
        op: &SoftmaxBackward<E>,
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

/// Probabilities of normal logits, in f32.
fn probs_of(logits: &[f32], log: bool) -> Vec<f32> {
    let options = SoftmaxOptions::default();
    let of = if log { reference::log_softmax_row } else { reference::softmax_row };
    of(logits, &options).into_iter().map(|p| p as f32).collect()
}
