//! Evaluators compute windows of logits: the device, or the reference.

use crate::device::Wait;
use crate::element::Element;
use crate::error::Result;
use crate::inputs::CrossEntropyInputs;
use crate::op::{CrossEntropyStream, Flight};
use crate::results::RowResult;

pub(super) trait Evaluator<E> {
    /// A window in flight.
    type Flight;

    /// The maximum number of rows in a window, a multiple of the rows side by side.
    fn window_rows(&self) -> usize;

    /// Submits the next rows, whose inputs have been checked. At most the window before may still be in flight.
    fn submit(
        &mut self,
        logits: &[E],
        rows: usize,
        inputs: &CrossEntropyInputs<'_>,
        with_dlogits: bool,
    ) -> Result<Self::Flight>;

    /// Waits for a window, in the order of submission. The gradient goes to `dlogits`, if there is one. The targets
    /// among the inputs are not used again.
    fn finish(
        &mut self,
        flight: Self::Flight,
        inputs: &CrossEntropyInputs<'_>,
        dlogits: Option<&mut [f32]>,
    ) -> Result<&[RowResult]>;
}

/// A stream, and how to wait for its windows.
pub(super) struct Device<E: Element> {
    pub stream: CrossEntropyStream<E>,
    pub wait: Wait,
}

impl<E: Element> Evaluator<E> for Device<E> {
    type Flight = Flight;

    fn window_rows(&self) -> usize {
        self.stream.window_rows()
    }

    fn submit(
        &mut self,
        logits: &[E],
        rows: usize,
        inputs: &CrossEntropyInputs<'_>,
        with_dlogits: bool,
    ) -> Result<Flight> {
        self.stream.submit(logits, rows, inputs, with_dlogits)
    }

    fn finish(
        &mut self,
        flight: Flight,
        inputs: &CrossEntropyInputs<'_>,
        dlogits: Option<&mut [f32]>,
    ) -> Result<&[RowResult]> {
        let back = pollster::block_on(flight.land(self.wait.clone()))?;
        self.stream.read(back, inputs, dlogits, Default::default())
    }
}
