//! wgpu's errors as values: the caller's error scopes and handlers never see ours.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};

/// Runs calls into wgpu and gives their error, if any, as ours. `what` names what is being made.
///
/// Error scopes belong to a thread, so nothing may be awaited inside. Three kinds of error need three scopes, popped
/// in reverse; natively a popped scope is ready at once. In a browser it is not, and the error then goes to the
/// browser's console.
pub(crate) fn scoped<T>(device: &wgpu::Device, what: &str, run: impl FnOnce() -> T) -> Result<T> {
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let value = run();
    let errors = [ready(internal.pop()), ready(validation.pop()), ready(memory.pop())];
    match errors.into_iter().flatten().next() {
        None => Ok(value),
        Some(error) => Err(from_wgpu(error, what)),
    }
}

fn ready(popped: impl Future<Output = Option<wgpu::Error>>) -> Option<wgpu::Error> {
    match pin!(popped).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(error) => error,
        Poll::Pending => None,
    }
}

fn from_wgpu(error: wgpu::Error, what: &str) -> Error {
    let what = what.to_owned();
    // The source says more than the error's own line.
    match error {
        wgpu::Error::OutOfMemory { source } => Error::OutOfMemory { what, message: source.to_string() },
        wgpu::Error::Validation { description, .. } => Error::Validation { what, message: description },
        wgpu::Error::Internal { description, .. } => Error::Device { what, message: description },
    }
}
