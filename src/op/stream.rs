//! A host batch on its way through the device, window by window, in buffers that are made once.

use std::borrow::Cow;
use std::ops::Range;

use crate::device::{Buffers, Context, InFlight, Landed, Lines, Transfer, Wait, in_parts};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::inputs::mask_words;
use crate::kernel::passes::{Output, binding};
use crate::kernel::{Binding, Dispatch, INPUT_HEAD, Place, Plan, ROW_SCRATCH_BYTES, Window, Work};
use crate::op::engine::{Array, Engine, LogitsCall, Placed};
use crate::op::pool::{Idle, Pool};
use crate::op::rows::{BLOCK_ROWS, InputBindings, Scratch, TOTALS_BYTES};
use crate::shape::Shape;

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
    pub second: Option<Second>,
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

/// A second array: its binding's number, and the bytes of its values.
#[derive(Clone, Copy)]
pub(crate) struct Second {
    pub number: u32,
    pub value_bytes: u64,
}

/// What comes with each of a window's rows, where it does: weights, mask, upstream gradients, each (rows,).
pub(crate) struct RowBuffers {
    weights: Option<Binding>,
    mask: Option<Binding>,
    upstream: Option<Binding>,
}

impl RowBuffers {
    /// For the pass that makes row inputs.
    pub fn inputs(&self) -> InputBindings<'_> {
        InputBindings {
            row_weights: self.weights.as_ref(),
            row_mask: self.mask.as_ref(),
            row_upstream: self.upstream.as_ref(),
            ..InputBindings::default()
        }
    }
}

// The names of buffers.
const LOGITS: &str = "logits";
const SECOND: &str = "second";
const OUTPUT: &str = "output";
const ROW_RESULTS: &str = "row_results";

impl<E: Element> Stream<E> {
    /// For windows that are pushed one by one, each ended before the next.
    pub fn new(engine: &Engine<E>, gpu: &Context, shape: Shape, extras: Extras) -> Result<Self> {
        let idle = || Idle { windows: vec![Buffers::default()], whole: Buffers::default() };
        Self::with_buffers(engine, gpu, shape, extras, Start::default(), idle)
    }

    /// For windows of which one is given to the device while the one before is under way.
    pub fn ahead(
        engine: &Engine<E>,
        gpu: &Context,
        shape: Shape,
        extras: Extras,
        start: Start,
    ) -> Result<Self> {
        Self::with_buffers(engine, gpu, shape, extras, start, || Idle {
            windows: (0..WINDOWS_AHEAD).map(|_| Buffers::default()).collect(),
            whole: Buffers::default(),
        })
    }

    /// For a whole host batch, [`through`] the device in the buffers that an earlier one left.
    pub fn pooled(
        engine: &Engine<E>,
        gpu: &Context,
        shape: Shape,
        extras: Extras,
        pool: &Pool,
    ) -> Result<Self> {
        Self::with_buffers(engine, gpu, shape, extras, Start::default(), || {
            let mut idle = pool.take();
            idle.windows.resize_with(WINDOWS_AHEAD, Buffers::default);
            idle
        })
    }

