//! What every operation has: its pipelines, its device's profile, its tuning.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::device::{Context, Profile, scoped};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::passes::{Output, Pass, Target, Variant, binding, constant};
use crate::kernel::{Binding, Dispatch, Kernels, Params, Place, Plan, Tuning, Window, Work};
use crate::shape::Shape;

/// The part of an operation that does not depend on which operation it is.
#[derive(Clone, Debug)]
pub(crate) struct Engine<E> {
    pub kernels: Arc<Kernels>,
    pub profile: Arc<Profile>,
    pub tuning: Option<Tuning>,
    element: PhantomData<E>,
}

impl<E: Element> Engine<E> {
    pub fn new(device: &wgpu::Device) -> Result<Self> {
        Ok(Self {
            profile: Arc::new(Profile::of(device)?),
            kernels: Arc::new(Kernels::new(device)),
            tuning: None,
            element: PhantomData,
        })
    }

    pub const ELEMENT_BYTES: u64 = size_of::<E>() as u64;

    pub fn device(&self) -> &wgpu::Device {
        &self.kernels.device
    }

    /// Refuses another device than the one this operation was built for. wgpu tells devices apart only within one
    /// Instance; of two Instances, those of different adapters are told apart here.
    pub fn check_device(&self, device: &wgpu::Device) -> Result<()> {
        let is_same = device == self.device() && device.adapter_info() == self.device().adapter_info();
        if is_same { Ok(()) } else { Err(Error::OtherDevice) }
    }

    /// The work of sweeping a shape, with nothing beside the logits that is wider than they are.
    pub fn work(&self, shape: Shape) -> Work {
        let bytes = Self::ELEMENT_BYTES;
        Work { shape, element_bytes: bytes, widest_bytes: bytes, entries: 0, tuning: self.tuning }
    }

    /// A module over logits of this type.
    pub fn variant(&self, output: Output, target: Target) -> Variant {
        Variant { element: E::NAME, output, target }
    }

    pub fn resident_plan(&self, work: Work) -> Result<Plan> {
        Plan::resident(&self.profile, work)
    }

    pub fn streamed_plan(&self, gpu: &Context, work: Work) -> Result<Plan> {
        self.check_device(&gpu.device)?;
        Plan::streamed(&self.profile, work)
    }

    /// A buffer of our own.
    pub fn scratch(&self, label: &str, bytes: u64) -> Result<Binding> {
        use wgpu::BufferUsages as Usage;
        let size = bytes.max(32).next_multiple_of(16);
        let buffer = scoped(self.device(), label, || {
            self.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage: Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        Ok(Binding::whole(&buffer))
    }

    /// A pass over the logits of one window. `arrays` are what lies like them: the logits first.
    pub fn logits_dispatch(
        &self,
        plan: &Plan,
        window: &Window,
        call: &LogitsCall<'_>,
        arrays: &[Placed<'_>],
    ) -> Result<Dispatch> {
        let mut params =
            Params { rows: window.rows as u32, first_row: window.first_row as u32, ..*call.params };
        let parts: Vec<(u32, Binding)> =
            arrays.iter().map(|placed| (placed.array.number, placed.part())).collect();
        let mut bindings: Vec<(u32, Option<&Binding>)> = Vec::new();
        for (placed, (number, part)) in arrays.iter().zip(&parts) {
            bindings.push((*number, Some(part)));
            if let Some(quads) = binding::quads_of(*number) {
                // A view of whole quads: where the values are fewer than one, none is ever loaded.
                let has_quads = part.size >= 4 * Self::ELEMENT_BYTES;
                bindings.push((quads, Some(part).filter(|_| has_quads)));
            }
            let base = placed.place.base;
            match *number {
                binding::LOGITS => {
                    params.logits_base = base;
                    if call.variant.output == Output::InPlace {
                        params.output_base = base;
                    }
                }
                binding::OUTPUT => params.output_base = base,
                _ => params.second_base = base,
            }
        }
        bindings.extend(call.rest.iter().map(|&(number, bound)| (number, Some(bound))));
        let seats = plan.seats;
        let mut constants = vec![
            (constant::LANES, seats.lanes),
            (constant::ROWS, seats.rows),
            (constant::INVOCATIONS, seats.lanes * seats.rows),
            (constant::STRIDED, u32::from(params.inner > 1)),
        ];
        constants.extend(call.constants);
        self.kernels.dispatch(call.pass, call.variant, &constants, &params, &bindings, window.grid)
    }

    /// A pass over all the windows of a batch that lies in buffers.
    pub fn resident_dispatches(
        &self,
        plan: &Plan,
        rows: usize,
        call: &LogitsCall<'_>,
        arrays: &[Array<'_>],
    ) -> Result<Vec<Dispatch>> {
        let alignment = self.profile.offset_alignment;
        let dispatch = |window| {
            let placed = arrays.iter().map(|&array| Placed {
                array,
                place: plan.place(&window, array.value_bytes, array.binding.offset, alignment),
            });
            self.logits_dispatch(plan, &window, call, &placed.collect::<Vec<_>>())
        };
        plan.windows(rows).map(dispatch).collect()
    }
}

/// A pass over logits, as far as it is the same for every window.
pub(crate) struct LogitsCall<'a> {
    pub pass: &'static Pass,
    pub variant: Variant,
    pub constants: &'a [(&'static str, u32)],
    pub params: &'a Params,
    /// The bindings that do not lie like the logits, by their numbers.
    pub rest: &'a [(u32, &'a Binding)],
}

/// Values that lie like the logits: the logits themselves, an output, soft targets.
#[derive(Clone, Copy)]
pub(crate) struct Array<'a> {
    /// The binding's number.
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
        }
    }
}
