//! `xent bench`: the operations beside a copy of the same bytes.

mod measured;
mod plot;
mod table;

use xent::eval::WholeFile;
use xent::half::{bf16, f16};
use xent::{Bound, Context, Element, Profile, Result, Shape, Tuning, Verification};

use measured::{Benched, Measured, RUNS};

use crate::args::{BenchArgs, BenchDtype};
use crate::computer::load_tuning;
use crate::measure::{self, Batch, Bytes, Clock, Job, median};
use crate::operation::Operation;
use crate::outcome::Outcome;
use crate::output::{self, complain};
use crate::progress::Progress;
use crate::stop::check_stopped;

const SHAPES: [(usize, usize); 6] =
    [(256, 50_304), (256, 50_257), (4_096, 1_000), (65_536, 128), (1_000_000, 10), (1, 8_000_000)];

pub fn run(args: &BenchArgs) -> Result<Outcome> {
    if let Some(path) = &args.plot {
        WholeFile::check_place(path)?;
    }
    let gpu = measure::open(&args.device.adapter)?;
    let profile = gpu.profile()?;
    let tuning = load_tuning(&args.device, &profile)?;
    let mut ops = Vec::new();
    for &op in &args.ops {
        if op != Operation::Copy && !ops.contains(&op) {
            ops.push(op);
        }
    }
    let batches = batches(args, &profile)?;
    let mut bench = Bench {
        clock: Clock::new(&gpu)?,
        progress: Progress::of(batches.len() * RUNS, "rounds"),
        gpu,
        tuning,
        ops,
        rounds: 0,
        results: Vec::new(),
        profile,
    };
    for &(shape, dtype) in &batches {
        match dtype {
            BenchDtype::F32 => bench.measure::<f32>(shape)?,
            BenchDtype::F16 => bench.measure::<f16>(shape)?,
            BenchDtype::Bf16 => bench.measure::<bf16>(shape)?,
        }
    }
    let Bench { clock, progress, results, profile, .. } = bench;
    drop(progress);
    let benched =
        Benched { adapter: profile.to_string(), clock: clock.name(), tuned: tuning.is_some(), results };
    if let Some(path) = &args.plot {
        plot::draw(&benched, path)?;
    }
    if args.json {
        output::print_json(&table::json(&benched))?;
    } else {
        output::print(&table::text(&benched))?;
    }
    let wrong: Vec<_> = benched.results.iter().filter(|measured| !measured.checked.passed).collect();
    for Measured { shape, dtype, op, checked, .. } in &wrong {
        complain(format!(
            "{} of {}x{} {dtype} is not within its error bounds of the f64 reference: row {:?} is off by {:.1e}",
            op.name(),
            shape.rows,
            shape.cols,
            checked.worst_row.unwrap_or_default(),
            checked.worst_abs,
        ));
    }
    Ok(if wrong.is_empty() { Outcome::Done } else { Outcome::NotVerified })
}

/// The batches to measure, in order. Of the default shapes, only those that fit and have enough classes.
fn batches(args: &BenchArgs, profile: &Profile) -> Result<Vec<(Shape, BenchDtype)>> {
    let bytes = |shape, dtype| match dtype {
        BenchDtype::F32 => Bytes::of::<f32>(shape),
        BenchDtype::F16 => Bytes::of::<f16>(shape),
        BenchDtype::Bf16 => Bytes::of::<bf16>(shape),
    };
    let mut dtypes: Vec<BenchDtype> = Vec::new();
    args.dtypes.iter().for_each(|dtype| {
        if !dtypes.contains(dtype) {
            dtypes.push(*dtype);
        }
    });
    let mut batches = Vec::new();
    for &dtype in &dtypes {
        if args.shapes.is_empty() {
            let shapes = SHAPES.map(|(rows, cols)| Shape::new(rows, cols));
            batches.extend(
                shapes
                    .into_iter()
                    .filter(|&shape| bytes(shape, dtype).fit(profile))
                    .filter(|shape| args.ops.iter().all(|op| op.k().is_none_or(|k| k <= shape.cols)))
                    .map(|shape| (shape, dtype)),
            );
        } else {
            batches.extend(args.shapes.iter().map(|&shape| (shape, dtype)));
        }
    }
    Ok(batches)
}

struct Bench {
    gpu: Context,
    profile: Profile,
    clock: Clock,
    tuning: Option<Tuning>,
    ops: Vec<Operation>,
    progress: Progress,
    rounds: usize,
    results: Vec<Measured>,
}

impl Bench {
    /// Checks the answers of all operations on one batch, then times them in turn.
    fn measure<E: Element>(&mut self, shape: Shape) -> Result<()> {
        let mut batch = Batch::<E>::new(&self.gpu, &self.profile, shape, true)?;
        let (copies, copied) = batch.copies(&self.profile)?;
        let record = |pass: &mut wgpu::ComputePass<'_>| copies.encode(pass);
        let kernel_copy = Job::Pass(&record);
        // The first batch shows whether the clock can be trusted.
        if self.results.is_empty() {
            self.clock.ms(&kernel_copy)?;
            self.clock.doubt(&kernel_copy)?;
        }
        let bounds = self.ops.iter().map(|&op| Ok((op, batch.bind(op, self.tuning)?)));
        let bounds: Vec<(Operation, Bound)> = bounds.collect::<Result<_>>()?;
        let mut checks = vec![batch.check_copy(&self.clock, &kernel_copy)?];
        let driver_is_right =
            self.clock.can_time(&batch.driver_copy()) && batch.check_driver_copy(&self.clock)?;
        for (op, bound) in &bounds {
            self.progress.reach(self.rounds);
            check_stopped()?;
            checks.push(batch.check(&self.clock, *op, bound, self.tuning)?);
        }

        let driver_copy = batch.driver_copy();
        let mut jobs = vec![kernel_copy];
        jobs.extend(bounds.iter().map(|(_, bound)| Job::Bound(bound)));
        if driver_is_right {
            jobs.push(driver_copy);
        }
        let mut times = vec![Vec::with_capacity(RUNS); jobs.len()];
        for _ in 0..RUNS {
            for (job, times) in jobs.iter().zip(&mut times) {
                times.push(self.clock.ms(job)?);
            }
            self.rounds += 1;
            self.progress.reach(self.rounds);
            check_stopped()?;
        }
        let medians: Vec<f64> = times.iter().map(|times| median(times)).collect();
        let by_kernel = medians[0];
        let by_driver = medians.get(1 + bounds.len()).copied().unwrap_or(f64::INFINITY);
        let by = if by_driver < by_kernel { "driver" } else { "kernel" };
        let copy_ms = by_kernel.min(by_driver);
        let copy_speed = 2.0 * copied as f64 / copy_ms;
        let logits = Bytes::of::<E>(shape).logits;
        let measured = |op: Operation, bytes: u64, ms: f64, checked: Verification| {
            let ms = Some(ms).filter(|_| checked.passed);
            let share_of_copy = ms.filter(|_| checks[0].passed).map(|ms| bytes as f64 / ms / copy_speed);
            Measured { shape, dtype: E::NAME, op, by: None, checked, bytes, ms, share_of_copy }
        };
        self.results
            .push(Measured { by: Some(by), ..measured(Operation::Copy, 2 * copied, copy_ms, checks[0]) });
        for (at, (op, _)) in bounds.iter().enumerate() {
            let bytes = if op.writes() { 2 * logits } else { logits };
            self.results.push(measured(*op, bytes, medians[1 + at], checks[1 + at]));
        }
        Ok(())
    }
}
