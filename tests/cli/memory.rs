//! `--memory`: what a run takes.

#[cfg(target_os = "linux")]
use std::fs;
#[cfg(target_os = "linux")]
use std::process::Stdio;

use crate::support::{Folder, logits};

const ROWS: usize = 12;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.logits(&logits(ROWS * 5), 5).targets(&[2; ROWS]);
    folder
}

#[test]
fn memory_is_bounded_and_said_before() {
    let folder = folder();
    let args = "eval logits.npy --targets targets.npy --memory";
    let run = folder.run(&format!("{args} 2GiB"));
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(run.complaints()[0].starts_with("xent: memory: at most 2.0 GiB, "), "{run:?}");
    let run = folder.run(&format!("{args} 1MiB"));
    let refused = run.complaints().concat();
    assert!(run.status == Some(2) && refused.starts_with("xent: --memory: 1.0 MiB: "), "{run:?}");
    for wrong in ["much", "-1", "1XB"] {
        assert_eq!(folder.run(&format!("{args} {wrong}")).status, Some(2), "{wrong}");
    }
}

/// The most that a process had resident while this was asked, in bytes, and its exit status.
#[cfg(target_os = "linux")]
fn peak(folder: &Folder, args: &str) -> (u64, Option<i32>) {
    let mut child = folder.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = resident.and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(1024 * kilobytes.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            return (peak, status.code());
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn four_gigabytes_in_a_quarter_of_one() {
    // All of it a hole: no disk is needed, and every logit is 0.
    let (rows, cols) = (20_000, 50_000);
    let folder = Folder::new();
    let file = fs::File::create(folder.path("logits.raw")).unwrap();
    file.set_len((rows * cols * 4) as u64).unwrap();
    folder.targets(&vec![7; rows]);
    let (allowed, args) =
        (256 << 20, "eval logits.raw --dtype f32 --cols 50000 --targets targets.npy --memory 256MiB");
    let (peak, status) = peak(&folder, args);
    assert_eq!(status, Some(0));
    assert!(peak > 32 << 20, "{peak} bytes: it was seen at work");
    assert!(peak <= allowed, "{peak} bytes, {allowed} allowed");
}
