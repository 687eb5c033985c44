//! Ranks with some of the rows each, beside one process: by the library, and by the program.

mod support;

use mpi::traits::Communicator;
use support::{Failure, Folder, ended, logits, on_ranks, said};
use xent::cpu::Processor;
use xent::eval::{EvaluateOptions, Evaluation, EvaluationState, SliceSource};
use xent::{CrossEntropyInputs, CrossEntropyOptions, Reduction, Shape, Targets};

const RANKS: [usize; 4] = [1, 2, 3, 4];

/// The bytes of a state without its times.
fn bytes(state: &EvaluationState) -> Vec<u8> {
    let mut value = ciborium::Value::serialized(state).unwrap();
    let fields = value.as_map_mut().unwrap();
    let all = fields.len();
    fields.retain(|(name, _)| !["reading", "computing", "elapsed"].contains(&name.as_text().unwrap()));
    assert_eq!(all - fields.len(), 3);
    let mut bytes = Vec::new();
    ciborium::into_writer(&value, &mut bytes).unwrap();
    bytes
}

/// Rows that are ignored, have a NaN, or weigh little.
struct Batch {
    logits: Vec<f32>,
    targets: Vec<i32>,
    weights: Vec<f32>,
    shape: Shape,
}

impl Batch {
    fn new(rows: usize, cols: usize) -> Self {
        let mut logits = logits(rows * cols);
        if rows > 5 {
            logits[5 * cols + 1] = f32::NAN;
        }
        Self {
            logits,
            targets: (0..rows)
                .map(|row| if row % 4 == 3 { -100 } else { (row * row % cols) as i32 })
                .collect(),
            weights: (0..rows).map(|row| 0.1 * (row % 5) as f32).collect(),
            shape: Shape::new(rows, cols),
        }
    }

    fn evaluation<'a>(&'a self, options: &CrossEntropyOptions) -> xent::Result<Evaluation<'a>> {
        let inputs = CrossEntropyInputs::from(Targets::Classes(&self.targets)).row_weights(&self.weights);
        let verified = EvaluateOptions { verify_rows: 3, ..Default::default() };
        Evaluation::new(options, self.shape, inputs, &verified)
    }
}

#[test]
fn states_are_those_of_one_process() {
    on_ranks("states_are_those_of_one_process", &RANKS, |world| -> Result<(), Failure> {
        let cpu = Processor::new();
        let options = CrossEntropyOptions { label_smoothing: 0.1, z_loss: 1e-3, ..Default::default() };
        // With fewer rows than ranks, some ranks have none.
        for rows in [0, 1, 3, 97] {
            let batch = Batch::new(rows, 7);
            let mut source = SliceSource::new(&batch.logits, batch.shape)?;
            let mut part = batch.evaluation(&options)?;
            part.restrict(xent_mpi::rows_of(world, batch.shape))?;
            part.run_on_processor(&cpu, &mut source, |_| Ok(()))?;
            let root = rows % world.size() as usize;
            let merged = xent_mpi::merge_states(world, root, part.state())?;
            assert_eq!(merged.is_some(), world.rank() as usize == root);
            let Some(merged) = merged else { continue };
            let mut whole = batch.evaluation(&options)?;
            whole.run_on_processor(&cpu, &mut source, |_| Ok(()))?;
            assert_eq!(bytes(&merged), bytes(whole.state()), "{rows} rows");
            assert_eq!(merged.rows(), rows);
        }
        Ok(())
    });
}

#[test]
fn states_that_do_not_belong_together_are_refused_by_rank() {
    let test = "states_that_do_not_belong_together_are_refused_by_rank";
    on_ranks(test, &[2], |world| -> Result<(), Failure> {
        let batch = Batch::new(4 + world.rank() as usize, 3);
        let part = batch.evaluation(&CrossEntropyOptions::default())?;
        let refused = xent_mpi::merge_states(world, 0, part.state());
        if world.rank() == 0 {
            let said = refused.unwrap_err().to_string();
            assert!(said.starts_with("the state of rank 1 cannot be merged"), "{said}");
            assert!(said.ends_with("the number of rows is 4.0 in one and 5.0 in the other"), "{said}");
        }
        Ok(())
    });
}

