//! A host batch on its way through the device, window by window, in buffers that are made once.

use crate::device::{Context, Transfer, Wait};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::{Binding, Dispatch, Place, Plan, Window};
use crate::op::engine::{Engine, LogitsCall, Placed};
use crate::shape::Shape;

/// The buffers of one window and the way to and from them.
pub(crate) struct Stream<E> {
    pub transfer: Transfer,
    pub plan: Plan,
    shape: Shape,
    logits: Binding,
    output: Option<Binding>,
    next_row: usize,
    /// A window is on its way; after a push that did not come to its end it stays so.
    under_way: bool,
    element: std::marker::PhantomData<E>,
}

impl<E: Element> Stream<E> {
    pub fn new(engine: &Engine<E>, gpu: &Context, shape: Shape, with_output: bool) -> Result<Self> {
        let plan = engine.streamed_plan(gpu, shape)?;
        let bytes = plan.streamed_bytes();
        let output = if with_output { Some(engine.scratch("xent::window::output", bytes)?) } else { None };
        Ok(Self {
            transfer: Transfer::new(gpu, bytes)?,
            logits: engine.scratch("xent::window::logits", bytes)?,
            output,
            plan,
            shape,
            next_row: 0,
            under_way: false,
            element: std::marker::PhantomData,
        })
    }

    /// Refuses an output of another length than these rows', before any of them is taken.
    pub fn check_output(&self, what: &'static str, output: &[E], rows: usize) -> Result<()> {
        self.shape.with_rows(rows).check_slice(what, output)
    }

    /// Takes the next rows: uploads their logits, and says where they lie.
    pub async fn take(&mut self, logits: &[E], rows: usize, wait: Wait) -> Result<Taken> {
        self.shape.with_rows(rows).check_slice("logits", logits)?;
        if rows > self.plan.window_rows() || self.next_row + rows > self.shape.rows {
            let bound = self.plan.window_rows().min(self.shape.rows - self.next_row);
            return Err(Error::RowsExceedBound { rows, bound });
        }
        if std::mem::replace(&mut self.under_way, true) {
            return Err(Error::StreamEnded);
        }
        let window = Window { first_row: self.next_row, rows, grid: self.plan.grid(rows) };
        let base = self.plan.streamed_base(&window);
        let bytes = self.plan.window_bytes(rows);
        let values = &logits[..self.shape.with_rows(rows).len()];
        let offset = u64::from(base) * Engine::<E>::ELEMENT_BYTES;
        self.transfer.upload(bytemuck::cast_slice(values), &self.logits.buffer, offset, wait).await?;
        self.next_row += rows;
        // In the window's own buffers, its rows are the first.
        Ok(Taken { window: Window { first_row: 0, ..window }, base, offset, bytes })
    }

    /// A window has been through, and the next may come.
    pub fn finish(&mut self) {
        self.under_way = false;
    }

    /// A pass over a window's logits.
    pub fn dispatch(
        &self,
        engine: &Engine<E>,
        taken: &Taken,
        call: &LogitsCall<'_>,
        with_output: bool,
    ) -> Result<Dispatch> {
        let output = self.output.as_ref().filter(|_| with_output).map(|output| taken.placed(output));
        let logits = taken.placed(&self.logits);
        engine.logits_dispatch(self.plan.tuning, &taken.window, call, logits, output)
    }

    /// Runs a window's dispatches.
    pub fn run(&self, label: &str, dispatches: &[Dispatch]) -> Result<()> {
        self.transfer.submit(label, |encoder| {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some(label),
                timestamp_writes: None,
            });
            for dispatch in dispatches {
                dispatch.record(&mut pass);
            }
        })
    }

    /// Reads a window's output back into a checked slice, laid out as its logits are; padding between rows is zero.
    pub async fn read_output(&self, taken: &Taken, into: &mut [E], wait: Wait) -> Result<()> {
        let Some(output) = &self.output else { return Ok(()) };
        let shape = self.shape.with_rows(taken.window.rows);
        let len = shape.len();
        let bytes = bytemuck::cast_slice_mut(&mut into[..len]);
        self.transfer.download(&output.buffer, taken.offset, bytes, wait).await?;
        if shape.row_stride > shape.cols {
            for row in into.chunks_mut(shape.row_stride) {
                let cols = shape.cols.min(row.len());
                row[cols..].fill(E::default());
            }
        }
        Ok(())
    }
}

/// A window whose logits are on the device.
pub(crate) struct Taken {
    window: Window,
    base: u32,
    offset: u64,
    bytes: u64,
}

impl Taken {
    fn placed<'a>(&self, binding: &'a Binding) -> Placed<'a> {
        Placed { binding, place: Place { offset: 0, size: self.offset + self.bytes, base: self.base } }
    }
}

/// The rows of a host batch, as windows of its slices.
pub(crate) fn windows(
    shape: Shape,
    step: usize,
) -> impl Iterator<Item = (std::ops::Range<usize>, std::ops::Range<usize>)> {
    (0..shape.rows).step_by(step.max(1)).map(move |first| {
        let rows = first..shape.rows.min(first + step);
        let start = shape.row_start(first);
        let values = start..start + shape.with_rows(rows.len()).len();
        (rows, values)
    })
}
