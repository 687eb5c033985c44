//! A device, its queue, and what the operations on it share.

use std::sync::Arc;
use std::time::Duration;

#[cfg(not(target_arch = "wasm32"))]
use crate::device::Poller;
use crate::device::{AdapterChoice, Profile, Wait};
use crate::error::Result;
use crate::kernel::Kernels;
use crate::request::Request;

/// A device and its queue, on which operations are built. Open one with [`Context::new`], or make it from a device and a
/// queue of your own with [`Context::from_device`].
///
/// An operation keeps the context that it was built on. The operations of a context share their pipelines: what one has
/// compiled, another does not compile again. A clone is the same context.
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
    poller: Option<Arc<Poller>>,
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

    /// Opens the best adapter that fits a choice, and says through `log` which it took. The device has the adapter's own
    /// limits and, where the adapter has them, two features: [`wgpu::Features::SHADER_INT64`], for loads of 32 bytes
    /// ([`Tuning::words_of_64`](crate::Tuning::words_of_64)), and on an adapter that shares the processor's memory
    /// [`wgpu::Features::MAPPABLE_PRIMARY_BUFFERS`], with which host slices go to and from the kernels' own buffers
    /// ([`Profile::unified_memory`]).
    ///
    /// # Errors
    /// [`Error::NoAdapter`](crate::Error::NoAdapter), which lists those that are there;
    /// [`Error::RequestDevice`](crate::Error::RequestDevice).
    pub fn open(choice: &AdapterChoice) -> Request<'static, Self> {
        Self::open_with(choice, wgpu::Features::empty())
    }

    /// [`Context::open`], with those of `features` enabled that the adapter has: for work of your own beside this crate's
    /// operations, timestamps for one.
    ///
    /// # Errors
    /// As [`Context::open`].
    pub fn open_with(choice: &AdapterChoice, features: wgpu::Features) -> Request<'static, Self> {
        let choice = choice.clone();
        Request::new([Wait::Blocking(None), Wait::Elsewhere], move |_| async move {
            let (device, queue) = choice.open(features).await?;
            Ok(Self::from_device(device, queue).with_poller())
        })
    }

    /// A context around a device of your own and its queue. (With another device's queue, wgpu panics.) Nothing polls the
    /// device for awaited requests but you: see [`Request`].
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
    /// [`Error::Timeout`](crate::Error::Timeout). For operations that are built afterwards. Default: as long as it takes.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Adds a thread that polls the device for awaited requests: it starts with the first, sleeps while there is
    /// none, and ends with the context and the operations built on it. A context that opened its own device has it
    /// already; in a browser the browser polls.
    pub fn with_poller(self) -> Self {
        #[cfg(not(target_arch = "wasm32"))]
        return Self { poller: Some(Arc::new(Poller::new(&self.device))), ..self };
        #[cfg(target_arch = "wasm32")]
        self
    }

    /// What this device is and allows.
    ///
    /// # Errors
    /// [`Error::DeviceLimit`](crate::Error::DeviceLimit).
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

    /// How a request of this context waits: on the calling thread, and where it is awaited.
    pub(crate) fn waits(&self) -> [Wait; 2] {
        #[cfg(not(target_arch = "wasm32"))]
        let awaited = self.poller.clone().map_or(Wait::Elsewhere, Wait::Poller);
        #[cfg(target_arch = "wasm32")]
        let awaited = Wait::Elsewhere;
        [self.blocking(), awaited]
    }

    /// Waiting on the calling thread.
    pub(crate) fn blocking(&self) -> Wait {
        Wait::Blocking(self.timeout)
    }
}
