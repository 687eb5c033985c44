//! How much memory a run takes, and how much it may take.

use bytesize::ByteSize;
use memory_stats::memory_stats;
use xent::{Error, Result};

use crate::output::bad_argument;

/// The memory that a run will still take apart from its windows: the driver compiles kernels, and files are read and
/// written in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// The reference on the CPU: nothing is compiled.
    Reference,
    /// Kernels that read logits. lavapipe, whose compiler is in the process, took 28 to 49 MiB for them.
    Reads,
    /// Kernels that write as much as they read. lavapipe takes 82 MiB.
    Writes,
}

impl Reserve {
    fn bytes(self) -> u64 {
        match self {
            Self::Reference => 12 << 20,
            Self::Reads => 64 << 20,
            Self::Writes => 128 << 20,
        }
    }
}

/// The part of the allowed memory that is left for the windows, after the driver has taken its part.
pub fn for_windows(allowed: ByteSize, reserve: Reserve) -> Result<u64> {
    // If the system does not tell, assume what the driver of a small adapter takes.
    let taken = memory_stats().map_or(128 << 20, |stats| stats.physical_mem as u64) + reserve.bytes();
    let ByteSize(allowed) = allowed;
    match allowed.checked_sub(taken).filter(|&left| left > 0) {
        Some(left) => Ok(left),
        None => Err(bad_argument(
            "--memory",
            format!(
                "{} is too little: the program and its driver take {} without any logits",
                shown(allowed),
                shown(taken)
            ),
        )),
    }
}

/// Turns the error of windows that do not fit into one that says how much memory is enough.
pub fn too_small(allowed: ByteSize, error: Error) -> Error {
    let Error::MemoryTooSmall { allowed: left, needed, cols, inner } = error else { return error };
    let enough = allowed.0.saturating_sub(left).saturating_add(needed);
    let rows = if inner == 1 { "one row".to_owned() } else { format!("{inner} rows") };
    bad_argument(
        "--memory",
        format!(
            "{} is too little: with windows of {rows} of {cols} classes, the run takes {}",
            shown(allowed.0),
            shown(enough)
        ),
    )
}

/// A size as people write it: 512.0 MiB.
pub fn shown(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// The most bytes that were resident at once, if the system tells (Linux does).
pub fn peak_resident_bytes() -> Option<u64> {
    peak(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_a_line_of_the_status() {
        let status = "Name:\txent\nVmPeak:\t  10 kB\nVmHWM:\t  163840 kB\nVmRSS:\t 5 kB\n";
        assert_eq!(peak(status), Some(160 << 20));
        assert_eq!([peak(""), peak("VmHWM:\t12\n"), peak("VmHWM:\tmuch kB\n")], [None; 3]);
        #[cfg(target_os = "linux")]
        assert!(peak_resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
