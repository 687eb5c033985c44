//! Measuring how long work takes on the device.

use std::time::Instant;

use xent::wgpu::{self, BufferUsages as Usage, Features};
use xent::{Bound, Context, Result};

use super::device::{mapped, scoped, wait};

/// The features that the GPU's clock needs: the first for passes, the second for copies as well.
pub const FEATURES: Features = Features::TIMESTAMP_QUERY.union(Features::TIMESTAMP_QUERY_INSIDE_ENCODERS);

/// Work that can be timed.
pub enum Job<'a> {
    Bound(&'a Bound),
    /// A pass that the caller records.
    Pass(&'a dyn Fn(&mut wgpu::ComputePass<'_>)),
    /// The driver's copy of `bytes` bytes.
    Copy {
        from: &'a wgpu::Buffer,
        to: &'a wgpu::Buffer,
        bytes: u64,
    },
}

/// A clock: the GPU's own timestamps if the adapter has them, else the machine's clock around a submission.
pub struct Clock {
    gpu: Context,
    timestamps: Option<Timestamps>,
}

struct Timestamps {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readback: wgpu::Buffer,
    /// Whether copies can be timed, and not only passes.
    around_copies: bool,
    ms: f64,
}

/// Two timestamps of 64 bits.
const BYTES: u64 = 16;

impl Clock {
    pub fn new(gpu: &Context) -> Result<Self> {
        let device = &gpu.device;
        let has = |features| device.features().contains(features);
        let timestamps = if has(Features::TIMESTAMP_QUERY) {
            let buffer = |label, usage| wgpu::BufferDescriptor {
                label: Some(label),
                size: BYTES,
                usage: usage | Usage::COPY_DST,
                mapped_at_creation: false,
            };
            Some(scoped(device, "timestamps", || Timestamps {
                queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("xent::timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count: 2,
                }),
                resolved: device
                    .create_buffer(&buffer("xent::timestamps", Usage::QUERY_RESOLVE | Usage::COPY_SRC)),
                readback: device.create_buffer(&buffer("xent::timestamps::readback", Usage::MAP_READ)),
                around_copies: has(Features::TIMESTAMP_QUERY_INSIDE_ENCODERS),
                ms: f64::from(gpu.queue.get_timestamp_period()) / 1e6,
            })?)
        } else {
            None
        };
        Ok(Self { gpu: gpu.clone(), timestamps })
    }

    /// The clock's name in JSON.
    pub fn name(&self) -> &'static str {
        if self.timestamps.is_some() { "gpu" } else { "wall" }
    }

    /// Whether it can time this job. Not every GPU's clock can be read outside passes.
    pub fn can_time(&self, job: &Job<'_>) -> bool {
        let copies = self.timestamps.as_ref().is_none_or(|timestamps| timestamps.around_copies);
        copies || !matches!(job, Job::Copy { .. })
    }

    /// Gives up timestamps that cannot be true, as those of some drivers. They are judged by a job that has run before: its
    /// time must be within that of the whole submission and, if that is long, a good part of it.
    pub fn doubt(&mut self, job: &Job<'_>) -> Result<()> {
        if self.timestamps.is_none() {
            return Ok(());
        }
        for _ in 0..3 {
            let (by_gpu, by_wall) = self.both(job)?;
            if by_gpu.is_some_and(|ms| ms > 0.0 && ms <= by_wall && (by_wall < 5.0 || ms > by_wall / 4.0)) {
                return Ok(());
            }
        }
        self.timestamps = None;
        Ok(())
    }

    /// The time of one run, in ms.
    pub fn ms(&self, job: &Job<'_>) -> Result<f64> {
        let (by_gpu, by_wall) = self.both(job)?;
        Ok(by_gpu.unwrap_or(by_wall))
    }

    fn both(&self, job: &Job<'_>) -> Result<(Option<f64>, f64)> {
        let device = &self.gpu.device;
        let timestamps = self.timestamps.as_ref();
        let commands = scoped(device, "a run to be timed", || {
            let mut encoder = device.create_command_encoder(&Default::default());
            match job {
                Job::Copy { from, to, bytes } => {
                    let around = timestamps.filter(|timestamps| timestamps.around_copies);
                    around.inspect(|timestamps| encoder.write_timestamp(&timestamps.queries, 0));
                    encoder.copy_buffer_to_buffer(from, 0, to, 0, *bytes);
                    around.inspect(|timestamps| encoder.write_timestamp(&timestamps.queries, 1));
                }
                Job::Bound(_) | Job::Pass(_) => {
                    let timestamp_writes = timestamps.map(|timestamps| wgpu::ComputePassTimestampWrites {
                        query_set: &timestamps.queries,
                        beginning_of_pass_write_index: Some(0),
                        end_of_pass_write_index: Some(1),
                    });
                    let mut pass = encoder
                        .begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
                    match job {
                        Job::Bound(bound) => bound.encode(&mut pass),
                        Job::Pass(record) => record(&mut pass),
                        Job::Copy { .. } => {}
                    }
                }
            }
            if let Some(Timestamps { queries, resolved, readback, .. }) = timestamps {
                encoder.resolve_query_set(queries, 0..2, resolved, 0);
                encoder.copy_buffer_to_buffer(resolved, 0, readback, 0, BYTES);
            }
            encoder.finish()
        })?;
        let start = Instant::now();
        scoped(device, "a run to be timed", || self.gpu.queue.submit([commands]))?;
        wait(device)?;
        let by_wall = start.elapsed().as_secs_f64() * 1e3;
        let Some(Timestamps { readback, ms, .. }) = timestamps else { return Ok((None, by_wall)) };
        let ticks = mapped(&self.gpu, readback)?;
        let [begin, end] = [0, 8].map(|at| bytemuck::pod_read_unaligned::<u64>(&ticks[at..at + 8]));
        Ok((Some(end.saturating_sub(begin) as f64 * ms), by_wall))
    }
}

/// The median of at least one time.
pub fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    if times.len() % 2 == 1 { times[middle] } else { f64::midpoint(times[middle - 1], times[middle]) }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[9.0, 1.0, 2.0, 4.0]), 3.0);
    }
}
