//! A shape on a device → windows and dispatches within every limit. Pure: needs no GPU, so that a test can hold it
//! to the limits for a hundred thousand shapes.

use crate::device::{Profile, TRANSFER_CHUNK};
use crate::error::{Error, Result};
use crate::shape::Shape;

/// What a kernel's speed depends on and its answer does not (beyond rounding). The plan chooses it by shape and
/// device; set it with an operation's `with_tuning`, to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuning {
    /// Invocations that share one row: a power of two, at most what the device allows a workgroup.
    pub lanes: u32,
}

/// Loop iterations that an invocation may make, all its loops together: lavapipe stops a shader after 65,535,
/// silently.
pub(crate) const MAX_ITERATIONS: u64 = 60_000;

/// Bytes of workgroup memory that one invocation's stats take.
pub(super) const LANE_BYTES: u32 = 16;

/// Values of one load, loads of one step of the first sweep, steps of one chunk: as in `shaders/common/sweep_stats.wgsl`.
const QUAD_VALUES: u64 = 4;
pub(super) const STEP_QUADS: u64 = 4;
pub(super) const CHUNK_STEPS: u64 = 64;

/// Device bytes that hold a window of a host batch's logits, and at most so many rows: enough to make the work of a
/// submission far greater than its cost, little enough to stay well under half a gigabyte in all.
const HOST_WINDOW_BYTES: u64 = 64 << 20;
const HOST_WINDOW_ROWS: usize = 1 << 20;

/// Bytes of scratch a row: its input and its result.
pub(crate) const ROW_SCRATCH_BYTES: u64 = 16;

/// The rows whose scratch fits into one binding.
fn row_scratch_limit(profile: &Profile) -> usize {
    usize::try_from(profile.max_binding_bytes / ROW_SCRATCH_BYTES)
        .unwrap_or(usize::MAX)
        .min(u32::MAX as usize / 2)
}

/// Refuses more rows than have their scratch in one binding.
pub(crate) fn check_row_scratch(profile: &Profile, rows: usize) -> Result<()> {
    let limit = row_scratch_limit(profile);
    if rows <= limit { Ok(()) } else { Err(Error::TooManyRows { rows, limit }) }
}

/// How a batch is cut.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub tuning: Tuning,
    shape: Shape,
    element_bytes: u64,
    window_rows: usize,
    max_workgroups: u32,
}

/// Some rows of a batch: as many as one binding holds, one dispatch of one workgroup a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    pub first_row: usize,
    pub rows: usize,
    pub grid: [u32; 2],
}

/// A window's place in a buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    /// The binding's offset, in bytes, aligned.
    pub offset: u64,
    /// The binding's size, in bytes.
    pub size: u64,
    /// Where the window's first row begins in the binding, in values.
    pub base: u32,
}

impl Plan {
    /// For buffers on the device: as many rows a window as a binding holds.
    pub fn resident(
        profile: &Profile,
        shape: Shape,
        element_bytes: u64,
        tuning: Option<Tuning>,
    ) -> Result<Self> {
        Self::within(profile, shape, element_bytes, tuning, (u64::MAX, usize::MAX))
    }

    /// For a host batch, which streams through buffers of one window's size.
    pub fn streamed(
        profile: &Profile,
        shape: Shape,
        element_bytes: u64,
        tuning: Option<Tuning>,
    ) -> Result<Self> {
        Self::within(profile, shape, element_bytes, tuning, (HOST_WINDOW_BYTES, HOST_WINDOW_ROWS))
    }

    /// Windows of at most so many bytes (but one row at least) and rows.
    fn within(
        profile: &Profile,
        shape: Shape,
        element_bytes: u64,
        tuning: Option<Tuning>,
        (max_bytes, max_rows): (u64, usize),
    ) -> Result<Self> {
        shape.check()?;
        let (row, stride) = (shape.cols as u64 * element_bytes, shape.row_stride as u64 * element_bytes);
        // A row may begin in the middle of an alignment unit; its binding then begins before it.
        let largest = profile.max_binding_bytes.saturating_sub(profile.offset_alignment);
        let limit = max_bytes.max(row).min(largest);
        let longest = Tuning { lanes: Tuning::most_lanes(profile) }.longest_row() * element_bytes;
        if row > limit.min(longest) {
            return Err(Error::RowTooLarge { cols: shape.cols, bytes: row, limit: limit.min(longest) });
        }
        let tuning = match tuning {
            Some(tuning) => tuning.check(profile)?,
            None => Tuning::choose(profile, &shape),
        };
        if iterations(shape.cols as u64, tuning) > MAX_ITERATIONS {
            return Err(Error::InvalidOption {
                option: "tuning.lanes",
                value: f64::from(tuning.lanes),
                needed: "larger for rows this long: a software adapter stops a shader after 65,535 iterations",
            });
        }
        let fitting = usize::try_from(1 + (limit - row) / stride).unwrap_or(usize::MAX);
        let grid_rows = usize::try_from(u64::from(profile.max_workgroups).pow(2)).unwrap_or(usize::MAX);
        let window_rows = fitting.min(max_rows).min(row_scratch_limit(profile)).min(grid_rows);
        Ok(Self { tuning, shape, element_bytes, window_rows, max_workgroups: profile.max_workgroups })
    }

