//! Ctrl-C, and other signals that would end a rank at once.

use std::sync::atomic::{AtomicBool, Ordering};

/// The status that a shell reports for a process that Ctrl-C has ended.
pub const STATUS: i32 = 130;

static STOPPED: AtomicBool = AtomicBool::new(false);

/// From here on Ctrl-C, and a polite kill such as that of `mpirun`, only ask the rank to stop: its child first leaves a
/// checkpoint.
pub fn on_signals() {
    // If no handler can be set, signals end the process as before.
    let _ = ctrlc::set_handler(|| STOPPED.store(true, Ordering::Relaxed));
}

/// Whether the rank is to stop.
pub fn is_asked_for() -> bool {
    STOPPED.load(Ordering::Relaxed)
}
