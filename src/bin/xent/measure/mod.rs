//! Operations on batches that are on the device: checking their answers and measuring their times.

mod batch;
mod bytes;
mod clock;
mod compare;
mod copy;
mod device;
mod relatives;
mod sampled;

use xent::{Context, Result};

use crate::args::AdapterArgs;
use crate::choose::is_cpu;
use crate::computer::choice;
use crate::limits::complain_if_tight;
use crate::output::bad_argument;

pub use batch::Batch;
pub use bytes::Bytes;
pub use clock::{Clock, Job, median};

/// Opens the adapter that was asked for, with its clock if it has one.
pub fn open(args: &AdapterArgs) -> Result<Context> {
    complain_if_tight();
    if is_cpu(args.name()) {
        let why = "runs no kernels: name an adapter (`xent adapters` lists them)";
        return Err(bad_argument("--adapter cpu", why));
    }
    pollster::block_on(Context::open_with(&choice(args), clock::FEATURES))
}
