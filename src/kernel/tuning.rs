//! The parameters that affect a kernel's speed but not its result: how invocations share rows.

use crate::device::{AdapterKind, Profile};
use crate::error::{Error, Result};

/// How a workgroup processes rows up to a given length.
///
/// More fields may come: end a literal with `..Band::new(up_to_cols, lanes, rows)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "tuning-file", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Band {
    /// The longest rows of this band, in values.
    pub up_to_cols: u32,
    /// Invocations that share one row: a power of two.
    pub lanes: u32,
    /// Rows per workgroup: a power of two. (Rows with sparse targets have one workgroup each.)
    pub rows: u32,
    /// The fewest values of a row that a lane should have. As long as lanes have fewer, and the batch has enough rows for
    /// [`Tuning::workgroups`] workgroups, a row gets half as many lanes, but at least 4; workgroups of fewer than 128
    /// invocations get more rows instead. 0: every batch has `lanes` and `rows`.
    #[cfg_attr(feature = "tuning-file", serde(default))]
    pub lane_values: u32,
}

impl Band {
    /// Rows of up to `up_to_cols` values: `lanes` invocations share each row, and a workgroup processes `rows` of them.
    pub const fn new(up_to_cols: u32, lanes: u32, rows: u32) -> Self {
        Self { up_to_cols, lanes, rows, lane_values: 0 }
    }

    /// Loads of 16 bytes by 4 lanes are 64 bytes of a row, a burst of memory.
    const FEWEST_LANES: u32 = 4;
    /// Workgroups with one row are not made smaller than this. (If several rows share one, what is done once a row is done
    /// by each lane, and not by a GPU's scalar units: with 128 lanes, a gradient of rows of 4,096 takes 25.3 instructions
    /// for each f32 logit if two rows share a workgroup, and else 19.0.)
    const INVOCATIONS: u32 = 128;

    /// The same band, with at least `lane_values` values per lane if the batch has enough rows.
    const fn lane_values(self, lane_values: u32) -> Self {
        Self { lane_values, ..self }
    }

    /// The band with the lanes and rows for a batch, if the device is busy with this number of workgroups.
    pub(super) fn of_batch(mut self, rows: usize, cols: usize, workgroups: u32) -> Self {
        let has_few_values = |lanes: u32| cols / (lanes as usize) < self.lane_values as usize;
        let is_filled = |each: u32| rows.div_ceil(each as usize) >= workgroups as usize;
        while self.lanes > Self::FEWEST_LANES && has_few_values(self.lanes) {
            let is_small = self.lanes / 2 * self.rows < Self::INVOCATIONS;
            let rows_each = if is_small { 2 * self.rows } else { self.rows };
            if !is_filled(rows_each) {
                break;
            }
            (self.lanes, self.rows) = (self.lanes / 2, rows_each);
        }
        self
    }
}

/// The parameters that affect a kernel's speed but not its result (beyond rounding): how invocations share rows, by row
/// length. By default an operation uses [`Tuning::of`] its device; set another tuning with its `with_tuning`.
///
/// Rows that are too long for a band's lanes get as many more lanes as they need: lavapipe stops an invocation after
/// 65,535 iterations.
///
/// More fields may come: end a literal with `..Tuning::fixed(lanes, rows)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "tuning-file", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Tuning {
    /// Bands for operations that only read the logits (losses, log-sum-exp, argmax), by increasing length. Rows longer
    /// than the last band use the last band.
    pub read: [Band; Tuning::BANDS],
    /// Bands for operations that also write a value for each logit (softmax, gradients).
    pub write: [Band; Tuning::BANDS],
    /// Invocations per workgroup for rows that lie side by side (`Shape::inner` > 1): a power of two.
    pub side_by_side: u32,
    /// Invocations per workgroup in passes over rows that do not read logits: a power of two, at most 256.
    pub reduce_lanes: u32,
    /// The number of workgroups that keeps the device busy. If a batch has fewer rows, each row is split into segments
    /// until there are this many workgroups. 1: rows are not split.
    pub workgroups: u32,
    /// The minimum number of values in a segment.
    pub segment_cols: u32,
    /// Whether logits are loaded and stored in 64-bit words. It has an effect only on devices with
    /// [`wgpu::Features::SHADER_INT64`].
    pub words_of_64: bool,
    /// Whether the adapter's floats are trusted with special values where WGSL promises nothing: that exp2(−∞) is 0, and
    /// that unpacking f16 keeps denormal values and NaN. If not, kernels work around it on bits, with more instructions.
    /// It has an effect only on devices whose floats keep them: [`Profile::keeps_specials`].
    #[cfg_attr(feature = "tuning-file", serde(default))]
    pub trusts_floats: bool,
}

