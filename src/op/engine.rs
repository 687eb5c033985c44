//! What every operation has: its context with the pipelines, the device's profile, and a tuning.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::context::Context;
use crate::device::{Opaque, Profile, scoped};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::passes::{Load, Output, Pass, Target, Variant, binding, constant};
use crate::kernel::{Binding, Dispatch, Kernels, Needs, Params, Place, Plan, Tuning, Window, Work};
use crate::shape::Shape;

/// The part of an operation that is the same for every operation.
#[derive(Clone, Debug)]
pub(crate) struct Engine<E> {
    pub gpu: Opaque<Context>,
    pub profile: Arc<Profile>,
    pub tuning: Option<Tuning>,
    element: PhantomData<E>,
}

impl<E: Element> Engine<E> {
    pub fn new(gpu: &Context) -> Result<Self> {
        Ok(Self {
            profile: Arc::new(gpu.profile()?),
            gpu: Opaque::new(gpu.clone()),
            tuning: None,
            element: PhantomData,
        })
    }

    /// Uses this tuning instead of the one that the plan would choose.
    pub fn tuned(self, tuning: Tuning) -> Result<Self> {
        tuning.check(&self.profile)?;
        Ok(Self { tuning: Some(tuning), ..self })
    }

    /// The same for logits of another type.
    pub fn with_element<D: Element>(&self) -> Engine<D> {
        let Self { gpu, profile, tuning, .. } = self;
        Engine { gpu: gpu.clone(), profile: profile.clone(), tuning: *tuning, element: PhantomData }
    }

    pub const ELEMENT_BYTES: u64 = size_of::<E>() as u64;

    pub fn device(&self) -> &wgpu::Device {
        &self.gpu.device
    }

    pub fn kernels(&self) -> &Kernels {
        &self.gpu.kernels
    }

    /// The work of a pass over a shape, if no other array has wider values than the logits.
    pub fn work(&self, shape: Shape) -> Work {
        let bytes = Self::ELEMENT_BYTES;
        Work {
            shape,
            element_bytes: bytes,
            widest_bytes: bytes,
            entries: 0,
            writes: false,
            splits: false,
            needs: Needs::default(),
            tuning: self.tuning,
        }
    }

    /// The shader variant for logits of this type.
    pub fn variant(&self, output: Output, target: Target) -> Variant {
        Variant {
            element: E::NAME,
            output,
            target,
            load: if self.uses_words_of_64() { Load::Words64 } else { Load::Words32 },
            merged: false,
            reads_out: false,
            second_view: self.profile.backend != wgpu::Backend::BrowserWebGpu,
            trusts_floats: self.trusts_floats(),
            weighted: false,
        }
    }

    fn tuning(&self) -> Tuning {
        self.tuning.unwrap_or_else(|| Tuning::of(&self.profile))
    }

    fn uses_words_of_64(&self) -> bool {
        self.tuning().words_of_64 && self.profile.shader_int64
    }

    fn trusts_floats(&self) -> bool {
        self.tuning().trusts_floats && self.profile.keeps_specials
    }

    /// The constants of a pass over rows that reads no logits.
    pub fn row_constants(&self, constants: &[(&'static str, u32)]) -> Vec<(&'static str, u32)> {
        let lanes = (constant::REDUCE_LANES, self.tuning().reduce_lanes);
        constants.iter().copied().chain([lanes]).collect()
    }

    pub fn resident_plan(&self, work: Work) -> Result<Plan> {
        Plan::resident(&self.profile, work)
    }

    pub fn streamed_plan(&self, work: Work, room: Option<u64>) -> Result<Plan> {
        Plan::streamed(&self.profile, work, room)
    }

    /// A scratch buffer of our own.
    pub fn scratch(&self, label: &str, bytes: u64) -> Result<Binding> {
        self.buffer(label, bytes, None)
    }

    /// A buffer of our own that begins with these bytes.
    pub fn constant(&self, label: &str, bytes: &[u8]) -> Result<Binding> {
        self.buffer(label, bytes.len() as u64, Some(bytes))
    }

    fn buffer(&self, label: &str, bytes: u64, content: Option<&[u8]>) -> Result<Binding> {
        use wgpu::BufferUsages as Usage;
        let size = bytes.max(32).next_multiple_of(16);
        let buffer = scoped(self.device(), label, || {
            let buffer = self.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage: Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST,
                mapped_at_creation: content.is_some(),
            });
            if let Some(content) = content {
                // If the buffer could not be made, mapping fails too; the error scope reports the reason.
                if let Ok(mut view) = buffer.slice(..bytes).get_mapped_range_mut() {
                    view.copy_from_slice(content);
                }
                buffer.unmap();
            }
            buffer
        })?;
        Ok(Binding::whole(&buffer))
    }

