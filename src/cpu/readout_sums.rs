//! What the readouts need of the two sweeps over a row, in vectors of any width.

use pulp::Simd;

use crate::cpu::simd::{LaneScales, SMALL, Scale, exp, lanes, padded};

/// What the readouts need of the first sweep over a part of a row.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    pub max: f32,
    /// The second largest value, equal to the largest if there are two of them.
    pub second: f32,
    pub min: f32,
    /// Σ x, divided by [`BLOCK`].
    pub small_sum: f64,
}

impl Spread {
    pub const NONE: Self =
        Self { max: f32::NEG_INFINITY, second: f32::NEG_INFINITY, min: f32::INFINITY, small_sum: 0.0 };

    /// Adds that of the next part.
    pub fn combine(&mut self, part: &Self) {
        self.second = self.second.max(part.second).max(self.max.min(part.max));
        self.max = self.max.max(part.max);
        self.min = self.min.min(part.min);
        self.small_sum += part.small_sum;
    }

    /// That of a block.
    #[inline(always)]
    pub fn of_block<S: Simd>(simd: S, values: &[f32]) -> Self {
        let (vectors, rest) = S::as_simd_f32s(values);
        let mut states = [LaneSpread::new(simd); 2];
        let mut pairs = vectors.chunks_exact(2);
        for pair in &mut pairs {
            states[0].add(simd, [pair[0]; 3]);
            states[1].add(simd, [pair[1]; 3]);
        }
        for &x in pairs.remainder() {
            states[0].add(simd, [x; 3]);
        }
        if !rest.is_empty() {
            states[1].add(
                simd,
                BEYOND.map(
                    #[inline(always)]
                    |beyond| padded(simd, rest, beyond),
                ),
            );
        }
        let mut all = Self::NONE;
        for state in states {
            for lane in 0..S::F32_LANES {
                all.combine(&state.of_lane(lane));
            }
        }
        all
    }
}

/// What stands for a value that does not count: in a maximum, in a minimum and in a sum.
const BEYOND: [f32; 3] = [f32::NEG_INFINITY, f32::INFINITY, 0.0];

/// [`Spread`] of what each lane has seen.
#[derive(Clone, Copy)]
pub(super) struct LaneSpread<S: Simd> {
    max: S::f32s,
    second: S::f32s,
    min: S::f32s,
    small_sum: S::f32s,
}

impl<S: Simd> LaneSpread<S> {
    #[inline(always)]
    pub fn new(simd: S) -> Self {
        let none = simd.splat_f32s(f32::NEG_INFINITY);
        Self { max: none, second: none, min: simd.splat_f32s(f32::INFINITY), small_sum: simd.splat_f32s(0.0) }
    }

    /// Adds a vector, which is given with [`BEYOND`] in the lanes that do not count.
    #[inline(always)]
    pub fn add(&mut self, simd: S, [x, for_min, for_sum]: [S::f32s; 3]) {
        self.second = simd.max_f32s(self.second, simd.min_f32s(self.max, x));
        self.max = simd.max_f32s(self.max, x);
        self.min = simd.min_f32s(self.min, for_min);
        self.small_sum = simd.mul_add_e_f32s(for_sum, simd.splat_f32s(SMALL), self.small_sum);
    }

    /// What one lane has seen.
    #[inline(always)]
    pub fn of_lane(&self, lane: usize) -> Spread {
        let [max, second, min, small_sum] =
            [&self.max, &self.second, &self.min, &self.small_sum].map(|of| lanes::<S>(of)[lane]);
        Spread { max, second, min, small_sum: small_sum.into() }
    }
}

/// What the readouts need of the second sweep over a part of a row: sums over some of its classes.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub exp: f64,
    /// Σ t·e^t.
    pub exp_score: f64,
    /// Σ e^2t.
    pub exp_squared: f64,
    /// Values that are not below a threshold, and Σ e^t of them.
    pub ahead: u32,
    pub exp_ahead: f64,
}

impl Sums {
    pub const NONE: Self = Self { exp: 0.0, exp_score: 0.0, exp_squared: 0.0, ahead: 0, exp_ahead: 0.0 };

