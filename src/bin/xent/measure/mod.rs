//! Operations on batches that lie on the device: their answers, and how long they take.

mod batch;
mod clock;
mod copy;

use clap::ValueEnum;
use xent::wgpu;
use xent::{Context, Error, Result};

use crate::args::AdapterArgs;
use crate::computer::choice;
use crate::limits::complain_if_tight;

pub use batch::{Batch, Bytes};
pub use clock::{Clock, Job, median};
pub use copy::Copies;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Operation {
    Copy,
    Loss,
    #[value(name = "loss+gradient")]
    LossAndGradient,
    Softmax,
    LogSoftmax,
    Logsumexp,
    Argmax,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Loss => "loss",
            Self::LossAndGradient => "loss+gradient",
            Self::Softmax => "softmax",
            Self::LogSoftmax => "log-softmax",
            Self::Logsumexp => "logsumexp",
            Self::Argmax => "argmax",
        }
    }

    /// Whether it writes a value for each logit.
    pub fn writes(self) -> bool {
        matches!(self, Self::Copy | Self::LossAndGradient | Self::Softmax | Self::LogSoftmax)
    }
}

/// The adapter that is asked for, with its clock where it has one.
pub fn open(args: &AdapterArgs) -> Result<Context> {
    complain_if_tight();
    pollster::block_on(Context::open_with(&choice(args), clock::FEATURES))
}

/// Runs calls into wgpu and gives their error, if any, as ours. `what` names what is being made.
fn scoped<T>(device: &wgpu::Device, what: &str, run: impl FnOnce() -> T) -> Result<T> {
    use wgpu::ErrorFilter as Filter;
    let scopes = [Filter::Internal, Filter::Validation, Filter::OutOfMemory]
        .map(|filter| device.push_error_scope(filter));
    let value = run();
    // The last scope pushed is the first to go.
    let errors: Vec<_> =
        scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop())).collect();
    match errors.into_iter().next() {
        None => Ok(value),
        Some(wgpu::Error::OutOfMemory { source }) => {
            Err(Error::OutOfMemory { what: what.to_owned(), message: source.to_string() })
        }
        Some(error) => Err(Error::Device { what: what.to_owned(), message: error.to_string() }),
    }
}

fn wait(device: &wgpu::Device) -> Result<()> {
    device.poll(wgpu::PollType::wait_indefinitely()).map(|_| ()).map_err(|error| Error::Device {
        what: "waiting for the device".to_owned(),
        message: error.to_string(),
    })
}
