//! What every operation has: its pipelines, its device's profile, its tuning.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::device::{Context, Profile, scoped};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::passes::Pass;
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

    /// A pass over the logits of one window. `logits` and `output` are bound where `place` says; `rest` follows them.
    pub fn logits_dispatch(&self, call: LogitsCall<'_>) -> Result<Dispatch> {
        let LogitsCall { pass, tuning, constants, params, window, logits, output, rest } = call;
        let values = logits.part();
        // A view of whole quads: where the logits are fewer than one, none is ever loaded.
        let quads = Some(&values).filter(|values| values.size >= 16);
        let output_part = output.map(|output| output.part());
        let mut bindings = vec![Some(&values), quads];
        if output_part.is_some() {
            bindings.push(output_part.as_ref());
        }
        bindings.extend(rest.iter().copied().map(Some));
        let params = Params {
            rows: window.rows as u32,
            first_row: window.first_row as u32,
            logits_base: logits.place.base,
            output_base: output.map_or(0, |output| output.place.base),
            ..*params
        };
        let mut all = vec![(crate::kernel::passes::LANES, tuning.lanes)];
        all.extend(constants);
        self.kernels.dispatch(pass, &all, &params, &bindings, window.grid)
    }

    /// A pass over all the windows of a batch that lies in buffers.
    pub fn resident_dispatches(
        &self,
        plan: &Plan,
        rows: usize,
        call: ResidentCall<'_>,
    ) -> Result<Vec<Dispatch>> {
        let alignment = self.profile.offset_alignment;
        plan.windows(rows)
            .map(|window| {
                let placed = |binding: &'_ Binding| plan.place(&window, binding.offset, alignment);
                self.logits_dispatch(LogitsCall {
                    pass: call.pass,
                    tuning: plan.tuning,
                    constants: call.constants,
                    params: call.params,
                    window: &window,
                    logits: Placed { binding: call.logits, place: placed(call.logits) },
                    output: call.output.map(|binding| Placed { binding, place: placed(binding) }),
                    rest: call.rest,
                })
            })
            .collect()
    }
}

/// A pass over the windows of a batch that lies in buffers.
pub(crate) struct ResidentCall<'a> {
    pub pass: &'static Pass,
    pub constants: &'a [(&'static str, u32)],
    pub params: &'a Params,
    pub logits: &'a Binding,
    pub output: Option<&'a Binding>,
    pub rest: &'a [&'a Binding],
}

/// A pass over the logits of one window.
pub(crate) struct LogitsCall<'a> {
    pub pass: &'static Pass,
    pub tuning: Tuning,
    pub constants: &'a [(&'static str, u32)],
    /// What is the same for every window.
    pub params: &'a Params,
    pub window: &'a Window,
    pub logits: Placed<'a>,
    pub output: Option<Placed<'a>>,
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
