//! Operations that give one value a row, without targets: what `LogSumExp` and `Argmax` share.

use crate::device::{Context, Wait};
use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{Output, Pass, Target, binding};
use crate::kernel::{Binding, Params, check_row_scratch};
use crate::op::Bound;
use crate::op::buffers::{self, Need};
use crate::op::engine::{Array, Engine, LogitsCall};
use crate::op::stream::{Extras, Stream, windows};
use crate::shape::Shape;

/// A pass that reads each row once and writes one 32-bit value.
#[derive(Clone, Debug)]
pub(crate) struct RowValues<E> {
    pub engine: Engine<E>,
    pub pass: PassOf,
}

/// The pass and its constants.
#[derive(Clone, Copy)]
pub(crate) struct PassOf {
    pub pass: &'static Pass,
    pub constants: &'static [(&'static str, u32)],
}

impl std::fmt::Debug for PassOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.pass.name)
    }
}

/// Bytes of a value.
const VALUE_BYTES: u64 = 4;
/// The binding of the values in both passes.
const VALUES: u32 = 4;

impl<E: Element> RowValues<E> {
    pub fn new(device: &wgpu::Device, pass: PassOf) -> Result<Self> {
        Ok(Self { engine: Engine::new(device)?, pass })
    }

    /// One value for each row of a host batch.
    pub async fn all<V: bytemuck::Pod>(
        &self,
        gpu: &Context,
        logits: &[E],
        shape: Shape,
        wait: Wait,
    ) -> Result<Vec<V>> {
        shape.check_slice("logits", logits)?;
        let mut stream = Stream::new(&self.engine, gpu, shape, Extras::default())?;
        let window_rows = stream.window_rows();
        let values_buffer = self.engine.scratch("xent::window::values", window_rows as u64 * VALUE_BYTES)?;
        let mut all = vec![V::zeroed(); shape.rows];
        for (rows, values) in windows(shape, window_rows) {
            let taken = stream.take(&logits[values], rows.len(), wait).await?;
            let params = Params::of(stream.device_shape());
            let rest = [(VALUES, &values_buffer)];
            let call = self.call(&params, &rest);
            let dispatch = stream.dispatch(&self.engine, &taken, &call, false)?;
            stream.run(self.pass.pass.name, &[dispatch])?;
            let bytes = bytemuck::cast_slice_mut(&mut all[rows]);
            stream.transfer.download(&values_buffer.buffer, 0, bytes, wait).await?;
            stream.finish();
        }
        Ok(all)
    }

    pub fn bind(
        &self,
        device: &wgpu::Device,
        shape: Shape,
        logits: &wgpu::BufferBinding<'_>,
        (name, values): (&'static str, &wgpu::BufferBinding<'_>),
    ) -> Result<Bound> {
        self.engine.check_device(device)?;
        let plan = self.engine.resident_plan(self.engine.work(shape))?;
        check_row_scratch(&self.engine.profile, shape.rows)?;
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

    fn call<'a>(&self, params: &'a Params, rest: &'a [(u32, &'a Binding)]) -> LogitsCall<'a> {
        let variant = self.engine.variant(Output::Element, Target::None);
        LogitsCall { pass: self.pass.pass, variant, constants: self.pass.constants, params, rest }
    }
}
