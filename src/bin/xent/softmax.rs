//! `xent softmax`: probabilities of logits in a file.

use std::time::Instant;

use rayon::prelude::*;
use xent::eval::Source;
use xent::eval::files::FileLogits;
use xent::{Element, Result, Shape, Softmax, SoftmaxOptions, reference};

use crate::args::{Dtype, SoftmaxArgs};
use crate::computer::Computer;
use crate::logits::{self, OnLogits, run_in};
use crate::output::{FloatWriter, check_distinct};
use crate::progress::Progress;
use crate::report::{si, thousands};
use crate::{Outcome, report};

/// Bytes of logits that the CPU takes at a time.
const CPU_WINDOW_BYTES: usize = 16 << 20;

pub fn run(args: &SoftmaxArgs) -> Result<Outcome> {
    let inputs: Vec<_> = logits::paths(&args.logits)?.into_iter().map(|path| ("the logits", path)).collect();
    check_distinct(&inputs, &[&args.output])?;
    let file = logits::open(&args.logits)?;
    let dtype = logits::dtype(&file);
    let out = args.out_dtype.unwrap_or(dtype);
    // The operation's output has its logits' type: what is to become another is widened first.
    let computed = if dtype == out { dtype } else { Dtype::F32 };
    run_in(computed, file, args.logits.class_axis, Run { args, out })
}

struct Run<'a> {
    args: &'a SoftmaxArgs,
    /// The output's type.
    out: Dtype,
}

impl OnLogits for Run<'_> {
    fn run<E: Element>(self, logits: FileLogits<E>) -> Result<Outcome> {
        run_on(self.args, self.out, logits)
    }
}

fn run_on<E: Element>(args: &SoftmaxArgs, out: Dtype, mut logits: FileLogits<E>) -> Result<Outcome> {
    let options = SoftmaxOptions {
        masked_row: args.score.masked_row.into(),
        temperature: args.score.temperature,
        softcap: args.score.softcap,
    };
    options.check()?;
    let shape = logits.shape();
    let name = if args.log { "log_probs" } else { "probs" };
    let mut out = FloatWriter::create(&args.output, name, logits.layout().dims(), out)?;
    let computer = Computer::open(&args.device)?;
    let start = Instant::now();
    let (window_rows, mut softmax) = open::<E>(&computer, shape, args.log, options)?;

    let mut values = vec![E::default(); shape.with_rows(window_rows.min(shape.rows)).len()];
    let mut read = values.clone();
    let mut progress = Progress::new(shape.rows);
    for first in (0..shape.rows).step_by(window_rows) {
        let rows = first..shape.rows.min(first + window_rows);
        let len = shape.with_rows(rows.len()).len();
        let (read, values) = (&mut read[..len], &mut values[..len]);
        logits.read_rows(rows.clone(), read)?;
        softmax(read, rows.len(), values)?;
        out.write(values)?;
        progress.reach(rows.end)?;
    }
    drop(progress);
    out.file.flush()?;
    let seconds = start.elapsed().as_secs_f64();
    report::print_lines(&[
        ("rows", thousands(shape.rows)),
        ("classes", thousands(shape.cols)),
        ("adapter", computer.name().to_owned()),
        ("time", format!("{seconds:.3} s: {}", si(shape.len() as f64 / seconds, " logits/s"))),
    ])?;
    out.file.finish()?;
    Ok(Outcome::Done)
}

/// Takes logits and their number of rows, and fills in as many (log-)probabilities.
type SoftmaxOfRows<E> = Box<dyn FnMut(&[E], usize, &mut [E]) -> Result<()>>;

/// The most rows that it takes at a time, and what takes them.
fn open<E: Element>(
    computer: &Computer,
    shape: Shape,
    log: bool,
    options: SoftmaxOptions,
) -> Result<(usize, SoftmaxOfRows<E>)> {
    match computer {
        Computer::Gpu { gpu, tuning, .. } => {
            let mut op = Softmax::<E>::new(&gpu.device, &options)?;
            if let Some(tuning) = tuning {
                op = op.with_tuning(*tuning);
            }
            let mut stream = op.stream(gpu, shape, log)?;
            let window_rows = stream.window_rows().max(1);
            let push = move |logits: &[E], rows, into: &mut [E]| stream.push(logits, rows, into);
            Ok((window_rows, Box::new(push)))
        }
        Computer::Cpu => {
            let of_row = if log { reference::log_softmax_row } else { reference::softmax_row };
            let push = move |logits: &[E], _, into: &mut [E]| {
                let groups = into.par_chunks_mut(shape.row_stride).zip(logits.par_chunks(shape.row_stride));
                groups.for_each(|(into, logits)| {
                    for slot in 0..shape.inner {
                        let row: Vec<E> = logits[slot..].iter().step_by(shape.inner).copied().collect();
                        let places = into[slot..].iter_mut().step_by(shape.inner);
                        places.zip(of_row(&row, &options)).for_each(|(place, value)| {
                            *place = E::from_f32(value as f32);
                        });
                    }
                });
                Ok(())
            };
            let groups = (CPU_WINDOW_BYTES / size_of::<E>() / shape.row_stride).max(1);
            Ok((groups * shape.inner, Box::new(push)))
        }
    }
}
