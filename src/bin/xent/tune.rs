//! `xent tune`: measures candidates for a [`Tuning`] on the user's adapter.

use std::time::{Duration, Instant};

use xent::eval::WholeFile;
use xent::{Band, Bound, Context, Error, Profile, Result, Shape, Tuning};

use crate::args::TuneArgs;
use crate::measure::{self, Batch, Bytes, Clock, Job, median};
use crate::numbers::thousands;
use crate::operation::Operation;
use crate::outcome::Outcome;
use crate::output::{self, complain, one_line, shown};
use crate::progress::Progress;
use crate::stop::check_stopped;

/// Batches for each band of row lengths, a batch of one long row, and one of a row that is not quite as long.
const SHAPES: [(usize, usize); 6] =
    [(1_000_000, 10), (65_536, 128), (8_192, 1_000), (256, 50_304), (1, 8_000_000), (1, 131_072)];
const QUICK_SHAPES: [(usize, usize); 6] =
    [(250_000, 10), (16_384, 128), (2_048, 1_000), (128, 50_304), (1, 2_000_000), (1, 131_072)];
const SECONDS: u32 = 300;
const QUICK_SECONDS: u32 = 60;

/// A candidate is dropped if its first run takes this many times as long as the best so far.
const HOPELESS: f64 = 1.5;
/// The number of best candidates that are measured in turn with the current tuning, and the number of rounds.
const FINALISTS: usize = 3;
const ROUNDS: usize = 9;
/// The share of the time that a change must save.
const SAVING: f64 = 0.03;

/// One decision: candidates for one part of the tuning, on one batch.
struct Trial {
    what: String,
    shape: Shape,
    /// The operations to run; their times are added up.
    ops: Vec<Operation>,
    candidates: Vec<Change>,
}

/// A new value for one part of a tuning.
#[derive(Clone, Copy, PartialEq)]
enum Change {
    Read(usize, Band),
    Write(usize, Band),
    ReduceLanes(u32),
    Workgroups(u32),
    SegmentCols(u32),
    WordsOf64(bool),
}

impl Change {
    /// The tuning with this change.
    fn of(self, mut tuning: Tuning) -> Tuning {
        match self {
            Self::Read(at, band) => tuning.read[at] = band,
            Self::Write(at, band) => tuning.write[at] = band,
            Self::ReduceLanes(lanes) => tuning.reduce_lanes = lanes,
            Self::Workgroups(workgroups) => tuning.workgroups = workgroups,
            Self::SegmentCols(cols) => tuning.segment_cols = cols,
            Self::WordsOf64(words) => tuning.words_of_64 = words,
        }
        tuning
    }

    /// The value that a tuning has for the same part.
    fn as_in(self, tuning: &Tuning) -> Self {
        match self {
            Self::Read(at, _) => Self::Read(at, tuning.read[at]),
            Self::Write(at, _) => Self::Write(at, tuning.write[at]),
            Self::ReduceLanes(_) => Self::ReduceLanes(tuning.reduce_lanes),
            Self::Workgroups(_) => Self::Workgroups(tuning.workgroups),
            Self::SegmentCols(_) => Self::SegmentCols(tuning.segment_cols),
            Self::WordsOf64(_) => Self::WordsOf64(tuning.words_of_64),
        }
    }

    fn words(self) -> String {
        match self {
            Self::Read(_, Band { lanes, rows, lane_values, .. })
            | Self::Write(_, Band { lanes, rows, lane_values, .. }) => {
                let fewer = if lane_values > 0 { " or fewer" } else { "" };
                format!("{}{fewer} x {}", count(lanes, "lane"), count(rows, "row"))
            }
            Self::ReduceLanes(lanes) => count(lanes, "lane"),
            Self::Workgroups(workgroups) => count(workgroups, "workgroup"),
            Self::SegmentCols(cols) => format!("{} values", thousands(cols as usize)),
            Self::WordsOf64(true) => "64 bits".to_owned(),
            Self::WordsOf64(false) => "32 bits".to_owned(),
        }
    }
}

/// A number with a noun: 1 lane, 2 lanes.
fn count(number: u32, name: &str) -> String {
    format!("{} {name}{}", thousands(number as usize), if number == 1 { "" } else { "s" })
}

/// How a trial ended.
struct Decision {
    before: Change,
    after: Change,
    before_ms: f64,
    after_ms: f64,
    /// Whether time ran out before the last candidate.
    is_partial: bool,
}