    /// Rows of a window; the last may have fewer.
    pub fn window_rows(&self) -> usize {
        self.window_rows.min(self.shape.rows)
    }

    /// The windows of the first `rows` rows.
    pub fn windows(&self, rows: usize) -> impl Iterator<Item = Window> + use<> {
        let (step, max_workgroups) = (self.window_rows, self.max_workgroups);
        (0..rows).step_by(step).map(move |first_row| {
            let rows = step.min(rows - first_row);
            Window { first_row, rows, grid: grid(rows, max_workgroups) }
        })
    }

    /// The grid of one workgroup for each of so many.
    pub fn grid(&self, workgroups: usize) -> [u32; 2] {
        grid(workgroups, self.max_workgroups)
    }

    /// Where a window lies in a buffer that holds the whole batch from `offset` (bytes) on.
    pub fn place(&self, window: &Window, offset: u64, alignment: u64) -> Place {
        let start = offset + window.first_row as u64 * self.shape.row_stride as u64 * self.element_bytes;
        let aligned = start / alignment * alignment;
        Place {
            offset: aligned,
            size: start - aligned + self.window_bytes(window.rows),
            base: ((start - aligned) / self.element_bytes) as u32,
        }
    }

    /// Where a streamed window's first row begins in the window's own buffer, in values: as far from an aligned quad
    /// as in the whole batch.
    pub fn streamed_base(&self, window: &Window) -> u32 {
        ((window.first_row % 4) * (self.shape.row_stride % 4) % 4) as u32
    }

    /// Bytes of `rows` rows, without the padding behind the last.
    pub fn window_bytes(&self, rows: usize) -> u64 {
        self.shape.with_rows(rows).len() as u64 * self.element_bytes
    }

    /// Bytes of the buffer that holds a streamed window: its rows, and room before the first.
    pub fn streamed_bytes(&self) -> u64 {
        self.window_bytes(self.window_rows()) + QUAD_VALUES * self.element_bytes
    }

    /// Device bytes of a streamed batch, staging included: logits, output if there is one, and each row's target,
    /// input and result.
    pub fn buffer_bytes(&self, with_output: bool) -> u64 {
        let window = self.streamed_bytes();
        let rows = self.window_rows() as u64;
        window * (1 + u64::from(with_output)) + rows * (4 + 2 * ROW_SCRATCH_BYTES) + 2 * TRANSFER_CHUNK
    }
}

fn grid(workgroups: usize, max_workgroups: u32) -> [u32; 2] {
    let max = max_workgroups as usize;
    [workgroups.min(max) as u32, workgroups.div_ceil(max).max(1) as u32]
}

/// Loop iterations of one invocation, at most, in the pass with the most: both sweeps over a row of `cols`.
pub(super) fn iterations(cols: u64, tuning: Tuning) -> u64 {
    let lanes = u64::from(tuning.lanes);
    let edges = 2 * 3u64.div_ceil(lanes);
    let steps = cols / (QUAD_VALUES * STEP_QUADS * lanes);
    let chunks = steps.div_ceil(CHUNK_STEPS);
    let (rest, argmax, tree) = (STEP_QUADS, STEP_QUADS, u64::from(tuning.lanes.ilog2()) + 1);
    let first = edges + steps + chunks + rest + argmax + tree;
    let second = edges + cols.div_ceil(QUAD_VALUES * lanes);
    first + second
}

impl Tuning {
    /// What fits a shape on a device.
    ///
    /// On a software adapter an invocation is a SIMD lane, and a barrier suspends every one of them: one vector's
    /// worth of lanes is best (measured on lavapipe: 64 lanes take twice as long as 8). A GPU hides latency with
    /// invocations: enough that a row is a few steps for each.
    fn choose(profile: &Profile, shape: &Shape) -> Self {
        let preferred = if profile.is_software() {
            8
        } else {
            (shape.cols as u64 / (QUAD_VALUES * STEP_QUADS)).next_power_of_two().clamp(32, 256) as u32
        };
        let mut tuning = Self { lanes: preferred.min(Self::most_lanes(profile)) };
        while iterations(shape.cols as u64, tuning) > MAX_ITERATIONS
            && tuning.lanes * 2 <= Self::most_lanes(profile)
        {
            tuning.lanes *= 2;
        }
        tuning
    }

    /// The longest row whose sweeps stay within the iterations of an invocation, in values.
    fn longest_row(self) -> u64 {
        let (mut fits, mut exceeds) = (1, MAX_ITERATIONS * QUAD_VALUES * u64::from(self.lanes));
        while exceeds - fits > 1 {
            let cols = fits.midpoint(exceeds);
            if iterations(cols, self) <= MAX_ITERATIONS { fits = cols } else { exceeds = cols }
        }
        fits
    }

    /// The largest power of two that the device's workgroups hold.
    fn most_lanes(profile: &Profile) -> u32 {
        let most = profile.max_invocations.min(profile.workgroup_memory / LANE_BYTES).max(1);
        1 << most.ilog2()
    }

    fn check(self, profile: &Profile) -> Result<Self> {
        if self.lanes.is_power_of_two() && self.lanes <= Self::most_lanes(profile) {
            Ok(self)
        } else {
            Err(Error::InvalidOption {
                option: "tuning.lanes",
                value: f64::from(self.lanes),
                needed: "a power of two, at most what this device allows a workgroup",
            })
        }
    }
}
