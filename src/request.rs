//! A call that waits for the device.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use wgpu::WasmNotSend;

use crate::device::Wait;
use crate::error::Result;

#[cfg(not(target_arch = "wasm32"))]
type Start<'a, T> = Box<dyn FnOnce(Wait) -> Running<'a, T> + Send + 'a>;
/// In a browser, wgpu's objects stay on their thread.
#[cfg(target_arch = "wasm32")]
type Start<'a, T> = Box<dyn FnOnce(Wait) -> Running<'a, T> + 'a>;

/// The future of a [`Request`]. It is `Send`, except in a browser.
#[cfg(not(target_arch = "wasm32"))]
pub type Running<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;
/// The future of a [`Request`]. It is `Send`, except in a browser.
#[cfg(target_arch = "wasm32")]
pub type Running<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// A call that has not started yet: run it with [`wait`](Self::wait) or `.await`.
///
/// **Something must poll the device.** `wait` polls it on the calling thread. `.await` does not: a context that opened
/// its own device ([`Context::new`](crate::Context::new), [`Context::open`](crate::Context::open)) has a thread that
/// polls for awaited requests. A context around a device of yours
/// ([`Context::from_device`](crate::Context::from_device)) does not, unless you ask for one
/// ([`Context::with_poller`](crate::Context::with_poller)): poll the device yourself ([`wgpu::Device::poll`]), or the
/// request never ends. In a browser, the browser polls, and there is no `wait`.
///
/// A request that is dropped before it started has done nothing. A request that is dropped while it runs loses its
/// result; later calls are not affected.
///
/// ```no_run
/// use xent::{Context, CrossEntropy, Shape, Targets};
///
/// # async fn run() -> xent::Result<()> {
/// let gpu = Context::new().await?;
/// let op = CrossEntropy::<f32>::new(&gpu, &Default::default())?;
/// let (logits, targets) = ([2.0, 1.0, 0.5], Targets::Classes(&[0]));
///
/// let awaited = op.loss(&logits, targets, Shape::new(1, 3)).await?;
/// let waited_for = op.loss(&logits, targets, Shape::new(1, 3)).wait()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens before a request is waited for or awaited"]
pub struct Request<'a, T> {
    start: Start<'a, T>,
    awaited: Wait,
    waited_for: Wait,
}

impl<'a, T: 'a> Request<'a, T> {
    /// `run` makes the future of the call. It does no work by itself.
    pub(crate) fn new<F>(
        [waited_for, awaited]: [Wait; 2],
        run: impl FnOnce(Wait) -> F + WasmNotSend + 'a,
    ) -> Self
    where
        F: Future<Output = Result<T>> + WasmNotSend + 'a,
    {
        Self { start: Box::new(|wait| Box::pin(run(wait))), awaited, waited_for }
    }

    /// Converts the result.
    pub(crate) fn map<U: 'a>(self, of: impl FnOnce(T) -> U + WasmNotSend + 'a) -> Request<'a, U> {
        let Self { start, awaited, waited_for } = self;
        Request::new([waited_for, awaited], move |wait| async move { Ok(of(start(wait).await?)) })
    }

    /// Runs the call within another one, which says how to wait.
    pub(crate) fn within(self, wait: Wait) -> Running<'a, T> {
        (self.start)(wait)
    }

    /// Runs the call to its end on this thread and polls the device meanwhile. If the context has a timeout
    /// ([`Context::with_timeout`](crate::Context::with_timeout)) and the device does not answer for that long, it gives
    /// up with [`Error::Timeout`](crate::Error::Timeout).
    ///
    /// # Errors
    /// Those of the method that returned the request.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(self) -> Result<T> {
        pollster::block_on((self.start)(self.waited_for))
    }
}

impl<'a, T> IntoFuture for Request<'a, T> {
    type Output = Result<T>;
    type IntoFuture = Running<'a, T>;

    fn into_future(self) -> Self::IntoFuture {
        (self.start)(self.awaited)
    }
}

impl<T> fmt::Debug for Request<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}
