//! Operations that give one value per logit. A [`Map`] says what an operation *is*. How it *runs*, over host slices or
//! bound to the caller's buffers, is written here once.

use std::borrow::Cow;

use crate::coded::Logits;
use crate::context::Context;
use crate::device::Wait;
use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{Output, Pass, Target, binding, constant};
use crate::kernel::{Binding, Dispatch, Needs, Params, Work};
use crate::op::bound::Bound;
use crate::op::buffers::{self, Checked, Need};
use crate::op::engine::{Array, Engine, LogitsCall};
use crate::op::output::{OutputBuffer, own_output};
use crate::op::pool::Pool;
use crate::op::stream::{
    Back, Extras, Flight, Part, SecondArray, Start, Stream, clear_padding, through, windows,
};
use crate::request::Request;
use crate::shape::Shape;

/// The definition of such an operation, with its options.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pub pass: &'static Pass,
    /// The names of the logits (or of the array in their place) and of the output in messages.
    pub logits: &'static str,
    pub output: &'static str,
    /// A second array with the logits' layout.
    pub second: Option<SecondArray>,
    /// Whether the pass can split a row among several workgroups.
    pub splits: bool,
    /// What the pass needs besides a row's statistics.
    pub needs: Needs,
    /// All parameters except those of the shape.
    pub params: Params,
    pub constants: Vec<(&'static str, u32)>,
    /// Bindings of arrays without the logits' layout.
    pub rest: Vec<(u32, Binding)>,
}

/// The part of such an operation that is the same for all of them.
#[derive(Clone, Debug)]
pub(crate) struct RowMap<E> {
    pub engine: Engine<E>,
    pub pool: Pool,
}

/// Host slices: the logits, an array of the same layout, and the arrays that all windows share, each with its name and
/// binding number.
pub(crate) struct HostMap<'a, E> {
    pub logits: &'a [E],
    pub second: Option<&'a [E]>,
    pub whole: Vec<(&'static str, u32, Cow<'a, [u32]>)>,
}

impl<'a, E> HostMap<'a, E> {
    /// Logits only.
    pub fn of(logits: &'a [E]) -> Self {
        Self { logits, second: None, whole: vec![] }
    }
}

/// The caller's buffers.
pub(crate) struct MapBuffers<'b> {
    pub logits: &'b wgpu::BufferBinding<'b>,
    pub second: Option<&'b wgpu::BufferBinding<'b>>,
    pub output: OutputBuffer<'b>,
}

impl<E: Element> RowMap<E> {
    pub fn new(gpu: &Context) -> Result<Self> {
        Ok(Self { engine: Engine::new(gpu)?, pool: Pool::default() })
    }

    /// One value per logit of a whole host batch, in a new vector.
    pub fn run<'a>(&'a self, shape: Shape, given: HostMap<'a, E>, map: Result<Map>) -> Request<'a, Vec<E>> {
        Request::new(self.engine.gpu.waits(), move |wait| async move {
            let map = map?;
            shape.check_slice(map.logits, given.logits)?;
            let mut output = vec![E::default(); shape.len()];
            self.windows(shape, given, &mut output, map, wait).await?;
            Ok(output)
        })
    }

