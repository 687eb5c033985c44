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
    pub fn lanes<S: Simd>(self, simd: S) -> LaneScales<S> {
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

    /// The score t of x.
    #[inline(always)]
    pub fn of(self, simd: S, x: S::f32s) -> S::f32s {
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
pub(super) fn exp<S: Simd>(simd: S, t: S::f32s) -> S::f32s {
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
pub(super) fn padded<S: Simd>(simd: S, rest: &[f32], beyond: f32) -> S::f32s {
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
pub(super) const SMALL: f32 = 1.0 / 1024.0;

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