impl Tuning {
    /// The number of bands of row lengths.
    pub const BANDS: usize = 4;
    const MOST_REDUCE_LANES: u32 = 256;

    /// A tuning that treats rows of every length alike: a workgroup processes `rows` rows, and `lanes` invocations
    /// share each row. Rows are not split.
    pub const fn fixed(lanes: u32, rows: u32) -> Self {
        let band = Band::new(u32::MAX, lanes, rows);
        Self {
            read: [band; Self::BANDS],
            write: [band; Self::BANDS],
            side_by_side: lanes.saturating_mul(rows),
            reduce_lanes: most_256(lanes.saturating_mul(rows)),
            workgroups: 1,
            segment_cols: 1,
            words_of_64: true,
            trusts_floats: true,
        }
    }

    /// Splits rows into segments of at least `segment_cols` values, until there are `workgroups` workgroups.
    pub const fn split(self, workgroups: u32, segment_cols: u32) -> Self {
        Self { workgroups, segment_cols, ..self }
    }

    /// The best tuning for a device: measured on software adapters, reasoned on hardware.
    pub fn of(profile: &Profile) -> Self {
        let tuning = if profile.is_software() { Self::software(profile) } else { Self::hardware(profile) };
        let most = Self::most_invocations(profile);
        let fitted = |band: Band| {
            let lanes = band.lanes.min(most);
            Band { lanes, rows: band.rows.min(most / lanes), ..band }
        };
        Self {
            read: tuning.read.map(fitted),
            write: tuning.write.map(fitted),
            side_by_side: tuning.side_by_side.min(most),
            ..tuning
        }
    }

    /// On a software adapter an invocation is a lane of the processor's vectors, and a barrier suspends all
    /// invocations. One vector's worth of invocations is best (64 take twice as long as 8). Measured on lavapipe with
    /// vectors of 8: if each invocation has its own row, and there is no barrier at all, 4,096 rows of 1,000 take half
    /// the time, and 65,536 rows of 64 take a tenth. With rows of 50,000, eight rows no longer fit into the cache for
    /// the second sweep, and the time is 1.3 times as long. A workgroup has a fixed cost: with rows of 10 columns, a
    /// workgroup of 8 vectors takes 0.87 of the time of one vector (16 take as long as 8); with 32 columns it takes
    /// 0.92; from 64 columns on there is no gain. In the passes over rows, a tree over 256 invocations took 150 ns per
    /// row.
    ///
    /// With vectors of 16, each vector of 64-bit words becomes two vectors, and 256 rows of 50,304 take 3.5 to 6 times
    /// as long as with 32-bit words. On SwiftShader no other number of lanes is faster (8 and 16 take 1.0 to 1.5 times
    /// as long), and neither are loads of single values that are adjacent for neighbouring invocations (1.2 times).
    fn software(profile: &Profile) -> Self {
        // A subgroup is a vector: 4 on SwiftShader, 8 on lavapipe (4 or 16 if configured).
        let width = profile.subgroup_sizes.1.clamp(4, 16).next_power_of_two();
        let shortest = Band::new(63, 1, 8 * width);
        let short = |up_to_cols| Band::new(up_to_cols, 1, width);
        let long = Band::new(u32::MAX, width, 1);
        let bands = [shortest, short(1024), short(8192), long];
        Self {
            read: bands,
            write: bands,
            side_by_side: width,
            reduce_lanes: width,
            workgroups: 16,
            segment_cols: 1 << 16,
            words_of_64: width < 16,
            trusts_floats: true,
        }
    }

