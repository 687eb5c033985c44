//! Copies between slices and mapped memory. A single processor core seldom uses all of the memory's bandwidth, so
//! several threads share large copies (on an AMD EPYC, two threads copied 64 MiB in 0.6 of the time of one).

use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{Builder, available_parallelism, scope};

use wgpu::WriteOnly;

/// Bytes that a thread copies at a time.
const PART_BYTES: usize = 1 << 20;
/// Copies below this size use one thread.
const SHARED_BYTES: usize = 4 << 20;
/// Memory is the bottleneck, and a few threads use its full bandwidth.
const MOST_THREADS: usize = 4;

/// Lines of bytes. All lines have the same length, but the last may be shorter. They start `pitch` bytes apart in the
/// source and `stride` bytes apart in the destination; neither is less than the length.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a> {
    pub bytes: &'a [u8],
    pub len: usize,
    pub pitch: usize,
    pub stride: usize,
}

impl<'a> Lines<'a> {
    /// A single run of bytes without gaps.
    pub fn whole(bytes: &'a [u8]) -> Self {
        Self { bytes, len: PART_BYTES, pitch: PART_BYTES, stride: PART_BYTES }
    }

    /// Bytes that the lines take in the destination. There is no gap after the last line.
    pub fn len_out(&self) -> usize {
        let before = self.bytes.len().div_ceil(self.pitch).saturating_sub(1);
        before * self.stride + self.len.min(self.bytes.len() - before * self.pitch)
    }

    /// Copies the lines, with zeros between them and after the last.
    pub fn copy(self, into: WriteOnly<'_, [u8]>) {
        // wgpu needs parts of a constant size to pass them to other threads.
        let (parts, rest) = into.into_chunks::<PART_BYTES>();
        let from = parts.len() * PART_BYTES;
        let parts: Vec<_> = parts.into_iter().enumerate().collect();
        in_parts(from, parts.into_iter(), |(at, part)| self.copy_part(at * PART_BYTES, part.into()));
        self.copy_part(from, rest);
    }

    /// Copies the part of the destination that starts at `at`.
    fn copy_part(self, mut at: usize, mut into: WriteOnly<'_, [u8]>) {
        while !into.is_empty() {
            let (line, column) = (at / self.stride, at % self.stride);
            let line = self.bytes.get(line * self.pitch..).unwrap_or_default();
            let line = line[..line.len().min(self.len)].get(column..).unwrap_or_default();
            let copied = line.len().min(into.len());
            let next = (self.stride - column).min(into.len());
            into.slice(..copied).copy_from_slice(&line[..copied]);
            into.slice(copied..next).fill(0);
            into = into.into_slice(next..);
            at += next;
        }
    }
}

/// Copies lines of values from one slice into another, several lines at a time, on several threads if the slices are
/// large.
pub(crate) fn copy_parts<A: Sync, B: Send>(
    (from, pitch): (&[A], usize),
    (into, stride): (&mut [B], usize),
    copy: impl Fn(&[A], &mut [B]) + Sync,
) {
    let lines = (PART_BYTES / (pitch * size_of::<A>()).max(stride * size_of::<B>())).max(1);
    let bytes = size_of_val(into);
    let parts = from.chunks(lines * pitch).zip(into.chunks_mut(lines * stride));
    in_parts(bytes, parts, |(from, into)| copy(from, into));
}

/// Runs a job on each part of a copy of `bytes` bytes, on several threads if it is large enough. Each thread takes the
/// next part when it has finished one.
fn in_parts<P>(bytes: usize, parts: impl Iterator<Item = P> + Send, job: impl Fn(P) + Sync) {
    let parts = Mutex::new(parts);
    let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(part) = next() {
            job(part);
        }
    };
    if bytes < SHARED_BYTES {
        return work();
    }
    scope(|scope| {
        for _ in 1..processors().min(MOST_THREADS) {
            // If no thread can be started, the existing threads do its share.
            let _ = Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
}

/// The number of processors. It is cached, because the system takes time to find it.
fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| available_parallelism().map_or(1, Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(lines: Lines<'_>, room: usize) -> Vec<u8> {
        let mut out = vec![255; room];
        lines.copy(WriteOnly::from_mut(&mut out[..]));
        out
    }

    #[test]
    fn every_byte_is_copied_once_and_gaps_are_zero() {
        for len in [0, 1, 7, PART_BYTES - 1, PART_BYTES, SHARED_BYTES, SHARED_BYTES + PART_BYTES / 2 + 3] {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8 + 1).collect();
            let lines = Lines::whole(&bytes);
            assert_eq!(lines.len_out(), len);
            for behind in [0, 3] {
                let out = copied(lines, len + behind);
                assert!(out[..len] == bytes, "{len}");
                assert!(out[len..].iter().all(|&byte| byte == 0), "{len}");
            }
        }
    }

    #[test]
    fn lines_are_moved_apart_and_together() {
        for (count, len, pitch, stride) in [
            (1, 6, 6, 8),
            (3, 6, 6, 8),
            (3, 6, 10, 8),
            (3, 6, 10, 6),
            (700_000, 6, 7, 8),
            (3, 2 << 20, 2 << 20, (2 << 20) + 2),
        ] {
            // The last line may come with its gap or without.
            for gap in [0, pitch - len] {
                let bytes: Vec<u8> =
                    (0..(count - 1) * pitch + len + gap).map(|i| (i % 251) as u8 + 1).collect();
                let lines = Lines { bytes: &bytes, len, pitch, stride };
                assert_eq!(lines.len_out(), (count - 1) * stride + len);
                let mut expected = vec![0; lines.len_out() + 2];
                for i in 0..count {
                    expected[i * stride..][..len].copy_from_slice(&bytes[i * pitch..][..len]);
                }
                assert!(
                    copied(lines, lines.len_out() + 2) == expected,
                    "{count} {len} {pitch} {stride} {gap}"
                );
            }
        }
    }
}
