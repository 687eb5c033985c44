//! Operations that give some values per row and take no targets: the shared part of `LogSumExp`, `Argmax`, `TopK`
//! and `Sampler`.

use std::ops::Range;

use crate::coded::Logits;
use crate::context::Context;
use crate::device::Wait;
use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{Output, Pass, Target, binding};
use crate::kernel::{Binding, Dispatch, Needs, Params, Work, check_row_scratch};
use crate::op::Bound;
use crate::op::buffers::{self, Need};
use crate::op::engine::{Array, Engine, LogitsCall};
use crate::op::pool::Pool;
use crate::op::stream::{Back, Extras, Flight, Part, Start, Stream, through, windows as windows_of};
use crate::shape::Shape;

/// An operation that writes one or more arrays of 32-bit values for each row.
#[derive(Clone, Debug)]
pub(crate) struct RowValues<E> {
    pub engine: Engine<E>,
    pub of: ValuesOf,
    pub pool: Pool,
}

/// What such an operation is.
#[derive(Clone, Debug)]
pub(crate) struct ValuesOf {
    pub pass: &'static Pass,
    /// The name of the logits, or of the array in their place, in messages.
    pub logits: &'static str,
    /// The arrays that it reads besides the logits, and those that it writes.
    pub inputs: Vec<RowArray>,
    pub arrays: Vec<RowArray>,
    /// Whether the passes can split a row among several workgroups.
    pub splits: bool,
    pub needs: Needs,
    pub constants: Vec<(&'static str, u32)>,
    pub params: Params,
    pub around: Option<Around>,
}

/// Passes before and after the operation's own, which then reads a copy of the logits in f32 that the first has written.
#[derive(Clone, Debug)]
pub(crate) struct Around {
    /// The pass that writes the copy, and `entries` of its parameters.
    pub before: &'static Pass,
    pub before_entries: u32,
    /// The pass that reads the untouched logits again.
    pub after: &'static Pass,
    /// The constants of both.
    pub constants: Vec<(&'static str, u32)>,
}

/// One of the operation's passes.
struct Step<'a> {
    pass: &'static Pass,
    constants: &'a [(&'static str, u32)],
    params: Params,
    copy: UseOfCopy,
}

/// What a pass does with the copy of the logits.
#[derive(Clone, Copy, PartialEq)]
enum UseOfCopy {
    None,
    Writes,
    Reads,
}

/// An array with some words of 4 bytes for each row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowArray {
    /// Its name in messages.
    pub name: &'static str,
    /// The number of its binding.
    pub number: u32,
    /// Words of a row.
    pub words: usize,
}

impl RowArray {
    pub const fn new(name: &'static str, number: u32, words: usize) -> Self {
        Self { name, number, words }
    }

    fn words_of(&self, rows: &Range<usize>) -> Range<usize> {
        rows.start * self.words..rows.end * self.words
    }
}

impl<E: Element> RowValues<E> {
    pub fn new(gpu: &Context, of: ValuesOf) -> Result<Self> {
        Ok(Self { engine: Engine::new(gpu)?, of, pool: Pool::default() })
    }

    /// The values of all rows of a host batch: the operation's arrays, one after the other.
    pub async fn all<V: bytemuck::Pod>(&self, logits: &[E], shape: Shape, wait: Wait) -> Result<Vec<Vec<V>>> {
        self.all_with(logits, &[], shape, wait).await
    }

    /// Likewise, with the arrays that it reads.
    pub async fn all_with<V: bytemuck::Pod>(
        &self,
        logits: &[E],
        inputs: &[&[u32]],
        shape: Shape,
        wait: Wait,
    ) -> Result<Vec<Vec<V>>> {
        shape.check_slice(self.of.logits, logits)?;
        let stream = Stream::pooled(&self.engine, shape, self.extras(), &self.pool)?;
        let mut windows = ValuesStream { op: self.clone(), stream };
        let mut all = self.of.arrays_of(shape.rows);
        let parts = windows_of(shape, windows.window_rows());
        let submit = |windows: &mut ValuesStream<E>, (rows, values): Part| {
            let of_rows = self.of.inputs.iter().zip(inputs);
            let inputs: Vec<&[u32]> = of_rows.map(|(input, all)| &all[input.words_of(&rows)]).collect();
            windows.submit(logits[values].into(), &inputs, rows.len())
        };
        let read = |windows: &mut ValuesStream<E>, back: Back, (rows, _): Part| {
            windows.read_into(back, &mut all, rows)
        };
        through(&mut windows, parts, wait, submit, read).await?;
        self.pool.put(windows.stream.into_idle());
        Ok(all)
    }

