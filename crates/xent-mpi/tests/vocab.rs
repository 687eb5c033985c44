//! Ranks with some of the columns each, beside the f64 reference: by the library, and by the program.

mod support;

use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;
use support::{Ended, Failure, Folder, ended, logits, on_ranks};
use xent::reference::cross_entropy::row_partials;
use xent::{
    Context, CrossEntropy, CrossEntropyInputs, CrossEntropyOptions, Flags, RowPartials, Shape, Targets,
    VocabularyShard, reference,
};

const RANKS: [usize; 4] = [1, 2, 3, 4];
const INF: f32 = f32::INFINITY;

/// Rows of 11 classes with a target each; on three ranks the first has the columns 0 to 2, the second 3 to 6.
fn special_rows() -> Vec<(&'static str, Vec<f32>, i32)> {
    let plain = |shift: f32| logits(11).into_iter().map(|x| x + shift).collect::<Vec<_>>();
    let with = |changes: &[(usize, f32)]| {
        let mut row = plain(0.0);
        changes.iter().for_each(|&(at, value)| row[at] = value);
        row
    };
    let all_but = |kept: std::ops::Range<usize>| {
        plain(0.0).into_iter().enumerate().map(|(at, x)| if kept.contains(&at) { x } else { -INF }).collect()
    };
    vec![
        ("plain", plain(0.0), 0),
        ("the target is the last class", plain(0.0), 10),
        ("logits share an offset", plain(1e6), 4),
        ("ignored, with a NaN", with(&[(2, f32::NAN)]), -100),
        ("NaN in one shard", with(&[(9, f32::NAN)]), 1),
        ("+inf in one shard", with(&[(1, INF)]), 9),
        ("the maximum is tied between shards", with(&[(2, 9.0), (3, 9.0), (10, 9.0)]), 3),
        ("all -inf but in the last shard", all_but(8..11), 9),
        ("all -inf but in the first shard", all_but(0..2), 1),
        ("the target is impossible", all_but(0..2), 9),
        ("all -inf", all_but(0..0), 5),
        ("a certain target", with(&[(5, 60.0)]), 5),
        ("a loss of hundreds", with(&[(5, 600.0)]), 6),
        ("large logits", with(&[(0, 3.4e38), (10, -3.4e38)]), 0),
    ]
}

/// The loss of a row, from the definition.
fn loss(row: &[f32], target: i32) -> f64 {
    let row: Vec<f64> = row.iter().map(|&x| x.into()).collect();
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if row.iter().any(|x| x.is_nan() || *x == f64::INFINITY) || max == f64::NEG_INFINITY {
        return f64::NAN;
    }
    let own = target as usize;
    let others = (0..row.len()).filter(|&at| at != own).map(|at| (row[at] - row[own]).exp()).sum::<f64>();
    if others < 1.0 {
        others.ln_1p()
    } else {
        row.iter().map(|x| (x - max).exp()).sum::<f64>().ln() + (max - row[own])
    }
}

#[track_caller]
fn close(found: f64, expected: f64, what: &str) {
    let is_close = (found - expected).abs() <= 5e-6 + 1e-6 * expected.abs();
    assert!(
        is_close || found == expected || found.is_nan() && expected.is_nan(),
        "{what}: {found} {expected}"
    );
}

fn of_rank(
    world: &SimpleCommunicator,
    rows: &[(&str, Vec<f32>, i32)],
    cols: usize,
) -> (CrossEntropyOptions, Vec<RowPartials>) {
    let own = xent_mpi::columns_of(world, cols);
    let shard = xent_mpi::shard_of(world, own.len());
    assert_eq!(shard, VocabularyShard::new(own.start, cols));
    let options = CrossEntropyOptions { shard: Some(shard), ..Default::default() };
    let partials =
        rows.iter().map(|(_, row, class)| row_partials(&row[own.clone()], (*class).into(), None, &options));
    (options, partials.collect())
}

#[test]
fn folded_rows_are_those_of_the_definition() {
    on_ranks("folded_rows_are_those_of_the_definition", &RANKS, |world| -> Result<(), Failure> {
        let mut rows = special_rows();
        // Fewer columns than ranks: some have none.
        let narrow = vec![("narrow", vec![1.0, 2.0], 0), ("narrow and ignored", vec![1.0, 2.0], -100)];
        for (cols, rows) in [(11, &mut rows), (2, &mut narrow.clone()), (2, &mut Vec::new())] {
            let (options, own) = of_rank(world, rows, cols);
            let merged = xent_mpi::fold_partials(world, &own, 1.0)?;
            let targets: Vec<i32> = rows.iter().map(|row| row.2).collect();
            let results = options.merged_results(&merged, &targets)?;
            assert_eq!(results.len(), rows.len());
            for ((name, row, target), result) in rows.iter().zip(&results) {
                if *target == -100 {
                    assert!(result.is_left_out() && result.loss == 0.0, "{name}");
                    continue;
                }
                close(result.loss.into(), loss(row, *target), name);
                let has_nan = row.iter().any(|x| x.is_nan());
                assert_eq!(result.flags().contains(Flags::NAN_LOGIT), has_nan, "{name}");
                let largest = row.iter().copied().fold(-INF, f32::max);
                let argmax = row.iter().position(|x| if has_nan { x.is_nan() } else { *x == largest });
                assert_eq!(result.argmax as usize, argmax.unwrap(), "{name}");
            }
        }
        Ok(())
    });
}

