//! What a rank's columns tell of each row: on an adapter, on the processor, or by the f64 reference.

use std::thread;

use mpi::topology::SimpleCommunicator;
use xent::cpu::Processor;
use xent::reference::cross_entropy::row_partials;
use xent::{
    AdapterChoice, Context, CrossEntropy, CrossEntropyInputs, CrossEntropyOptions, Reduction, RowFields,
    RowPartials, RowResult, Shape, Targets,
};

use super::args::VocabArgs;
use crate::{Failure, devices};

/// What computes.
pub enum Computer {
    Adapter { op: Box<CrossEntropy<f32>>, name: String },
    Processor(Processor),
    Reference,
}

impl Computer {
    /// Opens what the arguments name; without a name hardware, else the processor. The reference takes what neither has.
    pub fn open(
        world: &SimpleCommunicator,
        args: &VocabArgs,
        options: &CrossEntropyOptions,
    ) -> Result<Self, Failure> {
        let named = args.adapter.as_deref().filter(|name| !name.is_empty());
        let asked = devices::adapter(world, named);
        let has_form = options.softcap.is_none() && options.label_smoothing == 0.0;
        let cpu = || if has_form { Self::Processor(Processor::new()) } else { Self::Reference };
        if devices::is_cpu(named) {
            return Ok(cpu());
        }
        let choice = asked.as_deref().map(AdapterChoice::parse).unwrap_or_default();
        let choice = AdapterChoice { hardware: named.is_none().then_some(true), ..choice };
        let gpu = match Context::open(&choice).wait() {
            Err(xent::Error::NoAdapter { .. }) if named.is_none() => return Ok(cpu()),
            opened => opened?,
        };
        let name = gpu.profile()?.to_string();
        Ok(Self::Adapter { op: Box::new(CrossEntropy::new(&gpu, options)?), name })
    }

    pub fn name(&self) -> String {
        match self {
            Self::Adapter { name, .. } => name.clone(),
            Self::Processor(cpu) => cpu.name(),
            Self::Reference => "CPU reference (f64)".to_owned(),
        }
    }

    /// The partials of these rows, from the columns that the options' shard says.
    pub fn partials(
        &self,
        logits: &[f32],
        inputs: &CrossEntropyInputs<'_>,
        rows: usize,
        options: &CrossEntropyOptions,
    ) -> Result<Vec<RowPartials>, Failure> {
        let cols = logits.len() / rows.max(1);
        let (Targets::Classes(classes), true) = (inputs.targets, cols > 0) else {
            return Ok(vec![RowPartials::NONE; rows]);
        };
        let shape = Shape::new(rows, cols);
        Ok(match self {
            Self::Adapter { op, .. } => op.partials(logits, *inputs, shape).wait()?,
            Self::Processor(cpu) => {
                let own = OwnTargets::of(classes, cols, options);
                own.partials(&cpu.row_results(logits, &own.classes[..], shape, &of_parts(options))?)
            }
            Self::Reference => by_reference(logits, cols, classes, inputs.class_weights, options),
        })
    }
}

/// Stands for the class of ignored rows. It is no column, whatever class the user ignores.
const IGNORED: i32 = -1;

/// The options for partials of columns as if they were whole rows. The processor path has no shards.
fn of_parts(options: &CrossEntropyOptions) -> CrossEntropyOptions {
    CrossEntropyOptions {
        temperature: options.temperature,
        softcap: options.softcap,
        ignore_index: IGNORED,
        row_fields: RowFields::PARTIALS,
        reduction: Reduction::Sum,
        ..Default::default()
    }
}

/// The targets as a loss of the shard's columns takes them: another shard's target is any column.
struct OwnTargets {
    classes: Vec<i32>,
    is_here: Vec<bool>,
    first_col: usize,
}

impl OwnTargets {
    fn of(classes: &[i32], cols: usize, options: &CrossEntropyOptions) -> Self {
        let first_col = options.shard.map_or(0, |shard| shard.first_col);
        let column = |class: i32| {
            let column = usize::try_from(class).ok()?.checked_sub(first_col)?;
            i32::try_from(column).ok().filter(|_| column < cols)
        };
        let own = |&class: &i32| match column(class) {
            _ if class == options.ignore_index => (IGNORED, false),
            Some(column) => (column, true),
            None => (0, false),
        };
        let (classes, is_here) = classes.iter().map(own).unzip();
        Self { classes, is_here, first_col }
    }

    fn partials(&self, results: &[RowResult]) -> Vec<RowPartials> {
        let of = |(result, &is_here): (&RowResult, &bool)| {
            let partials = RowPartials::from(result).from_col(self.first_col);
            if is_here { partials } else { partials.without_target() }
        };
        results.iter().zip(&self.is_here).map(of).collect()
    }
}

/// By the definition, on all cores that the rank has.
fn by_reference(
    logits: &[f32],
    cols: usize,
    classes: &[i32],
    class_weights: Option<&[f32]>,
    options: &CrossEntropyOptions,
) -> Vec<RowPartials> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let step = classes.len().div_ceil(cores).max(1);
    let mut all = vec![RowPartials::NONE; classes.len()];
    thread::scope(|scope| {
        let parts = all.chunks_mut(step).zip(logits.chunks(step * cols)).zip(classes.chunks(step));
        for ((into, logits), classes) in parts {
            scope.spawn(move || {
                for ((into, row), &class) in into.iter_mut().zip(logits.chunks(cols)).zip(classes) {
                    *into = row_partials(row, class.into(), class_weights, options);
                }
            });
        }
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use xent::VocabularyShard;

    /// One column, of which the class may be the ignored one.
    #[test]
    fn targets_of_other_columns_are_any_column() {
        for (ignore_index, classes) in [(0, [-1, 0, 0]), (1, [0, -1, 0]), (-100, [0, 0, 0])] {
            let shard = Some(VocabularyShard::new(1, 3));
            let own = OwnTargets::of(
                &[0, 1, 2],
                1,
                &CrossEntropyOptions { shard, ignore_index, ..Default::default() },
            );
            assert_eq!(own.classes, classes, "{ignore_index}");
            assert_eq!(own.is_here, [false, ignore_index != 1, false], "{ignore_index}");
        }
    }
}