    /// Like `run`, but writes into the caller's slice.
    pub fn run_into<'a, D: Element>(
        &'a self,
        shape: Shape,
        given: HostMap<'a, E>,
        output: &'a mut [D],
        map: Result<Map>,
    ) -> Request<'a, ()> {
        Request::new(self.engine.gpu.waits(), move |wait| async move {
            self.windows(shape, given, output, map?, wait).await
        })
    }

    async fn windows<D: Element>(
        &self,
        shape: Shape,
        HostMap { logits, second, whole }: HostMap<'_, E>,
        output: &mut [D],
        mut map: Map,
        wait: Wait,
    ) -> Result<()> {
        shape.check_slice(map.logits, logits)?;
        if let (Some(array), Some(second)) = (map.second, second) {
            shape.check_slice(array.name, second)?;
        }
        shape.check_slice(map.output, output)?;
        let to = if D::NAME == E::NAME { own_output(shape) } else { Output::F32 };
        let mut stream = Stream::pooled(&self.engine, shape, extras(&map, to), &self.pool)?;
        for (name, number, values) in whole.into_iter().filter(|_| shape.rows > 0) {
            map.rest.push((number, stream.upload_whole(name, &values)?));
        }
        let mut stream = MapStream { engine: self.engine.clone(), stream, map, output: to };
        let parts = windows(shape, stream.window_rows());
        let submit = |stream: &mut MapStream<E>, (rows, values): Part| {
            stream.submit(logits[values.clone()].into(), second.map(|second| &second[values]), rows.len())
        };
        let read =
            |stream: &mut MapStream<E>, back: Back, (_, values): Part| stream.read(back, &mut output[values]);
        through(&mut stream, parts, wait, submit, read).await?;
        self.pool.put(stream.stream.into_idle());
        clear_padding(output, shape);
        Ok(())
    }

    /// A stream for windows that are pushed one by one. Each window ends before the next starts.
    pub fn stream(&self, map: Map, shape: Shape) -> Result<MapStream<E>> {
        let output = own_output(shape);
        let stream = Stream::new(&self.engine, shape, extras(&map, output))?;
        Ok(MapStream { engine: self.engine.clone(), stream, map, output })
    }

    /// A stream for two windows in flight: one is submitted while the device still works on the one before.
    pub fn ahead(&self, map: Map, shape: Shape, start: Start) -> Result<MapStream<E>> {
        let output = own_output(shape);
        let stream = Stream::ahead(&self.engine, shape, extras(&map, output), start)?;
        Ok(MapStream { engine: self.engine.clone(), stream, map, output })
    }

    /// Checks the caller's buffers and binds the operation to them. The `maps` run one after another, each with its own
    /// output. `others` are buffers that are already checked and belong to no map.
    pub fn bind(
        &self,
        shape: Shape,
        maps: Vec<(Map, MapBuffers<'_>)>,
        others: impl IntoIterator<Item = Checked>,
    ) -> Result<Bound> {
        let engine = &self.engine;
        let value_bytes = Engine::<E>::ELEMENT_BYTES;
        let (mut plan, mut checked, mut bound) = (None, Vec::new(), Vec::new());
        for (map, to) in maps {
            let (own, output, output_bytes) = to.output.parts(value_bytes);
            let in_place = output == Output::InPlace;
            let plan = plan.get_or_insert(engine.resident_plan(Work {
                widest_bytes: output_bytes.max(value_bytes),
                writes: true,
                splits: map.splits && !in_place,
                needs: map.needs,
                ..engine.work(shape)
            })?);
            let need = |bytes, alignment| Need { bytes: plan.value_bytes(shape.rows, bytes), alignment };
            let mut arrays = Vec::new();
            let mut keep = |number, value_bytes, buffer: Checked| {
                arrays.push(((number, value_bytes), buffer.binding.clone()));
                checked.push(buffer);
            };
            if let (Some(array), Some(second)) = (map.second, to.second) {
                let second = buffers::read(array.name, second, need(value_bytes, value_bytes))?;
                keep(array.number, value_bytes, second);
            }
            let logits = if in_place {
                buffers::write(map.logits, to.logits, need(value_bytes, 4))?
            } else {
                buffers::read(map.logits, to.logits, need(value_bytes, value_bytes))?
            };
            keep(binding::LOGITS, value_bytes, logits);
            if let Some(own) = own {
                keep(binding::OUTPUT, output_bytes, buffers::write(map.output, own, need(output_bytes, 4))?);
            }
            buffers::check_words(map.output, shape, output_bytes)?;
            // The engine expects the logits first.
            arrays.sort_by_key(|&((number, _), _)| number);
            bound.push((map, output, arrays));
        }
        checked.extend(others);
        buffers::check_aliases(&checked)?;
        let (engine, plan) = (engine.clone(), plan);
        Bound::new(shape, move |rows| {
            let mut dispatches = Vec::new();
            for (map, output, arrays) in &bound {
                let Some(plan) = &plan else { continue };
                let arrays: Vec<Array<'_>> = arrays
                    .iter()
                    .map(|&((number, value_bytes), ref binding)| Array { number, binding, value_bytes })
                    .collect();
                let params = map.params.shaped(shape);
                let rest = map.rest();
                let call = map.call(&engine, *output, &params, &rest);
                dispatches.extend(engine.resident_dispatches(plan, rows, &call, &arrays)?);
            }
            Ok(dispatches)
        })
    }
}

