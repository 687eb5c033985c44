//! A device, its queue, and what its operations share.

use std::sync::Arc;
use std::time::Duration;

use crate::device::{AdapterChoice, Profile, Wait};
#[cfg(not(target_arch = "wasm32"))]
use crate::device::{Opaque, Poller};
use crate::error::Result;
use crate::kernel::Kernels;
use crate::request::Request;

/// A device and its queue, on which operations are built. Open one with [`Context::new`], or make it from your own
/// device and queue with [`Context::from_device`].
///
/// An operation keeps the context that it was built on. The operations of a context share their pipelines: each
/// pipeline is compiled once. A clone is the same context.
///
/// A device can be lost: its driver was reset or updated, or it was destroyed. Calls then give
/// [`Error::DeviceLost`](crate::Error::DeviceLost). Open a new context and build the operations again.
///
/// ```no_run
/// use std::time::Duration;
/// use xent::Context;
///
/// let gpu = Context::new().wait()?.with_timeout(Duration::from_secs(60));
/// println!("{}", gpu.profile()?);
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Context {
    /// The device.
    pub device: wgpu::Device,
    /// The device's queue.
    pub queue: wgpu::Queue,
    timeout: Option<Duration>,
    #[cfg(not(target_arch = "wasm32"))]
    poller: Option<Opaque<Poller>>,
    pub(crate) kernels: Arc<Kernels>,
}

impl Context {
    /// Opens the best adapter there is: hardware before software.
    ///
    /// # Errors
    /// [`Error::NoAdapter`](crate::Error::NoAdapter), [`Error::RequestDevice`](crate::Error::RequestDevice).
    pub fn new() -> Request<'static, Self> {
        Self::open(&AdapterChoice::default())
    }

    /// Opens the best adapter that matches a choice, and logs through `log` which adapter it chose. The device has the
    /// adapter's own limits and, where the adapter has them, three features. [`wgpu::Features::SHADER_INT64`] allows
    /// loads of 32 bytes ([`Tuning::words_of_64`](crate::Tuning::words_of_64)). [`wgpu::Features::SHADER_F16`] allows
    /// lavapipe to widen f16 by an instruction. On an adapter that shares the processor's memory, [`wgpu::Features::MAPPABLE_PRIMARY_BUFFERS`] lets host slices go to and from the kernels'
    /// own buffers ([`Profile::unified_memory`]).
    ///
    /// # Errors
    /// [`Error::NoAdapter`](crate::Error::NoAdapter), which lists the adapters found;
    /// [`Error::RequestDevice`](crate::Error::RequestDevice).
    pub fn open(choice: &AdapterChoice) -> Request<'static, Self> {
        Self::open_with(choice, wgpu::Features::empty())
    }

    /// Like [`Context::open`], and also enables those of `features` that the adapter has. Use it for your own work
    /// beside this crate's operations, for example timestamps.
    ///
    /// # Errors
    /// As for [`Context::open`].
    pub fn open_with(choice: &AdapterChoice, features: wgpu::Features) -> Request<'static, Self> {
        let choice = choice.clone();
        Request::new([Wait::Blocking(None), Wait::Elsewhere], move |_| async move {
            let (device, queue) = choice.open(features).await?;
            Ok(Self::from_device(device, queue).with_poller())
        })
    }

    /// A context around your own device and its queue. (With another device's queue, wgpu panics.) You must poll the
    /// device for awaited requests yourself: see [`Request`].
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let kernels = Arc::new(Kernels::new(&device));
        Self {
            device,
            queue,
            timeout: None,
            #[cfg(not(target_arch = "wasm32"))]
            poller: None,
            kernels,
        }
    }

    /// Limits how long [`Request::wait`] waits for the device at a time before it gives up with
    /// [`Error::Timeout`](crate::Error::Timeout). Applies to operations built afterwards. Default: no limit. An awaited
    /// request has no limit.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Adds a thread that polls the device for awaited requests. It starts with the first request, sleeps while there
    /// are none, and ends with the context and the operations built on it. A context that opened its own device already
    /// has this thread; in a browser the browser polls.
    pub fn with_poller(self) -> Self {
        #[cfg(not(target_arch = "wasm32"))]
        return Self { poller: Some(Opaque::new(Poller::new(&self.device))), ..self };
        #[cfg(target_arch = "wasm32")]
        self
    }

    /// The properties and limits of this device.
    ///
    /// # Errors
    /// [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn profile(&self) -> Result<Profile> {
        Profile::of(&self.device)
    }

    /// How many pipelines the operations of this context have made so far.
    pub fn pipelines(&self) -> usize {
        self.kernels.made()
    }

    /// Frees the pipelines and shader modules that no bound operation uses. They are made again when needed.
    pub fn free_pipelines(&self) {
        self.kernels.free();
    }

    /// How a request of this context waits: on the calling thread, and when it is awaited.
    pub(crate) fn waits(&self) -> [Wait; 2] {
        #[cfg(not(target_arch = "wasm32"))]
        let awaited = self.poller.clone().map_or(Wait::Elsewhere, Wait::Poller);
        #[cfg(target_arch = "wasm32")]
        let awaited = Wait::Elsewhere;
        [self.blocking(), awaited]
    }

    /// How a request waits on the calling thread.
    pub(crate) fn blocking(&self) -> Wait {
        Wait::Blocking(self.timeout)
    }
}
