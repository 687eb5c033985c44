//! The ranks of the targets.

/// The most ranks that are counted one by one, and so the largest k of a top-k accuracy.
pub const MAX_TALLIED_RANK: usize = 1024;

/// 1/rank is added in units of 2^-63, rounded down.
const UNIT: u64 = 1 << 63;

/// How often the target has each rank, from 1, and the sums of the ranks and of their reciprocals.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Ranks {
    /// Of rank 1, 2, …; the last is not 0.
    counts: Vec<u64>,
    rows: u64,
    sum: u64,
    /// Two words.
    reciprocals: (u64, u64),
}

impl Ranks {
    /// Adds a rank; 0 is none.
    pub fn add(&mut self, rank: u32) {
        let Some(at) = (rank as usize).checked_sub(1) else { return };
        if at < MAX_TALLIED_RANK {
            if at >= self.counts.len() {
                self.counts.resize(at + 1, 0);
            }
            self.counts[at] += 1;
        }
        self.rows += 1;
        self.sum = self.sum.saturating_add(rank.into());
        self.add_reciprocals((UNIT / u64::from(rank), 0));
    }

    fn add_reciprocals(&mut self, (low, high): (u64, u64)) {
        let (low, over) = self.reciprocals.0.overflowing_add(low);
        self.reciprocals = (low, self.reciprocals.1 + high + u64::from(over));
    }

    pub fn merge(&mut self, other: &Self) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.rows += other.rows;
        self.sum = self.sum.saturating_add(other.sum);
        self.add_reciprocals(other.reciprocals);
    }

    /// The share of the rows whose rank is at most k; `None` without rows or for a k that is 0 or above 1,024.
    pub fn top_k_accuracy(&self, k: usize) -> Option<f64> {
        let within: u64 = self.counts.iter().take(k).sum();
        (self.rows > 0 && (1..=MAX_TALLIED_RANK).contains(&k)).then(|| within as f64 / self.rows as f64)
    }

    pub fn mean(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.sum as f64 / self.rows as f64)
    }

    pub fn mean_reciprocal(&self) -> Option<f64> {
        let (low, high) = self.reciprocals;
        let sum = (u128::from(high) << 64 | u128::from(low)) as f64 / UNIT as f64;
        (self.rows > 0).then(|| sum / self.rows as f64)
    }

    pub fn is_sound(&self) -> bool {
        let counted = self.counts.iter().try_fold(0u64, |sum, &count| sum.checked_add(count));
        self.counts.len() <= MAX_TALLIED_RANK
            && counted.is_some_and(|counted| counted <= self.rows)
            && self.sum >= self.rows
            && self.reciprocals.1 < 1 << 62
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_answers() {
        let mut ranks = Ranks::default();
        [1, 2, 4, 0, 5_000].iter().for_each(|&rank| ranks.add(rank));
        assert!(ranks.is_sound());
        assert_eq!(
            [1, 2, 3, 4, 1024].map(|k| ranks.top_k_accuracy(k)),
            [0.25, 0.5, 0.5, 0.75, 0.75].map(Some)
        );
        assert_eq!([0, 1025].map(|k| ranks.top_k_accuracy(k)), [None, None]);
        assert_eq!(ranks.mean(), Some(5_007.0 / 4.0));
        let reciprocal = ranks.mean_reciprocal().unwrap();
        assert!((reciprocal - (1.75 + 1.0 / 5_000.0) / 4.0).abs() < 1e-15);
        let mut twice = ranks.clone();
        twice.merge(&ranks);
        assert_eq!((twice.mean(), twice.top_k_accuracy(2)), (ranks.mean(), Some(0.5)));
        assert_eq!((Ranks::default().mean(), Ranks::default().mean_reciprocal()), (None, None));
    }
}
