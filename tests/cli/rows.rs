//! Rows as positions of sequences.

use xent::{CrossEntropyInputs, CrossEntropyOptions, SequenceUnit, Sequences, Targets};

use crate::expected::Batch;
use crate::support::{Folder, logits};

const COLS: usize = 11;

fn targets() -> Vec<i32> {
    (0..12).map(|row| row * 5 % COLS as i32).collect()
}

#[test]
fn shifts_and_positions() {
    let (logits, targets) = (logits(12 * COLS), targets());
    let sequences = |length, shift, from, to| Sequences { from, to, ..Sequences::shifted(length, shift) };
    let in_positions = |sequences| Sequences { unit: SequenceUnit::Positions, ..sequences };
    let all = usize::MAX;
    for (args, dims, expected) in [
        ("--shift 1", &[3, 4, COLS][..], sequences(4, 1, 0, all)),
        ("--shift 1", &[12, COLS], sequences(12, 1, 0, all)),
        ("--shift 2 --sequence 6", &[3, 4, COLS], sequences(6, 2, 0, all)),
        ("--shift 1 --sequence 5", &[12, COLS], sequences(5, 1, 0, all)),
        ("--shift 0 --score-from 1 --score-to 3", &[3, 4, COLS], sequences(4, 0, 1, 3)),
        ("--shift 1 --score-from 2", &[2, 6, COLS], sequences(6, 1, 2, all)),
        ("--shift 1 --score-from 2 --positions", &[2, 6, COLS], in_positions(sequences(6, 1, 2, all))),
        ("--score-to 2", &[2, 3, 2, COLS], sequences(2, 0, 0, 2)),
        ("--sequence 4", &[12, COLS], sequences(4, 0, 0, all)),
    ] {
        let folder = Folder::new();
        let row_dims = &dims[..dims.len() - 1];
        folder.array("logits.npy", dims, &logits).array("targets.npy", row_dims, &targets);
        let options = CrossEntropyOptions { sequences: Some(expected), ..Default::default() };
        let batch = Batch {
            dims: (dims, row_dims),
            ..Batch::new(&logits, Targets::Classes(&targets), &[12, COLS]).options(options)
        };
        batch.check(&folder, &format!("--targets targets.npy {args}"));
    }
}

#[test]
fn with_a_mask_and_weights() {
    let (logits, targets) = (logits(12 * COLS), targets());
    let mask: Vec<bool> = (0..12).map(|row| row % 3 != 1).collect();
    let weights: Vec<f32> = (0..12).map(|row| (row % 4) as f32).collect();
    let folder = Folder::new();
    let ints: Vec<i64> = mask.iter().map(|&scored| if scored { -7 } else { 0 }).collect();
    folder.array("logits.npy", &[3, 4, COLS], &logits).array("targets.npy", &[12], &targets);
    folder.array("mask.npy", &[3, 4], &ints).array("weights.npy", &[12], &weights);
    let inputs = CrossEntropyInputs::new(Targets::Classes(&targets)).row_mask(&mask).row_weights(&weights);
    let sequences = Some(Sequences { from: 1, ..Sequences::shifted(4, 1) });
    let batch = Batch {
        inputs,
        dims: (&[3, 4, COLS], &[3, 4]),
        ..Batch::new(&logits, inputs.targets, &[12, COLS])
            .options(CrossEntropyOptions { sequences, ..Default::default() })
    };
    let args = "--targets targets.npy --shift 1 --score-from 1 --row-mask mask.npy --row-weights weights.npy";
    batch.check(&folder, args);
}

#[test]
fn targets_that_no_row_is_scored_against_may_be_anything() {
    let folder = Folder::new();
    folder.array("logits.npy", &[2, 3, 2], &[0.0f32; 12]);
    // Shifted by one, the first target of each sequence is nobody's.
    folder.array("targets.npy", &[2, 3], &[i64::MAX, 0, 1, -7, 1, 0]);
    assert_eq!(folder.eval("--shift 1")["counted"], 4);
    folder.array("targets.npy", &[2, 3], &[1i64, 0, 99, 1, -7, 0]);
    folder.array("mask.npy", &[2, 3], &[1u8, 1, 0, 1, 0, 1]);
    assert_eq!(folder.eval("--row-mask mask.npy")["counted"], 4);
    folder.array("weights.npy", &[6], &[1.0f32, 1.0, 0.0, 1.0, 0.0, 1.0]);
    assert_eq!(folder.eval("--row-weights weights.npy")["counted"], 4);
    // The weights are those of the tokens, unless they are to be those of positions.
    assert_eq!(folder.eval("--row-weights weights.npy --shift 1")["counted"], 2);
    let run =
        folder.run("eval logits.npy --targets targets.npy --row-weights weights.npy --shift 1 --positions");
    let line = "xent: targets.npy: targets[0, 2] = 99 is outside 0..2 and is not ignore_index (-100)";
    assert_eq!((run.status, run.complaints()), (Some(2), vec![line]));
}

