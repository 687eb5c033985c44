//! Saved logits through a pipe.

use super::*;

#[test]
fn a_stream_brings_its_targets_and_tokens() {
    let folder = folder();
    let piped = |args: &str, from: &str| run_with_stdin(folder.command(args), &folder.read(from));
    let json = |args: &str, from: &str| -> Value {
        let run = piped(&format!("{args} --json"), from);
        assert_eq!(run.status, Some(0), "{args}: {run:?}");
        serde_json::from_str(&run.stdout).unwrap()
    };
    for options in ["", "--score-from 2 --ignore-index 7", "--temperature 1,2"] {
        let [found, expected] = [
            json(&format!("eval - {options}"), "base.kld"),
            json_of(&folder, &format!("eval base.kld {options}")),
        ];
        for key in ["mean", "loss", "counted", "accuracy", "perplexity"] {
            assert_eq!(found[key], expected[key], "{options}: {key}");
        }
        assert_eq!(found["rows"], CHUNKS * ROWS);
    }
    let expected = json_of(&folder, "compare base.kld other.kld");
    for (args, from) in [("compare - other.kld", "base.kld"), ("compare base.kld -", "other.kld")] {
        let found = json(args, from);
        for key in ["losses", "kl", "prob_change", "accuracy"] {
            assert!(!found[key].is_null() && found[key] == expected[key], "{args}: {key}");
        }
        assert_eq!(
            piped(&format!("{args} --llama-cpp"), from).stdout,
            folder.run("compare base.kld other.kld --llama-cpp").stdout
        );
    }
    let mut others = tokens();
    others[2 * N_CTX + 4] = 1;
    folder.write("tokens.kld", saved(&models()[0], COLS, &others));
    let whole = folder.read("base.kld");
    folder.write("early.kld", &whole[..100]);
    for (args, from, says) in [
        (
            "compare base.kld - --llama-cpp",
            "tokens.kld",
            "xent: -: its tokens are others than those of base.kld: in chunk 2, token 4 is 1 and not 23",
        ),
        (
            "compare - base.kld",
            "tokens.kld",
            "xent: base.kld: its tokens are others than those of -: in chunk 2",
        ),
        ("compare - base.kld --shift 1", "base.kld", "xent: --shift: the targets in the file of the logits"),
        ("compare - other.kld --llama-cpp", "base.npy", "xent: --llama-cpp: needs a base that"),
        ("eval - --shift 1", "base.kld", "xent: --shift: the targets in the file of the logits"),
        ("eval -", "base.npy", "xent: --targets: is needed by --loss cross-entropy"),
        ("eval -", "early.kld", "xent: stdin: it ends early: its header and tokens have 100 of 900 bytes"),
        (
            "eval - --input probs",
            "base.kld",
            "xent: --input: probs does not apply to llama.cpp's saved logits",
        ),
    ] {
        let run = piped(args, from);
        let complaints = run.complaints();
        assert!(
            run.status == Some(2) && complaints.len() == 1 && complaints[0].starts_with(says),
            "{args} < {from}: {run:?}"
        );
    }
}
