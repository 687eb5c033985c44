//! Temperature calibration: the temperature that makes the mean loss of held-out rows smallest.
//!
//! A model is calibrated if, of all predictions made with a confidence of 0.8, four in five are right. Most large models
//! are too confident; dividing their logits by one temperature T, fitted on rows that were not trained on, mends most of it
//! and changes no prediction (Guo et al. 2017, "On calibration of modern neural networks").
//!
//! ```no_run
//! use xent::Context;
//! use xent::Shape;
//! use xent::eval::SliceSource;
//! use xent::eval::calibrate::Calibrator;
//!
//! let gpu = Context::new().wait()?;
//! let calibrator = Calibrator::<f32>::new(&gpu, &Default::default())?;
//! let logits = [2.0, 0.0, 2.0, 0.0, 2.0, 0.0, 0.0, 2.0];
//! let mut source = SliceSource::new(&logits, Shape::new(4, 2))?;
//! let found = calibrator.fit(&mut source, &[0, 0, 0, 0], None, |_, _| Ok(()))?;
//! assert!((found.temperature - 1.8204785).abs() < 1e-4);
//! # Ok::<(), xent::Error>(())
//! ```

mod conformal;
#[cfg(feature = "cli")]
mod cpu;
mod read;
mod search;
mod summing;

use std::ops::Range;

use crate::context::Context;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::eval::inputs::EvaluateInputs;
use crate::eval::misuse::Notice;
use crate::eval::row_inputs::BatchRows;
use crate::eval::source::Source;
use crate::eval::tally::Reliability;
use crate::flags::Flags;
use crate::kernel::Tuning;
use crate::op::{BETAS, RowMoments};
use crate::options::CalibratorOptions;

pub use conformal::{Conformal, ConformalScore, Coverage};
#[cfg(feature = "cli")]
pub use cpu::{curve_on_cpu, fit_on_cpu};
use read::Read;
use search::{AS_IT_IS, Next, Search};
use summing::Summing;

/// Fits the temperature of a classifier on held-out rows.
///
/// The mean loss is convex in β = 1/T. A read of the rows gives it at eight values of β, with its derivatives, and at most
/// four reads give T within 1e-5 of the optimum, which lies between e^−10 and e^10 (0.000045 and 22,026) or is reported as
/// a [`TemperatureLimit`].
#[derive(Clone, Debug)]
pub struct Calibrator<E: Element> {
    moments: RowMoments<E>,
    options: CalibratorOptions,
}

/// A fitted temperature, and what it changes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Calibration {
    /// Logits divided by this have the smallest mean loss.
    pub temperature: f64,
    /// The figures at T = 1.
    pub before: TemperaturePoint,
    /// The figures at the fitted temperature.
    pub after: TemperaturePoint,
    /// Set if the loss has no minimum between the lowest and the highest temperature: then `temperature` is that limit.
    pub limit: Option<TemperatureLimit>,
    /// How far the temperature may be from the optimum, relative to it: the next step of Newton's method.
    pub uncertainty: f64,
    /// How often the rows were read.
    pub reads: usize,
    /// The number of rows.
    pub rows: usize,
    /// The rows that the figures are about.
    pub counted: usize,
    /// Rows left out because a logit is NaN or +∞, or the target's is −∞, or all are.
    pub bad: usize,
}

/// The mean loss and the reliability of predictions at a temperature.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TemperaturePoint {
    /// The temperature.
    pub temperature: f64,
    /// The mean loss, in nats.
    pub loss: f64,
    /// The derivative of the mean loss in β = 1/T.
    pub slope: f64,
    /// Its second derivative, never below 0.
    pub curvature: f64,
    /// Rows by the confidence of their prediction.
    pub reliability: Reliability,
}

/// What rows give at several temperatures, from [`Calibrator::curve`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TemperatureCurve {
    /// A point for each temperature. Its loss, slope and curvature are of the rows with a finite loss, its reliability of all
    /// rows that have a most probable class.
    pub points: Vec<TemperaturePoint>,
    /// The number of rows.
    pub rows: usize,
    /// The rows that count, bad ones too.
    pub counted: usize,
    /// Those whose loss is not finite at any temperature: a logit is NaN or +∞, or the target's is −∞, or all are.
    pub bad: usize,
    /// The first of these, and its flags.
    pub first_bad: Option<(usize, Flags)>,
    /// What was unusual in any row.
    pub flags: Flags,
    /// What the input seems to be instead of logits and their targets.
    pub notices: Vec<Notice>,
}

impl TemperatureCurve {
    /// The mean loss over all rows that count at the point with this index, in nats: NaN or +∞ if there are rows with such a
    /// loss, NaN if no row counts.
    ///
    /// # Panics
    /// If there is no such point.
    pub fn loss(&self, at: usize) -> f64 {
        match self.flags {
            flags if flags.intersects(Flags::NAN_LOSS | Flags::NO_ROW_COUNTS) => f64::NAN,
            flags if flags.contains(Flags::INFINITE_LOSS) => f64::INFINITY,
            _ => self.points[at].loss,
        }
    }
}

/// Where a loss without a minimum goes on falling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemperatureLimit {
    /// Towards T = 0: every target is its row's largest logit.
    Cold,
    /// Towards T = ∞: the logits predict no better than chance.
    Hot,
}

