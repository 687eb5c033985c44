//! Binding a loss to the caller's own buffers: makes all checks, scratch and bind groups once.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::passes::{Output, binding};
use crate::kernel::{Binding, Dispatch, Plan, Work};
use crate::op::bound::{Bound, Recipe};
use crate::op::buffers::{self, Checked, Need};
use crate::op::engine::{Array, Engine};
use crate::op::loss::buffers::{LossBuffers, LossOutputs};
use crate::op::loss::dispatches::{LossBindings, LossCall, RowOutputs, Scratch, kept, params};
use crate::op::loss::inputs::Count;
use crate::op::loss::{Kind, LossOp};
use crate::results::LossRecord;
use crate::row_fields::RowFields;
use crate::shape::Shape;

/// Checks the buffers of a loss and binds the loss to them.
pub(super) fn bind<E: Element, L: Kind>(
    op: &LossOp<E, L>,
    shape: Shape,
    layout: L::Layout,
    to: &LossBuffers<'_>,
) -> Result<Bound> {
    let engine = &op.engine;
    shape.check()?;
    op.kind.check_layout(layout)?;
    let value_bytes = Engine::<E>::ELEMENT_BYTES;
    let (dlogits, output, output_bytes) = match &to.outputs.dlogits {
        Some(dlogits) => {
            let (own, output, bytes) = dlogits.parts(value_bytes);
            (own, Some(output), bytes)
        }
        None => (None, None, 0),
    };
    let in_place = output == Some(Output::InPlace);
    let (second, entries) = (L::second::<E>(layout), L::entries(layout));
    let asked = if to.row_results.is_some() { op.kind.row_fields() } else { RowFields::empty() };
    if to.row_results.is_some() && asked.is_empty() {
        return Err(Error::option(
            "row_fields",
            0,
            "at least one field, where the buffer row_results is bound",
        ));
    }
    let LossOutputs { loss, row_losses, dlogits: gradient } = to.outputs;
    let asks_for_more = loss.is_some() || row_losses.is_some() || gradient.is_some();
    let has_partials = to.inputs().any(|(input, _)| input.is_partials());
    let asks_for_more = asks_for_more || !RowFields::PARTIALS.contains(asked);
    op.kind.check_part(shape, has_partials, asks_for_more)?;
    let fields = kept(asked, op.kind.reducing());
    let plan = engine.resident_plan(Work {
        widest_bytes: second.map_or(0, |second| second.value_bytes).max(value_bytes).max(output_bytes),
        entries,
        writes: output.is_some(),
        splits: L::SPLITS && !in_place,
        needs: L::needs(fields),
        ..engine.work(shape)
    })?;
    let alignment = engine.profile.offset_alignment;
    let values = |bytes: u64, alignment| Need { bytes: plan.value_bytes(shape.rows, bytes), alignment };
    let words = |count: usize| Need { bytes: (shape.rows * count) as u64 * 4, alignment };

    let mut checked = vec![if in_place {
        buffers::write(L::LOGITS, to.logits, values(value_bytes, 4))?
    } else {
        buffers::read(L::LOGITS, to.logits, values(value_bytes, value_bytes))?
    }];
    if let (Some(second), Some(bound)) = (second, to.second) {
        checked.push(buffers::read(second.name, bound, values(second.value_bytes, second.value_bytes))?);
    }
    let mut arrays: Vec<_> =
        [Some((binding::LOGITS, value_bytes)), second.map(|second| (second.number, second.value_bytes))]
            .into_iter()
            .flatten()
            .zip(&checked)
            .map(|(array, checked)| (array, checked.binding.clone()))
            .collect();

    let mut inputs = Vec::new();
    for (input, bound) in to.inputs() {
        let count = input.count.of(op.kind.input_shape(shape), entries);
        let (bytes, limit) = (count as u64 * 4, engine.profile.max_binding_bytes);
        if matches!(input.count, Count::Entries | Count::Negatives | Count::Partials) && bytes > limit {
            let of_row = input.count.of(shape.with_rows(1), entries);
            return Err(Error::TooManyRows { rows: shape.rows, limit: limit as usize / 4 / of_row });
        }
        let buffer = buffers::read(input.name, bound, Need { bytes, alignment })?;
        inputs.push((input, buffer.binding.clone()));
        checked.push(buffer);
    }

    let mut write = |name, bound: Option<&wgpu::BufferBinding<'_>>, need| -> Result<Option<Binding>> {
        let buffer = buffers::write_if(name, bound, need)?;
        let binding = buffer.as_ref().map(|buffer: &Checked| buffer.binding.clone());
        checked.extend(buffer);
        Ok(binding)
    };
    let record = Need { bytes: LossRecord::BYTES, alignment };
    let rows_to = RowOutputs {
        loss: write("loss", to.outputs.loss.as_ref(), record)?,
        row_losses: write("row_losses", to.outputs.row_losses.as_ref(), words(1))?,
        records: write("row_results", to.row_results, words(asked.words()))?.map(|records| (asked, records)),
    };
    if output.is_some() {
        buffers::check_words("dlogits", shape, output_bytes)?;
    }
    let dlogits = write("dlogits", dlogits, values(output_bytes, 4))?;
    let RowOutputs { loss, row_losses, records } = &rows_to;
    if output.is_none() && loss.is_none() && row_losses.is_none() && records.is_none() {
        return Err(Error::NoOutput { options: L::OUTPUTS });
    }
    buffers::check_aliases(&checked)?;
    arrays.extend(dlogits.map(|dlogits| ((binding::OUTPUT, output_bytes), dlogits)));

    let scratch = Scratch::new(engine, shape.rows, fields)?;
    let bindings = LossBindings { inputs, scratch, output, to: rows_to, fields };
    Bound::new(
        shape,
        BoundLoss { engine: engine.clone(), kind: op.kind, layout, plan, shape, arrays, bindings },
    )
}

/// Everything that the dispatches of a bound loss need.
struct BoundLoss<E: Element, L: Kind> {
    engine: Engine<E>,
    kind: L,
    layout: L::Layout,
    plan: Plan,
    shape: Shape,
    /// Arrays with the logits' layout: binding number, bytes per value, buffer.
    arrays: Vec<((u32, u64), Binding)>,
    bindings: LossBindings,
}

impl<E: Element, L: Kind> Recipe for BoundLoss<E, L> {
    fn dispatches(&self, rows: usize) -> Result<Vec<Dispatch>> {
        let Self { engine, kind, layout, plan, shape, arrays, bindings } = self;
        let arrays: Vec<Array<'_>> = arrays
            .iter()
            .map(|&((number, value_bytes), ref binding)| Array { number, binding, value_bytes })
            .collect();
        let params = params(kind, shape.with_rows(rows), *layout, None);
        let call = LossCall { engine, kind, layout: *layout, plan, params };
        call.dispatches(bindings, |sweep| engine.resident_dispatches(plan, rows, sweep, &arrays))
    }
}
