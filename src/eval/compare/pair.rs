//! A pair of windows: the losses of both and the divergence on the device, the rest on the host, side by side.

use super::host::{logit_difference, overlap};
use super::row::ComparedRow;
use crate::coded::Logits;
use crate::element::Element;
use crate::error::Result;
use crate::eval::evaluator::Evaluator;
use crate::inputs::{CrossEntropyInputs, KlDivergenceInputs};
use crate::options::{ComparatorOptions, CrossEntropyOptions, KlDivergenceOptions};
use crate::results::{NO_CLASS, RowResult};
use crate::shape::Shape;
use crate::targets::Targets;

/// What gives the losses of rows.
pub(super) trait Losses<E: Element>: Evaluator<E, CrossEntropyOptions> {}
impl<E: Element, T: Evaluator<E, CrossEntropyOptions>> Losses<E> for T {}

/// What gives the divergences of rows.
pub(super) trait Divergences<E: Element>: Evaluator<E, KlDivergenceOptions> {}
impl<E: Element, T: Evaluator<E, KlDivergenceOptions>> Divergences<E> for T {}

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
pub(super) struct Pair<E, C, K> {
    /// The losses of base and other.
    losses: [C; 2],
    divergence: K,
    options: ComparatorOptions,
    results: Vec<ComparedRow>,
    /// The base's values of a window with −∞ for those that have no part in the divergence.
    above: Vec<E>,
}

/// A pair of windows in flight.
pub(super) struct Flight<E: Element, C: Losses<E>, K: Divergences<E>> {
    losses: [C::Flight; 2],
    divergence: K::Flight,
    /// What the host finds in the rows meanwhile.
    found: Vec<Found>,
}

/// What the host finds in a pair of rows.
#[derive(Default)]
struct Found {
    logit_difference: f32,
    overlap: u32,
    /// The target's log-probabilities, where the values are taken as they are.
    target_log_probs: [Option<f32>; 2],
}

impl<E: Element, C: Losses<E>, K: Divergences<E>> Pair<E, C, K> {
    pub fn new(losses: [C; 2], divergence: K, options: ComparatorOptions) -> Self {
        Self { losses, divergence, options, results: Vec::new(), above: Vec::new() }
    }

    /// The maximum number of rows in a window.
    pub fn window_rows(&self) -> usize {
        let [base, other] = &self.losses;
        base.window_rows().min(other.window_rows()).min(self.divergence.window_rows())
    }

    /// Submits the next rows of base and other. At most the window before may still be in flight.
    pub fn submit(
        &mut self,
        [base, other]: [Logits<'_, E>; 2],
        window: Shape,
        counted: &Counted,
    ) -> Result<Flight<E, C, K>> {
        let rows = window.rows;
        let Self { losses: [of_base, of_other], divergence, options, above, .. } = self;
        let inputs = counted.losses();
        // The sum of the probabilities above the floor is needed, too, and not that of all.
        let dividing = match options.kl_floor {
            Some(floor) => {
                let least = f64::from(floor);
                let of = |&x: &E| if x.to_f64() <= least { E::from_f32(f32::NEG_INFINITY) } else { x };
                above.clear();
                above.extend(base.values(window).iter().map(of));
                Logits::Values(&above[..])
            }
            None => base,
        };
        let (teacher, codes) = match dividing {
            Logits::Values(values) => (values, None),
            Logits::Codes(codes) => (&[][..], Some(codes)),
        };
        let losses = [
            of_base.submit(dividing, None, rows, &inputs, false)?,
            of_other.submit(other, None, rows, &inputs, false)?,
        ];
        let divergence = divergence.submit(other, codes, rows, &counted.divergences(teacher), false)?;
        let find = |row| {
            if !counted.counts(row) {
                return Found::default();
            }
            let target = |logits: Logits<'_, E>, is_log_probs: bool| {
                let class = counted.target(row).filter(|_| is_log_probs)?;
                Some(logits.value(window, row, class as usize) as f32)
            };
            let [of_base, of_other] = options.log_probs;
            Found {
                logit_difference: logit_difference(base, other, window, row),
                overlap: overlap([base, other], window, row, options.top_k),
                target_log_probs: [target(base, of_base), target(other, of_other)],
            }
        };
        let found = (0..rows).map(find).collect();
        Ok(Flight { losses, divergence, found })
    }

    /// Waits for a pair, in the order of submission.
    pub fn finish(&mut self, flight: Flight<E, C, K>, counted: &Counted) -> Result<&[ComparedRow]> {
        let Flight { losses: [of_base, of_other], divergence, found } = flight;
        let [base, other] = &mut self.losses;
        let inputs = counted.losses();
        let base = base.finish(of_base, &inputs, None)?;
        let other = other.finish(of_other, &inputs, None)?;
        let kl = self.divergence.finish(divergence, &counted.divergences(&[]), None)?;
        self.results.clear();
        let log_probs = self.options.log_probs;
        self.results.extend(found.into_iter().enumerate().map(|(row, found)| {
            if !counted.counts(row) {
                return ComparedRow::LEFT_OUT;
            }
            let parts = [&base[row], &other[row], &kl[row]];
            let compared =
                ComparedRow::of(parts, counted.target(row)).with(found.logit_difference, found.overlap);
            match log_probs {
                [false, false] => compared,
                _ => {
                    let lse = |of: &RowResult, is_log_probs| if is_log_probs { of.lse.into() } else { 0.0 };
                    let sums = [lse(&base[row], log_probs[0]), lse(&other[row], log_probs[1])];
                    compared.of_log_probs(sums, found.target_log_probs, kl[row].loss)
                }
            }
        }));
        Ok(&self.results)
    }
}
