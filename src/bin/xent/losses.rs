//! The loss that was asked for, and its evaluation. The library's generic code knows the loss by its type; here it is a
//! value.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use xent::cpu::check_form;
use xent::eval::files::{Layout, TensorFile};
use xent::eval::{Evaluated, Evaluation, EvaluationState, Report, Source};
use xent::{
    CrossEntropyOptions, Element, EntmaxLossOptions, Error, KlDivergenceOptions, LossOp, Reduction, Result,
    RowFields, SequenceUnit, Sequences, Shape, SigmoidBceOptions, TargetKind,
};

use crate::args::{EvalArgs, LossName, RowArgs, TargetArgs};
use crate::computer::Computer;

/// A loss with its options.
#[derive(Clone, Copy, Debug)]
pub enum AnyLoss {
    CrossEntropy(CrossEntropyOptions),
    KlDivergence(KlDivergenceOptions),
    SigmoidBce(SigmoidBceOptions),
    Entmax(EntmaxLossOptions),
}

/// The results of each row that the outputs and the report need. The confidence costs nothing: it follows from the sum of
/// the exponentials.
fn row_fields(args: &EvalArgs) -> RowFields {
    let has_classes = args.targets.soft_targets.is_none() && args.targets.sparse_targets.is_none();
    let of_rows = RowFields::ENTROPY | RowFields::MARGIN;
    let of_classes = RowFields::TARGET_PROB | RowFields::RANK | RowFields::MASS_AHEAD | RowFields::BRIER;
    let asked = match args.output.readouts {
        true if has_classes => of_rows | of_classes,
        true => of_rows,
        false if args.output.top_k.is_some() => RowFields::RANK,
        false => RowFields::empty(),
    };
    RowFields::default() | RowFields::CONFIDENCE | asked
}

/// The sequences that these arguments ask for, of this length unless they say where each ends.
pub fn sequences(rows: &RowArgs, length: usize) -> Sequences {
    Sequences {
        shift: rows.shift.unwrap_or(0),
        from: rows.score_from.unwrap_or(0),
        to: rows.score_to.unwrap_or(usize::MAX),
        unit: if rows.positions { SequenceUnit::Positions } else { SequenceUnit::Tokens },
        ..Sequences::new(length)
    }
}

impl AnyLoss {
    /// The loss that these arguments ask for, over logits with this layout.
    pub fn of(args: &EvalArgs, file: &TensorFile, layout: &Layout) -> Self {
        let EvalArgs { loss, rows, .. } = args;
        // What llama.cpp has saved is taken as it is, unless something is asked for that only logits have.
        let only_logits = ["input", "temperature", "softcap", "z_loss", "focal_gamma"];
        let is_taken = file.is_llama_cpp() && !only_logits.iter().any(|name| args.given.has(name));
        let input = if is_taken { xent::Input::LogProbs } else { args.input.into() };
        let (reduction, empty_batch) = (loss.reduction.into(), loss.empty.into());
        let temperature = loss.score.temperature.first().copied().unwrap_or(1.0);
        let masked_row = loss.score.masked_row.into();
        let is_sequence =
            [rows.shift, rows.sequence, rows.score_from, rows.score_to].iter().any(Option::is_some)
                || rows.sequence_lengths.is_some()
                || rows.sequence_per_file;
        let length = rows.sequence.unwrap_or_else(|| layout.sequence_length());
        let sequences = sequences(rows, length);
        match loss.name {
            // InfoNCE has no rows of its own: `eval::info_nce` evaluates it.
            LossName::CrossEntropy | LossName::InfoNce => Self::CrossEntropy(CrossEntropyOptions {
                ignore_index: rows.ignore_index.first().copied().unwrap_or(-100),
                reduction,
                masked_row,
                empty_batch,
                input,
                label_smoothing: loss.label_smoothing,
                temperature,
                softcap: loss.score.softcap,
                z_loss: loss.z_loss,
                focal_gamma: loss.focal_gamma,
                shard: None,
                sequences: is_sequence.then_some(sequences),
                row_fields: row_fields(args),
            }),
            LossName::Kl => Self::KlDivergence(KlDivergenceOptions {
                temperature,
                scale_by_t_squared: loss.scale_by_t_squared,
                reduction,
                masked_row,
                empty_batch,
            }),
            LossName::Bce => Self::SigmoidBce(SigmoidBceOptions { reduction, empty_batch }),
            LossName::Entmax | LossName::Sparsemax => Self::Entmax(EntmaxLossOptions {
                alpha: if loss.name == LossName::Sparsemax { 2.0 } else { loss.alpha },
                ignore_index: rows.ignore_index.first().copied().unwrap_or(-100),
                reduction,
                masked_row,
                empty_batch,
                sequences: is_sequence.then_some(sequences),
            }),
        }
    }

