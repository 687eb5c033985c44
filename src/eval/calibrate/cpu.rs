//! Calibration without a GPU: sums by the reference, with rows spread over the cores.

use std::ops::Range;

use rayon::prelude::*;

use super::summing::Summing;
use super::{Calibration, TemperatureCurve, curve_on, fit_on};
use crate::coded::Logits;
use crate::element::Element;
use crate::error::Result;
use crate::eval::inputs::EvaluateInputs;
use crate::eval::source::Source;
use crate::op::{BETAS, Start};
use crate::options::CalibratorOptions;
use crate::reference::calibration::row_moments;
use crate::shape::Shape;

/// The maximum bytes of a window's logits.
const WINDOW_BYTES: u64 = 16 << 20;

/// Like [`Calibrator::fit`](super::Calibrator::fit), on the f64 [`reference`](mod@crate::reference) and on all cores: for
/// machines without an adapter. With the feature `cli`.
///
/// # Errors
/// As for [`Calibrator::fit`](super::Calibrator::fit), except those of a device.
pub fn fit_on_cpu<'a, E: Element>(
    options: &CalibratorOptions,
    source: &mut dyn Source<E>,
    inputs: impl Into<EvaluateInputs<'a>>,
    memory: Option<u64>,
    each: impl FnMut(usize, Range<usize>) -> Result<()>,
) -> Result<Calibration> {
    options.check()?;
    fit_on(&Cpu { softcap: options.softcap }, options, source, inputs.into(), memory, each)
}

/// Like [`Calibrator::curve`](super::Calibrator::curve), on the f64 [`reference`](mod@crate::reference) and on all cores. With
/// the feature `cli`.
///
/// # Errors
/// As for [`Calibrator::curve`](super::Calibrator::curve), except those of a device.
pub fn curve_on_cpu<'a, E: Element>(
    options: &CalibratorOptions,
    source: &mut dyn Source<E>,
    inputs: impl Into<EvaluateInputs<'a>>,
    temperatures: &[f64],
    memory: Option<u64>,
    each: impl FnMut(usize, Range<usize>) -> Result<()>,
) -> Result<TemperatureCurve> {
    options.check()?;
    let cpu = Cpu { softcap: options.softcap };
    curve_on(&cpu, options, source, inputs.into(), temperatures, memory, each)
}

struct Cpu {
    softcap: Option<f32>,
}

impl<E: Element> Summing<E> for Cpu {
    /// The inverse temperatures.
    type Windows = [f64; BETAS];
    type Records = Vec<u32>;

    fn device(&self) -> Option<bool> {
        None
    }

    fn rounded(&self, beta: f64) -> f64 {
        beta
    }

    fn open(&self, shape: Shape, betas: [f64; BETAS], start: Start) -> Result<([f64; BETAS], usize)> {
        let room = start.room.map_or(WINDOW_BYTES, |room| WINDOW_BYTES.min(room));
        let groups = room / (shape.row_stride * size_of::<E>()).max(1) as u64;
        Ok((betas, groups.max(1) as usize * shape.inner))
    }

    fn submit(&self, betas: &mut [f64; BETAS], logits: Logits<'_, E>, window: Shape) -> Result<Vec<u32>> {
        let logits = logits.values(window);
        // Rounded to f32, as a device gives them.
        let of_row = |row: usize| {
            let moments = row_moments(&window.row_vec(&logits, row), self.softcap, betas);
            let sums = moments.sums.into_iter().flatten().map(|sum| (sum as f32).to_bits());
            [(moments.row_max as f32).to_bits(), moments.argmax].into_iter().chain(sums)
        };
        Ok((0..window.rows).into_par_iter().flat_map_iter(of_row).collect())
    }

    fn land(&self, _: &mut [f64; BETAS], words: Vec<u32>, _: usize) -> Result<Vec<u32>> {
        Ok(words)
    }
}
