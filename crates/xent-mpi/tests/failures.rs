//! A rank that fails ends the job, and the job can go on.

mod support;

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mpi::traits::{Communicator, CommunicatorCollectives};
use serde_json::Value;
use support::{Ended, Failure, Folder, Job, again_on, as_a_rank, ended, logits, said};

/// How long a job may take to end after a failure, by the design.
const AT_MOST: Duration = Duration::from_secs(5);

/// What a rank does, and when.
const HOW: &str = "XENT_MPI_FAILS";

#[test]
fn a_rank_that_fails_ends_the_job_with_its_message() {
    let test = "a_rank_that_fails_ends_the_job_with_its_message";
    let is_rank = as_a_rank(test, |world| -> Result<(), Failure> {
        let how = std::env::var(HOW)?;
        let (when, what) = how.split_once(' ').unwrap();
        let (rank, what) = what.split_once(' ').unwrap();
        let fail = |now: &str| -> Result<(), Failure> {
            if when != now || world.rank().to_string() != rank {
                return Ok(());
            }
            match what {
                "error" => Err(format!("no luck {now}").into()),
                "panic" => panic!("no luck {now}"),
                "thread" => {
                    let _ = thread::spawn(|| panic!("no luck in a thread")).join();
                    thread::sleep(Duration::from_secs(60));
                    Ok(())
                }
                _ => {
                    let id = rustix::process::getpid();
                    rustix::process::kill_process(id, rustix::process::Signal::KILL)?;
                    Ok(())
                }
            }
        };
        fail("before")?;
        world.barrier();
        if when == "during" && world.rank().to_string() == rank {
            // The others are in the next call now.
            thread::sleep(Duration::from_millis(300));
        }
        fail("during")?;
        let all = xent_mpi::gather_bytes(world, 0, "bytes", &[world.rank() as u8])?;
        assert!(all.is_none_or(|all| all == [[0], [1], [2]]));
        fail("after")?;
        world.barrier();
        Ok(())
    });
    if is_rank {
        return;
    }
    for (how, says) in [
        ("before 1 error", "rank 1 of 3: no luck before"),
        ("before 2 panic", "no luck before"),
        ("during 0 error", "rank 0 of 3: no luck during"),
        ("during 1 thread", "rank 1 of 3: a thread panicked"),
        ("during 2 killed", "signal 9"),
        ("after 0 panic", "rank 0 of 3: a thread panicked"),
        ("after 2 error", "rank 2 of 3: no luck after"),
        ("never 0 error", ""),
    ] {
        let mut job = again_on(test, 3);
        job.env(HOW, how);
        let job = ended(job);
        let fails = !how.starts_with("never");
        assert_eq!(job.status != Some(0), fails, "{how}: {job:#?}");
        assert!(job.took < AT_MOST, "{how}: {job:#?}");
        assert!((job.stdout.clone() + &job.stderr).contains(says), "{how}: {job:#?}");
    }
}

#[test]
fn a_part_that_fails_ends_the_job_with_its_message() {
    let folder = Folder::new();
    folder.array("logits.npy", "<f4", &[6, 3], &logits(18)).array(
        "targets.npy",
        "<i8",
        &[6],
        &[0i64, 1, 2, 0, 1, 7],
    );
    for (args, says) in [
        (
            "eval logits.npy --targets targets.npy --adapter cpu",
            "rank 0: xent: targets.npy: targets[5] = 7 is outside 0..3",
        ),
        ("eval logits.npy --targets none.npy", "none.npy"),
        ("eval logits.npy --targets targets.npy --part 1/2", "--part: each rank has its own part"),
        ("eval logits.npy --targets targets.npy --rows-out a.csv", "--rows-out a.csv: each rank writes"),
        ("eval logits.npy --targets targets.npy --tool /no/xent", "/no/xent: No such file"),
    ] {
        let job = ended(folder.job(3, args));
        assert!(job.status.is_some_and(|status| status != 0), "{args}: {job:#?}");
        assert!(job.took < AT_MOST && job.stderr.contains(says), "{args}: {job:#?}");
    }
}

/// The processes whose parent this is.
fn children_of(parent: u32) -> Vec<u32> {
    let of = |process: &u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // After the name, which may have any characters: the state, and the parent.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    all.filter(|process| of(process) == Some(parent)).collect()
}

fn kill(process: u32, signal: &str) {
    let _ = Command::new("kill").args([format!("-{signal}"), process.to_string()]).output();
}