/// The columns of all ranks, one beside the other, have the gradient of the whole rows. On an adapter, of whatever kind.
#[test]
fn gradients_are_those_of_whole_rows() {
    on_ranks("gradients_are_those_of_whole_rows", &[1, 3], |world| -> Result<(), Failure> {
        let (rows, cols) = (40, 7);
        let all = logits(rows * cols);
        let targets: Vec<i32> =
            (0..rows).map(|row| if row % 9 == 2 { -100 } else { (row % cols) as i32 }).collect();
        let whole = CrossEntropyOptions {
            label_smoothing: 0.1,
            z_loss: 1e-2,
            temperature: 1.5,
            ..Default::default()
        };
        let shape = Shape::new(rows, cols);
        let expected = reference::cross_entropy::dlogits(&all, &targets, shape, &whole)?;
        let loss_expected = reference::cross_entropy::loss(&all, &targets, shape, &whole)?;
        let own = xent_mpi::columns_of(world, cols);
        let shard = Some(xent_mpi::shard_of(world, own.len()));
        let op = CrossEntropy::new(&Context::new().wait()?, &CrossEntropyOptions { shard, ..whole })?;
        let part: Vec<f32> = all.chunks(cols).flat_map(|row| row[own.clone()].to_vec()).collect();
        let shape = Shape::new(rows, own.len());
        let (loss, dlogits) = xent_mpi::loss_and_dlogits(world, &op, &part, &targets, shape)?;
        close(loss.value, loss_expected, "the loss");
        // The gradient is a prediction minus a target's share; its error is relative to the two, not to their difference.
        let counted = targets.iter().filter(|&&class| class >= 0).count();
        for (at, found) in dlogits.iter().enumerate() {
            let (row, class) = (at / own.len(), own.start + at % own.len());
            let share = 0.1 / cols as f64 + if targets[row] == class as i32 { 0.9 } else { 0.0 };
            let (expected, share) = (expected[row * cols + class], share / (1.5 * counted as f64));
            let bound = if targets[row] < 0 { 0.0 } else { 2e-5 * (expected.abs() + share) };
            assert!((f64::from(*found) - expected).abs() <= bound, "{row} {class}: {found} {expected}");
        }
        assert_eq!(dlogits.len(), rows * own.len());
        Ok(())
    });
}