    /// Adds those of the next part.
    pub fn combine(&mut self, part: &Self) {
        self.exp += part.exp;
        self.exp_score += part.exp_score;
        self.exp_squared += part.exp_squared;
        self.ahead += part.ahead;
        self.exp_ahead += part.exp_ahead;
    }

    /// Adds the next block.
    #[inline(always)]
    pub fn add<S: Simd>(&mut self, simd: S, values: &[f32], scale: Scale, threshold: f32) {
        let (vectors, rest) = S::as_simd_f32s(values);
        let (scale, least) = (scale.lanes(simd), simd.splat_f32s(threshold));
        for half in vectors.chunks(64) {
            let mut state = LaneSums::new(simd);
            for &x in half {
                state.add(simd, x, scale, simd.greater_than_or_equal_f32s(x, least));
            }
            self.take(simd, state);
        }
        if rest.is_empty() {
            return;
        }
        let mut last = LaneSums::new(simd);
        let x = padded(simd, rest, f32::NEG_INFINITY);
        last.add(simd, x, scale, simd.greater_than_or_equal_f32s(x, least));
        self.take(simd, last);
        // −∞ beyond the end is not below a threshold of −∞.
        if threshold == f32::NEG_INFINITY {
            self.ahead -= (S::F32_LANES - rest.len()) as u32;
        }
    }

    /// Adds what the lanes of vectors hold.
    #[inline(always)]
    fn take<S: Simd>(&mut self, simd: S, of: LaneSums<S>) {
        self.exp += f64::from(simd.reduce_sum_f32s(of.exp));
        self.exp_score += f64::from(simd.reduce_sum_f32s(of.exp_score));
        self.exp_squared += f64::from(simd.reduce_sum_f32s(of.exp_squared));
        self.exp_ahead += f64::from(simd.reduce_sum_f32s(of.exp_ahead));
        self.ahead += of.ahead().iter().sum::<u32>();
    }
}

/// [`Sums`] of what each lane has seen.
#[derive(Clone, Copy)]
pub(super) struct LaneSums<S: Simd> {
    exp: S::f32s,
    exp_score: S::f32s,
    exp_squared: S::f32s,
    ahead: S::u32s,
    exp_ahead: S::f32s,
}

impl<S: Simd> LaneSums<S> {
    #[inline(always)]
    pub fn new(simd: S) -> Self {
        let zero = simd.splat_f32s(0.0);
        Self { exp: zero, exp_score: zero, exp_squared: zero, ahead: simd.splat_u32s(0), exp_ahead: zero }
    }

    /// Adds a vector, which is given with −∞ in the lanes that do not count.
    #[inline(always)]
    pub fn add(&mut self, simd: S, x: S::f32s, scale: LaneScales<S>, is_ahead: S::m32s) {
        let t = scale.of(simd, x);
        let e = exp(simd, t);
        // Below this e is 0, and 0 · ∞ is to be 0. A maximum may drop a NaN; e keeps it.
        let held = simd.max_f32s(t, simd.splat_f32s(-100.0));
        self.exp = simd.add_f32s(self.exp, e);
        self.exp_score = simd.mul_add_e_f32s(e, held, self.exp_score);
        self.exp_squared = simd.mul_add_e_f32s(e, e, self.exp_squared);
        let one = simd.select_u32s(is_ahead, simd.splat_u32s(1), simd.splat_u32s(0));
        self.ahead = simd.add_u32s(self.ahead, one);
        let ahead = simd.select_f32s(is_ahead, e, simd.splat_f32s(0.0));
        self.exp_ahead = simd.add_f32s(self.exp_ahead, ahead);
    }

    fn ahead(&self) -> &[u32] {
        bytemuck::cast_slice(std::slice::from_ref(&self.ahead))
    }

    /// What one lane has seen.
    #[inline(always)]
    pub fn of_lane(&self, lane: usize) -> Sums {
        let [exp, exp_score, exp_squared, exp_ahead] =
            [&self.exp, &self.exp_score, &self.exp_squared, &self.exp_ahead]
                .map(|of| f64::from(lanes::<S>(of)[lane]));
        Sums { exp, exp_score, exp_squared, ahead: self.ahead()[lane], exp_ahead }
    }
}