#[test]
fn a_sequence_has_a_length() {
    let folder = Folder::new();
    folder.logits(&[0.0; 4], 2).targets(&[0, 1]);
    let run = folder.run("eval logits.npy --targets targets.npy --shift 1 --sequence 0");
    let line = "xent: --sequence 0: must be at least 1";
    assert_eq!((run.status, run.complaints()), (Some(2), vec![line]));
    for args in ["--shift 2", "--shift 18446744073709551615", "--score-from 2", "--score-from 1 --score-to 1"]
    {
        let report = folder.eval(args);
        assert_eq!((&report["counted"], &report["ignored"]), (&0.into(), &2.into()), "{args}");
    }
}

/// Documents of different lengths, packed without padding, by their lengths or one to a file; and the totals of each.
#[test]
fn packed_sequences() {
    let (logits, targets) = (logits(12 * COLS), targets());
    let folder = Folder::new();
    folder.array("logits.npy", &[12, COLS], &logits).array("targets.npy", &[12], &targets);
    folder.array("lengths.npy", &[4], &[5i64, 1, 0, 6]);
    for (name, rows) in [("one.npy", 0..5), ("two.npy", 5..6), ("three.npy", 6..12)] {
        folder.array(name, &[rows.len(), COLS], &logits[rows.start * COLS..rows.end * COLS]);
    }
    let ends = [5, 6, 6, 12];
    let inputs = CrossEntropyInputs::new(Targets::Classes(&targets)).sequence_ends(&ends);
    let sequences = Some(Sequences { from: 2, ..Sequences::shifted(12, 1) });
    let batch = Batch { inputs, ..Batch::new(&logits, inputs.targets, &[12, COLS]) }
        .options(CrossEntropyOptions { sequences, ..Default::default() });
    let args = "--targets targets.npy --shift 1 --score-from 2 --sequence-lengths lengths.npy";
    batch.check(&folder, args);

    let report = folder.eval("--shift 1 --score-from 2 --sequence-lengths lengths.npy --sequences-out s.csv");
    assert_eq!(report["positions"]["length"], 6);
    let args =
        "--targets targets.npy --shift 1 --score-from 2 --sequence-per-file --sequences-out t.csv --json";
    let run = folder.run(&format!("eval one.npy two.npy three.npy {args}"));
    assert_eq!(run.status, Some(0), "{run:?}");
    let per_file: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&per_file["loss"], &per_file["counted"]), (&report["loss"], &7.into()));
    assert_eq!(per_file["sequence_standard_error"], report["sequence_standard_error"]);

    let table = String::from_utf8(folder.read("s.csv")).unwrap();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines[0].join(","), "sequence,length,scored,not_finite,loss,weight,mean,perplexity");
    // The sequence of no rows is not there.
    let firsts: Vec<_> = lines[1..].iter().map(|line| line[..4].join(",")).collect();
    assert_eq!(firsts, ["0,5,3,0", "1,1,0,0", "3,6,4,0"], "{table}");
    let sum: f64 = [1, 3].iter().map(|&line| lines[line][4].parse::<f64>().unwrap()).sum();
    assert!((sum - report["sum"].as_f64().unwrap()).abs() < 1e-12, "{table}");
    let mean: f64 = lines[1][6].parse().unwrap();
    assert!(
        (mean.exp() - lines[1][7].parse::<f64>().unwrap()).abs() < 1e-9 && lines[2][6].is_empty(),
        "{table}"
    );

    folder.array("lengths.npy", &[2], &[5i64, 6]);
    for (args, said) in [
        (
            "--sequence-lengths lengths.npy",
            "lengths.npy: the lengths add up to 11; there are 12 rows of logits",
        ),
        ("--sequences-out x.txt", "x.txt: cannot be written: its name must end with .csv"),
        ("--rows-out r.txt", "r.txt: cannot be written: its name must end with .csv, .npy or .safetensors"),
    ] {
        let run = folder.run(&format!("eval logits.npy --targets targets.npy {args}"));
        assert_eq!((run.status, run.complaints()), (Some(2), vec![&*format!("xent: {said}")]), "{args}");
    }
}

/// Several targets that leave a row out, whatever they are; the table shows those of the file.
#[test]
fn several_ignored_targets_and_what_the_table_shows() {
    let folder = Folder::new();
    folder.array("logits.npy", &[6, 2], &[0.0f32; 12]).array("targets.npy", &[6], &[0i64, 1, -100, 7, 1, -1]);
    folder.array("mask.npy", &[6], &[1u8, 0, 1, 1, 1, 1]);
    let report = folder.eval("--ignore-index -100,7,-1 --row-mask mask.npy --rows-out rows.csv");
    assert_eq!((&report["counted"], &report["ignored"]), (&2.into(), &4.into()));
    let table = String::from_utf8(folder.read("rows.csv")).unwrap();
    let shown: Vec<_> =
        table.lines().skip(1).map(|line| line.split(',').nth(3).unwrap().to_owned()).collect();
    assert_eq!(shown, ["0", "1", "-100", "7", "1", "-1"]);
}
