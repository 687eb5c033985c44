//! Operations that give one value per row and take no targets: the shared part of `LogSumExp` and `Argmax`.

use crate::context::Context;
use crate::device::Wait;
use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{Output, Pass, Target, binding, constant};
use crate::kernel::{Binding, Params, Work, check_row_scratch};
use crate::op::Bound;
use crate::op::buffers::{self, Need};
use crate::op::engine::{Array, Engine, LogitsCall};
use crate::op::pool::Pool;
use crate::op::rows::stats_switches;
use crate::op::stream::{Back, Extras, Part, Stream, through, windows};
use crate::row_fields::RowFields;
use crate::shape::Shape;

/// An operation that reads each row once and writes one 32-bit value.
#[derive(Clone, Debug)]
pub(crate) struct RowValues<E> {
    pub engine: Engine<E>,
    pub pass: PassOf,
    pub pool: Pool,
    constants: Vec<(&'static str, u32)>,
}

/// The pass, and whether it tracks the argmax.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PassOf {
    pub pass: &'static Pass,
    /// Whether it needs the position of the maximum.
    pub tracks_argmax: bool,
}

/// Bytes per value.
const VALUE_BYTES: u64 = 4;
/// The name of the values' buffer, and its binding in both passes.
const ROW_VALUES: &str = "row_values";
const VALUES: u32 = binding::ROW_VALUES;

impl<E: Element> RowValues<E> {
    pub fn new(gpu: &Context, pass: PassOf) -> Result<Self> {
        let constants = stats_switches(&[(constant::TRACK_ARGMAX, pass.tracks_argmax)]);
        Ok(Self { engine: Engine::new(gpu)?, pass, pool: Pool::default(), constants })
    }

    /// One value per row of a host batch.
    pub async fn all<V: bytemuck::Pod>(&self, logits: &[E], shape: Shape, wait: Wait) -> Result<Vec<V>> {
        shape.check_slice("logits", logits)?;
        let (engine, pool) = (&self.engine, &self.pool);
        let mut stream = Stream::pooled(engine, shape, Extras { splits: true, ..Default::default() }, pool)?;
        let params = Params::of(stream.device_shape());
        let mut all = vec![V::zeroed(); shape.rows];
        let parts = windows(shape, stream.window_rows());
        let submit = |stream: &mut Stream<E>, (rows, values): Part| {
            let mut filling = stream.open(&logits[values], rows.len(), false)?;
            let rest = [(VALUES, &stream.row_values(&mut filling, ROW_VALUES, 1)?)];
            let dispatches = stream.dispatches(engine, &filling, &self.call(&params, &rest))?;
            stream.submit(self.pass.pass.name, filling, &dispatches)
        };
        let read = |stream: &mut Stream<E>, back: Back, (rows, _): Part| {
            back.read(ROW_VALUES, &mut all[rows])?;
            stream.close(back);
            Ok(())
        };
        through(&mut stream, parts, wait, submit, read).await?;
        pool.put(stream.into_idle());
        Ok(all)
    }

    pub fn bind(
        &self,
        shape: Shape,
        logits: &wgpu::BufferBinding<'_>,
        (name, values): (&'static str, &wgpu::BufferBinding<'_>),
    ) -> Result<Bound> {
        let plan = self.engine.resident_plan(Work { splits: true, ..self.engine.work(shape) })?;
        check_row_scratch(&self.engine.profile, shape.rows, RowFields::empty())?;
        let need = Need { bytes: plan.logits_bytes(shape.rows), alignment: size_of::<E>() as u64 };
        let logits = buffers::read("logits", logits, need)?;
        let alignment = self.engine.profile.offset_alignment;
        let values =
            buffers::write(name, values, Need { bytes: shape.rows as u64 * VALUE_BYTES, alignment })?;
        buffers::check_aliases([&logits, &values])?;

        let op = self.clone();
        Bound::new(shape, move |rows| {
            let params = Params::of(shape);
            let rest = [(VALUES, &values.binding)];
            let value_bytes = Engine::<E>::ELEMENT_BYTES;
            let arrays = [Array { number: binding::LOGITS, binding: &logits.binding, value_bytes }];
            op.engine.resident_dispatches(&plan, rows, &op.call(&params, &rest), &arrays)
        })
    }

    fn call<'a>(&'a self, params: &'a Params, rest: &'a [(u32, &'a Binding)]) -> LogitsCall<'a> {
        let variant = self.engine.variant(Output::Element, Target::None);
        LogitsCall { pass: self.pass.pass, variant, constants: &self.constants, params, rest }
    }
}
