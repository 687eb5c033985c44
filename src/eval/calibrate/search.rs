//! The search for the inverse temperature β at which a mean loss is smallest. The loss is convex in β, so that its slope
//! has one root. It is looked for in ln β, among points that come eight at a time.

use std::ops::Range;

use crate::op::BETAS;
use crate::reference::calibration::MOST_LN_BETA;

/// Reads of the data after which the search ends.
pub(super) const MOST_READS: usize = 4;
/// The search ends when Newton's method would move ln β by less than this.
const NEAR: f64 = 1e-6;
/// The first eight, as ln β. The loss as it is has 0.
const FIRST: [f64; BETAS] = [-MOST_LN_BETA, -3.0, -1.0, -0.4, 0.0, 0.7, 2.5, MOST_LN_BETA];
pub(super) const AS_IT_IS: usize = 4;

/// What a mean loss does at a β. With the distances d_j of a row's scores from their maximum, its slope in β is the
/// target's distance minus the mean of all distances, weighted by probability.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub beta: f64,
    /// The target's distance; the same at every β.
    pub of_target: f64,
    /// The mean distance, which falls as β grows.
    pub mean: f64,
    /// The variance of the distance: the slope's derivative.
    pub variance: f64,
}

impl Point {
    pub fn slope(&self) -> f64 {
        self.of_target - self.mean
    }

    /// What Newton's method adds to ln β.
    pub fn step(&self) -> f64 {
        if self.slope() == 0.0 { 0.0 } else { -self.slope() / (self.beta * self.variance) }
    }

    /// ln(target's distance / mean distance), which has the slope's sign and is nearly linear: in β where one class is far
    /// ahead, in ln β where none is. And its derivative in β.
    fn ratio(&self) -> (f64, f64) {
        let least = 1e-30 * self.of_target;
        match self.mean > least {
            true => ((self.of_target / self.mean).ln(), self.variance / self.mean),
            false => ((self.of_target / least).ln(), 0.0),
        }
    }
}

/// Where the search goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Next {
    /// It has ended at this point.
    Found(usize),
    /// The loss still falls at the lowest or at the highest β.
    Low,
    High,
    /// It needs the loss at these inverse temperatures, in rising order.
    Read([f64; BETAS]),
}

/// The points so far, in rising order of β.
#[derive(Debug, Default)]
pub(super) struct Search {
    points: Vec<(Point, usize)>,
    reads: usize,
}

impl Search {
    pub fn first() -> [f64; BETAS] {
        FIRST.map(f64::exp)
    }

    pub fn reads(&self) -> usize {
        self.reads
    }

    /// Takes the points of a read, and says where to go on. Points are numbered in the order in which they came.
    pub fn take(&mut self, points: [Point; BETAS]) -> Next {
        let first = self.reads * BETAS;
        self.reads += 1;
        self.points.extend(points.into_iter().zip(first..));
        self.points.sort_by(|(a, _), (b, _)| a.beta.total_cmp(&b.beta));
        if self.points[0].0.slope() >= 0.0 {
            return Next::Low;
        }
        // Where one class is far ahead, the slope may underflow to 0 instead of approaching it.
        let Some(above) = self.points.iter().position(|(point, _)| point.slope() > 0.0) else {
            return Next::High;
        };
        let (low, high) = (self.points[above - 1], self.points[above]);
        let nearest = if low.0.step().abs() <= high.0.step().abs() { low } else { high };
        if nearest.0.step().abs() <= NEAR || self.reads == MOST_READS {
            return Next::Found(nearest.1);
        }
        Next::Read(around(low.0, high.0))
    }
}

/// Eight inverse temperatures between two, where the slope changes its sign: the roots of two cubics that have the ratios
/// and derivatives of both ends, one in β and one in ln β; points on both sides of these roots, at distances by how far
/// they are apart; the root that the lower end's tangent has; and the middle.
fn around(low: Point, high: Point) -> [f64; BETAS] {
    let (start, end) = (low.beta.ln(), high.beta.ln());
    let ((from, from_slope), (to, to_slope)) = (low.ratio(), high.ratio());
    let in_ln = root(start..end, [from, to], [low.beta * from_slope, high.beta * to_slope]);
    let in_beta = root(low.beta..high.beta, [from, to], [from_slope, to_slope]).ln();
    let middle = f64::midpoint(start, end);
    let tangent = (low.beta - from / from_slope).ln();
    let apart = ((in_ln - in_beta).abs() / 16.0).max(NEAR);
    let mut all = [
        in_ln - apart,
        in_ln,
        in_ln + apart,
        in_beta - apart,
        in_beta,
        in_beta + apart,
        if tangent.is_finite() { tangent } else { middle },
        middle,
    ];
    let (lower, upper) = (in_ln.min(in_beta), in_ln.max(in_beta));
    for x in &mut all {
        if *x <= start {
            *x = f64::midpoint(start, lower);
        } else if *x >= end {
            *x = f64::midpoint(upper, end);
        }
    }
    all.sort_by(f64::total_cmp);
    all.map(f64::exp)
}

