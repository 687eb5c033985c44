//! One read of the rows: their mean loss at eight inverse temperatures, and what their predictions are worth.

use std::ops::Range;

use super::search::Point;
use super::summing::Summing;
use super::{TemperatureCurve, TemperaturePoint};
use crate::coded::Logits;
use crate::element::Element;
use crate::error::Result;
use crate::eval::each_window::each_window;
use crate::eval::losses::Evaluable;
use crate::eval::memory::Asked;
use crate::eval::misuse::{LOOKED_AT, Looked, Signs};
use crate::eval::row_inputs::BatchRows;
use crate::eval::source::Source;
use crate::eval::tally::Reliability;
use crate::flags::Flags;
use crate::op::{BETAS, MOMENT_WORDS};
use crate::options::{CalibratorOptions, CrossEntropyOptions};
use crate::reference::calibration::capped;
use crate::results::{NO_CLASS, RowResult};
use crate::shape::Shape;
use crate::verification::Verification;

/// A row's maximum before the cap, where that is, and its sums at each β.
struct Record {
    row_max: f64,
    argmax: u32,
    sums: [[f64; 3]; BETAS],
}

impl Record {
    fn of(words: &[u32]) -> Self {
        let value = |at: usize| f64::from(f32::from_bits(words[at]));
        let sums = std::array::from_fn(|beta| [0, 1, 2].map(|order| value(2 + 3 * beta + order)));
        Self { row_max: value(0), argmax: words[1], sums }
    }
}

/// A row that counts: where it is in its window, its target's class and logit, and its weight.
struct Counted {
    row: usize,
    class: u32,
    logit: f64,
    weight: f64,
}

impl Counted {
    /// What is unusual in the row.
    fn flags(&self, row_max: f64) -> Flags {
        let of_logits = match row_max {
            f64::NEG_INFINITY => Flags::MASKED_ROW,
            f64::INFINITY => Flags::INFINITE_LOGIT,
            value if value.is_nan() => Flags::NAN_LOGIT,
            _ => Flags::empty(),
        };
        let is_valid = self.weight.is_finite() && self.weight >= 0.0;
        let of_weight = if is_valid { Flags::empty() } else { Flags::INVALID_WEIGHT };
        let flags = of_logits | of_weight;
        if !flags.is_empty() {
            flags | Flags::NAN_LOSS
        } else if self.logit == f64::NEG_INFINITY {
            Flags::INFINITE_LOSS
        } else {
            flags
        }
    }
}

/// What is kept of a window until its records have come.
struct Pending {
    counted: Vec<Counted>,
    /// The class of each row.
    classes: Vec<u32>,
    looked: Looked,
}

/// The sums of one read over the rows that count.
pub(super) struct Read {
    betas: [f64; BETAS],
    /// Σ weight · {loss, mean distance, variance of the distance}.
    sums: [[f64; 3]; BETAS],
    /// Σ weight · the target's distance.
    of_targets: f64,
    reliability: [Reliability; BETAS],
    weight: f64,
    pub counted: usize,
    pub bad: usize,
    first_bad: Option<(usize, Flags)>,
    flags: Flags,
    /// The predictions at each β of rows whose target alone is impossible: their loss is infinite, but they have a prediction.
    of_impossible: [Reliability; BETAS],
    signs: Signs,
}

