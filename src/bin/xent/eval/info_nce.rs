//! `xent eval --loss infonce`: the contrastive loss of a square matrix of similarities.

use std::time::Instant;

use serde_json::{Value, json};
use xent::eval::Source;
use xent::eval::files::FileLogits;
use xent::reference::{argmax_row, info_nce as reference};
use xent::{Element, Flags, InfoNce, InfoNceOptions, Result, Shape};

use super::inputs;
use crate::args::{EvalArgs, LossName};
use crate::choose::with_reason;
use crate::computer::Computer;
use crate::numbers::{as_given, decimals, thousands};
use crate::origin::Origin;
use crate::outcome::Outcome;
use crate::output::{bad_argument, print_json};
use crate::report::{Line, Tone, in_lines, print_toned};

const FORMAT: &str = "xent eval infonce";
/// Rises when a key changes its meaning or goes away.
const VERSION: u32 = 1;

/// What may be given beside this loss.
const APPLY: [&str; 10] =
    ["files", "key", "dtype", "cols", "rows", "loss", "temperature", "json", "adapter", "tuning"];

/// Refuses what does not apply to this loss.
pub fn check(args: &EvalArgs) -> Result<()> {
    if args.loss.name != LossName::InfoNce {
        return Ok(());
    }
    if let Some(flag) = args.given.other_than(&APPLY) {
        return Err(bad_argument(flag, "does not apply to --loss infonce"));
    }
    if args.loss.score.temperature.len() > 1 {
        return Err(bad_argument("--temperature", "takes one value with --loss infonce"));
    }
    options(args).check()
}

/// A temperature that was not given is that of the loss, and not of others.
fn options(args: &EvalArgs) -> InfoNceOptions {
    let given = args.loss.score.temperature.first().filter(|_| args.given.has("temperature"));
    given.map_or_else(Default::default, |&temperature| InfoNceOptions { temperature })
}

/// Evaluates the loss of these similarities.
pub fn run<E: Element>(args: &EvalArgs, mut similarities: FileLogits<E>) -> Result<Outcome> {
    let (shape, options) = (similarities.shape(), options(args));
    let origin = Origin::new(&inputs::read(args)?, &args.given).describe("the logits", similarities.file());
    // Another shape is refused before anything is read.
    if shape.rows != shape.cols {
        let Shape { rows, cols, row_stride, .. } = shape;
        return Err(xent::Error::NotSquare { rows, cols, row_stride });
    }
    let mut values = vec![E::default(); shape.len()];
    similarities.read_rows(0..shape.rows, &mut values)?;
    let (computer, why) = Computer::open_or_reference(&args.device, shape.len(), "InfoNCE")?;
    let start = Instant::now();
    let (losses, dlog_scale, flags) = match &computer {
        Computer::Gpu { gpu, tuning, .. } => {
            let mut op = InfoNce::<E>::new(gpu, &options)?;
            if let Some(tuning) = tuning {
                op = op.with_tuning(*tuning)?;
            }
            let (loss, gradients) = op.loss_and_gradients(&values, shape).wait()?;
            ([loss.rows.value, loss.columns.value], gradients.dlog_scale, loss.flags())
        }
        Computer::Cpu | Computer::Processor { .. } => {
            let losses = reference::row_and_column_losses(&values, shape, &options)?;
            let gradients = reference::gradients(&values, shape, &options)?;
            (losses, gradients.dlog_scale, flags_of(&values, losses))
        }
    };
    let found = Found {
        pairs: shape.rows,
        losses,
        dlog_scale,
        recalls: recalls(&values, shape.rows),
        temperature: options.temperature,
        flags,
        adapter: computer.name(),
        why: &why,
        seconds: start.elapsed().as_secs_f64(),
        origin: &origin,
    };
    match args.output.json {
        true => print_json(&in_lines(&found.object()))?,
        false => print_toned(&found.lines())?,
    }
    Ok(Outcome::Done)
}

