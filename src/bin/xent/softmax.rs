//! `xent softmax`: probabilities of logits in a file.

use std::time::Instant;

use rayon::prelude::*;
use xent::eval::Source;
use xent::eval::npy::NpyWriter;
use xent::{Result, Shape, Softmax, SoftmaxOptions, reference};

use crate::args::SoftmaxArgs;
use crate::computer::Computer;
use crate::eval::open_logits;
use crate::output::check_distinct;
use crate::progress::Progress;
use crate::report::{si, thousands};
use crate::{Outcome, report};

/// Bytes of logits that the CPU takes at a time.
const CPU_WINDOW_BYTES: usize = 16 << 20;

pub fn run(args: &SoftmaxArgs) -> Result<Outcome> {
    check_distinct(&[("the logits", &args.logits)], &[&args.output])?;
    let mut logits = open_logits(&args.logits)?;
    let shape = logits.shape();
    let mut out = NpyWriter::create(&args.output, &[shape.rows, shape.cols])?;
    let computer = Computer::open(&args.adapter)?;
    let start = Instant::now();
    let (window_rows, mut softmax) = open(&computer, shape, args.log)?;

    let mut values = vec![0.0; window_rows.min(shape.rows) * shape.cols];
    let mut progress = Progress::new(shape.rows);
    for first in (0..shape.rows).step_by(window_rows) {
        let rows = first..shape.rows.min(first + window_rows);
        let values = &mut values[..rows.len() * shape.cols];
        softmax(logits.read_rows(rows.clone())?, rows.len(), values)?;
        out.write(values)?;
        progress.reach(rows.end)?;
    }
    drop(progress);
    out.flush()?;
    let seconds = start.elapsed().as_secs_f64();
    report::print_lines(&[
        ("rows", thousands(shape.rows)),
        ("classes", thousands(shape.cols)),
        ("adapter", computer.name().to_owned()),
        ("time", format!("{seconds:.3} s: {}", si(shape.len() as f64 / seconds, " logits/s"))),
    ])?;
    out.finish()?;
    Ok(Outcome::Done)
}

/// Takes logits and their number of rows, and fills in as many (log-)probabilities.
type SoftmaxOfRows = Box<dyn FnMut(&[f32], usize, &mut [f32]) -> Result<()>>;

/// The most rows that it takes at a time, and what takes them.
fn open(computer: &Computer, shape: Shape, log: bool) -> Result<(usize, SoftmaxOfRows)> {
    let options = SoftmaxOptions::default();
    match computer {
        Computer::Gpu { gpu, .. } => {
            let mut stream = Softmax::<f32>::new(&gpu.device, &options)?.stream(gpu, shape, log)?;
            let window_rows = stream.window_rows().max(1);
            let push = move |logits: &[f32], rows, into: &mut [f32]| stream.push(logits, rows, into);
            Ok((window_rows, Box::new(push)))
        }
        Computer::Cpu => {
            let of_row = if log { reference::log_softmax_row } else { reference::softmax_row };
            let push = move |logits: &[f32], _, into: &mut [f32]| {
                into.par_chunks_mut(shape.cols).zip(logits.par_chunks(shape.cols)).for_each(|(into, row)| {
                    into.iter_mut().zip(of_row(row, &options)).for_each(|(into, value)| *into = value as f32);
                });
                Ok(())
            };
            Ok(((CPU_WINDOW_BYTES / size_of::<f32>() / shape.cols).max(1), Box::new(push)))
        }
    }
}
