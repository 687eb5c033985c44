//! Handling Ctrl-C and other signals that would end the process at once.

use std::io::Read;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use xent::eval::RowSource;
use xent::{Error, Result};

use crate::output::complain;

/// The status that a shell reports for a process that Ctrl-C has ended.
pub const STOPPED_STATUS: u8 = 130;

/// The time that the run has to stop by itself, at its next window, before it is stopped wherever it is.
const PATIENCE: Duration = Duration::from_millis(600);
/// The additional time for a run that is at its end.
const PATIENCE_AT_THE_END: Duration = Duration::from_millis(300);
/// The time between two checks for signals during a wait for stdin.
#[cfg(unix)]
const LOOK_EVERY: Duration = Duration::from_millis(100);

static STOPPED: AtomicBool = AtomicBool::new(false);

/// The last thing to do before a run is stopped wherever it is. It returns whether it was done; if not, the run is at its
/// end.
type LastDeed = Box<dyn FnOnce() -> bool + Send>;
static LAST_DEED: Mutex<Option<LastDeed>> = Mutex::new(None);

/// From here on, Ctrl-C (and a polite kill) stops the run at its next window or, if none comes, wherever it is; a
/// second one ends the process at once. A file that grows beyond the shell's limit becomes an error of the write.
pub fn on_signals() {
    // If no handler can be set, signals end the process as before.
    let _ = ctrlc::set_handler(|| {
        if STOPPED.swap(true, Ordering::Relaxed) {
            exit_now();
        }
        // This thread waits for the second signal.
        let _ = thread::Builder::new().name("xent::stop".to_owned()).spawn(stop_anywhere);
    });
    #[cfg(unix)]
    {
        // A signal that has a handler does not end the process.
        let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)));
    }
}

/// Sets what to do before a run is stopped wherever it is.
pub fn before_stop(deed: impl FnOnce() -> bool + Send + 'static) {
    *LAST_DEED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(deed));
}

/// A source that ends when somebody has pressed Ctrl-C. It needs this because all of it is read before the first window.
pub struct UntilStopped<S>(pub S);

impl<T, S: RowSource<T>> RowSource<T> for UntilStopped<S> {
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn read_rows(&mut self, rows: Range<usize>, used: &[bool], into: &mut [T]) -> Result<()> {
        check_stopped()?;
        self.0.read_rows(rows, used, into)
    }
}

fn stop_anywhere() {
    thread::sleep(PATIENCE);
    let deed = LAST_DEED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if deed.is_some_and(|deed| !deed()) {
        thread::sleep(PATIENCE_AT_THE_END);
    }
    complain(Error::Stopped.to_string());
    exit_now();
}

/// Ends the process without a message. Other threads may be in the middle of anything, so nothing of theirs is torn down.
fn exit_now() -> ! {
    let status = i32::from(STOPPED_STATUS);
    #[cfg(unix)]
    signal_hook::low_level::exit(status);
    #[cfg(not(unix))]
    std::process::exit(status)
}

fn is_stopped() -> bool {
    STOPPED.load(Ordering::Relaxed)
}

/// Returns an error if the run was stopped.
///
/// # Errors
/// `Error::Stopped` if somebody has pressed Ctrl-C.
pub fn check_stopped() -> Result<()> {
    if is_stopped() { Err(Error::Stopped) } else { Ok(()) }
}

/// The name of stdin in messages.
pub const STDIN: &str = "stdin";

/// Turns an error of stdin into `Error::Stopped` if a signal caused it.
pub fn or_stopped(error: Error) -> Error {
    match &error {
        Error::File { path, .. } if path == STDIN && is_stopped() => Error::Stopped,
        _ => error,
    }
}

/// A reader of stdin. A wait for input ends with an error if somebody has pressed Ctrl-C.
#[cfg(unix)]
pub fn stdin() -> Result<impl Read + Send + 'static> {
    use std::os::fd::AsFd;

    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let stdin = stdin.map_err(|error| Error::File { path: STDIN.to_owned(), message: error.to_string() })?;
    Ok(Patient { stdin: stdin.into() })
}

#[cfg(not(unix))]
pub fn stdin() -> Result<impl Read + Send + 'static> {
    Ok(std::io::stdin())
}

#[cfg(unix)]
struct Patient {
    stdin: std::fs::File,
}

#[cfg(unix)]
impl Read for Patient {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        use rustix::io::Errno;

        let look_every = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK_EVERY.subsec_nanos()) as _ };
        loop {
            if is_stopped() {
                return Err(std::io::Error::other("stopped"));
            }
            match poll(&mut [PollFd::new(&self.stdin, PollFlags::IN)], Some(&look_every)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return self.stdin.read(into),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
