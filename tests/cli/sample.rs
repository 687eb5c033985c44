//! `xent sample`.

use xent::reference::sampling::sample_row;
use xent::{SamplerOptions, Sampling};

use crate::support::{Folder, Run, logits};

/// The last words of a table's lines: the tokens.
fn tokens(run: &Run) -> Vec<&str> {
    assert_eq!(run.status, Some(0), "{run:?}");
    run.stdout.lines().skip(1).map(|line| line.split_whitespace().last().unwrap()).collect()
}

#[test]
fn tokens_are_the_references() {
    let cols = 300;
    let logits = logits(5 * cols);
    let folder = Folder::new();
    folder.logits(&logits, cols);
    let plain = Sampling { seed: 9, counter: 3, ..Default::default() };
    for (args, sampling) in [
        ("", plain),
        ("--temperature 0", Sampling { temperature: 0.0, ..plain }),
        (
            "--temperature 0.7 --top-k 20 --top-p 0.9",
            Sampling { temperature: 0.7, top_k: 20, top_p: 0.9, ..plain },
        ),
        ("--min-p 0.2 --min-keep 5", Sampling { min_p: 0.2, min_keep: 5, ..plain }),
    ] {
        let args = format!("sample logits.npy -n 4 --seed 9 --counter 3 {args}");
        let expected: Vec<u32> = (0..5)
            .flat_map(|row| {
                let sampling = Sampling { counter: 3 + row as u64, ..sampling };
                let options = SamplerOptions { samples: 4, ..Default::default() };
                sample_row(&logits[row * cols..][..cols], &sampling, &options).tokens
            })
            .collect();
        let run = folder.run(&args);
        let printed: Vec<u32> = tokens(&run).iter().map(|token| token.parse().unwrap()).collect();
        assert_eq!(printed, expected, "{args}");
        assert_eq!(folder.run(&format!("{args} -o tokens.safetensors")).status, Some(0));
        let (name, dims, written) = folder.tensor_of::<u32>("tokens.safetensors");
        assert_eq!((name.as_str(), dims, written), ("tokens", vec![5, 4], expected), "{args}");
    }
}

/// Bias and penalties for all rows alike, and each class at most once; on the device and with the reference.
#[test]
fn changed_logits_and_draws_without_replacement() {
    let folder = Folder::new();
    folder.logits(&[3.0, 2.5, -1.0, 0.0, 1.0, 2.0], 3);
    for adapter in ["", "--adapter cpu"] {
        let greedy = format!("sample logits.npy --temperature 0 {adapter}");
        for (args, expected) in [
            ("", ["0", "2"]),
            ("--bias 0=-inf", ["1", "2"]),
            ("--bias 0=1,1=2.25", ["1", "1"]),
            ("--past 0,0 --frequency-penalty 0.4", ["1", "2"]),
            ("--past 0,2 --repetition-penalty 2.5", ["1", "1"]),
            ("--past 0,1,2 --presence-penalty 1 --penalty-window 1", ["0", "1"]),
        ] {
            assert_eq!(tokens(&folder.run(&format!("{greedy} {args}"))), expected, "{adapter} {args}");
        }
        let all =
            folder.run(&format!("sample logits.npy -n 4 --without-replacement --bias 1=-inf {adapter}"));
        let found = tokens(&all);
        let mut first: Vec<&str> = found[..4].to_vec();
        first.sort_unstable();
        assert_eq!(first, ["-", "-", "0", "2"], "{adapter}: {found:?}");
    }
    for (args, says) in [
        ("--bias 3=1", "xent: --bias 3: must be a class of the row"),
        ("--bias 3", "needs a class and a value"),
        ("--past 7 --presence-penalty 1", "xent: --past 7: must be a class of the row"),
        ("--repetition-penalty 0", "xent: --repetition-penalty 0: must be from"),
    ] {
        let run = folder.run(&format!("sample logits.npy -o out.npy {args}"));
        assert!(run.status == Some(2) && run.stderr.contains(says), "{args}: {run:?}");
    }
}

#[test]
fn names_and_rows_without_a_token() {
    let folder = Folder::new();
    folder.logits(&[1.0, 3.0, 2.0, f32::NAN, 0.0, 0.0], 3);
    folder.write("names.txt", "zero\none\ntwo\n");
    let run = folder.run("sample logits.npy --temperature 0 --names names.txt");
    assert_eq!(tokens(&run), ["one", "-"]);
    assert_eq!(run.complaints(), ["xent: some rows have no token: nan_logit"]);
    folder.write("names.txt", "zero\n");
    let run = folder.run("sample logits.npy --names names.txt");
    assert_eq!((run.status, run.complaints().len()), (Some(2), 1), "{run:?}");
    assert!(run.stderr.contains("has 1 lines; the logits have 3 classes"), "{run:?}");
}

#[test]
fn wrong_values_change_no_file() {
    let folder = Folder::new();
    folder.logits(&[1.0, 3.0, 2.0], 3);
    for (args, says) in [
        ("--top-p -1", "--top-p -1: must"),
        ("-n 0", "--samples 0: must"),
        ("--temperature -1", "--temperature -1: must"),
        ("--xtc-threshold 0", "--xtc-threshold 0: must"),
    ] {
        let run = folder.run(&format!("sample logits.npy -o out.npy {args}"));
        assert!(run.status == Some(2) && run.stderr.contains(says), "{args}: {run:?}");
    }
    assert_eq!(folder.run("sample logits.npy -o logits.npy").status, Some(2));
    assert_eq!(folder.names(), ["logits.npy"]);
}
