//! Work split over threads.

use std::sync::{Mutex, PoisonError};
use std::thread;

/// Runs every job, on this thread and on others that end with the call. A thread takes the next job when it is done with
/// one. If a thread cannot be had, the others do its work.
pub(super) fn each<J: Send>(
    threads: usize,
    jobs: impl ExactSizeIterator<Item = J> + Send,
    run: impl Fn(J) + Sync,
) {
    let others = threads.min(jobs.len()).saturating_sub(1);
    let jobs = Mutex::new(jobs);
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(job) = next() {
            run(job);
        }
    };
    thread::scope(|scope| {
        for _ in 0..others {
            let named = thread::Builder::new().name("xent-cpu".to_owned());
            if named.spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
}

/// The results of `count` jobs, in their order.
pub(super) fn in_order<T: Send>(threads: usize, count: usize, run: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let mut results: Vec<Option<T>> = (0..count).map(|_| None).collect();
    each(threads, results.iter_mut().enumerate(), |(at, result)| *result = Some(run(at)));
    results.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_runs_once() {
        for threads in [0, 1, 2, 7] {
            for jobs in [0, 1, 2, 50] {
                let done = Mutex::new(Vec::new());
                each(threads, 0..jobs, |job: usize| done.lock().expect("no panic").push(job));
                let mut done = done.into_inner().expect("no panic");
                done.sort_unstable();
                assert!(done.into_iter().eq(0..jobs), "{threads} threads, {jobs} jobs");
                assert!(in_order(threads, jobs, |job| job).into_iter().eq(0..jobs));
            }
        }
    }
}