    /// A GPU hides latency with many invocations, loads best if neighbouring invocations load neighbouring values, and
    /// idles if there are few workgroups. So a lane gets about 16 values of a short row, or four loads at once of a
    /// long row; short rows share a workgroup of 128; and rows are split until every multiprocessor of a large card has
    /// several workgroups of 256. None of this is measured.
    ///
    /// With many rows, lanes get more values, because each also pays for the tree and for what is done once a row. Counted
    /// for 65,536 rows of f32 (`scripts/isa --lanes`; instructions of a lane for each logit, in the whole kernel):
    ///
    /// | cols | loss, by lanes | loss and gradient, by lanes |
    /// | --- | --- | --- |
    /// | 256 | 8: 15.2, 4: 11.2 | 8: 24.7, 4: 19.2 |
    /// | 1,000 | 32: 21.5, 16: 14.5, 8: 11.2 | 32: 35.9, 16: 25.0, 8: 19.7 |
    /// | 4,096 | 256: 15.7, 64: 12.9, 32: 10.3 | 256: 22.6, 128: 19.0, 64: 20.8, 32: 17.5 |
    /// | 16,384 | 256: 9.8, 128: 9.0, 32: 8.7 | 256: 15.9, 128: 14.9, 32: 15.2 |
    ///
    /// So rows that are only read have at least 96 values per lane. A row that is written is read twice, and the second
    /// read should come from the L2 cache: 270,000 resident lanes (an H200) with 32 f32 values each hold 35 MB, of 50. So
    /// written rows have at least 32 values per lane, up to 63. More than 256 lanes would keep longer rows in the cache, up
    /// to 48,000 values with 1,024 lanes, but with rows of 16,384 a gradient then takes 21.2 instructions: not without a
    /// measurement. (`xent tune` measures.)
    ///
    /// Subgroup shuffles could take the place of the tree's last levels. They are not used: of the 11.2 instructions with 8
    /// lanes, the tree takes 0.8, most of it for combining, which remains.
    fn hardware(profile: &Profile) -> Self {
        let bands = |lane_values| {
            [
                Band::new(16, 1, 128),
                Band::new(256, 8, 16).lane_values(lane_values),
                Band::new(2048, 32, 4).lane_values(lane_values),
                Band::new(u32::MAX, 256, 1).lane_values(lane_values),
            ]
        };
        Self {
            read: bands(96),
            write: bands(32),
            side_by_side: 64,
            reduce_lanes: 256,
            workgroups: if profile.kind == AdapterKind::Integrated { 128 } else { 1024 },
            segment_cols: 1 << 13,
            words_of_64: false,
            trusts_floats: true,
        }
    }

    /// The band for rows of this length.
    pub(super) fn band(&self, cols: usize, writes: bool) -> Band {
        let bands = if writes { &self.write } else { &self.read };
        let fitting = bands.iter().find(|band| cols <= band.up_to_cols as usize);
        *fitting.unwrap_or(&bands[Self::BANDS - 1])
    }

    /// The largest power of two of invocations that fits into the device's workgroups.
    pub(super) fn most_invocations(profile: &Profile) -> u32 {
        let memory =
            profile.workgroup_memory.saturating_sub(super::plan::SAVED_BYTES) / super::plan::LANE_BYTES;
        let pairs = profile.workgroup_memory / super::plan::PAIR_LANE_BYTES;
        1 << profile.max_invocations.min(memory).min(pairs).max(1).ilog2()
    }

    /// Refuses a tuning that the device cannot run.
    pub(crate) fn check(&self, profile: &Profile) -> Result<()> {
        let most = Self::most_invocations(profile);
        let needed = "a power of two, at most the invocations that this device allows per workgroup";
        for band in self.read.iter().chain(&self.write) {
            if !band.lanes.is_power_of_two() || band.lanes > most {
                return Err(Error::option("tuning.lanes", band.lanes, needed));
            }
            if !band.rows.is_power_of_two() || band.rows > most / band.lanes {
                return Err(Error::option(
                    "tuning.rows",
                    band.rows,
                    "a power of two; times lanes, at most the invocations that this device allows per workgroup",
                ));
            }
        }
        if !self.side_by_side.is_power_of_two() || self.side_by_side > most {
            return Err(Error::option("tuning.side_by_side", self.side_by_side, needed));
        }
        if !self.reduce_lanes.is_power_of_two() || self.reduce_lanes > Self::MOST_REDUCE_LANES {
            return Err(Error::option(
                "tuning.reduce_lanes",
                self.reduce_lanes,
                "a power of two, at most 256",
            ));
        }
        for (what, value) in
            [("tuning.workgroups", self.workgroups), ("tuning.segment_cols", self.segment_cols)]
        {
            if value == 0 {
                return Err(Error::option(what, value, "at least 1"));
            }
        }
        Ok(())
    }
}

const fn most_256(invocations: u32) -> u32 {
    if invocations < Tuning::MOST_REDUCE_LANES { invocations } else { Tuning::MOST_REDUCE_LANES }
}
