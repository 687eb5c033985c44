//! Operations on batches that are on the device: checking their answers and measuring their times.

mod batch;
mod bytes;
mod clock;
mod compare;
mod copy;
mod device;
mod sampled;

use xent::{Context, Result};

use crate::args::AdapterArgs;
use crate::computer::choice;
use crate::limits::complain_if_tight;

pub use batch::Batch;
pub use bytes::Bytes;
pub use clock::{Clock, Job, median};

/// Opens the adapter that was asked for, with its clock if it has one.
pub fn open(args: &AdapterArgs) -> Result<Context> {
    complain_if_tight();
    pollster::block_on(Context::open_with(&choice(args), clock::FEATURES))
}
