//! Waiting for other ranks.

use std::thread;
use std::time::Duration;

use mpi::topology::SimpleCommunicator;
use mpi::traits::CommunicatorCollectives;
use xent_mpi::job::abort;

use crate::stop;

/// How often a rank that waits for the others looks whether they are there.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits for all ranks to come here. A barrier of MPI would keep a core busy that another rank of this host may need.
pub fn wait_for_all(world: &SimpleCommunicator) {
    let mut waiting = world.immediate_barrier();
    while let Err(still) = waiting.test() {
        if stop::is_asked_for() {
            // A request that is dropped must have ended.
            std::mem::forget(still);
            abort(stop::STATUS, "stopped while it waited for the other ranks");
        }
        waiting = still;
        thread::sleep(LOOK_EVERY);
    }
}
