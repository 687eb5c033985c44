//! A host batch on its way through the device, window by window, in buffers that are made once. A window is
//! [`Filling`] (`fill`), in [`Flight`], and [`Back`] (`read`); two are under way at a time (`windows`).

mod fill;
mod read;
mod windows;

use crate::device::{Buffers, InFlight, Landed, Transfer, Wait};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::passes::Output;
use crate::kernel::{Dispatch, Plan, Window, Work};
use crate::op::engine::Engine;
use crate::op::loss::SecondArray;
use crate::op::pool::{Idle, Pool};
use crate::shape::Shape;

pub(crate) use read::clear_padding;
pub(crate) use windows::{Part, through, windows};

/// Windows of a host batch under way at a time: while one computes, the next is written and the one before is read.
pub(crate) const WINDOWS_AHEAD: usize = 2;

/// The way of a batch's windows, and their buffers while none of them is under way.
pub(crate) struct Stream<E> {
    pub plan: Plan,
    transfer: Transfer,
    /// As the host's slices lie, and as the windows do on the device: 16-bit rows begin at a multiple of four values
    /// there, so that none shares a word with the next.
    shape: Shape,
    device_shape: Shape,
    extras: Extras,
    idle: Idle,
    next_row: usize,
    element: std::marker::PhantomData<E>,
}

/// What a stream has beside the logits.
#[derive(Clone, Copy, Default)]
pub(crate) struct Extras {
    pub output: Option<Output>,
    /// Soft targets, a teacher's logits, or whatever else lies like the logits on the host.
    pub second: Option<SecondArray>,
    /// Entries of a row's sparse target, or 0.
    pub entries: usize,
    /// Whether the passes can share a row among workgroups.
    pub splits: bool,
}

/// Where in the batch a stream begins, and what its windows may take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Start {
    pub row: usize,
    /// Bytes of one window's widest array, at most (but one group of rows at least); unset: as many as are fast.
    pub room: Option<u64>,
}

/// Where a window lies in its buffers.
#[derive(Clone, Copy)]
struct Taken {
    window: Window,
    base: u32,
}

/// A window that the host fills.
pub(crate) struct Filling {
    buffers: Buffers,
    place: Taken,
    bound: fill::Bindings,
}

/// A window that the device has.
pub(crate) struct Flight {
    in_flight: InFlight,
    place: Taken,
}

impl Flight {
    /// Waits until the device is done.
    pub async fn land(self, wait: Wait) -> Result<Back> {
        Ok(Back { landed: self.in_flight.land(wait).await?, place: self.place })
    }
}

/// A window that is back, and can be read.
pub(crate) struct Back {
    landed: Landed,
    place: Taken,
}

// The names of buffers.
const LOGITS: &str = "logits";
const SECOND: &str = "second";
const OUTPUT: &str = "output";
const ROW_RESULTS: &str = "row_results";

impl<E: Element> Stream<E> {
    /// For windows that are pushed one by one, each ended before the next.
    pub fn new(engine: &Engine<E>, shape: Shape, extras: Extras) -> Result<Self> {
        let idle = || Idle { windows: vec![Buffers::default()], whole: Buffers::default() };
        Self::with_buffers(engine, shape, extras, Start::default(), idle)
    }

    /// For windows of which one is given to the device while the one before is under way.
    pub fn ahead(engine: &Engine<E>, shape: Shape, extras: Extras, start: Start) -> Result<Self> {
        Self::with_buffers(engine, shape, extras, start, || Idle {
            windows: (0..WINDOWS_AHEAD).map(|_| Buffers::default()).collect(),
            whole: Buffers::default(),
        })
    }

    /// For a whole host batch, [`through`] the device in the buffers that an earlier one left.
    pub fn pooled(engine: &Engine<E>, shape: Shape, extras: Extras, pool: &Pool) -> Result<Self> {
        Self::with_buffers(engine, shape, extras, Start::default(), || {
            let mut idle = pool.take();
            idle.windows.resize_with(WINDOWS_AHEAD, Buffers::default);
            idle
        })
    }

