//! A shape on a device → windows and dispatches within every limit. Pure: needs no GPU, so that a test can hold it
//! to the limits for a hundred thousand shapes.

use crate::device::{Profile, TRANSFER_CHUNK};
use crate::error::{Error, Result};
use crate::shape::Shape;

/// What a kernel's speed depends on and its answer does not (beyond rounding). The plan chooses it by shape and
/// device; set it with an operation's `with_tuning`, to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuning {
    /// Invocations of a workgroup, which share one row, or neighbouring rows where rows lie side by side: a power of two,
    /// at most what the device allows a workgroup.
    pub lanes: u32,
}

/// Loop iterations that an invocation may make, all its loops together: lavapipe stops a shader after 65,535,
/// silently.
pub(crate) const MAX_ITERATIONS: u64 = 60_000;

/// Bytes of workgroup memory that one invocation's stats take, and what a workgroup takes beside them.
pub(super) const LANE_BYTES: u32 = 28;
pub(super) const SAVED_BYTES: u32 = 8 * crate::targets::MAX_SPARSE_ENTRIES as u32;
/// The same for the stats of a row in two batches, with nothing beside them.
pub(super) const PAIR_LANE_BYTES: u32 = 32;

/// Values of one load, loads of one step of the first sweep, steps of one chunk: as in `shaders/common/sweep_stats.wgsl`.
const QUAD_VALUES: u64 = 4;
pub(super) const STEP_QUADS: u64 = 4;
pub(super) const CHUNK_STEPS: u64 = 64;

/// Device bytes that hold a window of a host batch's logits, and at most so many rows: enough to make the work of a
/// submission far greater than its cost, little enough to stay well under half a gigabyte in all.
const HOST_WINDOW_BYTES: u64 = 64 << 20;
const HOST_WINDOW_ROWS: usize = 1 << 20;

/// Bytes of scratch a row: of its input, and of its result.
pub(crate) const ROW_SCRATCH_BYTES: u64 = 16;
/// Records before the first row's input: `INPUT_HEAD` in `shaders/common/row_input.wgsl`.
pub(crate) const INPUT_HEAD: usize = 2;

/// The rows whose scratch fits into one binding.
fn row_scratch_limit(profile: &Profile) -> usize {
    usize::try_from(profile.max_binding_bytes / ROW_SCRATCH_BYTES)
        .unwrap_or(usize::MAX)
        .min(u32::MAX as usize / 2)
        .saturating_sub(INPUT_HEAD)
}

/// Refuses more rows than have their scratch in one binding.
pub(crate) fn check_row_scratch(profile: &Profile, rows: usize) -> Result<()> {
    let limit = row_scratch_limit(profile);
    if rows <= limit { Ok(()) } else { Err(Error::TooManyRows { rows, limit }) }
}

/// What is to be cut: a shape, the bytes of its values, and how much is done for a row beside sweeping it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Work {
    pub shape: Shape,
    /// Bytes of a logit.
    pub element_bytes: u64,
    /// Bytes of the widest value that is laid out like the logits: output, soft targets.
    pub widest_bytes: u64,
    /// Entries of a row's sparse target, or 0.
    pub entries: usize,
    pub tuning: Option<Tuning>,
}

/// How the invocations of a workgroup share its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seats {
    /// Invocations that share one row.
    pub lanes: u32,
    /// Rows of a workgroup.
    pub rows: u32,
}

/// How a batch is cut.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub seats: Seats,
    work: Work,
    window_rows: usize,
    max_workgroups: u32,
}