pub fn run(args: &TuneArgs) -> Result<Outcome> {
    WholeFile::check_place(&args.output)?;
    let gpu = measure::open(&args.adapter)?;
    let profile = gpu.profile()?;
    let trials = trials(args, &profile)?;
    let seconds = args.time.unwrap_or(if args.quick { QUICK_SECONDS } else { SECONDS });
    let mut tuner = Tuner {
        clock: Clock::new(&gpu)?,
        tuning: Tuning::of(&profile),
        progress: Progress::of(trials.iter().map(|trial| trial.candidates.len()).sum(), "candidates"),
        done: 0,
        gpu,
        profile,
    };
    let until = Instant::now() + Duration::from_secs(seconds.into());
    let mut table = Vec::new();
    // One batch serves all trials of its shape.
    let mut batch: Option<Batch<f32>> = None;
    let mut left: usize = trials.iter().map(|trial| trial.candidates.len()).sum();
    for trial in &trials {
        let batch = match &mut batch {
            Some(batch) if batch.shape == trial.shape => batch,
            other => {
                *other = None;
                let made = other.insert(Batch::new(&tuner.gpu, &tuner.profile, trial.shape, true)?);
                tuner.doubt(made)?;
                made
            }
        };
        // Time that a trial does not use is shared by those to come.
        let candidates = trial.candidates.len();
        let share = until.saturating_duration_since(Instant::now()).mul_f64(candidates as f64 / left as f64);
        left -= candidates;
        let decision = tuner.decide(trial, batch, Instant::now() + share)?;
        tuner.tuning = decision.after.of(tuner.tuning);
        table.push(row(trial, &decision));
    }
    let Tuner { clock, tuning, profile, progress, .. } = tuner;
    drop(progress);
    tuning.save(&args.output, &profile)?;
    let clock = if clock.name() == "gpu" { "the GPU's clock" } else { "wall clock" };
    let partial = table.iter().any(|row| row.contains('*'));
    output::print(&format!(
        "{}\nf32, medians of {ROUNDS} runs, {clock}\n\n{:<29}{:<16}{:>11}{:>11}  choice\n{}{}\n{} written: for `--tuning` and `Tuning::load`\n",
        one_line(&profile.to_string()),
        "what",
        "rows x cols",
        "before",
        "best",
        table.concat(),
        if partial { "* time ran out before every candidate was tried: see --time\n" } else { "" },
        shown(&args.output),
    ))?;
    Ok(Outcome::Done)
}

fn row(trial: &Trial, decision: &Decision) -> String {
    let Decision { before, after, before_ms, after_ms, is_partial } = decision;
    let shape = format!("{}x{}", trial.shape.rows, trial.shape.cols);
    let choice = if before == after {
        format!("{}, as before", before.words())
    } else {
        format!("{}, not {}", after.words(), before.words())
    };
    let star = if *is_partial { " *" } else { "" };
    format!("{:<29}{shape:<16}{before_ms:>8.3} ms{after_ms:>8.3} ms  {choice}{star}\n", trial.what)
}