    fn with_buffers(
        engine: &Engine<E>,
        shape: Shape,
        extras: Extras,
        start: Start,
        idle: impl FnOnce() -> Idle,
    ) -> Result<Self> {
        shape.check()?;
        let device_shape = device_shape::<E>(shape);
        let widest = Engine::<E>::ELEMENT_BYTES
            .max(extras.output.map_or(0, output_bytes::<E>))
            .max(extras.second.map_or(0, |second| second.value_bytes));
        let work = Work {
            widest_bytes: widest,
            entries: extras.entries,
            writes: extras.output.is_some(),
            splits: extras.splits,
            ..engine.work(device_shape)
        };
        let plan = engine.streamed_plan(work, start.room)?;
        let mut stream = Self {
            transfer: Transfer::new(&engine.gpu.device, &engine.gpu.queue, &engine.profile),
            idle: idle(),
            plan,
            shape,
            device_shape,
            extras,
            next_row: start.row,
            element: std::marker::PhantomData,
        };
        // Too little memory is told before the first row.
        if let Some(mut first) = stream.idle.windows.pop() {
            stream.bind(&mut first, 0, 0, false)?;
            stream.idle.windows.push(first);
        }
        Ok(stream)
    }

    /// The most rows of a window.
    pub fn window_rows(&self) -> usize {
        self.plan.window_rows()
    }

    /// Device memory that it holds, staging included, in bytes.
    pub fn buffer_bytes(&self) -> u64 {
        self.idle.bytes()
    }

    /// How the windows lie on the device.
    pub fn device_shape(&self) -> Shape {
        self.device_shape
    }

    /// The buffers, for the next batch. Of a window that did not come to its end, there are none.
    pub fn into_idle(self) -> Idle {
        self.idle
    }

    /// Refuses an output of another length than these rows', before any of them is taken.
    pub fn check_output<O>(&self, what: &'static str, output: &[O], rows: usize) -> Result<()> {
        self.shape.with_rows(rows).check_slice(what, output)
    }

    /// Refuses rows beyond a window or the shape, logits of another length, and any rows after a window that failed.
    pub fn check_rows(&self, logits: &[E], rows: usize) -> Result<()> {
        self.shape.with_rows(rows).check_slice(LOGITS, logits)?;
        if self.idle.windows.is_empty() {
            return Err(Error::StreamEnded);
        }
        let bound = self.plan.window_rows().min(self.shape.rows - self.next_row);
        if rows > bound { Err(Error::RowsExceedBound { rows, bound }) } else { Ok(()) }
    }

    /// Takes the next rows: writes their logits where the device will find them. The window's output is wanted only if
    /// asked for.
    pub fn open(&mut self, logits: &[E], rows: usize, with_output: bool) -> Result<Filling> {
        self.check_rows(logits, rows)?;
        let mut buffers = self.idle.windows.pop().ok_or(Error::StreamEnded)?;
        // In the window's own buffers, its rows are the first.
        let place = Taken {
            window: Window { first_row: 0, rows, grid: self.plan.rows_grid(rows) },
            base: self.plan.streamed_base(self.next_row),
        };
        let bound = self.bind(&mut buffers, rows, place.base, with_output)?;
        self.write(&mut buffers, LOGITS, place, logits)?;
        self.next_row += rows;
        Ok(Filling { buffers, place, bound })
    }

    /// Gives a window to the device.
    pub fn submit(&mut self, label: &str, filling: Filling, dispatches: &[Dispatch]) -> Result<Flight> {
        let Filling { buffers, place, .. } = filling;
        let is_last = self.next_row == self.shape.rows;
        let whole = (&mut self.idle.whole, is_last);
        let in_flight = self.transfer.submit(label, buffers, whole, |pass| {
            for dispatch in dispatches {
                dispatch.record(pass);
            }
        })?;
        Ok(Flight { in_flight, place })
    }

    /// A window has been read, and its buffers may take another.
    pub fn close(&mut self, back: Back) {
        self.idle.windows.push(back.landed.close());
    }

    fn is_repacked(&self) -> bool {
        self.device_shape.row_stride != self.shape.row_stride
    }
}

/// How a host batch's windows lie on the device.
pub(crate) fn device_shape<E: Element>(shape: Shape) -> Shape {
    if size_of::<E>() == 2 && shape.inner == 1 && !shape.row_stride.is_multiple_of(4) {
        shape.row_stride(shape.cols.next_multiple_of(4))
    } else {
        shape
    }
}

fn output_bytes<E: Element>(output: Output) -> u64 {
    match output {
        Output::F32 => 4,
        Output::Element | Output::InPlace => Engine::<E>::ELEMENT_BYTES,
    }
}