/// In pieces, and the same bits on all ranks.
#[test]
fn many_rows_are_folded_in_pieces() {
    on_ranks("many_rows_are_folded_in_pieces", &[3], |world| -> Result<(), Failure> {
        let row = |at: usize| {
            let logits = [at as f32 * 1e-3, 1.0, world.rank() as f32];
            RowPartials::of(&logits, Some(at % 3), 0.5).from_col(3 * world.rank() as usize)
        };
        let own: Vec<RowPartials> = (0..400_000).map(row).collect();
        let merged = xent_mpi::fold_partials(world, &own, 0.5)?;
        assert_eq!(merged.len(), own.len());
        for at in [0, 174_761, 174_762, 174_763, 399_999] {
            let whole: Vec<f64> = (0..3).flat_map(|rank| [at as f64 * 1e-3, 1.0, f64::from(rank)]).collect();
            let max = whole.iter().copied().fold(f64::MIN, f64::max);
            let lse = max / 0.5 + whole.iter().map(|x| ((x - max) / 0.5).exp()).sum::<f64>().ln();
            close(merged[at].lse(0.5), lse, &at.to_string());
        }
        let bits: &[u8] = bytemuck::cast_slice(&merged);
        let sum = bits.iter().fold(0usize, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        Ok(xent_mpi::same(world, "the bits of the rows", sum >> 1)?)
    });
}

#[test]
fn other_rows_on_a_rank_are_refused_on_all() {
    on_ranks("other_rows_on_a_rank_are_refused_on_all", &[3], |world| -> Result<(), Failure> {
        let own = vec![RowPartials::NONE; if world.rank() == 1 { 5 } else { 4 }];
        let refused = xent_mpi::fold_partials(world, &own, 1.0).unwrap_err().to_string();
        assert_eq!(refused, "the rows of the partials: 5 on rank 1, and 4 on rank 0");
        Ok(())
    });
}

const ROWS: usize = 60;
const COLS: usize = 37;

/// One file, and files cut into odd columns for three ranks.
fn files() -> Folder {
    let folder = Folder::new();
    let values = logits(ROWS * COLS);
    folder.array("logits.npy", "<f4", &[ROWS, COLS], &values);
    for (rank, cols) in [0..5, 5..6, 6..COLS].into_iter().enumerate() {
        let part: Vec<f32> = values.chunks(COLS).flat_map(|row| row[cols.clone()].to_vec()).collect();
        folder.array(&format!("part-{rank}.npy"), "<f4", &[ROWS, cols.len()], &part);
    }
    let targets: Vec<i64> =
        (0..ROWS).map(|row| if row % 7 == 3 { -100 } else { (row * row % COLS) as i64 }).collect();
    folder.array("targets.npy", "<i8", &[ROWS], &targets);
    let weights: Vec<f32> = (0..ROWS).map(|row| 0.25 * (row % 5) as f32).collect();
    folder.array("rows.npy", "<f4", &[ROWS], &weights);
    let weights: Vec<f32> = (0..COLS).map(|col| 0.5 + (col % 3) as f32).collect();
    folder.array("classes.npy", "<f4", &[COLS], &weights);
    folder
}

fn said(run: Ended) -> serde_json::Value {
    let run = run.well();
    serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:#?}"))
}

#[test]
fn the_program_agrees_with_the_tool() {
    let folder = files();
    for (ranks, logits, options) in [
        (1, "logits.npy", ""),
        (2, "logits.npy", "--temperature 2 --z-loss 1e-3"),
        (3, "part-{rank}.npy", "--row-weights rows.npy --class-weights classes.npy"),
        (3, "part-{rank}.npy", "--label-smoothing 0.1 --class-weights classes.npy"),
        (4, "logits.npy", "--softcap 3 --focal-gamma 1.5 --ignore-index 5"),
    ] {
        let of = |logits: &str| format!("eval {logits} --targets targets.npy --adapter cpu --json {options}");
        let args = if options.contains("--ignore-index") {
            of(logits).replace("targets.npy", "all.npy")
        } else {
            of(logits)
        };
        let all: Vec<i64> = (0..ROWS as i64).map(|row| row % COLS as i64).collect();
        folder.array("all.npy", "<i8", &[ROWS], &all);
        let found = said(ended(folder.job(ranks, &format!("{args} --distributed vocab --window-rows 7"))));
        let expected = said(folder.xent(&args.replace("part-{rank}.npy", "logits.npy")));
        for key in ["loss", "sum", "z_loss", "accuracy", "weight"] {
            let number = |said: &serde_json::Value| said[key].as_f64().unwrap_or(f64::NAN);
            close(number(&found), number(&expected), &format!("{key} of {args}"));
        }
        for key in ["rows", "cols", "counted", "ignored", "flags", "bad_rows"] {
            assert_eq!(found[key], expected[key], "{key} of {args}");
        }
        assert_eq!(found["ranks"], ranks);
    }
    assert_eq!(folder.names("xent-mpi."), [""; 0], "no progress is left");
    let text =
        ended(folder.job(2, "eval logits.npy --targets targets.npy --distributed vocab")).well().stdout;
    assert!(text.starts_with("loss ") && text.contains("37 on 2 ranks, 19 at most"), "{text}");
}

#[test]
fn what_columns_cannot_do_is_refused() {
    let folder = files();
    folder.array("short.0.npy", "<f4", &[4, 3], &logits(12)).array(
        "short.1.npy",
        "<f4",
        &[5, 3],
        &logits(15),
    );
    for (args, says) in [
        ("logits.npy --targets targets.npy --shift 1", "unexpected argument '--shift'"),
        ("logits.npy --targets targets.npy --temperature 0", "temperature"),
        ("short.{rank}.npy --targets targets.npy", "the rows of the logits: 5 on rank 1, and 4 on rank 0"),
        ("part-0.npy --targets targets.npy", "is outside 0..5"),
        ("none.npy --targets targets.npy", "none.npy"),
    ] {
        let job = ended(folder.job(2, &format!("eval {args} --distributed vocab --adapter cpu")));
        assert!(
            job.status.is_some_and(|status| status != 0) && job.stderr.contains(says),
            "{args}: {job:#?}"
        );
    }
}

/// Whatever the classes are, their weights and their rows: the inputs of the whole.
#[test]
fn inputs_are_those_of_whole_rows() {
    on_ranks("inputs_are_those_of_whole_rows", &[2], |world| -> Result<(), Failure> {
        let rows = vec![("a", vec![0.5, 1.5, -1.0], 2), ("b", vec![2.0, 0.0, 1.0], 0)];
        let (options, own) = of_rank(world, &rows, 3);
        let merged = xent_mpi::fold_partials(world, &own, 1.0)?;
        let weights = [1.0, 2.0, 4.0];
        let inputs = CrossEntropyInputs::from(Targets::Classes(&[2, 0])).class_weights(&weights);
        let expected = (4.0 * loss(&rows[0].1, 2) + loss(&rows[1].1, 0)) / 5.0;
        close(options.merged_loss(&merged, inputs)?.value, expected, "the weighted mean");
        Ok(())
    });
}
