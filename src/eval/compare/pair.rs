//! A pair of windows: the losses of both, the divergence, and the largest classes, side by side.

use super::difference::logit_difference;
use super::row::ComparedRow;
use crate::element::Element;
use crate::error::Result;
use crate::eval::evaluator::Evaluator;
use crate::inputs::{CrossEntropyInputs, KlDivergenceInputs};
use crate::options::{CrossEntropyOptions, KlDivergenceOptions};
use crate::results::NO_CLASS;
use crate::shape::Shape;
use crate::targets::Targets;

/// What gives the losses of rows.
pub(super) trait Losses<E: Element>: Evaluator<E, CrossEntropyOptions> {}
impl<E: Element, T: Evaluator<E, CrossEntropyOptions>> Losses<E> for T {}

/// What gives the divergences of rows.
pub(super) trait Divergences<E: Element>: Evaluator<E, KlDivergenceOptions> {}
impl<E: Element, T: Evaluator<E, KlDivergenceOptions>> Divergences<E> for T {}

/// What gives the largest classes of rows.
pub(super) trait Tops<E: Element> {
    /// A window in flight.
    type Flight;

    /// The maximum number of rows in a window.
    fn window_rows(&self) -> usize;

    /// Submits the next rows. At most the window before may still be in flight.
    fn submit(&mut self, logits: &[E], window: Shape) -> Result<Self::Flight>;

    /// The classes (rows, k) of a window, in the order of submission.
    fn finish(&mut self, flight: Self::Flight, rows: usize) -> Result<Vec<i32>>;
}

/// The rows of a window that count, and the classes that their losses are of.
pub(super) struct Counted {
    /// Classes (rows,). Without targets, and in rows that do not count, they have no meaning.
    classes: Vec<i32>,
    /// Which rows count, unless all do.
    mask: Option<Vec<bool>>,
    has_targets: bool,
}

impl Counted {
    /// Rows without targets, which all count.
    pub fn all(rows: usize) -> Self {
        Self { classes: vec![0; rows], mask: None, has_targets: false }
    }

    /// Rows with these targets; [`NO_CLASS`] for those that do not count.
    pub fn of(targets: Vec<u32>) -> Self {
        let counts = |&target: &u32| target != NO_CLASS;
        let mask = (!targets.iter().all(counts)).then(|| targets.iter().map(counts).collect());
        let classes = targets.into_iter().map(|target| if counts(&target) { target as i32 } else { 0 });
        Self { classes: classes.collect(), mask, has_targets: true }
    }

    fn counts(&self, row: usize) -> bool {
        self.mask.as_ref().is_none_or(|mask| mask[row])
    }

    fn target(&self, row: usize) -> Option<u32> {
        self.has_targets.then(|| self.classes[row] as u32)
    }

    fn losses(&self) -> CrossEntropyInputs<'_> {
        let mut inputs = CrossEntropyInputs::new(Targets::Classes(&self.classes));
        inputs.rows.row_mask = self.mask.as_deref();
        inputs
    }

    fn divergences<'i, E>(&'i self, base: &'i [E]) -> KlDivergenceInputs<'i, E> {
        let mut inputs = KlDivergenceInputs::new(base);
        inputs.rows.row_mask = self.mask.as_deref();
        inputs
    }
}

/// The operations on a pair of windows.
pub(super) struct Pair<E, C, K, T> {
    /// The losses of base and other.
    losses: [C; 2],
    divergence: K,
    /// The largest classes of base and other.
    tops: Option<[T; 2]>,
    results: Vec<ComparedRow>,
    element: std::marker::PhantomData<E>,
}

/// A pair of windows in flight.
pub(super) struct Flight<E: Element, C: Losses<E>, K: Divergences<E>, T: Tops<E>> {
    losses: [C::Flight; 2],
    divergence: K::Flight,
    tops: Option<[T::Flight; 2]>,
    /// The largest differences of logits (rows,), which the host finds meanwhile.
    differences: Vec<f32>,
}

impl<E: Element, C: Losses<E>, K: Divergences<E>, T: Tops<E>> Pair<E, C, K, T> {
    pub fn new(losses: [C; 2], divergence: K, tops: Option<[T; 2]>) -> Self {
        Self { losses, divergence, tops, results: Vec::new(), element: std::marker::PhantomData }
    }

    /// The maximum number of rows in a window.
    pub fn window_rows(&self) -> usize {
        let [base, other] = &self.losses;
        let rows = [base.window_rows(), other.window_rows(), self.divergence.window_rows()].into_iter();
        let tops = self.tops.iter().flatten().map(T::window_rows);
        rows.chain(tops).min().unwrap_or(1)
    }

    /// Submits the next rows of base and other. At most the window before may still be in flight.
    pub fn submit(
        &mut self,
        [base, other]: [&[E]; 2],
        window: Shape,
        counted: &Counted,
    ) -> Result<Flight<E, C, K, T>> {
        let rows = window.rows;
        let [of_base, of_other] = &mut self.losses;
        let inputs = counted.losses();
        let losses =
            [of_base.submit(base, rows, &inputs, false)?, of_other.submit(other, rows, &inputs, false)?];
        let divergence = self.divergence.submit(other, rows, &counted.divergences(base), false)?;
        let tops = match &mut self.tops {
            Some([of_base, of_other]) => {
                Some([of_base.submit(base, window)?, of_other.submit(other, window)?])
            }
            None => None,
        };
        let difference = |row| match counted.counts(row) {
            true => logit_difference(base, other, window, row),
            false => 0.0,
        };
        let differences = (0..rows).map(difference).collect();
        Ok(Flight { losses, divergence, tops, differences })
    }

    /// Waits for a pair, in the order of submission.
    pub fn finish(&mut self, flight: Flight<E, C, K, T>, counted: &Counted) -> Result<&[ComparedRow]> {
        let Flight { losses: [of_base, of_other], divergence, tops, differences } = flight;
        let [base, other] = &mut self.losses;
        let inputs = counted.losses();
        let base = base.finish(of_base, &inputs, None)?;
        let other = other.finish(of_other, &inputs, None)?;
        let kl = self.divergence.finish(divergence, &counted.divergences(&[]), None)?;
        let rows = differences.len();
        let tops = match (&mut self.tops, tops) {
            (Some([base, other]), Some([of_base, of_other])) => {
                Some([base.finish(of_base, rows)?, other.finish(of_other, rows)?])
            }
            _ => None,
        };
        self.results.clear();
        self.results.extend(differences.into_iter().enumerate().map(|(row, logit_difference)| {
            if !counted.counts(row) {
                return ComparedRow::LEFT_OUT;
            }
            let of_row = ComparedRow::of([&base[row], &other[row], &kl[row]], counted.target(row));
            let overlap = tops.as_ref().map_or(0, |tops| overlap(tops, row, rows));
            ComparedRow { logit_difference, overlap, ..of_row }
        }));
        Ok(&self.results)
    }
}

/// How many classes of a row both have among their largest.
fn overlap([base, other]: &[Vec<i32>; 2], row: usize, rows: usize) -> u32 {
    let of_row = |classes: &Vec<i32>| {
        let k = classes.len() / rows;
        let mut classes = classes[row * k..(row + 1) * k].to_vec();
        classes.sort_unstable();
        classes
    };
    let others = of_row(other);
    of_row(base).iter().filter(|class| others.binary_search(class).is_ok()).count() as u32
}