/// The root of the cubic that has these values, the first below 0 and the second above it, and these derivatives at the
/// ends of a range (Hermite). By bisection.
fn root(range: Range<f64>, values: [f64; 2], slopes: [f64; 2]) -> f64 {
    let width = range.end - range.start;
    let cubic = |t: f64| {
        let rest = 1.0 - t;
        let of_start = rest * rest * ((1.0 + 2.0 * t) * values[0] + t * width * slopes[0]);
        of_start + t * t * ((1.0 + 2.0 * rest) * values[1] - rest * width * slopes[1])
    };
    let (mut below, mut above) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(below, above);
        if cubic(middle) < 0.0 { below = middle } else { above = middle }
    }
    range.start + width * f64::midpoint(below, above)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::op::rounded_beta;

    /// Runs a search on rows of the target's distance and those of all classes, as the kernel gives them: at factors
    /// rounded to f32.
    fn run(rows: &[(f64, Vec<f64>)]) -> (Next, Search, Vec<f64>) {
        let (mut search, mut betas, mut all) = (Search::default(), Search::first(), Vec::new());
        loop {
            let points = betas.map(|beta| at(rows, rounded_beta(beta)));
            all.extend(points.map(|point| point.beta));
            match search.take(points) {
                Next::Read(next) => betas = next,
                end => return (end, search, all),
            }
        }
    }

    fn at(rows: &[(f64, Vec<f64>)], beta: f64) -> Point {
        let mut point = Point { beta, of_target: 0.0, mean: 0.0, variance: 0.0 };
        for (own, distances) in rows {
            // As in f32.
            let terms = distances.iter().map(|&d| (d, if beta * d < 87.0 { (-beta * d).exp() } else { 0.0 }));
            let sums = terms.fold([0.0; 3], |[a, b, c], (d, e)| [a + e, b + d * e, c + d * d * e]);
            let mean = sums[1] / sums[0];
            point.of_target += own;
            point.mean += mean;
            point.variance += sums[2] / sums[0] - mean * mean;
        }
        point
    }

    /// Runs a search, and holds what it finds to bisection.
    fn check(context: &str, rows: &[(f64, Vec<f64>)]) {
        let (end, search, all) = run(rows);
        let (mut low, mut high) = (-MOST_LN_BETA, MOST_LN_BETA);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if at(rows, middle.exp()).slope() < 0.0 { low = middle } else { high = middle }
        }
        let Next::Found(found) = end else { panic!("{context}: {end:?} instead of {low}") };
        let off = (all[found].ln() - low).abs();
        assert!(off < 1e-5 && search.reads() <= MOST_READS, "{context}: {off:e} after {}", search.reads());
    }

    /// Rows of two classes, `distance` apart, of which all but `wrong` in a million are right: p = sigmoid(β·distance)
    /// must be that share.
    #[test]
    fn two_classes() {
        for wrong in [1, 100, 10_000, 100_000, 250_000, 400_000, 490_000, 499_999] {
            let share = f64::from(wrong) / 1e6;
            for distance in [1e-3f64, 0.05, 0.3, 1.0, 4.0, 20.0, 300.0, 8e3] {
                let beta = (1.0 / share - 1.0).ln() / distance;
                if beta.ln().abs() < MOST_LN_BETA {
                    check(&format!("{wrong} {distance}"), &[(distance * share, vec![0.0, distance])]);
                }
            }
        }
    }

    #[test]
    fn an_optimum_beyond_the_ends_is_told() {
        assert_eq!(run(&[(0.0, vec![0.0, 2.0])]).0, Next::High);
        assert_eq!(run(&[(0.0, vec![0.0, 1e-9])]).0, Next::High);
        assert_eq!(run(&[(1.0, vec![0.0, 2.0])]).0, Next::Low);
        assert_eq!(run(&[(0.0, vec![0.0, 0.0])]).0, Next::Low);
    }

    /// Rows of many classes whose distances span many orders.
    #[test]
    fn uneven_rows() {
        for seed in 0..150u64 {
            let mut random = StdRng::seed_from_u64(seed);
            let scale = random.random_range(-4.0f64..4.0).exp();
            let right = [0.2, 0.6, 0.9][seed as usize % 3];
            let mut row = || {
                let mut distances: Vec<f64> =
                    (0..12).map(|_| scale * 6.0 * random.random_range(0.0f64..1.0).powi(2)).collect();
                distances.push(0.0);
                let own = if random.random_bool(right) { 0.0 } else { distances[random.random_range(0..12)] };
                (own, distances)
            };
            let rows: Vec<_> = (0..40).map(|_| row()).collect();
            if at(&rows, (-MOST_LN_BETA).exp()).slope() < 0.0 {
                check(&format!("seed {seed}"), &rows);
            }
        }
    }
}
