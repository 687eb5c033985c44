//! Operations that give some values per row and take no targets: the shared part of `LogSumExp`, `Argmax` and `TopK`.

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
use crate::op::stream::{Back, Extras, Part, Stream, through, windows};
use crate::shape::Shape;

/// An operation that writes one or two arrays of 32-bit values for each row.
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
    /// The names of its arrays in messages.
    pub arrays: &'static [&'static str],
    /// Values of a row in each of its arrays.
    pub words: usize,
    /// Whether the passes can split a row among several workgroups.
    pub splits: bool,
    pub needs: Needs,
    pub constants: Vec<(&'static str, u32)>,
    pub params: Params,
}

/// Bytes per value.
const VALUE_BYTES: u64 = 4;
/// The names of the arrays' buffers, and their bindings in all passes.
const ROW_VALUES: [&str; 2] = ["row_values", "more_row_values"];
const VALUES: [u32; 2] = [binding::ROW_VALUES, binding::MORE_ROW_VALUES];

impl<E: Element> RowValues<E> {
    pub fn new(gpu: &Context, of: ValuesOf) -> Result<Self> {
        Ok(Self { engine: Engine::new(gpu)?, of, pool: Pool::default() })
    }

    /// The values of all rows of a host batch: the operation's arrays, one after the other.
    pub async fn all<V: bytemuck::Pod>(&self, logits: &[E], shape: Shape, wait: Wait) -> Result<Vec<Vec<V>>> {
        let Self { engine, of, pool } = self;
        shape.check_slice("logits", logits)?;
        let extras = Extras { splits: of.splits, needs: of.needs, ..Default::default() };
        let mut stream = Stream::pooled(engine, shape, extras, pool)?;
        let params = of.params.shaped(stream.device_shape());
        let mut all: Vec<_> = of.arrays.iter().map(|_| vec![V::zeroed(); shape.rows * of.words]).collect();
        let parts = windows(shape, stream.window_rows());
        let submit = |stream: &mut Stream<E>, (rows, values): Part| {
            let mut filling = stream.open(&logits[values], rows.len(), false)?;
            let arrays = ROW_VALUES.iter().take(of.arrays.len());
            let arrays = arrays.map(|name| stream.row_values(&mut filling, name, of.words));
            let arrays = arrays.collect::<Result<Vec<Binding>>>()?;
            let rest: Vec<_> = VALUES.into_iter().zip(&arrays).collect();
            let dispatches = stream.dispatches(engine, &filling, &self.call(&params, &rest))?;
            stream.submit(of.pass.name, filling, &dispatches)
        };
        let read = |stream: &mut Stream<E>, back: Back, (rows, _): Part| {
            let words = rows.start * of.words..rows.end * of.words;
            for (name, all) in ROW_VALUES.into_iter().zip(&mut all) {
                back.read(name, &mut all[words.clone()])?;
            }
            stream.close(back);
            Ok(())
        };
        through(&mut stream, parts, wait, submit, read).await?;
        pool.put(stream.into_idle());
        Ok(all)
    }

    /// Binds the operation to logits and to a buffer for each of its arrays.
    pub fn bind(
        &self,
        shape: Shape,
        logits: &wgpu::BufferBinding<'_>,
        arrays: &[&wgpu::BufferBinding<'_>],
    ) -> Result<Bound> {
        let Self { engine, of, .. } = self;
        let plan = engine.resident_plan(Work { splits: of.splits, needs: of.needs, ..engine.work(shape) })?;
        check_row_scratch(&engine.profile, shape.rows, of.words)?;
        let need = Need { bytes: plan.logits_bytes(shape.rows), alignment: size_of::<E>() as u64 };
        let mut checked = vec![buffers::read("logits", logits, need)?];
        for (name, array) in of.arrays.iter().zip(arrays) {
            let bytes = (shape.rows * of.words) as u64 * VALUE_BYTES;
            let need = Need { bytes, alignment: engine.profile.offset_alignment };
            checked.push(buffers::write(name, array, need)?);
        }
        buffers::check_aliases(&checked)?;

        let (op, bindings) = (self.clone(), checked.into_iter().map(|checked| checked.binding));
        let bindings: Vec<Binding> = bindings.collect();
        Bound::new(shape, move |rows| {
            let params = op.of.params.shaped(shape);
            let rest: Vec<_> = VALUES.into_iter().zip(&bindings[1..]).collect();
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

/// The first array of a row's values, which has one value per row.
pub(crate) fn first<V>(arrays: Vec<Vec<V>>) -> Vec<V> {
    arrays.into_iter().next().unwrap_or_default()
}