/// Some rows of a batch: as many as one binding holds, in one dispatch.
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
    pub fn resident(profile: &Profile, work: Work) -> Result<Self> {
        Self::within(profile, work, (u64::MAX, usize::MAX))
    }

    /// For a host batch, which streams through buffers of one window's size.
    pub fn streamed(profile: &Profile, work: Work) -> Result<Self> {
        Self::within(profile, work, (HOST_WINDOW_BYTES, HOST_WINDOW_ROWS))
    }

    /// Windows of at most so many bytes (but one group of rows side by side at least) and rows.
    fn within(profile: &Profile, work: Work, (max_bytes, max_rows): (u64, usize)) -> Result<Self> {
        let shape = work.shape;
        shape.check()?;
        let (cols, inner) = (shape.cols, shape.inner);
        let (group, stride) =
            ((cols * inner) as u64 * work.widest_bytes, shape.row_stride as u64 * work.widest_bytes);
        // A row may begin in the middle of an alignment unit; its binding then begins before it, and ends on a word.
        let largest = profile.max_binding_bytes.saturating_sub(profile.offset_alignment + 4);
        let limit = max_bytes.max(group).min(largest);
        if inner > 1 && group > limit {
            return Err(Error::GroupTooLarge { cols, inner, bytes: group, limit });
        }
        let longest = longest_row(Tuning::most_lanes(profile), work.entries) * work.widest_bytes;
        let row = cols as u64 * work.widest_bytes;
        if row > limit.min(longest) {
            return Err(Error::RowTooLarge { cols, bytes: row, limit: limit.min(longest) });
        }
        let seats = Seats::choose(profile, &work)?;
        let groups = usize::try_from(1 + (limit - group) / stride).unwrap_or(usize::MAX);
        let grid_rows = usize::try_from(u64::from(profile.max_workgroups).pow(2)).unwrap_or(usize::MAX);
        let most_rows = max_rows.max(inner).min(row_scratch_limit(profile)).min(grid_rows);
        if inner > most_rows {
            return Err(Error::TooManyRows { rows: inner, limit: most_rows });
        }
        let window_rows = groups.min(most_rows / inner) * inner;
        Ok(Self { seats, work, window_rows, max_workgroups: profile.max_workgroups })
    }

    /// Rows of a window; the last may have fewer.
    pub fn window_rows(&self) -> usize {
        self.window_rows.min(self.work.shape.rows)
    }

    /// The windows of the first `rows` rows.
    pub fn windows(&self, rows: usize) -> impl Iterator<Item = Window> + use<'_> {
        (0..rows).step_by(self.window_rows).map(move |first_row| {
            let rows = self.window_rows.min(rows - first_row);
            Window { first_row, rows, grid: self.rows_grid(rows) }
        })
    }

    /// The grid of the workgroups that have so many rows.
    pub fn rows_grid(&self, rows: usize) -> [u32; 2] {
        self.grid(rows.div_ceil(self.seats.rows as usize))
    }

    /// The grid of so many workgroups.
    pub fn grid(&self, workgroups: usize) -> [u32; 2] {
        grid(workgroups, self.max_workgroups)
    }

    /// Where a window lies in a buffer that holds the whole batch, in values of so many bytes, from `offset` (bytes) on.
    pub fn place(&self, window: &Window, value_bytes: u64, offset: u64, alignment: u64) -> Place {
        let start = offset + self.work.shape.row_start(window.first_row) as u64 * value_bytes;
        let aligned = start / alignment * alignment;
        let end = start + self.values(window.rows) * value_bytes;
        Place {
            offset: aligned,
            size: (end - aligned).next_multiple_of(4),
            base: ((start - aligned) / value_bytes) as u32,
        }
    }

    /// Where a streamed window's first row begins in the window's own buffers, in values: as far from an aligned quad
    /// as in the whole batch.
    pub fn streamed_base(&self, first_row: usize) -> u32 {
        let shape = self.work.shape;
        if shape.inner > 1 { 0 } else { ((first_row % 4) * (shape.row_stride % 4) % 4) as u32 }
    }

    /// Values of `rows` rows, without the padding behind the last.
    fn values(&self, rows: usize) -> u64 {
        self.work.shape.with_rows(rows).len() as u64
    }

    /// Bytes of `rows` rows of logits, in whole words.
    pub fn logits_bytes(&self, rows: usize) -> u64 {
        self.value_bytes(rows, self.work.element_bytes)
    }

    /// Bytes of `rows` rows of values of so many bytes, in whole words.
    pub fn value_bytes(&self, rows: usize, value_bytes: u64) -> u64 {
        (self.values(rows) * value_bytes).next_multiple_of(4)
    }

    /// Bytes of the buffer that holds a streamed window of such values: its rows, and room before the first.
    pub fn streamed_bytes(&self, value_bytes: u64) -> u64 {
        self.value_bytes(self.window_rows(), value_bytes) + QUAD_VALUES * value_bytes
    }

    /// Device bytes of a streamed batch, staging included: logits, arrays like them of `beside` bytes a value, and each
    /// row's target, weights, input and result.
    pub fn buffer_bytes(&self, beside: u64) -> u64 {
        let rows = self.window_rows() as u64;
        let values = self.streamed_bytes(self.work.element_bytes + beside);
        let targets = 8 * self.work.entries.max(1) as u64;
        values + rows * (targets + 12 + 2 * ROW_SCRATCH_BYTES) + 2 * TRANSFER_CHUNK
    }
}

