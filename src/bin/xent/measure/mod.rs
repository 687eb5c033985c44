//! Operations on batches that lie on the device: their answers, and how long they take.

mod batch;
mod clock;
mod copy;
mod device;

use xent::{Context, Result};

use crate::args::AdapterArgs;
use crate::computer::choice;
use crate::limits::complain_if_tight;

pub use batch::{Batch, Bytes};
pub use clock::{Clock, Job, median};

/// The adapter that is asked for, with its clock where it has one.
pub fn open(args: &AdapterArgs) -> Result<Context> {
    complain_if_tight();
    pollster::block_on(Context::open_with(&choice(args), clock::FEATURES))
}
