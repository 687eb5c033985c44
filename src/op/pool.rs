//! Device buffers kept from the last host call for reuse.

use std::sync::{Arc, Mutex, PoisonError};

use crate::device::Buffers;

/// The buffers of the last finished host call of an operation and its clones. A call takes them while it runs; a second
/// call at the same time makes its own. The buffers of a call that failed or was dropped are freed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool(Arc<Mutex<Idle>>);

/// Buffers that are not in use.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    /// One set for each window that can be in flight at the same time.
    pub windows: Vec<Buffers>,
    /// The buffers that all windows share.
    pub whole: Buffers,
}

impl Pool {
    pub fn take(&self) -> Idle {
        std::mem::take(&mut *self.idle())
    }

    pub fn put(&self, idle: Idle) {
        // The old buffers are dropped after the lock is released.
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
