//! Backward passes of operations that give probabilities: of the probabilities (rows, cols) and of the gradient with respect to
//! them, they make the gradient with respect to the logits.

use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{Pass, binding};
use crate::kernel::{Needs, Params};
use crate::op::Bound;
use crate::op::output::OutputBuffer;
use crate::op::rows::{HostMap, Map, MapBuffers, MapKind, MapOp};
use crate::op::stream::SecondArray;
use crate::request::Request;
use crate::shape::Shape;
use crate::verification::Verification;

/// What the options of a backward pass say.
pub(crate) trait BackwardKind: MapKind {
    const PASS: &'static Pass;

    fn params(&self) -> Params;
    fn constants(&self) -> Vec<(&'static str, u32)>;
    /// A row of the gradient by the reference, and the error bounds of its values, from the row's probabilities and the
    /// gradient with respect to them.
    fn expected_row(&self, probs: &[f64], dprobs: &[f64]) -> [Vec<f64>; 2];
}

/// The buffers of a bound backward pass. All have the same layout, `row_stride` included; padding is not written.
///
/// More fields may come: end a literal with `..BackwardBuffers::new(probs, dprobs, dlogits)`.
#[derive(Clone, Debug)]
pub struct BackwardBuffers<'a> {
    /// Probabilities (rows, cols), or log-probabilities with
    /// [`SoftmaxBackwardOptions::log`](crate::SoftmaxBackwardOptions::log). Any offset that is a multiple of the element's
    /// size.
    pub probs: wgpu::BufferBinding<'a>,
    /// The gradient with respect to `probs` (rows, cols), of the same type. Any offset that is a multiple of the
    /// element's size.
    pub dprobs: wgpu::BufferBinding<'a>,
    /// Destination of the gradient with respect to the logits (rows, cols). [`OutputBuffer::InPlace`] overwrites
    /// `dprobs`.
    pub dlogits: OutputBuffer<'a>,
}

impl<'a> BackwardBuffers<'a> {
    /// Probabilities, the gradient with respect to them, and the destination of the gradient with respect to the
    /// logits, all (rows, cols).
    pub fn new(
        probs: wgpu::BufferBinding<'a>,
        dprobs: wgpu::BufferBinding<'a>,
        dlogits: OutputBuffer<'a>,
    ) -> Self {
        Self { probs, dprobs, dlogits }
    }
}

#[expect(private_bounds, reason = "sealed")]
impl<E: Element, O: BackwardKind> MapOp<E, O> {
    /// The gradient with respect to the logits (rows, cols). `probs` are the probabilities (or log-probabilities) and
    /// `dprobs` the gradient with respect to them. All three are (rows, cols) with the same layout; padding columns are
    /// 0.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) and what [`Shape::check`] refuses;
    /// [`Error::RowTooLarge`](crate::Error::RowTooLarge); whatever the device reports.
    pub fn backward<'a>(&'a self, probs: &'a [E], dprobs: &'a [E], shape: Shape) -> Request<'a, Vec<E>> {
        let given = HostMap { second: Some(probs), ..HostMap::of(dprobs) };
        self.rows.run(shape, given, Ok(self.backward_map()))
    }

    /// Like [`backward`](Self::backward), but writes into a slice of yours, as long as the inputs. The slice decides
    /// the type: the inputs' type, or f32, which avoids rounding.
    ///
    /// # Errors
    /// As for [`backward`](Self::backward); [`Error::Length`](crate::Error::Length) for the slice, before any work.
    pub fn backward_into<'a, D: Element>(
        &'a self,
        probs: &'a [E],
        dprobs: &'a [E],
        shape: Shape,
        dlogits: &'a mut [D],
    ) -> Request<'a, ()> {
        let given = HostMap { second: Some(probs), ..HostMap::of(dprobs) };
        self.rows.run_into(shape, given, dlogits, Ok(self.backward_map()))
    }

    /// Checks the gradient of `rows` evenly spaced rows of this batch against the f64
    /// [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As for [`backward`](Self::backward).
    pub fn verify<'a>(
        &'a self,
        probs: &'a [E],
        dprobs: &'a [E],
        shape: Shape,
        rows: usize,
    ) -> Request<'a, Verification> {
        let wide = move |values: &[E], row| shape.row(values, row).map(|x| x.to_f64()).collect::<Vec<f64>>();
        self.backward(probs, dprobs, shape).map(move |dlogits| {
            Verification::of_values(&dlogits, shape, rows, |row| {
                let [values, bounds] = self.options.expected_row(&wide(probs, row), &wide(dprobs, row));
                values.into_iter().zip(bounds)
            })
        })
    }

    /// Binds the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// As for [`Softmax::bind`](crate::Softmax::bind).
    pub fn bind(&self, shape: Shape, to: &BackwardBuffers<'_>) -> Result<Bound> {
        let buffers = MapBuffers { logits: &to.dprobs, second: Some(&to.probs), output: to.dlogits.clone() };
        self.rows.bind(shape, vec![(self.backward_map(), buffers)], [])
    }

    /// The gradient with respect to the probabilities takes the place of the logits, because the output may overwrite it.
    fn backward_map(&self) -> Map {
        let value_bytes = size_of::<E>() as u64;
        Map {
            pass: O::PASS,
            logits: "dprobs",
            output: "dlogits",
            second: Some(SecondArray { name: "probs", number: binding::PROBS, value_bytes }),
            splits: false,
            needs: Needs::default(),
            params: self.options.params(),
            constants: self.options.constants(),
            rest: vec![],
        }
    }
}
