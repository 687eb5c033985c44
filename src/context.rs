//! A device, its queue, and what the operations on it share.

use std::sync::Arc;
use std::time::Duration;

use crate::device::{AdapterChoice, Profile, Wait};
use crate::error::{Error, Result};
use crate::kernel::Kernels;

/// A device and its queue, on which operations are built. Open one with [`Context::new_blocking`], or make it from a device
/// and queue of your own with [`Context::from_device`].
///
/// The operations of a context share their pipelines: what one has compiled, another does not compile again. A clone is the
/// same context. An operation works with the context that it was built on, and says [`Error::OtherDevice`] to any other,
/// one around the same device included.
///
/// A device can be lost: its driver was reset or updated, or it was destroyed. Calls then give [`Error::DeviceLost`]. Open a
/// new context and build the operations again.
#[derive(Clone, Debug)]
pub struct Context {
    /// The device.
    pub device: wgpu::Device,
    /// The device's queue.
    pub queue: wgpu::Queue,
    /// How long a blocking method waits for the device at a time, before it gives up with [`Error::Timeout`].
    /// Default: as long as it takes.
    pub timeout: Option<Duration>,
    pub(crate) kernels: Arc<Kernels>,
}

impl Context {
    /// The best adapter there is: hardware before software.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], [`Error::RequestDevice`].
    pub async fn new() -> Result<Self> {
        Self::open(&AdapterChoice::default()).await
    }

    /// [`Context::new`], blocking.
    ///
    /// # Errors
    /// As [`Context::new`].
    pub fn new_blocking() -> Result<Self> {
        pollster::block_on(Self::new())
    }

    /// The best adapter that fits a choice. Says through `log` which it took. The device has the adapter's own limits
    /// and, as far as the adapter has them, two features: [`wgpu::Features::SHADER_INT64`], for loads of 32 bytes
    /// ([`Tuning::words_of_64`](crate::Tuning::words_of_64)), and where the adapter shares the processor's memory
    /// [`wgpu::Features::MAPPABLE_PRIMARY_BUFFERS`], with which host slices go to and from the kernels' own buffers
    /// ([`Profile::unified_memory`]).
    ///
    /// # Errors
    /// [`Error::NoAdapter`], which lists those that are there; [`Error::RequestDevice`].
    pub async fn open(choice: &AdapterChoice) -> Result<Self> {
        Self::open_with(choice, wgpu::Features::empty()).await
    }

    /// [`Context::open`], with those of `features` enabled that the adapter has: for what the caller does beside this
    /// crate's operations, timestamps for one.
    ///
    /// # Errors
    /// As [`Context::open`].
    pub async fn open_with(choice: &AdapterChoice, features: wgpu::Features) -> Result<Self> {
        let (device, queue) = choice.open(features).await?;
        Ok(Self::from_device(device, queue))
    }

    /// [`Context::open`], blocking.
    ///
    /// # Errors
    /// As [`Context::open`].
    pub fn open_blocking(choice: &AdapterChoice) -> Result<Self> {
        pollster::block_on(Self::open(choice))
    }

    /// A context around a device of your own and its queue. (With another device's queue, wgpu panics.)
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let kernels = Arc::new(Kernels::new(&device));
        Self { device, queue, timeout: None, kernels }
    }

    /// The same, with a limit to how long blocking methods wait for the device at a time.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// What this device is and allows.
    ///
    /// # Errors
    /// [`Error::DeviceLimit`].
    pub fn profile(&self) -> Result<Profile> {
        Profile::of(&self.device)
    }

    /// Pipelines that the operations of this context have made so far.
    pub fn pipelines(&self) -> usize {
        self.kernels.made()
    }

    /// Frees the pipelines and shader modules that no bound operation uses. What is used later is made again.
    pub fn free_pipelines(&self) {
        self.kernels.free();
    }

    /// Refuses another context than the one that an operation was built on.
    pub(crate) fn check_same(&self, kernels: &Arc<Kernels>) -> Result<()> {
        if Arc::ptr_eq(&self.kernels, kernels) { Ok(()) } else { Err(Error::OtherDevice) }
    }
}

impl Wait {
    /// Waiting as a blocking method of this context does.
    pub(crate) fn blocking(gpu: &Context) -> Self {
        Self::Blocking(gpu.timeout)
    }
}