/// Data-parallel training: the shares of the ranks are the mean and its gradient.
#[test]
fn the_denominator_is_that_of_all_ranks() {
    on_ranks("the_denominator_is_that_of_all_ranks", &RANKS, |world| -> Result<(), Failure> {
        let cpu = Processor::new();
        let batch = Batch::new(30, 6);
        let options = CrossEntropyOptions::default();
        let rows = xent_mpi::rows_of(world, batch.shape);
        let (shape, cols) = (Shape::new(rows.len(), 6), 6);
        let own = &batch.logits[rows.start * cols..rows.end * cols];
        let inputs = |rows: std::ops::Range<usize>| {
            CrossEntropyInputs::from(Targets::Classes(&batch.targets[rows.clone()]))
                .row_weights(&batch.weights[rows])
        };
        let weight = inputs(rows.clone()).check(shape, &options)?.weight;
        let shared = CrossEntropyOptions { reduction: xent_mpi::mean_over(world, weight), ..options };
        let (mut part, mut whole) = (vec![0.0f32; own.len()], vec![0.0f32; batch.logits.len()]);
        cpu.loss_into(own, inputs(rows.clone()), shape, &shared, &mut part)?;
        cpu.loss_into(&batch.logits, inputs(0..30), batch.shape, &options, &mut whole)?;
        for (at, (part, whole)) in part.iter().zip(&whole[rows.start * cols..]).enumerate() {
            let is_equal = part.is_nan() && whole.is_nan() || (part - whole).abs() <= 1e-6 * whole.abs();
            assert!(is_equal, "{at}: {part} {whole}");
        }
        assert_eq!(xent_mpi::mean_over(world, 0.0), Reduction::Sum);
        Ok(())
    });
}

fn files() -> Folder {
    let folder = Folder::new();
    let batch = Batch::new(61, 7);
    folder.array("logits.npy", "<f4", &[61, 7], &batch.logits);
    folder.array("targets.npy", "<i4", &[61], &batch.targets);
    folder.array("weights.npy", "<f4", &[61], &batch.weights);
    folder
}

#[test]
fn the_program_says_what_the_tool_says() {
    let folder = files();
    let eval = "eval logits.npy --targets targets.npy --adapter cpu --json";
    for (ranks, options) in [
        (1, "--label-smoothing 0.1"),
        (2, "--row-weights weights.npy --readouts --verify 4"),
        (3, "--shift 1 --sequence 10 --temperature 2"),
        (4, "--softcap 3 --reduction sum --worst 3"),
    ] {
        let whole = folder.xent(&format!("{eval} {options}")).well();
        let job =
            ended(folder.job(ranks, &format!("{eval} {options} --rows-out {ranks}.{{rank}}.csv"))).well();
        assert_eq!(said(&job), said(&whole), "{ranks} {options}");
        folder.xent(&format!("{eval} {options} --rows-out whole.csv")).well();
        let read = |name: String| std::fs::read_to_string(folder.path(&name)).unwrap();
        let parts: String = (0..ranks).map(|rank| read(format!("{ranks}.{rank}.csv"))).collect();
        assert_eq!(parts, read("whole.csv".to_owned()), "{ranks} {options}");
    }
    assert_eq!(folder.names("xent-mpi."), [""; 0], "no state is left");
    // A page, a state for later, and a status, which are of the whole.
    let job =
        "eval logits.npy --targets targets.npy --adapter cpu --html p.html --state-out all.state --strict";
    let strict = ended(folder.job(2, job));
    assert!(strict.status == Some(1) && strict.stderr.contains("bad rows: 1"), "{strict:#?}");
    assert!(folder.path("p.html").is_file());
    let again = folder.xent("merge all.state --json").well();
    assert_eq!(said(&again), said(&folder.xent(eval).well()));
}
