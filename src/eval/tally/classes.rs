//! Figures of each class.

use std::collections::BTreeMap;

use crate::results::ExactSum;

/// The most classes whose own figures are kept.
pub const MAX_TALLIED_CLASSES: usize = 4096;
/// The most classes of a confusion matrix.
pub const MAX_CONFUSED_CLASSES: usize = 512;

/// Rows by their target and by the class that was predicted. Only rows with a result are counted.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Classes {
    classes: Vec<ClassSums>,
    /// (classes, classes): target by prediction. The upper halves of the few counts above u32 are apart.
    confusion: Vec<u32>,
    carries: BTreeMap<u32, u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct ClassSums {
    #[cfg_attr(feature = "serde", serde(rename = "s"))]
    support: u64,
    #[cfg_attr(feature = "serde", serde(rename = "p"))]
    predicted: u64,
    #[cfg_attr(feature = "serde", serde(rename = "c"))]
    correct: u64,
    #[cfg_attr(feature = "serde", serde(rename = "f"))]
    finite: u64,
    #[cfg_attr(feature = "serde", serde(rename = "l"))]
    loss: ExactSum,
}

/// The figures of one class.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClassFigures {
    /// Rows whose target it is.
    pub support: u64,
    /// Rows for which it is predicted.
    pub predicted: u64,
    /// Rows of both kinds.
    pub correct: u64,
    /// The mean of the finite losses of the rows whose target it is, in nats, times their weights; NaN if there are
    /// none.
    pub mean_loss: f64,
}

impl ClassFigures {
    /// The share of the rows with this target for which it is predicted; NaN if there are none.
    pub fn recall(&self) -> f64 {
        self.correct as f64 / self.support as f64
    }

    /// The share of the rows with this prediction whose target it is; NaN if there are none.
    pub fn precision(&self) -> f64 {
        self.correct as f64 / self.predicted as f64
    }
}

impl Classes {
    /// For this number of classes; nothing is kept of more than 4,096.
    pub fn new(classes: usize) -> Self {
        let kept = if classes <= MAX_TALLIED_CLASSES { classes } else { 0 };
        let confused = if classes <= MAX_CONFUSED_CLASSES { classes } else { 0 };
        let (classes, confusion) = (vec![ClassSums::default(); kept], vec![0; confused * confused]);
        Self { classes, confusion, carries: BTreeMap::new() }
    }

    #[inline]
    pub fn add(&mut self, target: u32, predicted: u32, loss: f32) {
        if self.classes.is_empty() {
            return;
        }
        let (row, column) = (target as usize, predicted as usize);
        if let Some(class) = self.classes.get_mut(column) {
            class.predicted += 1;
        }
        let Some(class) = self.classes.get_mut(row) else { return };
        class.support += 1;
        class.correct += u64::from(row == column);
        if loss.is_finite() {
            class.finite += 1;
            class.loss.add(loss);
        }
        let at = row * self.classes.len() + column;
        if let Some(count) = self.confusion.get_mut(at) {
            let over;
            (*count, over) = count.overflowing_add(1);
            if over {
                *self.carries.entry(at as u32).or_default() += 1;
            }
        }
    }

    pub fn merge(&mut self, other: &Self) {
        for (class, more) in self.classes.iter_mut().zip(&other.classes) {
            class.support += more.support;
            class.predicted += more.predicted;
            class.correct += more.correct;
            class.finite += more.finite;
            class.loss.merge(&more.loss);
        }
        for (at, (count, &more)) in (0..).zip(self.confusion.iter_mut().zip(&other.confusion)) {
            let over;
            (*count, over) = count.overflowing_add(more);
            if over {
                *self.carries.entry(at).or_default() += 1;
            }
        }
        other.carries.iter().for_each(|(&at, more)| *self.carries.entry(at).or_default() += more);
    }

    /// The figures of each class; none if there are more than 4,096.
    pub fn figures(&self) -> impl Iterator<Item = ClassFigures> {
        self.classes.iter().map(|&ClassSums { support, predicted, correct, finite, loss }| {
            let mean_loss = loss.value() / finite as f64;
            ClassFigures { support, predicted, correct, mean_loss }
        })
    }

    /// How many rows with a target have each prediction: (classes, classes). Empty if there are more than 512.
    pub fn confusion(&self) -> Vec<u64> {
        let upper = |at: u32| self.carries.get(&at).map_or(0, |&upper| u64::from(upper) << 32);
        (0..).zip(&self.confusion).map(|(at, &count)| upper(at) + u64::from(count)).collect()
    }

    pub fn is_sound(&self, classes: usize) -> bool {
        let new = Self::new(classes);
        (self.classes.len(), self.confusion.len()) == (new.classes.len(), new.confusion.len())
            && self.classes.iter().all(|class| {
                class.correct <= class.support.min(class.predicted) && class.finite <= class.support
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_by_target_and_prediction() {
        let mut classes = Classes::new(3);
        for (target, predicted, loss) in [(0, 0, 1.0), (0, 1, 3.0), (2, 2, 0.5), (2, 0, f32::INFINITY)] {
            classes.add(target, predicted, loss);
        }
        let figures: Vec<_> = classes.figures().collect();
        assert_eq!((figures[0].support, figures[0].predicted, figures[0].mean_loss), (2, 2, 2.0));
        assert_eq!((figures[0].recall(), figures[0].precision()), (0.5, 0.5));
        assert!(
            figures[1].recall().is_nan() && figures[1].precision() == 0.0 && figures[1].mean_loss.is_nan()
        );
        assert_eq!((figures[2].recall(), figures[2].mean_loss), (0.5, 0.5));
        assert_eq!(classes.confusion(), [1, 1, 0, 0, 0, 0, 1, 0, 1]);
        classes.confusion[4] = u32::MAX;
        classes.add(1, 1, 0.0);
        assert_eq!(classes.confusion()[4], 1 << 32);
        let both = classes.clone();
        classes.merge(&both);
        assert_eq!((classes.confusion()[0], classes.confusion()[4]), (2, 2 << 32));
        assert!(classes.is_sound(3) && !classes.is_sound(4));
    }

    #[test]
    fn many_classes_have_no_figures_of_their_own() {
        let kept =
            |classes| (Classes::new(classes).figures().count(), Classes::new(classes).confusion().len());
        assert_eq!([512, 513, 4096, 4097].map(kept), [(512, 512 * 512), (513, 0), (4096, 0), (0, 0)]);
        let mut many = Classes::new(5000);
        many.add(7, 7, 1.0);
        assert_eq!(many, Classes::default());
    }
}
