//! What every operation has: its pipelines, its device's profile, its tuning.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::device::{Context, Profile, scoped};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::passes::{self, Pass};
use crate::kernel::{Binding, Dispatch, Kernels, Params, Place, Plan, Tuning, Window};
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
            kernels: Arc::new(Kernels::new(device, E::NAME)),
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

    pub fn resident_plan(&self, shape: Shape) -> Result<Plan> {
        Plan::resident(&self.profile, shape, Self::ELEMENT_BYTES, self.tuning)
    }

    pub fn streamed_plan(&self, gpu: &Context, shape: Shape) -> Result<Plan> {
        self.check_device(&gpu.device)?;
        Plan::streamed(&self.profile, shape, Self::ELEMENT_BYTES, self.tuning)
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

    /// A pass over the logits of one window, which lie, as the output does, where they are `Placed`.
    pub fn logits_dispatch(
        &self,
        tuning: Tuning,
        window: &Window,
        call: &LogitsCall<'_>,
        logits: Placed<'_>,
        output: Option<Placed<'_>>,
    ) -> Result<Dispatch> {
        let values = logits.part();
        // A view of whole quads: where the logits are fewer than one, none is ever loaded.
        let quads = Some(&values).filter(|values| values.size >= 16);
        let output_part = output.map(|output| output.part());
        let mut bindings = vec![Some(&values), quads];
        if output_part.is_some() {
            bindings.push(output_part.as_ref());
        }
        bindings.extend(call.rest.iter().copied().map(Some));
        let params = Params {
            rows: window.rows as u32,
            first_row: window.first_row as u32,
            logits_base: logits.place.base,
            output_base: output.map_or(0, |output| output.place.base),
            ..*call.params
        };
        let mut constants = vec![(passes::LANES, tuning.lanes)];
        constants.extend(call.constants);
        self.kernels.dispatch(call.pass, &constants, &params, &bindings, window.grid)
    }

    /// A pass over all the windows of a batch that lies in buffers.
    pub fn resident_dispatches(
        &self,
        plan: &Plan,
        rows: usize,
        call: &LogitsCall<'_>,
        logits: &Binding,
        output: Option<&Binding>,
    ) -> Result<Vec<Dispatch>> {
        let alignment = self.profile.offset_alignment;
        let dispatch = |window| {
            let logits = Placed { binding: logits, place: plan.place(&window, logits.offset, alignment) };
            let output = output
                .map(|binding| Placed { binding, place: plan.place(&window, binding.offset, alignment) });
            self.logits_dispatch(plan.tuning, &window, call, logits, output)
        };
        plan.windows(rows).map(dispatch).collect()
    }
}

/// A pass over logits, as far as it is the same for every window.
pub(crate) struct LogitsCall<'a> {
    pub pass: &'static Pass,
    pub constants: &'a [(&'static str, u32)],
    pub params: &'a Params,
    /// The bindings behind logits and output, in the order of the pass's table.
    pub rest: &'a [&'a Binding],
}

/// A window's place in a buffer.
#[derive(Clone, Copy)]
pub(crate) struct Placed<'a> {
    pub binding: &'a Binding,
    pub place: Place,
}

impl Placed<'_> {
    fn part(&self) -> Binding {
        Binding { buffer: self.binding.buffer.clone(), offset: self.place.offset, size: self.place.size }
    }
}