    /// A pass over the logits of one window, after a pass over their segments if rows are split. `arrays` are the
    /// arrays with the logits' layout, the logits first.
    pub fn logits_dispatches(
        &self,
        plan: &Plan,
        window: &Window,
        call: &LogitsCall<'_>,
        arrays: &[Placed<'_>],
    ) -> Result<Vec<Dispatch>> {
        let mut params =
            Params { rows: window.rows as u32, first_row: window.first_row as u32, ..*call.params };
        let (mut whole_packs, mut whole_output, mut whole_second) = (false, false, true);
        let parts: Vec<(u32, Binding)> =
            arrays.iter().map(|placed| (placed.array.number, placed.part())).collect();
        let mut bindings: Vec<(u32, Option<&Binding>)> = Vec::new();
        for (placed, (number, part)) in arrays.iter().zip(&parts) {
            bindings.push((*number, Some(part)));
            if let Some(packs) = binding::packs_of(*number) {
                // A view of whole packs. If the part is smaller than one pack, no pack is ever loaded.
                let has_packs = part.size >= self.pack_bytes(call, &placed.array);
                bindings.push((packs, Some(part).filter(|_| has_packs)));
            }
            let base = placed.place.base;
            // Whether the last pack of the last row lies wholly within the binding.
            let end = (u64::from(base) + plan.values(window.rows)) * placed.array.value_bytes;
            let is_whole = end.next_multiple_of(self.pack_bytes(call, &placed.array)) <= part.size;
            match *number {
                binding::LOGITS => {
                    (params.logits_base, whole_packs) = (base, is_whole);
                    if call.variant.output == Output::InPlace {
                        (params.output_base, whole_output) = (base, is_whole);
                    }
                }
                binding::OUTPUT => (params.output_base, whole_output) = (base, is_whole),
                _ => (params.second_base, whole_second) = (base, is_whole),
            }
        }
        bindings.extend(call.rest.iter().map(|&(number, bound)| (number, Some(bound))));
        let pack_values = call.pass.pack_values(call.variant) as u32;
        let is_alike =
            params.inner > 1 || params.logits_base % pack_values == params.output_base % pack_values;
        // Only with 64-bit words: with 32-bit words the values of a pack are written one by one anyway. Only on Vulkan:
        // elsewhere a store to one word of a pack may touch its other words, which belong to another row.
        let word_values = arrays.first().map_or(1, |logits| 8 / logits.array.value_bytes) as u32;
        let fills_words = [params.cols, params.row_stride, params.output_base]
            .iter()
            .all(|values| values.is_multiple_of(word_values));
        let whole_words = fills_words
            && whole_output
            && params.inner == 1
            && call.variant.load == Load::Words64
            && self.profile.backend == wgpu::Backend::Vulkan;
        let seats = plan.seats;
        let mut constants = vec![
            (constant::LANES, seats.lanes),
            (constant::ROWS, seats.rows),
            (constant::INVOCATIONS, seats.lanes * seats.rows),
            (constant::STRIDED, u32::from(params.inner > 1)),
            (constant::STEPS, u32::from(plan.has_steps())),
            (constant::WHOLE_PACKS, u32::from(whole_packs && whole_second)),
            (constant::TRUSTS_FLOATS, u32::from(call.variant.trusts_floats)),
            (constant::GIVEN, u32::from(call.given)),
            (constant::ALIKE, u32::from(is_alike)),
            (constant::WHOLE_WORDS, u32::from(whole_words)),
        ];
        constants.extend(call.constants);
        // Every array that is read is read as often as the logits.
        let moved = |pass: &Pass, variant: Variant| {
            let bytes = |placed: &Placed<'_>| plan.values(window.rows) * placed.array.value_bytes;
            let is_output = |placed: &&Placed<'_>| placed.array.number == binding::OUTPUT;
            let (written, read): (Vec<_>, Vec<_>) = arrays.iter().partition(is_output);
            let read: u64 = read.into_iter().map(bytes).sum::<u64>() * pass.reads(variant);
            let in_place = if variant.output == Output::InPlace { arrays.first() } else { None };
            let written = written.into_iter().chain(in_place).map(bytes).sum::<u64>();
            let stores = pass.bindings(variant).iter().any(|&(number, _)| number == binding::OUTPUT);
            read + if pass.writes() || stores { written } else { 0 }
        };
        let dispatch = |pass: &'static Pass, variant, splits: bool, params, bindings: &[_]| {
            let constants = [&constants[..], &[(constant::SPLIT, u32::from(splits))]].concat();
            let grid = if splits { plan.segments_grid(window.rows) } else { window.grid };
            let dispatch = self.kernels().dispatch(pass, variant, &constants, params, bindings, grid)?;
            Ok::<_, Error>(dispatch.moving(moved(pass, variant)))
        };
        let merged = Variant { merged: true, ..call.variant };
        let of_segments = call.pass.segments.filter(|_| plan.split.segments > 1);
        if of_segments.is_some() {
            params.segments = plan.split.segments;
            params.segment_values = plan.split.segment_values;
        }
        if call.given {
            let splits = of_segments.is_some() && call.pass.writes();
            return Ok(vec![dispatch(call.pass, merged, splits, &params, &bindings)?]);
        }
        let Some(of_segments) = of_segments else {
            return Ok(vec![dispatch(call.pass, call.variant, false, &params, &bindings)?]);
        };
        let segments = self.scratch("xent::scratch::segments", plan.segment_bytes(window.rows))?;
        bindings.push((binding::SEGMENTS, Some(&segments)));
        let read = Variant { output: Output::Element, ..call.variant };
        Ok(vec![
            dispatch(of_segments, read, true, &params, &bindings)?,
            dispatch(call.pass, merged, call.pass.writes(), &params, &bindings)?,
        ])
    }

