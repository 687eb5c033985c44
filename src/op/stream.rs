//! A host batch on its way through the device, window by window, in buffers that are made once.

use crate::device::{Context, Transfer, Wait};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::passes::{Output, binding};
use crate::kernel::{Binding, Dispatch, Place, Plan, Window, Work};
use crate::op::engine::{Array, Engine, LogitsCall, Placed};
use crate::shape::Shape;

/// The buffers of one window and the way to and from them.
pub(crate) struct Stream<E> {
    pub transfer: Transfer,
    pub plan: Plan,
    /// As the host's slices lie, and as the windows do on the device: 16-bit rows begin at a multiple of four values
    /// there, so that none shares a word with the next.
    shape: Shape,
    device_shape: Shape,
    logits: Binding,
    arrays: Vec<Beside>,
    next_row: usize,
    /// A window is on its way; after a push that did not come to its end it stays so.
    under_way: bool,
    /// Rows on their way from one layout to the other.
    repacked: Vec<E>,
}

/// Values beside the logits that lie like them, for one window.
struct Beside {
    number: u32,
    value_bytes: u64,
    buffer: Binding,
}

/// What a stream has beside the logits.
#[derive(Clone, Copy, Default)]
pub(crate) struct Extras {
    pub output: Option<Output>,
    /// Soft targets, a teacher's logits, or whatever else lies like the logits on the host.
    pub second: Option<Second>,
    /// Entries of a row's sparse target, or 0.
    pub entries: usize,
}

/// A second array: its binding's number, and the bytes of its values.
#[derive(Clone, Copy)]
pub(crate) struct Second {
    pub number: u32,
    pub value_bytes: u64,
}

impl<E: Element> Stream<E> {
    pub fn new(engine: &Engine<E>, gpu: &Context, shape: Shape, extras: Extras) -> Result<Self> {
        shape.check()?;
        let device_shape = device_shape::<E>(shape);
        let output_bytes = extras.output.map(|output| match output {
            Output::F32 => 4,
            Output::Element | Output::InPlace => Engine::<E>::ELEMENT_BYTES,
        });
        let second_bytes = extras.second.map(|second| second.value_bytes);
        let widest = Engine::<E>::ELEMENT_BYTES.max(output_bytes.unwrap_or(0)).max(second_bytes.unwrap_or(0));
        let work = Work { widest_bytes: widest, entries: extras.entries, ..engine.work(device_shape) };
        let plan = engine.streamed_plan(gpu, work)?;
        let mut arrays = Vec::new();
        let output = output_bytes.map(|bytes| (binding::OUTPUT, bytes, "xent::window::output"));
        let second = extras.second.map(|second| (second.number, second.value_bytes, "xent::window::second"));
        for (number, value_bytes, label) in [output, second].into_iter().flatten() {
            let buffer = engine.scratch(label, plan.streamed_bytes(value_bytes))?;
            arrays.push(Beside { number, value_bytes, buffer });
        }
        Ok(Self {
            transfer: Transfer::new(gpu, plan.streamed_bytes(widest))?,
            logits: engine
                .scratch("xent::window::logits", plan.streamed_bytes(Engine::<E>::ELEMENT_BYTES))?,
            arrays,
            plan,
            shape,
            device_shape,
            next_row: 0,
            under_way: false,
            repacked: Vec::new(),
        })
    }

    /// The most rows of a window.
    pub fn window_rows(&self) -> usize {
        self.plan.window_rows()
    }

    /// Device memory that it takes, staging included, in bytes.
    pub fn buffer_bytes(&self) -> u64 {
        self.plan.buffer_bytes(self.arrays.iter().map(|array| array.value_bytes).sum())
    }

    /// How the windows lie on the device.
    pub fn device_shape(&self) -> Shape {
        self.device_shape
    }

    /// Refuses an output of another length than these rows', before any of them is taken.
    pub fn check_output<O>(&self, what: &'static str, output: &[O], rows: usize) -> Result<()> {
        self.shape.with_rows(rows).check_slice(what, output)
    }

    /// Takes the next rows: uploads their logits, and says where they lie.
    pub async fn take(&mut self, logits: &[E], rows: usize, wait: Wait) -> Result<Taken> {
        let shape = self.shape.with_rows(rows);
        shape.check_slice("logits", logits)?;
        if rows > self.plan.window_rows() || self.next_row + rows > self.shape.rows {
            let bound = self.plan.window_rows().min(self.shape.rows - self.next_row);
            return Err(Error::RowsExceedBound { rows, bound });
        }
        if std::mem::replace(&mut self.under_way, true) {
            return Err(Error::StreamEnded);
        }
        // In the window's own buffers, its rows are the first.
        let taken = Taken {
            window: Window { first_row: 0, rows, grid: self.plan.rows_grid(rows) },
            base: self.plan.streamed_base(self.next_row),
        };
        let values = &logits[..shape.len()];
        let values = match self.is_repacked() {
            true => {
                repack(values, shape, &mut self.repacked, self.device_shape.with_rows(rows));
                &self.repacked
            }
            false => values,
        };
        let offset = u64::from(taken.base) * Engine::<E>::ELEMENT_BYTES;
        self.transfer.upload(bytemuck::cast_slice(values), &self.logits.buffer, offset, wait).await?;
        self.next_row += rows;
        Ok(taken)
    }

