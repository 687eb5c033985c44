//! The sweeps over a row, in vectors of any width. Every function is inlined by force: what is left as a call would be
//! compiled without the instruction set that was chosen.
//!
//! A score is `t = (x − m) / T`, computed as `(x / 2 − m / 2) · (2 / T)`, which cannot overflow before it is multiplied.
//! Lanes beyond the end of a row hold −∞, whose exponential is 0.
//!
//! Sums are added in f32 over a block, in four vectors that do not wait for each other, and in f64 over the blocks. The
//! order depends on the slice's length only.

use pulp::Simd;

/// The most values of a block.
pub(super) const BLOCK: usize = 1024;

/// Values of a block: 32 vectors for each of the four sums.
pub(super) const fn block_len<S: Simd>() -> usize {
    if 128 * S::F32_LANES < BLOCK { 128 * S::F32_LANES } else { BLOCK }
}

/// How logits become scores.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    half_max: f32,
    scale: f32,
}

impl Scale {
    pub fn new(max: f32, temperature: f32) -> Self {
        Self { half_max: 0.5 * max, scale: 2.0 / temperature }
    }

    /// The score of one logit, in f64.
    pub fn score(&self, logit: f32) -> f64 {
        (0.5 * f64::from(logit) - f64::from(self.half_max)) * f64::from(self.scale)
    }

    /// The same in every lane.
    #[inline(always)]
    fn lanes<S: Simd>(self, simd: S) -> LaneScales<S> {
        LaneScales { less: simd.splat_f32s(-self.half_max), scale: simd.splat_f32s(self.scale) }
    }

    #[inline(always)]
    fn of<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        self.lanes(simd).of(simd, x)
    }
}

/// How logits become scores, where each lane has a row.
#[derive(Clone, Copy)]
pub(super) struct LaneScales<S: Simd> {
    /// −m / 2.
    less: S::f32s,
    scale: S::f32s,
}

impl<S: Simd> LaneScales<S> {
    #[inline(always)]
    pub fn new(simd: S, max: S::f32s, temperature: f32) -> Self {
        let less = simd.mul_f32s(max, simd.splat_f32s(-0.5));
        Self { less, scale: simd.splat_f32s(2.0 / temperature) }
    }

    #[inline(always)]
    fn of(self, simd: S, x: S::f32s) -> S::f32s {
        let halves = simd.mul_add_e_f32s(x, simd.splat_f32s(0.5), self.less);
        simd.mul_f32s(halves, self.scale)
    }

    /// e^t, with the score t of x.
    #[inline(always)]
    pub fn exp(self, simd: S, x: S::f32s) -> S::f32s {
        exp(simd, self.of(simd, x))
    }
}

/// e^t for t ≤ 0, within 2e-7 of its value. What is below 1.2e-38 is 0; NaN stays NaN.
///
/// `t = n·ln 2 + r` with |r| ≤ ln 2 / 2, and e^r = 1 + r + r²·q(r), where q is the cubic with the smallest largest error.
#[inline(always)]
fn exp<S: Simd>(simd: S, t: S::f32s) -> S::f32s {
    let of = |value: f32| simd.splat_f32s(value);
    // In a number of this size the last bit is 1, so that the sum is rounded to n, and its lowest bits are n.
    let shift = of(12_582_912.0);
    let shifted = simd.mul_add_e_f32s(t, of(std::f32::consts::LOG2_E), shift);
    let n = simd.sub_f32s(shifted, shift);
    // ln 2 in two parts; n times the first is exact.
    let r = simd.mul_add_e_f32s(n, of(-0.693_359_4), t);
    let r = simd.mul_add_e_f32s(n, of(2.121_944_4e-4), r);
    let q = simd.mul_add_e_f32s(of(0.008_312_521), r, of(0.041_890_156));
    let q = simd.mul_add_e_f32s(q, r, of(0.166_671_14));
    let q = simd.mul_add_e_f32s(q, r, of(0.499_992_3));
    let p = simd.mul_add_e_f32s(q, r, of(1.0));
    let p = simd.mul_add_e_f32s(p, r, of(1.0));
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let power = simd.add_u32s(exponent, simd.splat_u32s(1.0f32.to_bits()));
    let value = simd.mul_f32s(p, simd.transmute_f32s_u32s(power));
    let is_flushed = simd.less_than_f32s(t, of(-87.3365));
    simd.select_f32s(is_flushed, of(0.0), value)
}

/// The vector of the last values of a slice, with this value beyond its end.
#[inline(always)]
fn padded<S: Simd>(simd: S, rest: &[f32], beyond: f32) -> S::f32s {
    // A vector has 16 lanes at most.
    let mut values = [beyond; 16];
    values[..rest.len()].copy_from_slice(rest);
    simd.partial_load_f32s(&values[..S::F32_LANES])
}

/// Takes a slice vector by vector in four states, so that they do not wait for each other.
#[inline(always)]
fn fold<S: Simd, A: Copy>(
    simd: S,
    values: &[f32],
    beyond: f32,
    state: A,
    step: impl Fn(A, S::f32s) -> A,
) -> [A; 4] {
    let (vectors, rest) = S::as_simd_f32s(values);
    let [mut a, mut b, mut c, mut d] = [state; 4];
    let mut blocks = vectors.chunks_exact(4);
    for block in &mut blocks {
        a = step(a, block[0]);
        b = step(b, block[1]);
        c = step(c, block[2]);
        d = step(d, block[3]);
    }
    for &vector in blocks.remainder() {
        a = step(a, vector);
    }
    if !rest.is_empty() {
        b = step(b, padded(simd, rest, beyond));
    }
    [a, b, c, d]
}