    /// Refuses options outside their range.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::CrossEntropy(op) => op.check(),
            Self::KlDivergence(op) => op.check(),
            Self::SigmoidBce(op) => op.check(),
            Self::Entmax(op) => op.check(),
        }
    }

    /// What the processor path lacks of this loss over logits of this shape, in words.
    pub fn missing(&self, args: &TargetArgs, shape: Shape) -> Option<String> {
        let targets = match (&args.soft_targets, &args.sparse_targets) {
            (Some(_), _) => TargetKind::Soft,
            (_, Some(_)) => TargetKind::Sparse { entries: 1 },
            _ => TargetKind::Classes,
        };
        match self {
            Self::CrossEntropy(op) => match check_form(op, targets, shape) {
                Ok(()) => None,
                Err(Error::NoProcessorForm { form }) => Some(form.to_owned()),
                Err(_) => Some("class axis but the last".to_owned()),
            },
            other => Some(other.name().words().to_owned()),
        }
    }

    pub fn name(&self) -> LossName {
        match self {
            Self::CrossEntropy(_) => LossName::CrossEntropy,
            Self::KlDivergence(_) => LossName::Kl,
            Self::SigmoidBce(_) => LossName::Bce,
            Self::Entmax(op) if op.alpha == 2.0 => LossName::Sparsemax,
            Self::Entmax(_) => LossName::Entmax,
        }
    }

    /// What a report says of it.
    pub fn facts(&self) -> LossFacts {
        let has_z_loss = matches!(self, Self::CrossEntropy(op) if op.z_loss > 0.0);
        LossFacts { name: self.name(), reduction: self.reduction(), has_z_loss }
    }

    fn reduction(&self) -> Reduction {
        match self {
            Self::CrossEntropy(op) => op.reduction,
            Self::KlDivergence(op) => op.reduction,
            Self::SigmoidBce(op) => op.reduction,
            Self::Entmax(op) => op.reduction,
        }
    }
}

/// What a report says of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossFacts {
    pub name: LossName,
    pub reduction: Reduction,
    /// Whether a part of it is z-loss.
    pub has_z_loss: bool,
}

/// An evaluation of any loss, with its options.
pub enum AnyEvaluation<'a, E: Element> {
    CrossEntropy(CrossEntropyOptions, Evaluation<'a, E>),
    KlDivergence(KlDivergenceOptions, Evaluation<'a, E, KlDivergenceOptions>),
    SigmoidBce(SigmoidBceOptions, Evaluation<'a, E, SigmoidBceOptions>),
    Entmax(EntmaxLossOptions, Evaluation<'a, E, EntmaxLossOptions>),
}

/// Does the same for each loss.
macro_rules! each_loss {
    ($any:expr, ($op:pat, $evaluation:pat) => $what:expr) => {
        match $any {
            AnyEvaluation::CrossEntropy($op, $evaluation) => $what,
            AnyEvaluation::KlDivergence($op, $evaluation) => $what,
            AnyEvaluation::SigmoidBce($op, $evaluation) => $what,
            AnyEvaluation::Entmax($op, $evaluation) => $what,
        }
    };
}

impl<E: Element> AnyEvaluation<'_, E> {
    pub fn loss(&self) -> AnyLoss {
        match *self {
            Self::CrossEntropy(op, _) => AnyLoss::CrossEntropy(op),
            Self::KlDivergence(op, _) => AnyLoss::KlDivergence(op),
            Self::SigmoidBce(op, _) => AnyLoss::SigmoidBce(op),
            Self::Entmax(op, _) => AnyLoss::Entmax(op),
        }
    }

    pub fn shape(&self) -> Shape {
        each_loss!(self, (_, evaluation) => evaluation.shape())
    }

    pub fn state(&self) -> &EvaluationState {
        each_loss!(self, (_, evaluation) => evaluation.state())
    }

    pub fn report(&self) -> Report {
        each_loss!(self, (_, evaluation) => evaluation.report())
    }

    /// The rows that it evaluates.
    pub fn rows(&self) -> Range<usize> {
        each_loss!(self, (_, evaluation) => evaluation.rows())
    }

    pub fn restrict(&mut self, rows: Range<usize>) -> Result<()> {
        each_loss!(self, (_, evaluation) => evaluation.restrict(rows))
    }

    pub fn resume(&mut self, state: &EvaluationState) -> Result<()> {
        each_loss!(self, (_, evaluation) => evaluation.resume(state))
    }

    /// Runs from where it is to its end.
    pub fn run(
        &mut self,
        computer: &Computer,
        source: &mut dyn Source<E>,
        each: impl FnMut(&Evaluated<'_>) -> Result<()>,
    ) -> Result<()> {
        if let (Computer::Processor { cpu, .. }, Self::CrossEntropy(_, evaluation)) = (computer, &mut *self) {
            return evaluation.run_on_processor(cpu, source, each);
        }
        each_loss!(self, (op, evaluation) => match computer {
            Computer::Gpu { gpu, tuning, .. } => {
                let mut op = LossOp::new(gpu, op)?;
                if let Some(tuning) = tuning {
                    op = op.with_tuning(*tuning)?;
                }
                evaluation.run(&op, source, each)
            }
            Computer::Cpu | Computer::Processor { .. } => evaluation.run_on_cpu(source, each),
        })
    }

    /// The most bytes that the windows of such a run take.
    pub fn window_bytes(&self, computer: &Computer, source: &dyn Source<E>) -> Result<u64> {
        each_loss!(self, (_, evaluation) => match computer {
            Computer::Gpu { gpu, .. } => evaluation.window_bytes(gpu, source),
            Computer::Cpu | Computer::Processor { .. } => evaluation.window_bytes_on_cpu(source),
        })
    }
}
