//! Jobs of MPI, and files for them.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::error::Error;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mpi::topology::SimpleCommunicator;
use serde_json::Value;
use tempfile::TempDir;

pub type Failure = Box<dyn Error + Send + Sync>;

/// Says to a process that it is a rank, and of which test.
const OF_TEST: &str = "XENT_MPI_TEST";

/// `mpirun` on so many ranks, whatever the number of cores. A job that hangs ends after two minutes.
pub fn mpirun(ranks: usize) -> Command {
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["--oversubscribe", "--timeout", "120", "-n", &ranks.to_string()]);
    // Open MPI wants to be told that it may run as root.
    mpirun.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    mpirun.env_remove("XENT_ADAPTER").stdin(Stdio::null());
    mpirun
}

/// What a job left.
#[derive(Debug)]
pub struct Ended {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ended {
    #[track_caller]
    pub fn well(self) -> Self {
        assert!(self.status == Some(0), "{self:#?}");
        self
    }
}

/// A job that runs, whose outputs are read.
pub struct Job {
    pub child: Child,
    start: Instant,
    outputs: [thread::JoinHandle<String>; 2],
}

impl Job {
    pub fn start(mut command: Command) -> Self {
        let start = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("mpirun starts");
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let outputs = [reader(stdout), reader(stderr)];
        Self { child, start, outputs }
    }

    pub fn end(mut self) -> Ended {
        let status = self.child.wait().unwrap().code();
        let took = self.start.elapsed();
        let [stdout, stderr] = self.outputs.map(|output| output.join().unwrap());
        Ended { status, stdout, stderr, took }
    }
}

fn reader(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    })
}

pub fn ended(command: Command) -> Ended {
    Job::start(command).end()
}

/// Whether this process is a rank of this test.
fn is_rank_of(test: &str) -> bool {
    std::env::var(OF_TEST).is_ok_and(|name| name == test)
}

/// The same test once more, on so many ranks.
pub fn again_on(test: &str, ranks: usize) -> Command {
    let mut command = mpirun(ranks);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads", "1"]).env(OF_TEST, test);
    command
}

/// Runs the body of a test on jobs of these numbers of ranks. `test` is its name.
pub fn on_ranks(test: &str, counts: &[usize], body: impl FnOnce(&SimpleCommunicator) -> Result<(), Failure>) {
    if is_rank_of(test) {
        return xent_mpi::run(body);
    }
    for &ranks in counts {
        ended(again_on(test, ranks)).well();
    }
}

/// Runs this body as a rank of a job that a test started by [`again_on`]; does nothing elsewhere.
pub fn as_a_rank(test: &str, body: impl FnOnce(&SimpleCommunicator) -> Result<(), Failure>) -> bool {
    let is_rank = is_rank_of(test);
    if is_rank {
        xent_mpi::run(body);
    }
    is_rank
}

/// The tool `xent`.
pub fn tool() -> PathBuf {
    let beside = || Path::new(env!("CARGO_BIN_EXE_xent-mpi")).with_file_name("xent");
    let tool = std::env::var_os("XENT_TOOL").map_or_else(beside, PathBuf::from);
    assert!(tool.is_file(), "{}: build the tool, or name it by XENT_TOOL (`make mpi` does)", tool.display());
    tool
}

/// A folder in which jobs run.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// An array in a `.npy` file.
    pub fn array<T: bytemuck::Pod>(&self, name: &str, descr: &str, dims: &[usize], values: &[T]) -> &Self {
        assert_eq!(dims.iter().product::<usize>(), values.len());
        let dims: String = dims.iter().map(|len| format!("{len}, ")).collect();
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
        header += &" ".repeat(63 - (header.len() + 10) % 64);
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(bytemuck::cast_slice::<T, u8>(values));
        std::fs::write(self.path(name), bytes).unwrap();
        self
    }

    /// The names of all files that begin with this.
    pub fn names(&self, start: &str) -> Vec<String> {
        let names = std::fs::read_dir(self.0.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(start)).collect()
    }

    /// The tool with these arguments, separated by spaces.
    pub fn xent(&self, args: &str) -> Ended {
        let mut command = Command::new(tool());
        command.args(args.split_whitespace()).current_dir(self.0.path()).env_remove("XENT_ADAPTER");
        ended(command)
    }

    /// A job of the program with these arguments.
    pub fn job(&self, ranks: usize, args: &str) -> Command {
        let mut command = mpirun(ranks);
        command.arg(env!("CARGO_BIN_EXE_xent-mpi")).args(args.split_whitespace());
        command.current_dir(self.0.path()).env("XENT_TOOL", tool());
        command
    }
}

/// What a run said, without the times and how it was called.
#[track_caller]
pub fn said(run: &Ended) -> Value {
    let mut said: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:#?}"));
    for name in ["seconds", "logits_per_second", "peak_memory_bytes", "command", "date"] {
        assert!(said.get(name).is_some(), "{name}: {said}");
        said[name] = Value::Null;
    }
    said
}

/// Pseudo-random logits.
pub fn logits(len: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..len).map(|_| 8.0 * next() - 4.0).collect()
}