/// All decisions, in order. Each is made with those before it in force.
fn trials(args: &TuneArgs, profile: &Profile) -> Result<Vec<Trial>> {
    let shapes = shapes(args, profile)?;
    let is_grid = !args.quick;
    let tuning = Tuning::of(profile);
    let both = || vec![Operation::LossAndGradient, Operation::Softmax];
    let mut trials = Vec::new();
    let batches: Vec<Shape> = shapes.iter().copied().filter(|shape| shape.rows > 1).collect();
    let most_rows = batches.iter().copied().max_by_key(|shape| shape.rows);
    let longest = batches.iter().copied().max_by_key(|shape| shape.cols);
    for &shape in &batches {
        let mut band_of = |writes: bool| {
            let bands = if writes { &tuning.write } else { &tuning.read };
            let fitting = bands.iter().position(|band| shape.cols <= band.up_to_cols as usize);
            let band = fitting.unwrap_or(Tuning::BANDS - 1);
            let change = |(lanes, rows)| {
                let seats = Band::new(bands[band].up_to_cols, lanes, rows);
                if writes { Change::Write(band, seats) } else { Change::Read(band, seats) }
            };
            let up_to = match bands[band].up_to_cols {
                u32::MAX => "longer rows".to_owned(),
                cols => format!("rows up to {}", thousands(cols as usize)),
            };
            let what = format!("{} {up_to}", if writes { "writing," } else { "reading," });
            let candidates = seats(bands[band], is_grid).into_iter().map(change).collect();
            let ops = match (writes, is_grid) {
                (false, _) => vec![Operation::Loss],
                (true, true) => both(),
                (true, false) => vec![Operation::LossAndGradient],
            };
            trials.push(Trial { what, shape, ops, candidates });
        };
        band_of(false);
        band_of(true);
        if Some(shape) == most_rows {
            trials.push(Trial {
                what: "passes over rows".to_owned(),
                shape,
                ops: vec![Operation::Loss],
                candidates: [8, 32, 64, 128, 256].map(Change::ReduceLanes).to_vec(),
            });
        }
        if Some(shape) == longest && profile.shader_int64 {
            trials.push(Trial {
                what: "words loaded and stored".to_owned(),
                shape,
                ops: vec![Operation::Loss, Operation::LossAndGradient, Operation::Softmax],
                candidates: [false, true].map(Change::WordsOf64).to_vec(),
            });
        }
    }
    let mut rows: Vec<Shape> = shapes.iter().copied().filter(|shape| shape.rows == 1).collect();
    rows.sort_by_key(|shape| std::cmp::Reverse(shape.cols));
    if let Some(&shape) = rows.first() {
        let most = if is_grid { 11 } else { 9 };
        trials.push(Trial {
            what: "workgroups per row".to_owned(),
            shape,
            ops: vec![Operation::Loss, Operation::Softmax],
            candidates: (0..most).map(|log| Change::Workgroups(1 << log)).collect(),
        });
    }
    if let [_, .., shape] = rows[..] {
        trials.push(Trial {
            what: "minimum values per segment".to_owned(),
            shape,
            ops: vec![Operation::Loss, Operation::Softmax],
            candidates: (10..=17).map(|log| Change::SegmentCols(1 << log)).collect(),
        });
    }
    Ok(trials)
}