impl<E: Element> Calibrator<E> {
    /// Builds the calibrator on a context.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::DeviceLimit`].
    pub fn new(gpu: &Context, options: &CalibratorOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { moments: RowMoments::new(gpu, options.softcap)?, options: *options })
    }

    /// Uses this tuning instead of the one that the plan would choose.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a tuning that the device cannot run.
    pub fn with_tuning(self, tuning: Tuning) -> Result<Self> {
        Ok(Self { moments: self.moments.with_tuning(tuning)?, ..self })
    }

    /// The options.
    pub fn options(&self) -> &CalibratorOptions {
        &self.options
    }

    /// Finds the temperature for rows of logits with class targets. The source is read up to four times, window by
    /// window; all windows together take at most `memory` bytes, if given. After each window, `each` gets the number of
    /// the read, from 0, and the rows that are done; an error of it stops the search. Row weights weigh the loss, and
    /// rows with weight 0, or that a mask leaves out, do not count. Blocks.
    ///
    /// # Errors
    /// [`Error::NoRowCounts`]; [`Error::TargetKind`] for targets other than classes; as for
    /// [`evaluate`](super::evaluate()).
    pub fn fit<'a>(
        &self,
        source: &mut dyn Source<E>,
        inputs: impl Into<EvaluateInputs<'a>>,
        memory: Option<u64>,
        each: impl FnMut(usize, Range<usize>) -> Result<()>,
    ) -> Result<Calibration> {
        fit_on(&self.moments, &self.options, source, inputs.into(), memory, each)
    }

    /// The mean loss, its derivatives and the reliability at these temperatures, from one read for each eight of them. `each`
    /// is called as in [`fit`](Self::fit).
    ///
    /// # Errors
    /// As for [`fit`](Self::fit), except [`Error::NoRowCounts`]; [`Error::InvalidOption`] for a temperature that is not
    /// between e^−10 and e^10.
    pub fn curve<'a>(
        &self,
        source: &mut dyn Source<E>,
        inputs: impl Into<EvaluateInputs<'a>>,
        temperatures: &[f64],
        memory: Option<u64>,
        each: impl FnMut(usize, Range<usize>) -> Result<()>,
    ) -> Result<TemperatureCurve> {
        curve_on(&self.moments, &self.options, source, inputs.into(), temperatures, memory, each)
    }
}

fn fit_on<E: Element>(
    summing: &impl Summing<E>,
    options: &CalibratorOptions,
    source: &mut dyn Source<E>,
    inputs: EvaluateInputs<'_>,
    memory: Option<u64>,
    mut each: impl FnMut(usize, Range<usize>) -> Result<()>,
) -> Result<Calibration> {
    let mut inputs = BatchRows::of_classes(inputs, source.shape(), &options.loss())?;
    let (mut search, mut betas) = (Search::default(), Search::first());
    let mut points: Vec<TemperaturePoint> = Vec::new();
    loop {
        let number = search.reads();
        let read = Read::of(summing, options, source, &mut inputs, betas, memory, |rows| each(number, rows))?;
        if read.counted == 0 {
            return Err(Error::NoRowCounts { rows: source.shape().rows });
        }
        let next = search.take(read.search_points());
        points.extend(read.points());
        let last = points.len() - BETAS;
        let (at, limit) = match next {
            Next::Read(next) => {
                betas = next;
                continue;
            }
            Next::Found(at) => (at, None),
            // The ends are the first and the last of the first read.
            Next::Low => (0, Some(TemperatureLimit::Hot)),
            Next::High => (last + BETAS - 1, Some(TemperatureLimit::Cold)),
        };
        let (before, after) = (points[AS_IT_IS].clone(), points[at].clone());
        return Ok(Calibration {
            temperature: after.temperature,
            uncertainty: match limit {
                None => (after.temperature * after.slope / after.curvature).abs(),
                Some(_) => f64::INFINITY,
            },
            before,
            after,
            limit,
            reads: search.reads(),
            rows: source.shape().rows,
            counted: read.counted,
            bad: read.bad,
        });
    }
}

fn curve_on<E: Element>(
    summing: &impl Summing<E>,
    options: &CalibratorOptions,
    source: &mut dyn Source<E>,
    inputs: EvaluateInputs<'_>,
    temperatures: &[f64],
    memory: Option<u64>,
    mut each: impl FnMut(usize, Range<usize>) -> Result<()>,
) -> Result<TemperatureCurve> {
    let most = crate::reference::calibration::MOST_LN_BETA.exp();
    for (at, &value) in temperatures.iter().enumerate() {
        if !(1.0 / most..=most).contains(&value) {
            let needed = "from 4.54e-5 (e^-10) to 22026.4 (e^10)";
            return Err(Error::InvalidOption { option: "temperatures", at: Some(at), value, needed });
        }
    }
    let shape = source.shape();
    let (mut inputs, weight) = BatchRows::of_any_classes(inputs, shape, &options.loss())?;
    let (mut points, mut curve) = (Vec::new(), None);
    for (number, some) in temperatures.chunks(BETAS).enumerate() {
        let mut betas = [1.0; BETAS];
        betas.iter_mut().zip(some).for_each(|(beta, temperature)| *beta = 1.0 / temperature);
        let read = match weight.row_weight == 0.0 {
            true => Read::new(options, betas),
            false => {
                Read::of(summing, options, source, &mut inputs, betas, memory, |rows| each(number, rows))?
            }
        };
        points.extend(read.points_of_curve().take(some.len()));
        curve.get_or_insert_with(|| read.into_curve(shape));
    }
    let curve = curve.unwrap_or_else(|| Read::new(options, [1.0; BETAS]).into_curve(shape));
    Ok(TemperatureCurve { points, ..curve })
}
