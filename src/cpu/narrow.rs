//! Rows of few classes, taken as many at a time as a vector has lanes: each lane has a row. On its own, a row of ten would
//! spend most of its time on the ends of vectors.

use pulp::Simd;

use crate::cpu::readout_sums::{LaneSpread, LaneSums, Spread, Sums};
use crate::cpu::row::Stats;
use crate::cpu::simd::{LaneScales, Scale, lanes};
use crate::element::Element;
use crate::shape::Shape;

/// The most classes of a narrow row.
pub(super) const NARROW: usize = 32;

/// The most lanes of a vector.
const LANES: usize = 16;

/// What is known of the rows of a group.
pub(super) struct Group {
    /// e^t class by class, with a value for each lane.
    exps: [f32; NARROW * LANES],
    lanes: usize,
    stats: [Option<Stats>; LANES],
    sums: [(Spread, Sums); LANES],
}

/// A row of a group.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    group: &'a Group,
    lane: usize,
}

impl Group {
    pub fn new() -> Self {
        Self {
            exps: [0.0; NARROW * LANES],
            lanes: 1,
            stats: [None; LANES],
            sums: [(Spread::NONE, Sums::NONE); LANES],
        }
    }

    /// The row of this lane.
    pub fn member(&self, lane: usize) -> Member<'_> {
        Member { group: self, lane }
    }

    /// Reads the rows from `first` to before `end`, at most as many as there are lanes. `target` gives the class of a row's
    /// target, if the sums that the readouts need are asked for.
    #[inline(always)]
    pub fn read<S: Simd, E: Element>(
        &mut self,
        simd: S,
        (logits, shape): (&[E], Shape),
        (first, end): (usize, usize),
        temperature: f32,
        target: Option<impl Fn(usize) -> usize>,
    ) {
        let lanes = S::F32_LANES;
        self.lanes = lanes;
        let mut values = [simd.splat_f32s(0.0); NARROW];
        let by_class: &mut [f32] = bytemuck::cast_slice_mut(&mut values);
        let mut widened = [0.0; NARROW];
        let mut targets = [0.0; LANES];
        for (lane, row) in (first..end).take(lanes).enumerate() {
            let start = row * shape.row_stride;
            let of_row = &logits[start..start + shape.cols];
            let of_row = match E::as_f32(of_row) {
                Some(of_row) => of_row,
                None => {
                    E::widen(of_row, &mut widened[..shape.cols]);
                    &widened[..shape.cols]
                }
            };
            for (class, &value) in of_row.iter().enumerate() {
                by_class[class * lanes + lane] = value;
            }
            if let Some(target) = &target {
                targets[lane] = target(row) as f32;
            }
        }
        let values = &values[..shape.cols];
        let targets = target.is_some().then(|| simd.partial_load_f32s(&targets[..lanes]));
        self.find(simd, values, temperature, targets);
    }

    /// Fills in what is known of rows with these values, of which each vector has those of a class.
    #[inline(always)]
    fn find<S: Simd>(&mut self, simd: S, values: &[S::f32s], temperature: f32, targets: Option<S::f32s>) {
        // As for wider rows, at least `f32::MIN`; beside a NaN it may be any value.
        let mut max = simd.splat_f32s(f32::MIN);
        for &x in values {
            max = simd.max_f32s(max, x);
        }
        let mut best = simd.splat_f32s(NARROW as f32);
        for (class, &x) in values.iter().enumerate().rev() {
            best = simd.select_f32s(simd.equal_f32s(x, max), simd.splat_f32s(class as f32), best);
        }
        let scale = LaneScales::new(simd, max, temperature);
        let exps: &mut [S::f32s] = bytemuck::cast_slice_mut(&mut self.exps);
        // Two sums, which do not wait for each other.
        let mut rest = [simd.splat_f32s(0.0); 2];
        for (class, (into, &x)) in exps.iter_mut().zip(values).enumerate() {
            *into = scale.exp(simd, x);
            let is_best = simd.equal_f32s(best, simd.splat_f32s(class as f32));
            rest[class % 2] =
                simd.add_f32s(rest[class % 2], simd.select_f32s(is_best, simd.splat_f32s(0.0), *into));
        }
        let rest = simd.add_f32s(rest[0], rest[1]);
        for lane in 0..S::F32_LANES {
            let [max, best, rest] = [&max, &best, &rest].map(|of| lanes::<S>(of)[lane]);
            let is_ordinary = max.is_finite() && best < NARROW as f32 && !rest.is_nan();
            self.stats[lane] = is_ordinary.then(|| Stats {
                max,
                best: best as usize,
                scale: Scale::new(max, temperature),
                rest: rest.into(),
            });
        }
        if let Some(targets) = targets {
            self.sum(simd, values, scale, best, targets);
        }
    }

    /// What the readouts need; the sums are over all classes but the largest and the target.
    #[inline(always)]
    fn sum<S: Simd>(
        &mut self,
        simd: S,
        values: &[S::f32s],
        scale: LaneScales<S>,
        best: S::f32s,
        targets: S::f32s,
    ) {
        let mut logit = simd.splat_f32s(0.0);
        for (class, &x) in values.iter().enumerate() {
            logit = simd.select_f32s(simd.equal_f32s(targets, simd.splat_f32s(class as f32)), x, logit);
        }
        let (mut spread, mut sums) = (LaneSpread::new(simd), LaneSums::new(simd));
        for (class, &x) in values.iter().enumerate() {
            let class = simd.splat_f32s(class as f32);
            let is_apart = simd.or_m32s(simd.equal_f32s(best, class), simd.equal_f32s(targets, class));
            // Ahead of the target are higher logits, and equal ones of lower classes.
            let is_tied = simd.and_m32s(simd.equal_f32s(x, logit), simd.less_than_f32s(class, targets));
            let is_ahead = simd.or_m32s(simd.greater_than_f32s(x, logit), is_tied);
            // What is apart is ahead of nothing.
            let is_ahead = simd.and_m32s(is_ahead, simd.not_m32s(is_apart));
            spread.add(simd, [x; 3]);
            let x = simd.select_f32s(is_apart, simd.splat_f32s(f32::NEG_INFINITY), x);
            sums.add(simd, x, scale, is_ahead);
        }
        for lane in 0..S::F32_LANES {
            self.sums[lane] = (spread.of_lane(lane), sums.of_lane(lane));
        }
    }
}

impl<'a> Member<'a> {
    /// The row's statistics, if no value is special.
    pub fn stats(self) -> Option<Stats> {
        self.group.stats[self.lane]
    }

    /// What its readouts need, if that was asked for.
    pub fn sums(self) -> &'a (Spread, Sums) {
        &self.group.sums[self.lane]
    }

    /// e^t of its classes, and whatever follows.
    pub fn exps(self) -> impl Iterator<Item = f32> + 'a {
        self.group.exps[self.lane..].iter().copied().step_by(self.group.lanes)
    }
}
