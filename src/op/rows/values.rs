//! Operations that give some values per row and take no targets: the shared part of `LogSumExp`, `Argmax`, `TopK`
//! and `Sampler`.

use std::ops::Range;

use crate::coded::Logits;
use crate::context::Context;
use crate::device::Wait;
use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{Output, Pass, Target, binding};
use crate::kernel::{Binding, Needs, Params, Work, check_row_scratch};
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
    /// The arrays that it reads besides the logits, and those that it writes.
    pub inputs: Vec<RowArray>,
    pub arrays: Vec<RowArray>,
    /// Whether the passes can split a row among several workgroups.
    pub splits: bool,
    pub needs: Needs,
    pub constants: Vec<(&'static str, u32)>,
    pub params: Params,
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
        shape.check_slice("logits", logits)?;
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
        Extras { splits: self.of.splits, needs: self.of.needs, ..Default::default() }
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
        let plan = engine.resident_plan(Work { splits: of.splits, needs: of.needs, ..engine.work(shape) })?;
        check_row_scratch(&engine.profile, shape.rows, of.needs.row_words)?;
        let need = Need { bytes: plan.logits_bytes(shape.rows), alignment: size_of::<E>() as u64 };
        let mut checked = vec![buffers::read("logits", logits, need)?];
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
        Bound::new(shape, move |rows| {
            let params = op.of.params.shaped(shape);
            let rest: Vec<_> = op.of.numbers().zip(&bindings[1..]).collect();
            let value_bytes = Engine::<E>::ELEMENT_BYTES;
            let arrays = [Array { number: binding::LOGITS, binding: &bindings[0], value_bytes }];
            op.engine.resident_dispatches(&plan, rows, &op.call(&params, &rest), &arrays)
        })
    }

    fn call<'a>(&'a self, params: &'a Params, rest: &'a [(u32, &'a Binding)]) -> LogitsCall<'a> {
        let variant = self.engine.variant(Output::Element, Target::None);
        LogitsCall { pass: self.of.pass, variant, constants: &self.of.constants, params, rest }
    }
}

impl ValuesOf {
    /// The operation's arrays for this number of rows, all zeros.
    fn arrays_of<V: bytemuck::Pod>(&self, rows: usize) -> Vec<Vec<V>> {
        self.arrays.iter().map(|array| vec![V::zeroed(); rows * array.words]).collect()
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
        let params = op.of.params.shaped(stream.device_shape());
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
        let dispatches = stream.dispatches(&op.engine, &filling, &op.call(&params, &rest))?;
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
