//! Turns wgpu's errors into values. The caller's error scopes and handlers never see them.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};

/// Runs calls into wgpu and converts their error, if any, into ours. `what` names what is being made.
pub(crate) fn scoped<T>(device: &wgpu::Device, what: &str, run: impl FnOnce() -> T) -> Result<T> {
    match watched(device, run) {
        (value, None) => Ok(value),
        (_, Some(error)) => Err(told(device, from_wgpu(error, what))),
    }
}

/// Runs calls into wgpu and returns the first error that they report.
///
/// Error scopes belong to a thread, so nothing may be awaited inside. Three kinds of error need three scopes, popped
/// in reverse order. Natively a popped scope is ready at once. In a browser it is not, and the error then goes to the
/// browser's console.
fn watched<T>(device: &wgpu::Device, run: impl FnOnce() -> T) -> (T, Option<wgpu::Error>) {
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let value = run();
    let errors = [ready(internal.pop()), ready(validation.pop()), ready(memory.pop())];
    (value, errors.into_iter().flatten().next())
}

/// Turns an error into `DeviceLost` if a lost device is its cause. wgpu reports the loss to a handler, which belongs to
/// the caller. We notice it only because new objects are made without an error and do not work.
pub(crate) fn told(device: &wgpu::Device, error: Error) -> Error {
    match error {
        Error::Validation { what, message } | Error::Device { what, message } if is_lost(device) => {
            // The last line is the cause of the others.
            let message =
                message.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned();
            Error::DeviceLost { what, message }
        }
        error => error,
    }
}

/// Whether a device is lost. On a lost device, a new buffer has no memory, and there is no error.
fn is_lost(device: &wgpu::Device) -> bool {
    let (is_mapped, error) = watched(device, || {
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("xent::is_lost"),
            size: 16,
            usage: wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        });
        buffer.slice(..).get_mapped_range_mut().is_ok()
    });
    !is_mapped && error.is_none()
}

/// Polls the device once, or waits for it. wgpu panics if the driver loses the device meanwhile; that is turned into an
/// error too (the process's panic hook still prints its message).
pub(crate) fn poll(device: &wgpu::Device, until: wgpu::PollType) -> Result<()> {
    const WHAT: &str = "waiting for the device";
    let message = match unpanicked(|| device.poll(until.clone())) {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(wgpu::PollError::Timeout)) => {
            let wgpu::PollType::Wait { timeout, .. } = until else { return Ok(()) };
            return Err(Error::Timeout { after: timeout.unwrap_or_default() });
        }
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic,
    };
    Err(told(device, Error::Device { what: WHAT.to_owned(), message }))
}

/// Runs a call into wgpu that may panic, and returns the panic's message.
pub(crate) fn unpanicked<T>(run: impl FnOnce() -> T) -> std::result::Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("wgpu panicked").to_owned()
    })
}

fn ready(popped: impl Future<Output = Option<wgpu::Error>>) -> Option<wgpu::Error> {
    match pin!(popped).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(error) => error,
        Poll::Pending => None,
    }
}

fn from_wgpu(error: wgpu::Error, what: &str) -> Error {
    let what = what.to_owned();
    // The source has more detail than the error's own line.
    match error {
        wgpu::Error::OutOfMemory { source } => Error::OutOfMemory { what, message: source.to_string() },
        wgpu::Error::Validation { description, .. } if names_two_devices(&description) => Error::OtherDevice,
        wgpu::Error::Validation { description, .. } => Error::Validation { what, message: description },
        wgpu::Error::Internal { description, .. } => Error::Device { what, message: description },
    }
}

/// Whether wgpu says that an object belongs to a different device than the one it is used with.
fn names_two_devices(description: &str) -> bool {
    description.contains("doesn't match Device with")
}
