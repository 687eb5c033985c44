//! A host batch that passes through the device window by window, in buffers that are made once. A window is [`Filling`]
//! (`fill`), then in [`Flight`], then [`Back`] (`read`). Two windows are in flight at a time (`windows`).

mod fill;
mod read;
mod windows;

use crate::coded::{self, Logits};
use crate::device::{Buffers, InFlight, Landed, Transfer, Wait};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::passes::Output;
use crate::kernel::{Dispatch, Needs, Plan, Window, Work};
use crate::op::engine::Engine;
use crate::op::pool::{Idle, Pool};
use crate::request::Running;
use crate::shape::Shape;

pub(crate) use read::clear_padding;
pub(crate) use windows::{Part, through, windows};

/// Windows of a host batch that are in flight at a time: while one computes, the host writes the next and reads the one
/// before.
pub(crate) const WINDOWS_AHEAD: usize = 2;

/// The path of a batch's windows through the device, and the buffers of windows that are not in flight.
pub(crate) struct Stream<E> {
    pub plan: Plan,
    transfer: Transfer,
    /// The layout of the host's slices, and that of the windows on the device. On the device, 16-bit rows start at a
    /// multiple of four values, so that no two rows share a word.
    shape: Shape,
    device_shape: Shape,
    /// Bytes of a value of the logits there, and whether it is a code.
    element_bytes: u64,
    is_coded: bool,
    extras: Extras,
    idle: Idle,
    next_row: usize,
    element: std::marker::PhantomData<E>,
}

/// The arrays of a stream besides the logits.
#[derive(Clone, Copy, Default)]
pub(crate) struct Extras {
    pub output: Option<Output>,
    /// Soft targets, a teacher's logits, or any other array with the logits' layout on the host.
    pub second: Option<SecondArray>,
    /// Bytes for each logit of further inputs that have a layout of their own.
    pub beside_bytes: u64,
    /// Entries per row of sparse targets, or 0.
    pub entries: usize,
    /// Whether the passes can split a row among several workgroups.
    pub splits: bool,
    pub needs: Needs,
}

/// An array with the logits' layout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SecondArray {
    pub name: &'static str,
    /// The number of its binding.
    pub number: u32,
    pub value_bytes: u64,
}

/// The first row of a stream in its batch, and the memory that its windows may take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Start {
    pub row: usize,
    /// The maximum bytes of a window's widest array. A window holds at least one group of rows. `None`: the fastest
    /// size.
    pub room: Option<u64>,
    /// Whether the logits, and a second array of them, come as codes. The engine is one of f32.
    pub coded: bool,
}

/// The position of a window in its buffers.
#[derive(Clone, Copy)]
struct Taken {
    window: Window,
    base: u32,
}

/// A window that the host is filling.
pub(crate) struct Filling {
    buffers: Buffers,
    place: Taken,
    bound: fill::Bindings,
}

/// A window that was submitted to the device.
pub(crate) struct Flight {
    in_flight: InFlight,
    place: Taken,
}

impl Flight {
    /// Waits until the device has finished the window. The future is boxed, so that the compiler
    /// does not look into it for every method of every operation: see [`Opaque`](crate::device::Opaque).
    pub fn land(self, wait: Wait) -> Running<'static, Back> {
        Box::pin(async move { Ok(Back { landed: self.in_flight.land(wait).await?, place: self.place }) })
    }
}

/// A finished window whose results can be read.
pub(crate) struct Back {
    landed: Landed,
    place: Taken,
}

// The names of buffers.
const LOGITS: &str = "logits";
const SECOND: &str = "second";
const OUTPUT: &str = "output";
pub(crate) const ROW_RESULTS: &str = "row_results";

impl<E: Element> Stream<E> {
    /// A stream for windows that are pushed one by one. Each window ends before the next starts.
    pub fn new(engine: &Engine<E>, shape: Shape, extras: Extras) -> Result<Self> {
        let idle = || Idle { windows: vec![Buffers::default()], whole: Buffers::default() };
        Self::with_buffers(engine, shape, extras, Start::default(), idle)
    }

    /// A stream for two windows in flight: one is submitted while the device still works on the one before.
    pub fn ahead(engine: &Engine<E>, shape: Shape, extras: Extras, start: Start) -> Result<Self> {
        Self::with_buffers(engine, shape, extras, start, || Idle {
            windows: (0..WINDOWS_AHEAD).map(|_| Buffers::default()).collect(),
            whole: Buffers::default(),
        })
    }