fn grid(workgroups: usize, max_workgroups: u32) -> [u32; 2] {
    let max = max_workgroups as usize;
    [workgroups.min(max) as u32, workgroups.div_ceil(max).max(1) as u32]
}

/// Loop iterations of one invocation, at most, in the pass with the most: both sweeps over a row of `cols`, and the
/// entries of a sparse target, each of which looks for its like (of two columns where they share a word).
pub(super) fn iterations(cols: u64, entries: usize, lanes: u32) -> u64 {
    let (entries, tree) = (entries as u64, u64::from(lanes.ilog2()) + 1);
    let lanes = u64::from(lanes);
    let edges = 2 * 3u64.div_ceil(lanes) + 2;
    let steps = cols / (QUAD_VALUES * STEP_QUADS * lanes);
    let chunks = steps.div_ceil(CHUNK_STEPS);
    let (rest, argmax) = (STEP_QUADS, STEP_QUADS);
    let first = edges + steps + chunks + rest + argmax + tree;
    let second = edges + cols.div_ceil(QUAD_VALUES * lanes);
    let own_entries = entries.div_ceil(lanes);
    first + second + entries + own_entries * (2 + 2 * entries)
}

/// The longest row whose sweeps stay within the iterations of an invocation, in values.
fn longest_row(lanes: u32, entries: usize) -> u64 {
    let (mut fits, mut exceeds) = (0, MAX_ITERATIONS * QUAD_VALUES * u64::from(lanes));
    while exceeds - fits > 1 {
        let cols = fits.midpoint(exceeds);
        if iterations(cols, entries, lanes) <= MAX_ITERATIONS { fits = cols } else { exceeds = cols }
    }
    fits
}

impl Seats {
    /// What fits a shape on a device: the tuning given, or what is best by measurement.
    fn choose(profile: &Profile, work: &Work) -> Result<Self> {
        let (shape, most) = (work.shape, Tuning::most_lanes(profile));
        let fits = |lanes| iterations(shape.cols as u64, work.entries, lanes) <= MAX_ITERATIONS;
        let mut invocations = match work.tuning {
            Some(tuning) => tuning.check(profile)?.lanes,
            None => Tuning::preferred(profile, &shape).min(most),
        };
        // The entries of a sparse target are kept for one row only.
        let side_by_side = if work.entries > 0 { 1 } else { shape.inner };
        let mut rows =
            u32::try_from(side_by_side.next_power_of_two()).unwrap_or(invocations).min(invocations);
        while rows > 1 && !fits(invocations / rows) {
            rows /= 2;
        }
        while work.tuning.is_none() && !fits(invocations / rows) && invocations * 2 <= most {
            invocations *= 2;
        }
        let seats = Self { lanes: invocations / rows, rows };
        if fits(seats.lanes) {
            return Ok(seats);
        }
        Err(Error::option(
            "tuning.lanes",
            invocations,
            "larger for rows this long: a software adapter stops a shader after 65,535 iterations",
        ))
    }
}

impl Tuning {
    /// The invocations of a workgroup that fit a shape on a device.
    ///
    /// On a software adapter an invocation is a SIMD lane, and a barrier suspends every one of them: one vector's
    /// worth of lanes is best (measured on lavapipe: 64 lanes take twice as long as 8). A GPU hides latency with
    /// invocations: enough that a row is a few steps for each; where rows lie side by side, as many rows as make whole
    /// loads of the values that lie together.
    fn preferred(profile: &Profile, shape: &Shape) -> u32 {
        if profile.is_software() {
            8
        } else if shape.inner > 1 {
            64
        } else {
            (shape.cols as u64 / (QUAD_VALUES * STEP_QUADS)).next_power_of_two().clamp(32, 256) as u32
        }
    }

    /// The largest power of two that the device's workgroups hold.
    fn most_lanes(profile: &Profile) -> u32 {
        let memory = profile.workgroup_memory.saturating_sub(SAVED_BYTES) / LANE_BYTES;
        let pairs = profile.workgroup_memory / PAIR_LANE_BYTES;
        1 << profile.max_invocations.min(memory).min(pairs).max(1).ilog2()
    }

    fn check(self, profile: &Profile) -> Result<Self> {
        if self.lanes.is_power_of_two() && self.lanes <= Self::most_lanes(profile) {
            Ok(self)
        } else {
            Err(Error::option(
                "tuning.lanes",
                self.lanes,
                "a power of two, at most what this device allows a workgroup",
            ))
        }
    }
}
