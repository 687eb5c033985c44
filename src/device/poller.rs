//! A thread that waits for the device, so that the caller's threads need not.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use futures_intrusive::channel::shared::{OneshotSender, oneshot_channel};

use crate::device::scope::poll;
use crate::error::{Error, Result};

/// Waits for submissions on its own thread. The thread starts with the first submission, sleeps while there are none,
/// and ends when the last handle is dropped.
#[derive(Debug)]
pub(crate) struct Poller {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    device: wgpu::Device,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Waiting requests, in the order of their submissions.
    waiting: VecDeque<Waiting>,
    has_thread: bool,
    /// Whether the last handle is dropped.
    is_over: bool,
}

#[derive(Debug)]
struct Waiting {
    submission: wgpu::SubmissionIndex,
    done: OneshotSender<Result<()>>,
}

impl Poller {
    pub fn new(device: &wgpu::Device) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { device: device.clone(), state, changed }) }
    }

    /// Waits until the device has finished a submission.
    pub async fn wait_for(&self, submission: wgpu::SubmissionIndex) -> Result<()> {
        let (done, receiver) = oneshot_channel();
        self.push(Waiting { submission, done })?;
        let ended = || Error::Device {
            what: "waiting for the device".to_owned(),
            message: "the polling thread ended".to_owned(),
        };
        receiver.receive().await.unwrap_or_else(|| Err(ended()))
    }

    fn push(&self, waiting: Waiting) -> Result<()> {
        let mut state = self.shared.state();
        if !state.has_thread {
            let shared = self.shared.clone();
            let thread = std::thread::Builder::new().name("xent::poller".to_owned());
            thread.spawn(move || shared.run()).map_err(|error| Error::NoThread {
                what: "polling the device",
                message: error.to_string(),
            })?;
            state.has_thread = true;
        }
        state.waiting.push_back(waiting);
        self.shared.changed.notify_one();
        Ok(())
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        while let Some(Waiting { submission, done }) = self.next() {
            let until = wgpu::PollType::Wait { submission_index: Some(submission), timeout: None };
            // If the receiver was dropped, the result is no longer needed.
            let _ = done.send(poll(&self.device, until));
        }
    }

    /// The next request to wait for, or `None` when there will be no more.
    fn next(&self) -> Option<Waiting> {
        let mut state = self.state();
        loop {
            if let Some(waiting) = state.waiting.pop_front() {
                return Some(waiting);
            }
            if state.is_over {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