impl Read {
    /// Reads all rows.
    pub fn of<E: Element, M: Summing<E>>(
        summing: &M,
        options: &CalibratorOptions,
        source: &mut dyn Source<E>,
        inputs: &mut BatchRows<'_, E, CrossEntropyOptions>,
        betas: [f64; BETAS],
        memory: Option<u64>,
        mut each: impl FnMut(Range<usize>) -> Result<()>,
    ) -> Result<Self> {
        let betas = betas.map(|beta| summing.rounded(beta));
        let (shape, loss) = (source.shape(), options.loss().for_evaluation());
        let mut read = Self::new(options, betas);
        read.signs = Signs::of_batch(*inputs.runs());
        let mut looked_at = Verification::sample(shape.rows, LOOKED_AT).peekable();
        // A row's record takes as many bytes as these entries of two words.
        let entries = MOMENT_WORDS.div_ceil(2) as u64;
        let asked = Asked { entries, device: summing.device(), ..Asked::of_device(false) };
        let open = |start| summing.open(shape, betas, start);
        let submit = |windows: &mut M::Windows, rows: Range<usize>, logits: Logits<'_, E>| {
            let window = shape.with_rows(rows.len());
            let part = inputs.window(rows.clone())?;
            let of_rows = <CrossEntropyOptions as Evaluable>::inputs::<E>(&part, None);
            let classes = Evaluable::top_classes::<E>(&loss, &of_rows, window);
            let mut looked = Looked::default();
            while let Some(row) = looked_at.next_if(|row| rows.contains(row)).map(|row| row - rows.start) {
                if classes.get(row).is_some_and(|&class| class != NO_CLASS) {
                    looked.at(&logits.row(window, row), false, Looked::rounding::<E>());
                }
            }
            let counted = classes.iter().copied().enumerate().filter(|&(_, class)| class != NO_CLASS);
            let counted = counted.map(|(row, class)| {
                let logit = logits.value(window, row, class as usize);
                Counted { row, class, logit, weight: f64::from(of_rows.rows.weight(row)) }
            });
            let counted: Vec<Counted> = counted.collect();
            let pending = Pending { counted, classes, looked };
            Ok((summing.submit(windows, logits, window)?, pending))
        };
        let land =
            |windows: &mut M::Windows, (records, pending): (M::Records, Pending), rows: Range<usize>| {
                let Pending { counted, classes, looked } = pending;
                let words = summing.land(windows, records, rows.len())?;
                let mut results = vec![RowResult::LEFT_OUT; rows.len()];
                for row in &counted {
                    let start = row.row * MOMENT_WORDS;
                    let record = Record::of(&words[start..start + MOMENT_WORDS]);
                    results[row.row] = read.add(row, &record, (rows.start, options.softcap));
                }
                read.signs.add(&loss, (shape, rows.start), &results, &classes, &looked);
                each(rows)
            };
        each_window(source, (asked, summing.device().is_some()), memory, open, submit, land)?;
        Ok(read)
    }

    /// No rows.
    pub fn new(options: &CalibratorOptions, betas: [f64; BETAS]) -> Self {
        let reliability = || std::array::from_fn(|_| Reliability::new(options.bins));
        Self {
            betas,
            sums: [[0.0; 3]; BETAS],
            of_targets: 0.0,
            reliability: reliability(),
            weight: 0.0,
            counted: 0,
            bad: 0,
            first_bad: None,
            flags: Flags::empty(),
            of_impossible: reliability(),
            signs: Signs::default(),
        }
    }

    /// Adds a row of a window that begins at `first`. Returns what signs are read from: its result at the first β.
    fn add(&mut self, row: &Counted, record: &Record, (first, softcap): (usize, Option<f32>)) -> RowResult {
        let flags = row.flags(record.row_max);
        let (top, zeroth) = (capped(record.row_max, softcap), record.sums[0][0]);
        let distance = top - capped(row.logit, softcap);
        let result = RowResult {
            loss: match flags {
                _ if flags.contains(Flags::NAN_LOSS) => f32::NAN,
                // With a cap, the distance is finite.
                _ if flags.contains(Flags::INFINITE_LOSS) => f32::INFINITY,
                _ => (zeroth.ln() + self.betas[0] * distance) as f32,
            },
            lse: (self.betas[0] * top + zeroth.ln()) as f32,
            argmax: record.argmax,
            confidence: (1.0 / zeroth) as f32,
            flags: flags.bits(),
            ..RowResult::default()
        };
        self.flags |= flags;
        if !flags.is_empty() {
            self.bad += 1;
            self.first_bad.get_or_insert((first + row.row, flags));
            if flags == Flags::INFINITE_LOSS {
                for (of, [zeroth, ..]) in self.of_impossible.iter_mut().zip(record.sums) {
                    of.add((1.0 / zeroth) as f32, record.argmax == row.class);
                }
            }
            return result;
        }
        self.counted += 1;
        self.weight += row.weight;
        self.of_targets += row.weight * distance;
        for (at, &[zeroth, first, second]) in record.sums.iter().enumerate() {
            let mean = first / zeroth;
            let of_row =
                [zeroth.ln() + self.betas[at] * distance, mean, (second / zeroth - mean * mean).max(0.0)];
            self.sums[at].iter_mut().zip(of_row).for_each(|(sum, value)| *sum += row.weight * value);
            self.reliability[at].add((1.0 / zeroth) as f32, record.argmax == row.class);
        }
        result
    }

    /// What a curve says of the batch, without its points.
    pub fn into_curve(self, shape: Shape) -> TemperatureCurve {
        let counted = self.counted + self.bad;
        let of_batch = if counted == 0 { Flags::NO_ROW_COUNTS } else { Flags::empty() };
        TemperatureCurve {
            points: Vec::new(),
            rows: shape.rows,
            counted,
            bad: self.bad,
            first_bad: self.first_bad,
            flags: self.flags | of_batch,
            notices: self.signs.notices(),
        }
    }

    /// The points of a curve, with all rows that have a prediction.
    pub fn points_of_curve(&self) -> impl Iterator<Item = TemperaturePoint> {
        self.points().zip(&self.of_impossible).map(|(mut point, more)| {
            point.reliability.merge(more);
            point
        })
    }

    pub fn search_points(&self) -> [Point; BETAS] {
        std::array::from_fn(|at| {
            let [_, mean, variance] = self.sums[at].map(|sum| sum / self.weight);
            Point { beta: self.betas[at], of_target: self.of_targets / self.weight, mean, variance }
        })
    }

    pub fn points(&self) -> impl Iterator<Item = TemperaturePoint> {
        self.search_points().into_iter().enumerate().map(|(at, point)| TemperaturePoint {
            temperature: 1.0 / point.beta,
            loss: self.sums[at][0] / self.weight,
            slope: point.slope(),
            curvature: point.variance,
            reliability: self.reliability[at].clone(),
        })
    }
}