/// What is unusual in similarities that the reference has computed.
fn flags_of<E: Element>(values: &[E], losses: [f64; 2]) -> Flags {
    let any = |is: fn(f64) -> bool| values.iter().any(|value| is(value.to_f64()));
    let mut flags = Flags::empty();
    flags.set(Flags::NAN_LOGIT, any(f64::is_nan));
    flags.set(Flags::INFINITE_LOGIT, any(|value| value == f64::INFINITY));
    flags.set(Flags::INFINITE_LOSS, losses.contains(&f64::INFINITY));
    flags.set(Flags::NAN_LOSS, losses.iter().any(|loss| loss.is_nan()));
    flags
}

/// The shares of rows, and of columns, whose largest similarity is that of their pair; the first of equal ones counts.
fn recalls<E: Element>(values: &[E], pairs: usize) -> [f64; 2] {
    let row = |at: usize| values[at * pairs..][..pairs].to_vec();
    let column = |at: usize| values[at..].iter().step_by(pairs).copied().collect::<Vec<E>>();
    let share = |line: &dyn Fn(usize) -> Vec<E>| {
        let hits = (0..pairs).filter(|&at| argmax_row(&line(at)) as usize == at).count();
        hits as f64 / pairs as f64
    };
    [share(&row), share(&column)]
}

/// What was found.
struct Found<'a> {
    pairs: usize,
    /// Of the rows, and of the columns.
    losses: [f64; 2],
    dlog_scale: f64,
    recalls: [f64; 2],
    temperature: f32,
    flags: Flags,
    adapter: &'a str,
    /// Why this one computed.
    why: &'a str,
    seconds: f64,
    origin: &'a Origin,
}

impl Found<'_> {
    fn loss(&self) -> f64 {
        0.5 * (self.losses[0] + self.losses[1])
    }

    fn lines(&self) -> Vec<Line> {
        let nats = |loss: f64| format!("{} nats", decimals(loss, 6));
        let [rows, columns] = self.losses.map(nats);
        let [of_rows, of_columns] = self.recalls.map(|share| format!("{:.2} %", 100.0 * share));
        let uniform = format!("{}: {} pairs alike", nats((self.pairs as f64).ln()), thousands(self.pairs));
        let slope = format!("{}: of the loss, by ln(1 / T)", decimals(self.dlog_scale, 6));
        let mut lines = vec![
            Line::new("loss", format!("{} (mean of rows and columns)", nats(self.loss())))
                .toned(Tone::Result),
            Line::new("  rows", rows),
            Line::new("  columns", columns),
            Line::new("guess", uniform),
            Line::new("slope", slope),
            Line::new("recall", format!("at 1: {of_rows} of rows, {of_columns} of columns")),
            Line::new("pairs", thousands(self.pairs)),
            Line::new("temperature", self.temperature.to_string()),
        ];
        if !self.flags.is_empty() {
            let names = self.flags.names().collect::<Vec<_>>().join(", ");
            lines.push(Line::new("flags", names).toned(Tone::Warning));
        }
        lines.push(Line::new("of", self.origin.line()));
        lines.push(Line::new("adapter", with_reason(self.adapter, self.why)));
        lines.push(Line::new("time", format!("{:.3} s", self.seconds)));
        lines
    }

    fn object(&self) -> Value {
        let ([rows, columns], [of_rows, of_columns]) = (self.losses, self.recalls);
        let mut object = json!({
            "format": FORMAT,
            "version": VERSION,
            "xent": env!("CARGO_PKG_VERSION"),
            "loss": self.loss(),
            "row_loss": rows,
            "column_loss": columns,
            "dlog_scale": self.dlog_scale,
            "row_recall_at_1": of_rows,
            "column_recall_at_1": of_columns,
            "pairs": self.pairs,
            "temperature": as_given(self.temperature),
            "flags": self.flags.names().collect::<Vec<_>>(),
            "adapter": self.adapter,
            "adapter_reason": self.why,
            "seconds": self.seconds,
        });
        if let Some(keys) = object.as_object_mut() {
            keys.extend(self.origin.keys());
        }
        object
    }
}
