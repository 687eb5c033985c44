//! Evaluators compute windows of logits: the device, or the reference.

use crate::coded::{Codes, Logits};
use crate::device::Wait;
use crate::element::Element;
use crate::error::Result;
use crate::eval::losses::Evaluable;
use crate::op::{Flight, LossKind, LossStream};
use crate::options::CrossEntropyOptions;
use crate::results::RowResult;

pub(super) trait Evaluator<E: Element, L: LossKind = CrossEntropyOptions> {
    /// A window in flight.
    type Flight;

    /// The maximum number of rows in a window, a multiple of the rows side by side.
    fn window_rows(&self) -> usize;

    /// Submits the next rows, whose inputs have been checked. At most the window before may still be in flight. Codes come
    /// only if the evaluator was opened for them; those of a second array are not among the inputs.
    fn submit(
        &mut self,
        logits: Logits<'_, E>,
        second: Option<Codes<'_>>,
        rows: usize,
        inputs: &L::Inputs<'_, E>,
        with_dlogits: bool,
    ) -> Result<Self::Flight>;

    /// Waits for a window, in the order of submission. The gradient goes to `dlogits`, if there is one. Of the inputs,
    /// only those of the rows are used again.
    fn finish(
        &mut self,
        flight: Self::Flight,
        inputs: &L::Inputs<'_, E>,
        dlogits: Option<&mut [f32]>,
    ) -> Result<&[RowResult]>;
}

/// A stream, and how to wait for its windows.
pub(super) struct Device<E: Element, L: LossKind> {
    pub stream: LossStream<E, L>,
    pub wait: Wait,
}

impl<E: Element, L: Evaluable> Evaluator<E, L> for Device<E, L> {
    type Flight = Flight;

    fn window_rows(&self) -> usize {
        self.stream.window_rows()
    }

    fn submit(
        &mut self,
        logits: Logits<'_, E>,
        second: Option<Codes<'_>>,
        rows: usize,
        inputs: &L::Inputs<'_, E>,
        with_dlogits: bool,
    ) -> Result<Flight> {
        self.stream.submit(logits, second, rows, inputs, with_dlogits)
    }

    fn finish(
        &mut self,
        flight: Flight,
        inputs: &L::Inputs<'_, E>,
        dlogits: Option<&mut [f32]>,
    ) -> Result<&[RowResult]> {
        let back = pollster::block_on(flight.land(self.wait.clone()))?;
        self.stream.read(back, inputs, dlogits, Default::default())
    }
}