/// The switches of a row's statistics. Those named in `on` are on, if they come with `true`.
pub(crate) fn stats_switches(on: &[(&'static str, bool)]) -> Vec<(&'static str, u32)> {
    let all = [
        constant::SOFTCAP,
        constant::MASKED_ROW_ZERO,
        constant::TARGET_SUMS,
        constant::EXCLUDE_TARGET,
        constant::HALVE_DIFFERENCES,
        constant::TRACK_ARGMAX,
    ];
    all.map(|name| (name, u32::from(on.contains(&(name, true))))).to_vec()
}

impl Map {
    fn call<'a, E: Element>(
        &'a self,
        engine: &Engine<E>,
        output: Output,
        params: &'a Params,
        rest: &'a [(u32, &'a Binding)],
    ) -> LogitsCall<'a> {
        let variant = engine.variant(output, Target::None);
        LogitsCall { pass: self.pass, variant, given: false, constants: &self.constants, params, rest }
    }

    fn rest(&self) -> Vec<(u32, &Binding)> {
        self.rest.iter().map(|&(number, ref bound)| (number, bound)).collect()
    }
}

fn extras(map: &Map, output: Output) -> Extras {
    let Map { second, splits, needs, .. } = *map;
    Extras { output: Some(output), second, splits, needs, ..Default::default() }
}

/// A batch that passes through the device window by window. The buffers are made once and take less than half a
/// gigabyte for any number of rows, unless a single row needs more.
pub struct MapStream<E> {
    pub(super) engine: Engine<E>,
    pub(super) stream: Stream<E>,
    map: Map,
    output: Output,
}

impl<E: Element> MapStream<E> {
    /// Runs one window, from its slice to its output.
    pub(super) async fn run(
        &mut self,
        logits: &[E],
        rows: usize,
        output: &mut [E],
        wait: Wait,
    ) -> Result<()> {
        self.stream.check_output(self.map.output, output, rows)?;
        if rows == 0 {
            return self.stream.check_rows(logits.into(), rows);
        }
        let back = self.submit(logits.into(), None, rows)?.land(wait).await?;
        self.read(back, output)
    }

    pub(crate) fn submit(
        &mut self,
        logits: Logits<'_, E>,
        second: Option<&[E]>,
        rows: usize,
    ) -> Result<Flight> {
        let Self { engine, stream, map, output, .. } = self;
        let first_row = stream.next_row();
        let mut filling = stream.open(logits, rows, true)?;
        if let Some(second) = second {
            stream.write_second(&mut filling, second)?;
        }
        let params = map.params.shaped(stream.device_shape());
        let params = Params { mask_first_row: first_row as u32, ..params };
        let rest = map.rest();
        let dispatches: Vec<Dispatch> =
            stream.dispatches(engine, &filling, &map.call(engine, *output, &params, &rest))?;
        stream.submit(&map.pass.label(), filling, &dispatches)
    }

    pub(crate) fn read<D: Element>(&mut self, back: Back, output: &mut [D]) -> Result<()> {
        self.stream.read_output(&back, output)?;
        self.stream.close(back);
        Ok(())
    }
}
