//! What takes windows of logits: the device, or the reference.

use crate::device::Wait;
use crate::element::Element;
use crate::error::Result;
use crate::inputs::CrossEntropyInputs;
use crate::op::{CrossEntropyStream, Flight, RowResult};

pub(super) trait Evaluator<E> {
    /// A window under way.
    type Flight;

    /// The most rows of a window: whole groups of rows that lie side by side.
    fn window_rows(&self) -> usize;

    /// Takes the next rows, whose inputs have been checked. The window before may still be under way, none else.
    fn submit(
        &mut self,
        logits: &[E],
        rows: usize,
        inputs: &CrossEntropyInputs<'_>,
        with_dlogits: bool,
    ) -> Result<Self::Flight>;

    /// Waits for a window, in the order of their submission; the gradient goes to `dlogits`, if there is one. Of the
    /// inputs the targets are not looked at again.
    fn finish(
        &mut self,
        flight: Self::Flight,
        inputs: &CrossEntropyInputs<'_>,
        dlogits: Option<&mut [f32]>,
    ) -> Result<&[RowResult]>;
}

/// A stream, and how its windows are waited for.
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