#[inline(always)]
fn total<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> f64 {
    let sum = simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d));
    simd.reduce_sum_f32s(sum).into()
}

/// The largest value of a block, at least `f32::MIN`. If one is NaN, it may be any value.
#[inline(always)]
pub(super) fn max<S: Simd>(simd: S, values: &[f32]) -> f32 {
    let least = simd.splat_f32s(f32::MIN);
    let [a, b, c, d] = fold(
        simd,
        values,
        f32::MIN,
        least,
        #[inline(always)]
        |max, x| simd.max_f32s(max, x),
    );
    simd.reduce_max_f32s(simd.max_f32s(simd.max_f32s(a, b), simd.max_f32s(c, d)))
}

/// The first index of a value.
#[inline(always)]
pub(super) fn position(values: &[f32], value: f32) -> Option<usize> {
    const AT_ONCE: usize = 64;
    let holds = |part: &&[f32]| part.iter().fold(false, |found, &x| found | (x == value));
    let part = values.chunks(AT_ONCE).position(|part| holds(&part))? * AT_ONCE;
    let within = values[part..].iter().position(|&x| x == value)?;
    Some(part + within)
}

/// Σ e^t of a block.
#[inline(always)]
pub(super) fn sum_exp<S: Simd>(simd: S, values: &[f32], scale: Scale) -> f64 {
    let sums = fold(
        simd,
        values,
        f32::NEG_INFINITY,
        simd.splat_f32s(0.0),
        #[inline(always)]
        |sum, x| simd.add_f32s(sum, exp(simd, scale.of(simd, x))),
    );
    total(simd, sums)
}

/// Each value times this is exact, and a block of them cannot overflow.
const SMALL: f32 = 1.0 / 1024.0;

/// Σ w·(x − m) of a block, where w is 1 without weights. 0·∞ counts as 0.
#[inline(always)]
pub(super) fn sum_below<S: Simd>(simd: S, values: &[f32], weights: Option<&[f32]>, max: f32) -> f64 {
    let (factor, less) = (simd.splat_f32s(0.5 * SMALL), simd.splat_f32s(-0.5 * SMALL * max));
    let zero = simd.splat_f32s(0.0);
    let sum = match weights {
        None => {
            // Lanes beyond the end are the maximum, which adds 0.
            let sums = fold(
                simd,
                values,
                max,
                zero,
                #[inline(always)]
                |sum, x| simd.add_f32s(sum, simd.mul_add_e_f32s(x, factor, less)),
            );
            total(simd, sums)
        }
        Some(weights) => {
            let ((vectors, rest), (of, of_rest)) = (S::as_simd_f32s(values), S::as_simd_f32s(weights));
            let last = [(padded(simd, rest, max), padded(simd, of_rest, 0.0))];
            let pairs = vectors.iter().copied().zip(of.iter().copied()).chain(last);
            let mut sums = [zero; 4];
            for (at, (x, weight)) in pairs.enumerate() {
                let term = simd.mul_f32s(weight, simd.mul_add_e_f32s(x, factor, less));
                let term = simd.select_f32s(simd.equal_f32s(weight, zero), zero, term);
                sums[at % 4] = simd.add_f32s(sums[at % 4], term);
            }
            total(simd, sums)
        }
    };
    sum * f64::from(2.0 / SMALL)
}

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
pub(super) const BEYOND: [f32; 3] = [f32::NEG_INFINITY, f32::INFINITY, 0.0];

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

/// The lanes of a vector.
#[inline(always)]
pub(super) fn lanes<S: Simd>(vector: &S::f32s) -> &[f32] {
    bytemuck::cast_slice(std::slice::from_ref(vector))
}

/// Writes a value for each logit of a block.
#[inline(always)]
fn map<S: Simd>(simd: S, values: &[f32], into: &mut [f32], of: impl Fn(S::f32s) -> S::f32s) {
    let ((vectors, rest), (into, into_rest)) = (S::as_simd_f32s(values), S::as_mut_simd_f32s(into));
    for (into, &x) in into.iter_mut().zip(vectors) {
        *into = of(x);
    }
    if !rest.is_empty() {
        simd.partial_store_f32s(into_rest, of(padded(simd, rest, f32::NEG_INFINITY)));
    }
}

/// `factor · e^t − less` of a block.
#[inline(always)]
pub(super) fn scaled_exp<S: Simd>(
    simd: S,
    values: &[f32],
    into: &mut [f32],
    scale: Scale,
    factor: f32,
    less: f32,
) {
    let (factor, less) = (simd.splat_f32s(factor), simd.splat_f32s(-less));
    map(
        simd,
        values,
        into,
        #[inline(always)]
        |x| simd.mul_add_e_f32s(factor, exp(simd, scale.of(simd, x)), less),
    );
}

/// `t − log_sum` of a block.
#[inline(always)]
pub(super) fn log_probs<S: Simd>(simd: S, values: &[f32], into: &mut [f32], scale: Scale, log_sum: f32) {
    let log_sum = simd.splat_f32s(log_sum);
    map(
        simd,
        values,
        into,
        #[inline(always)]
        |x| simd.sub_f32s(scale.of(simd, x), log_sum),
    );
}
