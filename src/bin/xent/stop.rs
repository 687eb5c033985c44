//! Ctrl-C, and other signals that would end the process at once.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use xent::{Error, Result};

use crate::output::complain;

/// As a shell tells of a process that Ctrl-C has ended.
pub const STOPPED_STATUS: u8 = 130;

/// How long the run has to stop by itself, at its next window, before it is stopped wherever it is.
const PATIENCE: Duration = Duration::from_millis(600);
/// How long one has that is at its end.
const PATIENCE_AT_THE_END: Duration = Duration::from_millis(300);
/// How long a wait for stdin goes without a look at the signals.
#[cfg(unix)]
const LOOK_EVERY: Duration = Duration::from_millis(100);

static STOPPED: AtomicBool = AtomicBool::new(false);

/// What is to be done before a run is stopped wherever it is. Whether it was done: where not, the run is at its end.
type LastDeed = Box<dyn FnOnce() -> bool + Send>;
static LAST_DEED: Mutex<Option<LastDeed>> = Mutex::new(None);

/// From here on, Ctrl-C (and a polite kill) stops the run at its next window or, where none comes, wherever it is; a second
/// one ends the process at once. A file that becomes larger than the shell allows is an error of its write.
pub fn on_signals() {
    // Where no handler can be set, signals end the process as before.
    let _ = ctrlc::set_handler(|| {
        if STOPPED.swap(true, Ordering::Relaxed) {
            exit_now();
        }
        // This thread waits for the second signal.
        let _ = thread::Builder::new().name("xent::stop".to_owned()).spawn(stop_anywhere);
    });
    #[cfg(unix)]
    {
        // Somebody hears it: then it ends nothing.
        let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)));
    }
}

/// What is to be done before a run is stopped wherever it is, from here on.
pub fn before_stop(deed: impl FnOnce() -> bool + Send + 'static) {
    *LAST_DEED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(deed));
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

/// Ends the process without another word. Other threads may be anywhere, so nothing that is theirs is torn down.
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

/// Refuses to go on with what comes next.
///
/// # Errors
/// `Error::Stopped` where somebody has pressed Ctrl-C.
pub fn check_stopped() -> Result<()> {
    if is_stopped() { Err(Error::Stopped) } else { Ok(()) }
}

/// The name of stdin in messages.
pub const STDIN: &str = "stdin";

/// A wait for stdin that was left because of a signal is no fault of stdin.
pub fn or_stopped(error: Error) -> Error {
    match &error {
        Error::File { path, .. } if path == STDIN && is_stopped() => Error::Stopped,
        _ => error,
    }
}

/// What comes through stdin. A wait for it ends with an error where somebody has pressed Ctrl-C.
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