    /// A stream for a whole host batch, [`through`] the device in the buffers kept from an earlier batch.
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
        let is_coded = start.coded;
        let (device_shape, element_bytes) = match is_coded {
            true => (coded::device_shape(shape), size_of::<u16>() as u64),
            false => (device_shape::<E>(shape), Engine::<E>::ELEMENT_BYTES),
        };
        let second = extras.second.map(|second| match is_coded {
            true => SecondArray { value_bytes: element_bytes, ..second },
            false => second,
        });
        let extras = Extras { second, ..extras };
        let widest = element_bytes
            .max(extras.output.map_or(0, output_bytes::<E>))
            .max(extras.second.map_or(0, |second| second.value_bytes))
            .max(extras.beside_bytes);
        let work = Work {
            element_bytes,
            widest_bytes: widest,
            entries: extras.entries,
            writes: extras.output.is_some(),
            splits: extras.splits,
            needs: extras.needs,
            ..engine.work(device_shape)
        };
        // As many rows as if they were of f32 values.
        let room = start.room.map(|room| if widest < Engine::<E>::ELEMENT_BYTES { room / 2 } else { room });
        let plan = engine.streamed_plan(work, room)?;
        let mut stream = Self {
            transfer: Transfer::new(&engine.gpu.device, &engine.gpu.queue, &engine.profile),
            idle: idle(),
            plan,
            shape,
            device_shape,
            element_bytes,
            is_coded,
            extras,
            next_row: start.row,
            element: std::marker::PhantomData,
        };
        // Reports a lack of memory before the first row.
        if let Some(mut first) = stream.idle.windows.pop() {
            stream.bind(&mut first, 0, 0, false)?;
            stream.idle.windows.push(first);
        }
        Ok(stream)
    }

    /// The maximum number of rows in a window.
    pub fn window_rows(&self) -> usize {
        self.plan.window_rows()
    }

    /// The batch's row that the next window starts with.
    pub fn next_row(&self) -> usize {
        self.next_row
    }

    /// Device memory that the stream holds, staging included, in bytes.
    pub fn buffer_bytes(&self) -> u64 {
        self.idle.bytes()
    }

    /// The layout of the windows on the device.
    pub fn device_shape(&self) -> Shape {
        self.device_shape
    }

    /// The buffers, for the next batch. The buffers of a window that did not finish are not among them.
    pub fn into_idle(self) -> Idle {
        self.idle
    }

    /// Refuses an output whose length does not match these rows, before any row is taken.
    pub fn check_output<O>(&self, what: &'static str, output: &[O], rows: usize) -> Result<()> {
        self.shape.with_rows(rows).check_slice(what, output)
    }

    /// Refuses more rows than a window or the shape holds, logits of the wrong length, and any rows after a failed
    /// window.
    pub fn check_rows(&self, logits: Logits<'_, E>, rows: usize) -> Result<()> {
        match logits {
            Logits::Values(values) => self.shape.with_rows(rows).check_slice(LOGITS, values)?,
            Logits::Codes(codes) => {
                let (found, needed) = (codes.0.len(), rows * coded::row_words(self.shape.cols));
                if found != needed {
                    return Err(Error::Length { what: LOGITS, found, needed });
                }
            }
        }
        if self.idle.windows.is_empty() {
            return Err(Error::StreamEnded);
        }
        let bound = self.plan.window_rows().min(self.shape.rows - self.next_row);
        if rows > bound { Err(Error::RowsExceedBound { rows, bound }) } else { Ok(()) }
    }

    /// Takes the next rows and writes their logits where the device reads them. The window has an output only if
    /// `with_output` is set.
    pub fn open(&mut self, logits: Logits<'_, E>, rows: usize, with_output: bool) -> Result<Filling> {
        self.check_rows(logits, rows)?;
        let mut buffers = self.idle.windows.pop().ok_or(Error::StreamEnded)?;
        // The window's own buffers start with its first row.
        let place = Taken {
            window: Window { first_row: 0, rows, grid: self.plan.rows_grid(rows) },
            base: match self.is_coded {
                true => coded::DEVICE_BASE as u32,
                false => self.plan.streamed_base(self.next_row),
            },
        };
        let bound = self.bind(&mut buffers, rows, place.base, with_output)?;
        self.write_logits(&mut buffers, place, logits)?;
        self.next_row += rows;
        Ok(Filling { buffers, place, bound })
    }

    /// Submits a window to the device.
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

    /// Ends a window that has been read, and frees its buffers for another window.
    pub fn close(&mut self, back: Back) {
        self.idle.windows.push(back.landed.close());
    }

    fn is_repacked(&self) -> bool {
        self.device_shape.row_stride != self.shape.row_stride
    }
}

/// The layout of a host batch's windows on the device.
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