    /// Uploads the window's part of the second array.
    pub async fn take_second<T: bytemuck::Pod + Default>(
        &self,
        taken: &Taken,
        values: &[T],
        wait: Wait,
    ) -> Result<()> {
        let Some(second) = self.arrays.iter().find(|array| array.number != binding::OUTPUT) else {
            return Ok(());
        };
        debug_assert_eq!(second.value_bytes, size_of::<T>() as u64);
        let shape = self.shape.with_rows(taken.window.rows);
        let mut repacked = Vec::new();
        let mut values = &values[..shape.len()];
        if self.is_repacked() {
            repack(values, shape, &mut repacked, self.device_shape.with_rows(shape.rows));
            values = &repacked;
        }
        let offset = u64::from(taken.base) * second.value_bytes;
        self.transfer.upload(bytemuck::cast_slice(values), &second.buffer.buffer, offset, wait).await
    }

    fn is_repacked(&self) -> bool {
        self.device_shape.row_stride != self.shape.row_stride
    }

    /// A window has been through, and the next may come.
    pub fn finish(&mut self) {
        self.under_way = false;
    }

    /// A pass over a window's logits, with its output only if asked for.
    pub fn dispatch(
        &self,
        engine: &Engine<E>,
        taken: &Taken,
        call: &LogitsCall<'_>,
        with_output: bool,
    ) -> Result<Dispatch> {
        let logits =
            Array { number: binding::LOGITS, binding: &self.logits, value_bytes: Engine::<E>::ELEMENT_BYTES };
        let beside = self.arrays.iter().filter(|array| with_output || array.number != binding::OUTPUT).map(
            |&Beside { number, value_bytes, ref buffer }| Array { number, binding: buffer, value_bytes },
        );
        let placed = std::iter::once(logits).chain(beside).map(|array| Placed {
            array,
            place: Place { offset: 0, size: array.binding.size, base: taken.base },
        });
        let arrays: Vec<Placed<'_>> = placed.collect();
        engine.logits_dispatch(&self.plan, &taken.window, call, &arrays)
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
    /// Output in f32 is rounded where the slice's type is another.
    pub async fn read_output<O: Element>(&self, taken: &Taken, into: &mut [O], wait: Wait) -> Result<()> {
        let Some(output) = self.arrays.iter().find(|array| array.number == binding::OUTPUT) else {
            return Ok(());
        };
        let rows = taken.window.rows;
        let (host, device) = (self.shape.with_rows(rows), self.device_shape.with_rows(rows));
        let offset = u64::from(taken.base) * output.value_bytes;
        let buffer = &output.buffer.buffer;
        let narrows = output.value_bytes != size_of::<O>() as u64;
        if !narrows && !self.is_repacked() {
            let bytes = bytemuck::cast_slice_mut(&mut into[..host.len()]);
            self.transfer.download(buffer, offset, bytes, wait).await?;
        } else if narrows {
            let mut wide = vec![0f32; device.len()];
            self.transfer.download(buffer, offset, bytemuck::cast_slice_mut(&mut wide), wait).await?;
            copy_rows(&wide, device, into, host, O::from_f32);
        } else {
            let mut packed = vec![O::default(); device.len()];
            self.transfer.download(buffer, offset, bytemuck::cast_slice_mut(&mut packed), wait).await?;
            copy_rows(&packed, device, into, host, |value| value);
        }
        let group = host.cols * host.inner;
        if host.row_stride > group {
            for rows in into.chunks_mut(host.row_stride) {
                let end = group.min(rows.len());
                rows[end..].fill(O::default());
            }
        }
        Ok(())
    }
}

/// How a host batch's windows lie on the device.
fn device_shape<E: Element>(shape: Shape) -> Shape {
    if size_of::<E>() == 2 && shape.inner == 1 && !shape.row_stride.is_multiple_of(4) {
        shape.row_stride(shape.cols.next_multiple_of(4))
    } else {
        shape
    }
}

/// The values of one layout in another, with zeros between the rows.
fn repack<T: Copy + Default>(values: &[T], laid: Shape, into: &mut Vec<T>, out: Shape) {
    into.resize(out.len(), T::default());
    copy_rows(values, laid, into, out, |value| value);
}

/// Copies the groups of rows from one layout to another.
fn copy_rows<A: Copy, B>(from: &[A], laid: Shape, into: &mut [B], out: Shape, of: impl Fn(A) -> B) {
    let group = laid.cols * laid.inner;
    for at in 0..laid.groups() {
        let values = &from[at * laid.row_stride..][..group];
        let places = &mut into[at * out.row_stride..][..group];
        places.iter_mut().zip(values).for_each(|(place, &value)| *place = of(value));
    }
}

/// A window whose logits are on the device.
pub(crate) struct Taken {
    window: Window,
    base: u32,
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
