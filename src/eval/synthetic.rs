//! Logits that look like a language model's.

use std::ops::Range;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::error::Result;
use crate::eval::source::{Source, check_buffer, reserved, values_of};
use crate::shape::Shape;

/// Logits (rows, cols) like those of a language model, made when they are read and never stored. A row has a few likely
/// tokens, with frequent words more often among them, over Gaussian noise on all other tokens. Some rows are sure, some
/// are not. The target of a row is drawn from the row's own probabilities. At 50,000 classes the perplexity is near 20,
/// and two in five targets are the most probable class.
///
/// Each row has its own seed, so windows and threads do not change a bit. With the feature `cli`.
#[derive(Clone, Debug)]
pub struct SyntheticLogits {
    shape: Shape,
    seed: u64,
    targets: Vec<i32>,
}

/// Standard deviation of the logits of all other tokens.
const NOISE: f32 = 1.5;
/// The maximum number of likely tokens in a row.
const LIKELY: usize = 24;

impl SyntheticLogits {
    /// Draws the targets (rows,). The logits are drawn later.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses. Rows are dense: `row_stride` is ignored.
    pub fn new(shape: Shape, seed: u64) -> Result<Self> {
        let shape = Shape::new(shape.rows, shape.cols);
        shape.check()?;
        let target = |row| Head::draw(&mut row_rng(seed, row), shape.cols).target as i32;
        let mut targets = reserved("a target for each row", shape.rows)?;
        targets.par_extend((0..shape.rows).into_par_iter().map(target));
        Ok(Self { shape, seed, targets })
    }

    /// The targets (rows,).
    pub fn targets(&self) -> &[i32] {
        &self.targets
    }
}

impl Source<f32> for SyntheticLogits {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn read_rows(&mut self, rows: Range<usize>, into: &mut [f32]) -> Result<()> {
        let Self { shape, seed, .. } = *self;
        check_buffer(into, values_of(shape, rows.clone())?.len())?;
        into.par_chunks_mut(shape.cols).zip(rows).for_each(|(logits, row)| {
            let mut rng = row_rng(seed, row);
            let head = Head::draw(&mut rng, shape.cols);
            for logit in logits.iter_mut() {
                let noise: f32 = StandardNormal.sample(&mut rng);
                *logit = NOISE * noise;
            }
            for (class, logit) in head.likely {
                logits[class] = logit;
            }
        });
        Ok(())
    }
}

fn row_rng(seed: u64, row: usize) -> SmallRng {
    // An odd factor spreads neighbouring rows over all 64 bits; the generator's own seeding mixes them.
    SmallRng::seed_from_u64(seed ^ (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A row's likely tokens and its target.
struct Head {
    likely: Vec<(usize, f32)>,
    target: usize,
}

impl Head {
    fn draw(rng: &mut SmallRng, cols: usize) -> Self {
        let normal = |rng: &mut SmallRng| -> f32 { StandardNormal.sample(rng) };
        // How far the likeliest token stands out, and how fast the others fall off.
        let top = 15.0 + 2.5 * normal(rng);
        let fall = 1.2 + 0.5 * normal(rng).abs();
        let mut likely: Vec<(usize, f32)> = Vec::with_capacity(LIKELY);
        for rank in 0..LIKELY.min(cols.div_ceil(2)) {
            let class = frequent(rng, cols);
            let logit = top - fall * (1.0 + rank as f32).ln() + 0.3 * normal(rng);
            if likely.iter().all(|&(other, _)| other != class) {
                likely.push((class, logit));
            }
        }
        // The mean of exp(noise) over that many other classes is near exp(variance / 2).
        let others = cols as f64 * f64::from(NOISE * NOISE / 2.0).exp();
        let weights = likely.iter().map(|&(_, logit)| f64::from(logit).exp());
        let mut point = rng.random::<f64>() * (weights.clone().sum::<f64>() + others);
        for (&(class, _), weight) in likely.iter().zip(weights) {
            point -= weight;
            if point < 0.0 {
                return Self { target: class, likely };
            }
        }
        Self { target: rng.random_range(0..cols), likely }
    }
}

/// Draws a class with the frequency of a word of that rank. By Zipf's law, the logarithm of the rank is uniform.
fn frequent(rng: &mut SmallRng, cols: usize) -> usize {
    let rank = (rng.random::<f64>() * (cols as f64).ln()).exp();
    (rank as usize - 1).min(cols - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn windows_change_no_bit() {
        let shape = Shape::new(9, 1001);
        let read = |seed, rows: Range<usize>| {
            let mut into = vec![f32::NAN; rows.len() * shape.cols];
            SyntheticLogits::new(shape, seed).unwrap().read_rows(rows, &mut into).unwrap();
            into
        };
        let whole = read(7, 0..9);
        let parts = [0..4, 4..5, 5..9].map(|rows| read(7, rows)).concat();
        assert_eq!(whole, parts);
        assert!(whole.iter().all(|logit| logit.is_finite()));
        assert_ne!(whole[..1001], whole[1001..2002], "rows differ");
        assert_ne!(whole, read(8, 0..9), "seeds differ");
    }

    #[test]
    fn refusals() {
        let mut source = SyntheticLogits::new(Shape::new(4, 3), 1).unwrap();
        for (rows, refused) in [
            (2..5, Error::RowsExceedBound { rows: 5, bound: 4 }),
            (2..4, Error::Length { what: "the buffer of a window", found: 3, needed: 6 }),
        ] {
            assert_eq!(source.read_rows(rows, &mut [0.0; 3]), Err(refused));
        }
        let too_many = SyntheticLogits::new(Shape::new(1 << 60, 1), 1).err();
        assert!(matches!(too_many, Some(Error::OutOfMemory { .. })), "{too_many:?}");
    }

    #[test]
    fn targets_are_classes() {
        for cols in [1, 2, 3, 50_000] {
            let source = SyntheticLogits::new(Shape::new(500, cols), 1).unwrap();
            assert!(source.targets().iter().all(|&target| (0..cols as i32).contains(&target)), "{cols}");
        }
        assert!(SyntheticLogits::new(Shape::new(5, 0), 1).is_err());
    }
}
