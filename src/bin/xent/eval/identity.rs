//! The identity of a run: everything that decides its results.

use xent::Result;

use super::{inputs, outputs};
use crate::args::EvalArgs;
use crate::computer::Computer;
use crate::kept::Identity;
use crate::losses::AnyLoss;

/// The name of the logits: their file, or the first of several.
pub fn name(args: &EvalArgs) -> String {
    let first = args.logits.files.first().map_or(String::new(), |path| path.display().to_string());
    match args.logits.files.len() {
        0 | 1 => first,
        files => format!("{first} and {} more", files - 1),
    }
}

/// Everything on which a digit of the results, or a byte of the outputs, can depend.
pub fn of_run(args: &EvalArgs, loss: &AnyLoss, computer: &Computer, files: &Identity) -> Identity {
    let mut run = Identity::of(&args.given);
    add_options(&mut run, args, loss, computer);
    run.add("--out-dtype", format!("{:?}", args.output.out_dtype));
    run.add("the list of outputs", format!("{:?}", outputs::paths(&args.output)));
    run.add_part(args.part.part());
    run.add("--state-out", format!("{:?}", args.part.state_out));
    run.and(files)
}

/// Everything that the parts of a whole must have in common.
pub fn of_whole(args: &EvalArgs, loss: &AnyLoss, computer: &Computer, files: &Identity) -> Identity {
    let mut whole = Identity::of_whole(&args.given);
    add_options(&mut whole, args, loss, computer);
    whole.add("--top-k", format!("{:?}", args.output.top_k));
    whole.add("--bytes", format!("{:?}", args.output.bytes));
    whole.and(files)
}

/// Everything on which a figure can depend, but the files.
fn add_options(run: &mut Identity, args: &EvalArgs, loss: &AnyLoss, computer: &Computer) {
    run.add("the command", "eval");
    run.add("the version of xent", env!("CARGO_PKG_VERSION"));
    run.add("the adapter", computer.identity());
    run.add("the loss", format!("{loss:?}"));
    run.add("the layout of the logits", args.logits.read.identity());
    run.add("--targets-key", format!("{:?}", args.targets.targets_key));
    run.add("--teacher-key", format!("{:?}", args.targets.teacher_key));
    run.add("--sequence", format!("{:?}", args.rows.sequence));
    run.add("--sequence-per-file", args.rows.sequence_per_file);
    run.add("--ignore-index", format!("{:?}", args.rows.ignore_index));
    run.add("--check-shift", args.output.check_shift);
    run.add("--worst", args.output.worst);
    run.add("--verify", args.output.verify);
}

/// The files that are read: their paths, lengths and times of the last change.
pub fn files(args: &EvalArgs) -> Result<Identity> {
    let mut files = Identity::default();
    for (name, path) in inputs::paths(args)? {
        files.add_file(name, &path);
    }
    Ok(files)
}
