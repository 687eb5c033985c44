//! Asks every contestant for every operation on every shape: first for the right answer, then for times, in turns.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::data::{Answers, Batch, Operation, SHAPES};
use crate::error::Result;
use crate::record::{Cell, Column, Line, Record};

/// A contestant that takes part.
struct Entry {
    title: &'static str,
    /// The name under which this program serves it; `None` for the Python script.
    serve: Option<&'static str>,
    variables: &'static [(&'static str, &'static str)],
    /// Whether it must run on the same adapter as xent.
    on_adapter: bool,
    /// What the record says about it.
    remark: &'static str,
}

const ENTRIES: [Entry; 10] = [
    Entry {
        title: "xent",
        serve: Some("xent"),
        variables: &[],
        on_adapter: true,
        remark: "logits on the device, results left there; from encoding to the end of the device's work",
    },
    Entry {
        title: "xent, host slices",
        serve: Some("xent-host"),
        variables: &[],
        on_adapter: true,
        remark: "logits and results in the host's memory, with both transfers",
    },
    Entry {
        title: "xent, processor",
        serve: Some("xent-cpu"),
        variables: &[],
        on_adapter: false,
        remark: "`cpu::Processor`: in memory, into buffers that exist already, on all threads",
    },
    Entry {
        title: "burn-wgpu 0.22",
        serve: Some("burn"),
        variables: &[],
        on_adapter: true,
        remark: "logits on the device, results left there; until `sync` returns",
    },
    Entry {
        title: "burn-wgpu 0.20",
        serve: Some("burn-0.20"),
        variables: &[],
        on_adapter: true,
        remark: "logits on the device, results left there; until `sync` returns",
    },
    Entry {
        title: "burn-wgpu 0.20, no fusion",
        serve: Some("burn-0.20-unfused"),
        variables: &[],
        on_adapter: true,
        remark: "the same, with a separate kernel for each operation",
    },
    Entry { title: "candle", serve: Some("candle"), variables: &[], on_adapter: false, remark: "in memory" },
    Entry {
        title: "Rust SIMD",
        serve: Some("simd"),
        variables: &[],
        on_adapter: false,
        remark: "in memory, into buffers that exist already",
    },
    Entry {
        title: "PyTorch",
        serve: None,
        variables: &[],
        on_adapter: false,
        remark: "in memory, by default: glibc maps the memory of large results again for every call",
    },
    Entry {
        title: "PyTorch, memory kept",
        serve: None,
        // glibc's allocator: no separate mappings, and up to 16 GiB stay free before any goes back to the system.
        variables: &[("MALLOC_MMAP_MAX_", "0"), ("MALLOC_TRIM_THRESHOLD_", "17179869184")],
        on_adapter: false,
        remark: "the same with `MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184`: glibc reuses what was freed",
    },
];

/// The turns that a contestant takes per operation, and so the minimum number of its timed runs.
const TURNS: usize = 7;

/// The turns of a contestant that needs more than half a second.
const FEW_TURNS: usize = 3;

/// A contestant that has not answered by then is stopped and not asked again.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs everything and writes the record.
pub fn run() -> Result<()> {
    let gpu = xent::AdapterChoice { name: std::env::var("XENT_ADAPTER").ok(), ..Default::default() };
    let adapter = xent::Context::open(&gpu).wait()?.profile()?;
    let mut record = Record::begin(&adapter, TURNS);
    let mut contestants: Vec<Contestant> =
        ENTRIES.iter().map(|entry| Contestant::new(entry, &adapter.name)).collect();
    let folder = tempfile::tempdir()?;
    for (rows, cols) in SHAPES {
        let batch = Batch::new(rows, cols);
        batch.write(folder.path())?;
        let answers = Answers::of(&batch)?;
        drop(batch);
        for contestant in &mut contestants {
            contestant.load(folder.path(), rows, cols);
        }
        for operation in Operation::ALL {
            let cells = race(&mut contestants, operation, &answers);
            let line = Line { operation, rows, cols, cells };
            println!("{}", line.told(ENTRIES.iter().map(|entry| entry.title)));
            record.lines.push(line);
        }
    }
    record.columns = contestants.into_iter().map(Contestant::column).collect();
    println!("written: {}", record.write()?.display());
    Ok(())
}

/// One operation on one shape: a cell for each contestant.
fn race(contestants: &mut [Contestant], operation: Operation, answers: &Answers) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut schedules = Vec::new();
    for contestant in contestants.iter_mut() {
        let first = contestant.check(operation, answers);
        let first = first.and_then(|()| contestant.time(operation, 0, 1).map_err(Cell::Failed));
        schedules.push(first.as_ref().ok().map(|seconds| Schedule::of(seconds[0])));
        cells.push(first.map_or_else(|cell| cell, |_| Cell::Times(Vec::new())));
    }
    for turn in 0..TURNS {
        for ((contestant, cell), schedule) in contestants.iter_mut().zip(&mut cells).zip(&schedules) {
            let (Cell::Times(times), Some(schedule)) = (&mut *cell, schedule) else { continue };
            if turn < schedule.turns {
                match contestant.time(operation, schedule.untimed, schedule.timed) {
                    Ok(more) => times.extend(more),
                    Err(why) => *cell = Cell::Failed(why),
                }
            }
        }
    }
    // Check once more, because a contestant that tunes itself may have changed its kernel on the way.
    for (contestant, cell) in contestants.iter_mut().zip(&mut cells) {
        if matches!(cell, Cell::Times(_))
            && let Err(wrong) = contestant.check(operation, answers)
        {
            *cell = wrong;
        }
    }
    cells
}

/// How often a contestant runs, depending on its time.
struct Schedule {
    turns: usize,
    /// Untimed runs at the start of each turn, because the others have used the caches since the last turn.
    untimed: usize,
    timed: usize,
}

