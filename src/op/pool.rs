//! What a host call leaves to the next.

use std::sync::{Arc, Mutex, PoisonError};

use crate::device::Buffers;

/// The buffers of the host call that ended last, of an operation and its copies. A call takes them for its own while it
/// runs; a second one at the same time makes its own. What a call that failed, or was given up, had is gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool(Arc<Mutex<Idle>>);

/// Buffers that nobody uses.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    /// A set for each window under way at a time.
    pub windows: Vec<Buffers>,
    /// What windows share.
    pub whole: Buffers,
}

impl Pool {
    pub fn take(&self) -> Idle {
        std::mem::take(&mut *self.idle())
    }

    pub fn put(&self, idle: Idle) {
        // What was there goes when the lock is free again.
        let _before = std::mem::replace(&mut *self.idle(), idle);
    }

    pub fn bytes(&self) -> u64 {
        self.idle().bytes()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    pub fn bytes(&self) -> u64 {
        self.windows.iter().chain([&self.whole]).map(Buffers::bytes).sum()
    }
}