    /// A stream for windows that are pushed one by one. Each window ends before the next starts.
    pub fn stream(&self, shape: Shape) -> Result<ValuesStream<E>> {
        let stream = Stream::new(&self.engine, shape, self.extras())?;
        Ok(ValuesStream { op: self.clone(), stream })
    }

    /// A stream for two windows in flight: one is submitted while the device still works on the one before.
    pub fn ahead(&self, shape: Shape, start: Start) -> Result<ValuesStream<E>> {
        let stream = Stream::ahead(&self.engine, shape, self.extras(), start)?;
        Ok(ValuesStream { op: self.clone(), stream })
    }

    fn extras(&self) -> Extras {
        // A copy of the logits in f32.
        let beside_bytes = if self.of.around.is_some() { 4 } else { 0 };
        Extras { splits: self.of.splits, needs: self.of.needs, beside_bytes, ..Default::default() }
    }

    /// Binds the operation to logits and to a buffer for each array that it reads or writes.
    pub fn bind(
        &self,
        shape: Shape,
        logits: &wgpu::BufferBinding<'_>,
        inputs: &[&wgpu::BufferBinding<'_>],
        arrays: &[&wgpu::BufferBinding<'_>],
    ) -> Result<Bound> {
        let Self { engine, of, .. } = self;
        let value_bytes = Engine::<E>::ELEMENT_BYTES;
        let copied = of.around.as_ref().map_or(0, |_| COPIED_BYTES);
        let plan = engine.resident_plan(Work {
            widest_bytes: value_bytes.max(copied),
            splits: of.splits,
            needs: of.needs,
            ..engine.work(shape)
        })?;
        check_row_scratch(&engine.profile, shape.rows, of.needs.row_words)?;
        let need = Need { bytes: plan.logits_bytes(shape.rows), alignment: size_of::<E>() as u64 };
        let mut checked = vec![buffers::read(of.logits, logits, need)?];
        let need = |array: &RowArray| Need {
            bytes: (shape.rows * array.words) as u64 * 4,
            alignment: engine.profile.offset_alignment,
        };
        for (input, buffer) in of.inputs.iter().zip(inputs) {
            checked.push(buffers::read(input.name, buffer, need(input))?);
        }
        for (array, buffer) in of.arrays.iter().zip(arrays) {
            checked.push(buffers::write(array.name, buffer, need(array))?);
        }
        buffers::check_aliases(&checked)?;

        let (op, bindings) = (self.clone(), checked.into_iter().map(|checked| checked.binding));
        let bindings: Vec<Binding> = bindings.collect();
        let copy = if copied > 0 && shape.rows > 0 {
            // Room for a whole pack behind the last row.
            let bytes = plan.value_bytes(shape.rows, COPIED_BYTES) + 32;
            Some(engine.scratch("xent::scratch::changed", bytes)?)
        } else {
            None
        };
        Bound::new(shape, move |rows| {
            let rest: Vec<_> = op.of.numbers().zip(&bindings[1..]).collect();
            let logits = Array { number: binding::LOGITS, binding: &bindings[0], value_bytes };
            op.dispatches(shape, &rest, (logits, copy.as_ref()), |engines, call, arrays| match engines {
                Of::Logits(engine) => engine.resident_dispatches(&plan, rows, call, arrays),
                Of::Copy(engine) => engine.resident_dispatches(&plan, rows, call, arrays),
            })
        })
    }

    /// The dispatches of all passes, in order: `of` makes those of one.
    fn dispatches(
        &self,
        shape: Shape,
        rest: &[(u32, &Binding)],
        (logits, copy): (Array<'_>, Option<&Binding>),
        of: impl Fn(Of<'_, E>, &LogitsCall<'_>, &[Array<'_>]) -> Result<Vec<Dispatch>>,
    ) -> Result<Vec<Dispatch>> {
        let as_f32 = self.engine.with_element::<f32>();
        let mut dispatches = Vec::new();
        for step in self.of.steps() {
            let params = step.params.shaped(shape);
            let copied = |number| copy.map(|binding| Array { number, binding, value_bytes: COPIED_BYTES });
            let (arrays, variant): (Vec<Array<'_>>, _) = match step.copy {
                UseOfCopy::None => (vec![logits], self.engine.variant(Output::Element, Target::None)),
                UseOfCopy::Writes => (
                    [logits].into_iter().chain(copied(binding::OUTPUT)).collect(),
                    self.engine.variant(Output::Element, Target::None),
                ),
                UseOfCopy::Reads => (
                    copied(binding::LOGITS).into_iter().collect(),
                    as_f32.variant(Output::Element, Target::None),
                ),
            };
            let call = LogitsCall {
                pass: step.pass,
                variant,
                given: false,
                constants: step.constants,
                params: &params,
                rest,
            };
            let engine =
                if step.copy == UseOfCopy::Reads { Of::Copy(&as_f32) } else { Of::Logits(&self.engine) };
            dispatches.extend(of(engine, &call, &arrays)?);
        }
        Ok(dispatches)
    }
}

/// The engine of a pass: for the logits, or for their copy in f32.
enum Of<'a, E> {
    Logits(&'a Engine<E>),
    Copy(&'a Engine<f32>),
}

/// Bytes of a value of the copy.
const COPIED_BYTES: u64 = 4;

impl ValuesOf {
    /// The operation's arrays for this number of rows, all zeros.
    fn arrays_of<V: bytemuck::Pod>(&self, rows: usize) -> Vec<Vec<V>> {
        self.arrays.iter().map(|array| vec![V::zeroed(); rows * array.words]).collect()
    }

    /// The passes, in order.
    fn steps(&self) -> Vec<Step<'_>> {
        let own = |copy| Step { pass: self.pass, constants: &self.constants, params: self.params, copy };
        let Some(around) = &self.around else { return vec![own(UseOfCopy::None)] };
        let beside = |pass, params, copy| Step { pass, constants: &around.constants, params, copy };
        let before = Params { entries: around.before_entries, ..self.params };
        vec![
            beside(around.before, before, UseOfCopy::Writes),
            own(UseOfCopy::Reads),
            beside(around.after, self.params, UseOfCopy::None),
        ]
    }

    /// The binding numbers of the arrays that it reads and of those that it writes.
    fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.inputs.iter().chain(&self.arrays).map(|array| array.number)
    }
}

/// A batch that passes through the device window by window.
pub(crate) struct ValuesStream<E> {
    op: RowValues<E>,
    pub stream: Stream<E>,
}

impl<E: Element> ValuesStream<E> {
    pub fn gpu(&self) -> &Context {
        &self.op.engine.gpu
    }

    pub fn window_rows(&self) -> usize {
        self.stream.window_rows()
    }

    /// Runs one window, with its part of the arrays that the operation reads, and returns those that it writes.
    pub async fn push<V: bytemuck::Pod>(
        &mut self,
        logits: &[E],
        inputs: &[&[u32]],
        rows: usize,
        wait: Wait,
    ) -> Result<Vec<Vec<V>>> {
        if rows == 0 {
            self.stream.check_rows(logits.into(), rows)?;
            return Ok(self.op.of.arrays_of(rows));
        }
        let back = self.submit(logits.into(), inputs, rows)?.land(wait).await?;
        self.read(back, rows)
    }

    pub fn submit(&mut self, logits: Logits<'_, E>, inputs: &[&[u32]], rows: usize) -> Result<Flight> {
        let Self { op, stream } = self;
        let mut filling = stream.open(logits, rows, false)?;
        let mut bindings = Vec::new();
        for (input, values) in op.of.inputs.iter().zip(inputs) {
            let most = stream.window_rows() * input.words;
            bindings.push(stream.upload(&mut filling, input.name, most, values)?);
        }
        for array in &op.of.arrays {
            bindings.push(stream.row_values(&mut filling, array.name, array.words)?);
        }
        let rest: Vec<_> = op.of.numbers().zip(&bindings).collect();
        let copy = op.of.around.as_ref().map(|_| stream.copy(&mut filling)).transpose()?;
        let arrays = (stream.logits(&filling), copy.as_ref());
        let dispatches =
            op.dispatches(stream.device_shape(), &rest, arrays, |engines, call, arrays| match engines {
                Of::Logits(engine) => {
                    stream.dispatches_over(engine, &filling, &stream.of_logits(call), arrays)
                }
                Of::Copy(engine) => stream.dispatches_over(engine, &filling, call, arrays),
            })?;
        stream.submit(op.of.pass.name, filling, &dispatches)
    }

    pub fn read<V: bytemuck::Pod>(&mut self, back: Back, rows: usize) -> Result<Vec<Vec<V>>> {
        let mut arrays = self.op.of.arrays_of(rows);
        self.read_into(back, &mut arrays, 0..rows)?;
        Ok(arrays)
    }

    /// Reads a window into its rows of the arrays.
    fn read_into<V: bytemuck::Pod>(
        &mut self,
        back: Back,
        arrays: &mut [Vec<V>],
        rows: Range<usize>,
    ) -> Result<()> {
        for (array, values) in self.op.of.arrays.iter().zip(arrays) {
            back.read(array.name, &mut values[array.words_of(&rows)])?;
        }
        self.stream.close(back);
        Ok(())
    }
}

/// The first array of a row's values, which has one value per row.
pub(crate) fn first<V>(arrays: Vec<Vec<V>>) -> Vec<V> {
    arrays.into_iter().next().unwrap_or_default()
}