impl Schedule {
    fn of(seconds: f64) -> Self {
        match seconds {
            ..0.03 => Self { turns: TURNS, untimed: 1, timed: 3 },
            ..0.15 => Self { turns: TURNS, untimed: 1, timed: 1 },
            ..0.5 => Self { turns: TURNS, untimed: 0, timed: 1 },
            _ => Self { turns: FEW_TURNS, untimed: 0, timed: 1 },
        }
    }
}

struct Contestant {
    entry: &'static Entry,
    adapter: String,
    /// What it said about itself.
    about: Option<String>,
    child: Option<Conversation>,
    /// Why it is not asked for this shape.
    out: Option<String>,
    /// Whether it is never to be asked again.
    gone: bool,
}

impl Contestant {
    fn new(entry: &'static Entry, adapter: &str) -> Self {
        Self { entry, adapter: adapter.to_owned(), about: None, child: None, out: None, gone: false }
    }

    fn column(self) -> Column {
        let Entry { title, remark, .. } = self.entry;
        // A contestant that never said what it is did not take part at all.
        let about = self.about.ok_or_else(|| self.out.unwrap_or_default());
        Column { title, remark, about }
    }

    /// Gives it the batch; starts it if it does not run, and asks what it is.
    fn load(&mut self, folder: &Path, rows: usize, cols: usize) {
        if self.gone {
            return;
        }
        self.out = None;
        let line = format!("load\t{}\t{rows}\t{cols}", folder.display());
        let loaded = self.start().and_then(|()| self.ask(&line, "loaded"));
        if let Err(why) = loaded {
            self.out = Some(why);
        }
    }

    fn start(&mut self) -> std::result::Result<(), String> {
        if self.child.is_some() {
            return Ok(());
        }
        let mut child = Conversation::begin(self.entry).map_err(|error| error.to_string())?;
        let about = child.answer("ready");
        if let Ok(about) = &about
            && self.entry.on_adapter
            && !about.contains(&self.adapter)
        {
            self.gone = true;
            return Err(format!("on another adapter: {about}"));
        }
        match about {
            Ok(about) => (self.about, self.child) = (Some(about), Some(child)),
            Err((why, _)) => {
                self.gone = true;
                println!("{} does not take part: {why}", self.entry.title);
                return Err(why);
            }
        }
        Ok(())
    }

    fn ask(&mut self, line: &str, expected: &str) -> std::result::Result<String, String> {
        if let Some(why) = &self.out {
            return Err(why.clone());
        }
        let child = self.child.as_mut().ok_or("not running")?;
        child.say(line);
        child.answer(expected).map_err(|(why, end)| {
            if end != End::No {
                self.child = None;
                self.out = Some(why.clone());
                self.gone = end == End::Stopped;
            }
            why
        })
    }

    /// Runs an operation, and compares its answer with the reference's.
    fn check(&mut self, operation: Operation, answers: &Answers) -> std::result::Result<(), Cell> {
        let values = self.ask(&format!("check\t{}", operation.name()), "values");
        let values = values.and_then(|values| numbers(&values)).map_err(Cell::of)?;
        match answers.verdict(operation, &values) {
            Some(what) => Err(Cell::Wrong(what)),
            None => Ok(()),
        }
    }

    fn time(
        &mut self,
        operation: Operation,
        untimed: usize,
        timed: usize,
    ) -> std::result::Result<Vec<f64>, String> {
        let line = format!("time\t{}\t{untimed}\t{timed}", operation.name());
        let times = numbers(&self.ask(&line, "times")?)?;
        if times.len() != timed {
            return Err(format!("{} times, but {timed} were asked for", times.len()));
        }
        Ok(times)
    }
}

fn numbers(list: &str) -> std::result::Result<Vec<f64>, String> {
    let parsed =
        list.split_whitespace().map(|word| word.parse().map_err(|_| format!("not a number: {word}")));
    parsed.collect()
}

/// A child and its two pipes.
struct Conversation {
    child: Child,
    questions: ChildStdin,
    answers: Receiver<String>,
}

/// What a failure did to a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    No,
    /// The child is gone; another may do better.
    Died,
    /// It was stopped because it did not answer.
    Stopped,
}

impl Conversation {
    fn begin(entry: &Entry) -> Result<Self> {
        let mut command = match entry.serve {
            Some(name) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["serve", name]);
                command
            }
            None => {
                let python = std::env::var("XENT_PEERS_PYTHON").unwrap_or_else(|_| "python3".into());
                let mut command = Command::new(python);
                command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/torch_peer.py"));
                command
            }
        };
        command.envs(entry.variables.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (Some(questions), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".into());
        };
        let (sender, answers) = channel();
        // The thread ends with the child's output, or when the receiver is gone.
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(std::io::Result::ok);
            for line in lines {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, questions, answers })
    }

    fn say(&mut self, line: &str) {
        // If the child is gone, there is no answer either, and that is reported.
        let _ = writeln!(self.questions, "{line}");
    }

    /// The rest of the next line that begins with `expected`, or with `failed`; other lines are a library's chatter.
    fn answer(&mut self, expected: &str) -> std::result::Result<String, (String, End)> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        loop {
            match self.answers.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
                    if word == expected {
                        return Ok(rest.to_owned());
                    } else if word == "failed" {
                        return Err((rest.to_owned(), End::No));
                    }
                }
                Err(Timeout) => return Err((format!("no answer within {PATIENCE:?}"), End::Stopped)),
                Err(Disconnected) => {
                    let status = self.child.wait().map_or_else(|error| error.to_string(), |s| s.to_string());
                    return Err((format!("it ended: {status}"), End::Died));
                }
            }
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // The child keeps nothing, so there is no reason to wait until it reads that its input has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