    fn with_buffers(
        engine: &Engine<E>,
        gpu: &Context,
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
        let plan = engine.streamed_plan(gpu, work, start.room)?;
        let mut stream = Self {
            transfer: Transfer::new(gpu, &engine.profile),
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

    /// A window's buffers, with room for any window.
    fn bind(&self, buffers: &mut Buffers, rows: usize, base: u32, with_output: bool) -> Result<Bindings> {
        let transfer = &self.transfer;
        let values = |value_bytes: u64| room(self.plan.streamed_bytes(value_bytes));
        let size = values(Engine::<E>::ELEMENT_BYTES);
        let logits = bound(transfer.upload(buffers, LOGITS, size)?, size);
        let second = self.extras.second.map(|Second { number, value_bytes }| {
            let size = values(value_bytes);
            let binding = bound(transfer.upload(buffers, SECOND, size)?, size);
            Ok(Beside { number, value_bytes, binding })
        });
        let output = self.extras.output.map(|output| {
            let value_bytes = output_bytes::<E>(output);
            let size = values(value_bytes);
            let len = self.device_shape.with_rows(rows).len() as u64;
            let wanted = if with_output { (u64::from(base) + len) * value_bytes } else { 0 };
            let binding = bound(transfer.download(buffers, OUTPUT, size, wanted)?, size);
            Ok(Beside { number: binding::OUTPUT, value_bytes, binding })
        });
        Ok(Bindings {
            logits,
            second: second.transpose()?,
            output: output.transpose()?.filter(|_| with_output),
        })
    }

    /// Writes the window's part of the second array.
    pub fn write_second<T: bytemuck::Pod>(&self, filling: &mut Filling, values: &[T]) -> Result<()> {
        self.write(&mut filling.buffers, SECOND, filling.place, values)
    }

    /// Writes values that lie like the logits, in the device's layout.
    fn write<T: bytemuck::Pod>(
        &self,
        buffers: &mut Buffers,
        name: &'static str,
        place: Taken,
        values: &[T],
    ) -> Result<()> {
        let shape = self.shape.with_rows(place.window.rows);
        let values = &values[..shape.len()];
        let offset = u64::from(place.base) * size_of::<T>() as u64;
        let bytes = bytemuck::cast_slice(values);
        let lines = if self.is_repacked() {
            let [len, pitch, stride] =
                [shape.cols * shape.inner, shape.row_stride, self.device_shape.row_stride]
                    .map(|values| values * size_of::<T>());
            Lines { bytes, len, pitch, stride }
        } else {
            Lines::whole(bytes)
        };
        buffers.write(name, offset, lines)
    }

    fn is_repacked(&self) -> bool {
        self.device_shape.row_stride != self.shape.row_stride
    }

    /// Writes what comes with a window's rows or classes, if it does, in a buffer with room for `most` such values.
    pub fn upload<T: bytemuck::Pod>(
        &self,
        filling: &mut Filling,
        name: &'static str,
        most: usize,
        values: Option<&[T]>,
    ) -> Result<Option<Binding>> {
        values.map(|values| self.upload_into(&mut filling.buffers, name, most, values)).transpose()
    }

    /// Writes what comes with each of a window's rows.
    pub fn upload_rows(
        &self,
        filling: &mut Filling,
        weights: Option<&[f32]>,
        mask: Option<&[bool]>,
        upstream: Option<&[f32]>,
    ) -> Result<RowBuffers> {
        let (most, mask) = (self.window_rows(), mask.map(mask_words));
        Ok(RowBuffers {
            weights: self.upload(filling, "row_weights", most, weights)?,
            mask: self.upload(filling, "row_mask", most, mask.as_deref())?,
            upstream: self.upload(filling, "row_upstream", most, upstream)?,
        })
    }

    /// Writes what all windows of the batch share: before the first of them.
    pub fn upload_whole<T: bytemuck::Pod>(&mut self, name: &'static str, values: &[T]) -> Result<Binding> {
        let mut whole = std::mem::take(&mut self.idle.whole);
        let binding = self.upload_into(&mut whole, name, values.len(), values);
        self.idle.whole = whole;
        binding
    }

    fn upload_into<T: bytemuck::Pod>(
        &self,
        buffers: &mut Buffers,
        name: &'static str,
        most: usize,
        values: &[T],
    ) -> Result<Binding> {
        let size = room((most * size_of::<T>()) as u64);
        let buffer = self.transfer.upload(buffers, name, size)?;
        buffers.write(name, 0, Lines::whole(bytemuck::cast_slice(values)))?;
        Ok(bound(buffer, size))
    }

    /// The records of a window's rows: of their inputs, and of their results, to be read as [`Back::results`] does.
    pub fn row_records(&self, filling: &mut Filling) -> Result<Scratch> {
        let (transfer, buffers) = (&self.transfer, &mut filling.buffers);
        let window_rows = self.window_rows();
        let records = |count: usize| room(count as u64 * ROW_SCRATCH_BYTES);
        let (inputs, results) = (records(INPUT_HEAD + window_rows), records(window_rows));
        let blocks = room(window_rows.div_ceil(BLOCK_ROWS) as u64 * TOTALS_BYTES);
        let wanted = filling.place.window.rows as u64 * ROW_SCRATCH_BYTES;
        Ok(Scratch {
            inputs: bound(transfer.scratch(buffers, "row_inputs", inputs)?, inputs),
            results: bound(transfer.download(buffers, ROW_RESULTS, results, wanted)?, results),
            blocks: bound(transfer.scratch(buffers, "blocks", blocks)?, blocks),
        })
    }

    /// A buffer for one value of 4 bytes a row, to be read as [`Back::read`] does.
    pub fn row_values(&self, filling: &mut Filling, name: &'static str) -> Result<Binding> {
        let (size, wanted) = (room(self.window_rows() as u64 * 4), filling.place.window.rows as u64 * 4);
        Ok(bound(self.transfer.download(&mut filling.buffers, name, size, wanted)?, size))
    }

    /// A pass over a window's logits.
    pub fn dispatches(
        &self,
        engine: &Engine<E>,
        filling: &Filling,
        call: &LogitsCall<'_>,
    ) -> Result<Vec<Dispatch>> {
        let Bindings { logits, second, output, .. } = &filling.bound;
        let logits =
            Array { number: binding::LOGITS, binding: logits, value_bytes: Engine::<E>::ELEMENT_BYTES };
        let beside = output.iter().chain(second).map(|beside| Array {
            number: beside.number,
            binding: &beside.binding,
            value_bytes: beside.value_bytes,
        });
        let placed = std::iter::once(logits).chain(beside).map(|array| Placed {
            array,
            place: Place { offset: 0, size: array.binding.size, base: filling.place.base },
        });
        let arrays: Vec<Placed<'_>> = placed.collect();
        engine.logits_dispatches(&self.plan, &filling.place.window, call, &arrays)
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

    /// Reads a window's output into a checked slice, laid out as its logits are; padding between rows is zero. Output in
    /// f32 is rounded where the slice's type is another.
    pub fn read_output<O: Element>(&self, back: &Back, into: &mut [O]) -> Result<()> {
        let Some(output) = self.extras.output else { return Ok(()) };
        let (rows, value_bytes) = (back.place.window.rows, output_bytes::<E>(output));
        let (host, device) = (self.shape.with_rows(rows), self.device_shape.with_rows(rows));
        let range = (u64::from(back.place.base) * value_bytes, device.len() * value_bytes as usize);
        let narrows = value_bytes != size_of::<O>() as u64;
        back.landed.read(OUTPUT, range, |bytes| {
            if narrows {
                copy_rows(&values_of(bytes), device, into, host, O::from_f32);
            } else if self.is_repacked() {
                copy_rows(&values_of(bytes), device, into, host, |value| value);
            } else {
                let into: &mut [u8] = bytemuck::cast_slice_mut(&mut into[..host.len()]);
                copy_parts((bytes, 1), (into, 1), |from, into| into.copy_from_slice(from));
            }
        })?;
        clear_padding(into, host);
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

fn output_bytes<E: Element>(output: Output) -> u64 {
    match output {
        Output::F32 => 4,
        Output::Element | Output::InPlace => Engine::<E>::ELEMENT_BYTES,
    }
}

/// Bytes of a buffer that holds so many.
fn room(bytes: u64) -> u64 {
    bytes.max(32).next_multiple_of(16)
}

/// The part of a buffer that a window needs; an earlier one may have needed more.
fn bound(buffer: wgpu::Buffer, size: u64) -> Binding {
    Binding { buffer, offset: 0, size }
}

/// Values in mapped memory, which in a browser may lie anywhere.
fn values_of<T: bytemuck::Pod>(bytes: &[u8]) -> Cow<'_, [T]> {
    match bytemuck::try_cast_slice(bytes) {
        Ok(values) => Cow::Borrowed(values),
        Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(bytes)),
    }
}

/// Copies the groups of rows from one layout to another.
fn copy_rows<A: Copy + Sync, B: Send>(
    from: &[A],
    laid: Shape,
    into: &mut [B],
    out: Shape,
    of: impl Fn(A) -> B + Sync,
) {
    let group = laid.cols * laid.inner;
    copy_parts((from, laid.row_stride), (&mut into[..out.len()], out.row_stride), |from, into| {
        for (values, places) in from.chunks(laid.row_stride).zip(into.chunks_mut(out.row_stride)) {
            let (values, places) = (&values[..group], &mut places[..group]);
            places.iter_mut().zip(values).for_each(|(place, &value)| *place = of(value));
        }
    });
}

/// Copies some lines of so many values at a time, by several threads where they are many.
fn copy_parts<A: Sync, B: Send>(
    (from, pitch): (&[A], usize),
    (into, stride): (&mut [B], usize),
    copy: impl Fn(&[A], &mut [B]) + Sync,
) {
    const PART_VALUES: usize = 1 << 18;
    let lines = (PART_VALUES / pitch.max(stride)).max(1);
    let bytes = size_of_val(into);
    let parts = from.chunks(lines * pitch).zip(into.chunks_mut(lines * stride));
    in_parts(bytes, parts, |(from, into)| copy(from, into));
}

/// Zeros between the rows, and behind the last where the slice goes on.
pub(crate) fn clear_padding<T: Copy + Default>(values: &mut [T], shape: Shape) {
    let group = shape.cols * shape.inner;
    if shape.row_stride > group {
        for rows in values.chunks_mut(shape.row_stride) {
            let end = group.min(rows.len());
            rows[end..].fill(T::default());
        }
    }
}

/// Where a window lies in its buffers.
#[derive(Clone, Copy)]
struct Taken {
    window: Window,
    base: u32,
}

/// A window's buffers, as its dispatches take them.
struct Bindings {
    logits: Binding,
    second: Option<Beside>,
    output: Option<Beside>,
}

/// Values beside the logits that lie like them.
struct Beside {
    number: u32,
    value_bytes: u64,
    binding: Binding,
}

/// A window that the host fills.
pub(crate) struct Filling {
    buffers: Buffers,
    place: Taken,
    bound: Bindings,
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

impl Back {
    /// Reads one value a row.
    pub fn read<T: bytemuck::Pod>(&self, name: &'static str, into: &mut [T]) -> Result<()> {
        let into = bytemuck::cast_slice_mut(into);
        self.landed.read(name, (0, into.len()), |bytes| into.copy_from_slice(bytes))?;
        Ok(())
    }

    /// Takes each row's result in their order: the row's number in the window, and its record.
    pub fn results(&self, mut take: impl FnMut(usize, [u32; 4])) -> Result<()> {
        let range = (0, self.place.window.rows * ROW_SCRATCH_BYTES as usize);
        self.landed.read(ROW_RESULTS, range, |bytes| {
            values_of(bytes).iter().enumerate().for_each(|(row, &record)| take(row, record));
        })?;
        Ok(())
    }
}

/// Rows of a batch, and where their values lie in its slices.
pub(crate) type Part = (Range<usize>, Range<usize>);

/// The rows of a host batch, as windows of its slices.
pub(crate) fn windows(shape: Shape, step: usize) -> impl Iterator<Item = Part> {
    (0..shape.rows).step_by(step.max(1)).map(move |first| {
        let rows = first..shape.rows.min(first + step);
        let start = shape.row_start(first);
        let values = start..start + shape.with_rows(rows.len()).len();
        (rows, values)
    })
}

/// Takes windows through the device: while one computes, the next is submitted, and then the first is read.
pub(crate) async fn through<S>(
    state: &mut S,
    windows: impl Iterator<Item = Part>,
    wait: Wait,
    mut submit: impl FnMut(&mut S, Part) -> Result<Flight>,
    mut read: impl FnMut(&mut S, Back, Part) -> Result<()>,
) -> Result<()> {
    let mut under_way: Option<(Flight, Part)> = None;
    for part in windows {
        let next = submit(state, part.clone())?;
        if let Some((flight, part)) = under_way.replace((next, part)) {
            let back = flight.land(wait).await?;
            read(state, back, part)?;
        }
    }
    if let Some((flight, part)) = under_way {
        let back = flight.land(wait).await?;
        read(state, back, part)?;
    }
    Ok(())
}
