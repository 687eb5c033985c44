//! What computes: a device, or the processor where there is none.

use xent::eval::{EvaluateInputs, EvaluateOptions, Evaluated, Report, Source, evaluate, evaluate_on_cpu};
use xent::{AdapterChoice, Context, CrossEntropy, CrossEntropyOptions, Element, Error, Result};

use crate::args::AdapterArgs;
use crate::output::complain;

pub enum Computer {
    Gpu {
        gpu: Context,
        /// What reports call it.
        name: String,
    },
    Cpu,
}

/// The choice that these arguments make.
pub fn choice(args: &AdapterArgs) -> AdapterChoice {
    args.name().map(AdapterChoice::named).unwrap_or_default()
}

impl Computer {
    /// The adapter that is named; else the best there is; else the reference on the CPU, saying so: a newcomer always
    /// gets an answer.
    pub fn open(args: &AdapterArgs) -> Result<Self> {
        match Context::open_blocking(&choice(args)) {
            Ok(gpu) => Ok(Self::Gpu { name: gpu.profile()?.to_string(), gpu }),
            Err(Error::NoAdapter { .. }) if args.name().is_none() => {
                complain("no adapter found: computing on the CPU (`xent adapters` says how to get one)");
                Ok(Self::Cpu)
            }
            Err(error) => Err(error),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Gpu { name, .. } => name,
            Self::Cpu => "CPU reference (f64)",
        }
    }

    pub fn evaluate<E: Element>(
        &self,
        op: &CrossEntropyOptions,
        source: &mut impl Source<E>,
        inputs: EvaluateInputs<'_>,
        options: &EvaluateOptions,
        each: impl FnMut(&Evaluated<'_>) -> Result<()>,
    ) -> Result<Report> {
        match self {
            Self::Gpu { gpu, .. } => {
                let op = CrossEntropy::new(&gpu.device, op)?;
                evaluate(gpu, &op, source, inputs, options, each)
            }
            Self::Cpu => evaluate_on_cpu(op, source, inputs, options, each),
        }
    }
}
