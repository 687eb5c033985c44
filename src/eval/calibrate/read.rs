//! One read of the rows: their mean loss at eight inverse temperatures, and what their predictions are worth.

use std::ops::Range;

use super::TemperaturePoint;
use super::search::Point;
use super::summing::Summing;
use crate::element::Element;
use crate::error::Result;
use crate::eval::each_window::each_window;
use crate::eval::losses::Evaluable;
use crate::eval::memory::Asked;
use crate::eval::row_inputs::BatchRows;
use crate::eval::source::Source;
use crate::eval::tally::Reliability;
use crate::op::{BETAS, MOMENT_WORDS};
use crate::options::{CalibratorOptions, CrossEntropyOptions};
use crate::reference::calibration::capped;
use crate::results::NO_CLASS;

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
        let mut read = Self {
            betas,
            sums: [[0.0; 3]; BETAS],
            of_targets: 0.0,
            reliability: std::array::from_fn(|_| Reliability::new(options.bins)),
            weight: 0.0,
            counted: 0,
            bad: 0,
        };
        // A row's record takes as many bytes as these entries of two words.
        let entries = MOMENT_WORDS.div_ceil(2) as u64;
        let asked = Asked { entries, device: summing.device(), ..Asked::of_device(false) };
        let open = |start| summing.open(shape, betas, start);
        let submit = |windows: &mut M::Windows, rows: Range<usize>, logits: &[E]| {
            let window = shape.with_rows(rows.len());
            let part = inputs.window(rows)?;
            let of_rows = <CrossEntropyOptions as Evaluable>::inputs::<E>(&part, None);
            let classes = Evaluable::top_classes::<E>(&loss, &of_rows, window);
            let counted = classes.into_iter().enumerate().filter(|&(_, class)| class != NO_CLASS);
            let counted = counted.map(|(row, class)| {
                let logit = logits[window.row_start(row) + class as usize * shape.inner].to_f64();
                Counted { row, class, logit, weight: f64::from(of_rows.rows.weight(row)) }
            });
            let counted: Vec<Counted> = counted.collect();
            Ok((summing.submit(windows, logits, window)?, counted))
        };
        let land =
            |windows: &mut M::Windows, (records, counted): (M::Records, Vec<Counted>), rows: Range<usize>| {
                let words = summing.land(windows, records, rows.len())?;
                for row in &counted {
                    let start = row.row * MOMENT_WORDS;
                    read.add(row, &Record::of(&words[start..start + MOMENT_WORDS]), options.softcap);
                }
                each(rows)
            };
        each_window(source, asked, memory, open, submit, land)?;
        Ok(read)
    }

    fn add(&mut self, row: &Counted, record: &Record, softcap: Option<f32>) {
        if !record.row_max.is_finite() || !row.logit.is_finite() {
            self.bad += 1;
            return;
        }
        self.counted += 1;
        let distance = capped(record.row_max, softcap) - capped(row.logit, softcap);
        self.weight += row.weight;
        self.of_targets += row.weight * distance;
        for (at, &[zeroth, first, second]) in record.sums.iter().enumerate() {
            let mean = first / zeroth;
            let of_row =
                [zeroth.ln() + self.betas[at] * distance, mean, (second / zeroth - mean * mean).max(0.0)];
            self.sums[at].iter_mut().zip(of_row).for_each(|(sum, value)| *sum += row.weight * value);
            self.reliability[at].add((1.0 / zeroth) as f32, record.argmax == row.class);
        }
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