    /// Bytes of one element of an array's second view.
    fn pack_bytes(&self, call: &LogitsCall<'_>, array: &Array<'_>) -> u64 {
        match (array.number, call.variant.output) {
            (binding::OUTPUT, Output::F32) => 16,
            (binding::LOGITS | binding::OUTPUT | binding::PROBS | binding::TEACHER, _) => {
                call.pass.pack_values(call.variant) * array.value_bytes
            }
            _ => 4 * array.value_bytes,
        }
    }

    /// A pass over all windows of a batch that lies in buffers.
    pub fn resident_dispatches(
        &self,
        plan: &Plan,
        rows: usize,
        call: &LogitsCall<'_>,
        arrays: &[Array<'_>],
    ) -> Result<Vec<Dispatch>> {
        let alignment = self.profile.offset_alignment;
        let mut dispatches = Vec::new();
        for window in plan.windows(rows) {
            let placed = arrays.iter().map(|&array| {
                let Binding { offset, size, room, .. } = *array.binding;
                let place = plan.place(&window, array.value_bytes, (offset, size + room), alignment);
                Placed { array, place }
            });
            dispatches.extend(self.logits_dispatches(plan, &window, call, &placed.collect::<Vec<_>>())?);
        }
        Ok(dispatches)
    }
}

/// The part of a pass over logits that is the same for every window.
pub(crate) struct LogitsCall<'a> {
    pub pass: &'static Pass,
    pub variant: Variant,
    /// Whether the statistics of the rows are among the bindings, so that the logits are not read for them.
    pub given: bool,
    pub constants: &'a [(&'static str, u32)],
    pub params: &'a Params,
    /// The bindings of arrays without the logits' layout, by number.
    pub rest: &'a [(u32, &'a Binding)],
}

/// An array with the logits' layout: the logits themselves, an output, soft targets.
#[derive(Clone, Copy)]
pub(crate) struct Array<'a> {
    /// The number of its binding.
    pub number: u32,
    pub binding: &'a Binding,
    pub value_bytes: u64,
}

/// A window's place in an array.
#[derive(Clone, Copy)]
pub(crate) struct Placed<'a> {
    pub array: Array<'a>,
    pub place: Place,
}

impl Placed<'_> {
    fn part(&self) -> Binding {
        Binding {
            buffer: self.array.binding.buffer.clone(),
            offset: self.place.offset,
            size: self.place.size,
            room: 0,
        }
    }
}