/// The batches that were asked for, or the default ones, made smaller if the device cannot hold them.
fn shapes(args: &TuneArgs, profile: &Profile) -> Result<Vec<Shape>> {
    let mut shapes: Vec<Shape> = Vec::new();
    if !args.shapes.is_empty() {
        for &shape in &args.shapes {
            Bytes::of::<f32>(shape).check::<f32>(shape, profile)?;
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
        return Ok(shapes);
    }
    for (rows, cols) in if args.quick { QUICK_SHAPES } else { SHAPES } {
        let mut shape = Shape::new(rows, cols);
        // Fit it into one binding, so that a batch is one dispatch.
        while 4 * shape.len() as u64 > profile.max_binding_bytes / 2 {
            shape =
                if shape.rows > 1 { Shape::new(shape.rows / 2, cols) } else { Shape::new(1, shape.cols / 2) };
        }
        shapes.push(shape);
    }
    Ok(shapes)
}

/// Lanes and rows to try, those near the current ones first: a grid, or a cross. Those that the device cannot do are
/// left out when binding refuses them.
fn seats(now: Band, is_grid: bool) -> Vec<(u32, u32)> {
    let powers = |most: u32| (0..=most).map(|log| 1u32 << log);
    let mut seats: Vec<(u32, u32)> = if is_grid {
        powers(8).flat_map(|lanes| powers(7).map(move |rows| (lanes, rows))).collect()
    } else {
        let invocations = now.lanes * now.rows;
        let lanes = [1, 4, 8, 16, 32, 64, 256].map(|lanes| (lanes, (invocations / lanes).max(1)));
        let rows = [1, 2, 4, 8, 32, 128].map(|rows| (now.lanes, rows));
        [&lanes[..], &rows].concat()
    };
    let distance = |&(lanes, rows): &(u32, u32)| {
        now.lanes.ilog2().abs_diff(lanes.ilog2()) + now.rows.ilog2().abs_diff(rows.ilog2())
    };
    seats.sort_by_key(|seat| (distance(seat), *seat));
    seats.dedup();
    seats
}

struct Tuner {
    gpu: Context,
    profile: Profile,
    clock: Clock,
    /// The tuning so far.
    tuning: Tuning,
    progress: Progress,
    done: usize,
}

/// A candidate whose answers are right.
struct Runner {
    change: Change,
    bounds: Vec<Bound>,
    /// The time of its first run once it was warm, in ms.
    first_ms: f64,
}

impl Tuner {
    /// Checks on this batch whether the clock can be trusted.
    fn doubt(&mut self, batch: &Batch<f32>) -> Result<()> {
        let bound = batch.bind(Operation::Loss, None)?;
        self.clock.ms(&Job::Bound(&bound))?;
        self.clock.doubt(&Job::Bound(&bound))
    }

    fn ms(&self, runner: &[Bound]) -> Result<f64> {
        runner.iter().map(|bound| self.clock.ms(&Job::Bound(bound))).sum()
    }

    /// Checks a candidate's answers, which also makes its pipelines, and runs it once more. Returns `None` if the
    /// device cannot do it, or if its answers are wrong.
    fn runner(&self, trial: &Trial, batch: &mut Batch<f32>, change: Change) -> Result<Option<Runner>> {
        let tuning = change.of(self.tuning);
        let mut bounds = Vec::new();
        for &op in &trial.ops {
            let bound = match batch.bind(op, Some(tuning)) {
                Ok(bound) => bound,
                Err(Error::InvalidOption { .. }) => return Ok(None),
                Err(error) => return Err(error),
            };
            let verification = batch.check(&self.clock, op, &bound, Some(tuning))?;
            if !verification.passed {
                complain(format!(
                    "{} with {} gives a wrong answer on {}x{}, and is left out",
                    op.name(),
                    change.words(),
                    trial.shape.rows,
                    trial.shape.cols
                ));
                return Ok(None);
            }
            bounds.push(bound);
        }
        let first_ms = self.ms(&bounds)?;
        Ok(Some(Runner { change, bounds, first_ms }))
    }

    fn decide(&mut self, trial: &Trial, batch: &mut Batch<f32>, until: Instant) -> Result<Decision> {
        let start = self.done;
        let before = trial.candidates[0].as_in(&self.tuning);
        let mut runners = Vec::new();
        runners.extend(self.runner(trial, batch, before)?);
        let Some(first) = runners.first() else {
            let what = format!("{} on {}x{}", trial.what, trial.shape.rows, trial.shape.cols);
            return Err(Error::Device {
                what,
                message: "the answers are wrong before any change is tried".to_owned(),
            });
        };
        let mut best_ms = first.first_ms;
        let mut is_partial = false;
        for &change in trial.candidates.iter().filter(|&&change| change != before) {
            self.progress.reach(self.done);
            check_stopped()?;
            is_partial = Instant::now() > until;
            if is_partial {
                break;
            }
            if let Some(runner) =
                self.runner(trial, batch, change)?.filter(|it| it.first_ms < HOPELESS * best_ms)
            {
                best_ms = best_ms.min(runner.first_ms);
                runners.push(runner);
            }
            self.done += 1;
        }
        // The current tuning stays in, and comes first.
        runners[1..].sort_by(|a, b| a.first_ms.total_cmp(&b.first_ms));
        runners.truncate(1 + FINALISTS);
        let mut times = vec![Vec::with_capacity(ROUNDS); runners.len()];
        for _ in 0..ROUNDS {
            for (runner, times) in runners.iter().zip(&mut times) {
                times.push(self.ms(&runner.bounds)?);
            }
            self.progress.reach(self.done);
            check_stopped()?;
        }
        self.done = start + trial.candidates.len();
        let medians: Vec<f64> = times.iter().map(|times| median(times)).collect();
        let best = (0..medians.len()).min_by(|&a, &b| medians[a].total_cmp(&medians[b])).unwrap_or(0);
        let taken = if medians[best] < (1.0 - SAVING) * medians[0] { best } else { 0 };
        Ok(Decision {
            before,
            after: runners[taken].change,
            before_ms: medians[0],
            after_ms: medians[best],
            is_partial,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_changes_its_part_and_reads_it_back() {
        let tuning = Tuning::fixed(8, 1);
        for change in [
            Change::Read(1, Band::new(100, 4, 2)),
            Change::Write(3, Band::new(u32::MAX, 16, 2)),
            Change::ReduceLanes(64),
            Change::Workgroups(77),
            Change::SegmentCols(99),
            Change::WordsOf64(false),
        ] {
            let changed = change.of(tuning);
            assert_ne!(changed, tuning);
            assert!(change.as_in(&changed) == change, "{}", change.words());
            assert!(change.as_in(&tuning) != change, "{}", change.words());
            assert_eq!(change.as_in(&tuning).of(changed), tuning);
        }
    }

    #[test]
    fn seats_to_try_are_powers_of_two_and_no_seat_comes_twice() {
        let now = Band::new(64, 8, 4);
        for is_grid in [false, true] {
            let seats = seats(now, is_grid);
            assert!(seats.len() > 8, "{is_grid}");
            assert!(seats.iter().all(|(lanes, rows)| lanes.is_power_of_two() && rows.is_power_of_two()));
            assert!(seats.iter().enumerate().all(|(at, seat)| !seats[..at].contains(seat)));
        }
    }
}