/// Logits that take a job some time, and their targets.
fn files() -> Folder {
    const ROWS: usize = 1_500;
    let folder = Folder::new();
    folder.array("logits.npy", "<f4", &[ROWS, 800], &logits(ROWS * 800));
    let targets: Vec<i64> = (0..ROWS as i64).map(|row| row * 7 % 800).collect();
    folder.array("targets.npy", "<i8", &[ROWS], &targets);
    folder
}

/// What a job by columns said, without the times.
fn said_by_columns(job: &Ended) -> Value {
    let mut said: Value = serde_json::from_str(&job.stdout).unwrap_or_else(|_| panic!("{job:#?}"));
    said.as_object_mut().unwrap().retain(|name, _| !name.ends_with("seconds"));
    said
}

// A softcap and label smoothing go to the f64 reference, which is slow.
const BY_ROWS: &str = "eval logits.npy --targets targets.npy --adapter cpu --softcap 5 --json --windows 1MiB \
                       --checkpoint-every 0.05";
const BY_COLUMNS: &str = "eval logits.npy --targets targets.npy --adapter cpu --label-smoothing 0.1 --json \
                          --distributed vocab --window-rows 20";

#[test]
fn a_killed_job_by_rows_goes_on_to_the_same_digits() {
    let folder = files();
    let whole =
        said(&folder.xent("eval logits.npy --targets targets.npy --adapter cpu --softcap 5 --json").well());
    let length = ended(folder.job(3, BY_ROWS)).well().took;
    let went_on = |line: &str| line.contains("continuing after") || line.contains("is done");
    kill_and_resume(&folder, BY_ROWS, length, said, &whole, went_on);
}

#[test]
fn a_killed_job_by_columns_goes_on_to_the_same_digits() {
    let folder = files();
    let job = ended(folder.job(3, BY_COLUMNS)).well();
    let went_on = |line: &str| line.contains("continuing after") && !line.contains("after 0 of");
    kill_and_resume(&folder, BY_COLUMNS, job.took, said_by_columns, &said_by_columns(&job), went_on);
}

/// Kills jobs of this length somewhere, in several ways; `XENT_MPI_KILLS` is how many. Each must end soon, and say the same after
/// it has gone on.
fn kill_and_resume(
    folder: &Folder,
    job: &str,
    length: Duration,
    said: fn(&Ended) -> Value,
    whole: &Value,
    went_on: impl Fn(&str) -> bool,
) {
    let kills = std::env::var("XENT_MPI_KILLS").map_or(5, |kills| kills.parse().unwrap());
    let (mut continued, mut kept) = (0, 0);
    for round in 0..kills {
        let running = Job::start(folder.job(3, job));
        // Between two tenths of the job and its end.
        let fraction = 0.2 + 0.8 * f64::from(round * 37 % 100) / 100.0;
        thread::sleep(length.mul_f64(fraction));
        let mpirun = running.child.id();
        let ranks = children_of(mpirun);
        let rank = ranks.get(round as usize % 3).copied();
        let child = rank.and_then(|rank| children_of(rank).first().copied()).or(rank);
        let (whom, signal) = match round % 5 {
            0 => (rank, "KILL"),
            1 => (child, "KILL"),
            2 => (Some(mpirun), "INT"),
            3 => (rank, "INT"),
            _ => (child, "TERM"),
        };
        whom.into_iter().for_each(|process| kill(process, signal));
        let killed = Instant::now();
        let job_ended = running.end();
        let is_done = job_ended.status == Some(0);
        let how = format!("round {round}: {signal} at {fraction:.2} of {length:?}: {job_ended:#?}");
        assert!(killed.elapsed() < AT_MOST, "after {:?}: {how}", killed.elapsed());
        // No process of the job is left behind.
        let is_left = |process: &u32| {
            fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.starts_with("xent"))
        };
        while ranks.iter().chain(&child).any(is_left) && killed.elapsed() < AT_MOST {
            thread::sleep(Duration::from_millis(20));
        }
        assert!(!ranks.iter().chain(&child).any(is_left), "{how}");
        if is_done {
            continue;
        }
        continued += 1;
        let resumed = ended(folder.job(3, &format!("{job} --resume"))).well();
        assert_eq!(said(&resumed), *whole, "{how}\n{resumed:#?}");
        kept += resumed.stderr.lines().filter(|line| went_on(line)).count();
    }
    assert!(continued > 0, "every job was done before it was killed");
    assert!(kept > 0, "no rank went on from what it had");
    eprintln!(
        "{kills} jobs of {length:?} were killed, {continued} went on, {kept} times from what was there"
    );
}
