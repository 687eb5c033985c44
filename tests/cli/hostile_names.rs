//! Names and contents of files may be anything: no terminal obeys them, and no line of theirs looks like one of the tool's.

#![cfg(unix)]

use serde_json::{Value, json};

use crate::support::{Folder, Run, logits, run, safetensors_of};

/// Ends a line and begins one that looks like the tool's; then what hides, and what turns the direction.
const FORGED: &str = "\nxent: all is well\r\u{1b}[2K\u{9b}2K\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}";

/// A name with that in it.
fn named(ending: &str) -> String {
    format!("a{FORGED}{ending}")
}

/// Runs the tool with these arguments as they are.
fn run_with(folder: &Folder, args: &[&str]) -> Run {
    let mut command = folder.command("");
    command.args(args);
    run(command)
}

#[track_caller]
fn assert_harmless(run: &Run, context: &str) {
    for (stream, text) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
        let obeyed = text.chars().find(|&c| {
            let turns = "\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}".contains(c);
            let steers = c.is_control() && c != '\n';
            turns
                || steers
                || ('\u{202a}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c)
        });
        assert_eq!(obeyed, None, "{context}: {stream}: {text:?}");
        let forged = text.lines().find(|line| line.starts_with("xent: all is well"));
        assert_eq!(forged, None, "{context}: {stream}: {text:?}");
    }
}

#[test]
fn of_files_that_are_refused() {
    let folder = Folder::new();
    folder.logits(&logits(12), 3).targets(&[0, 1, 2, 0]);
    std::fs::create_dir(folder.path(&named(""))).unwrap();
    for ending in [".npy", ".safetensors", ".json", ".xent-checkpoint", ".svg", ".html", ".csv"] {
        folder.write(&named(ending), "no such content");
    }
    std::fs::create_dir(folder.path(&named(".d.npy"))).unwrap();
    let name = |ending: &str| named(ending);
    let eval = ["eval", "logits.npy", "--targets", "targets.npy"];
    let cases: Vec<Vec<String>> = [
        ("--targets", ".npy"),
        ("--targets", ".none"),
        ("--soft-targets", ".npy"),
        ("--class-weights", ".safetensors"),
        ("--row-weights", ".npy"),
        ("--row-mask", ".none"),
        ("--rows-out", ".d.npy"),
        ("--rows-out", ".bin"),
        ("--grad-out", "/x/out.npy"),
        ("--plot", ".png"),
        ("--html", ".txt"),
        ("--checkpoint", ".d.npy"),
        ("--checkpoint", ".npy"),
        ("--tuning", ".json"),
        ("--tuning", ".none"),
        ("--targets-key", ""),
        ("--memory", ""),
        ("--reduction", ""),
        ("--temperature", ""),
        ("--softcap", ""),
        ("--shift", ""),
        ("--verify", ""),
        ("--adapter", ""),
    ]
    .iter()
    .map(|(option, ending)| {
        let args = if option.ends_with("targets") { &eval[..2] } else { &eval[..] };
        args.iter().map(|arg| arg.to_string()).chain([option.to_string(), name(ending)]).collect()
    })
    .chain([
        vec!["eval".to_owned(), name(".none"), "--targets".to_owned(), "targets.npy".to_owned()],
        vec!["eval".to_owned(), name(".npy"), "--targets".to_owned(), "targets.npy".to_owned()],
        vec!["eval".to_owned(), name(""), "--targets".to_owned(), "targets.npy".to_owned()],
        vec!["softmax".to_owned(), name(".safetensors"), "-o".to_owned(), "out.npy".to_owned()],
        vec!["softmax".to_owned(), "logits.npy".to_owned(), "-o".to_owned(), name("/out.none")],
        vec!["bench".to_owned(), "--shape".to_owned(), name("")],
        vec!["bench".to_owned(), "--plot".to_owned(), name("/x/y.svg")],
        vec!["tune".to_owned(), "-o".to_owned(), name("/x/y.json")],
        vec!["adapters".to_owned(), "--adapter".to_owned(), name("")],
        vec!["completions".to_owned(), name("")],
        vec![name("")],
        vec![format!("--{}", name(""))],
    ])
    .collect();
    for args in cases {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let run = run_with(&folder, &args);
        assert_harmless(&run, &format!("{args:?}"));
        assert!(matches!(run.status, Some(2 | 3)), "{args:?}: {run:?}");
        // Escaped, so that the name can still be told from others.
        let is_shown = run.stderr.contains(r"a\nxent: all is well\r\u{1b}[2K\u{9b}2K\u{202e}");
        assert!(is_shown, "not what was to be tried: {args:?}: {run:?}");
    }
}

#[test]
fn of_files_that_are_taken() {
    let folder = Folder::new();
    let (input, targets) = (named(".npy"), named("targets.npy"));
    folder.array(&input, &[4, 3], &logits(12)).array(&targets, &[4], &[0i64, 1, 2, 0]);
    let (rows, plot, html) = (named(".csv"), named(".svg"), named(".html"));
    let args = ["eval", &input, "--targets", &targets, "--rows-out", &rows, "--plot", &plot, "--html", &html];
    let run = run_with(&folder, &args);
    assert_eq!(run.status, Some(0), "{run:?}");
    assert_harmless(&run, "eval");
    for name in [&rows, &plot, &html] {
        let text = String::from_utf8(folder.read(name)).unwrap();
        assert_harmless(&Run { stdout: text, stderr: String::new(), ..run }, name);
    }

    // A run that is stopped names its checkpoint, and the one after it too.
    let stopped = [&args[..4], &["--stop-after", "1", "--windows", "1kB"]].concat();
    let run = run_with(&folder, &stopped);
    assert_harmless(&run, "stopped");
    let run = run_with(&folder, &args[..4]);
    assert_harmless(&run, "begun anew");

    // Values of f64 are narrowed, and that is said with the name.
    let wide = named("wide.npy");
    folder.array(&wide, &[4, 3], &[0.5f64; 12]);
    let run = run_with(&folder, &["eval", &wide, "--targets", &targets]);
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(run.stderr.contains("narrowed"), "{run:?}");
    assert_harmless(&run, "narrowed");
}

#[test]
fn of_what_is_in_files() {
    let folder = Folder::new();
    folder.logits(&logits(12), 3).targets(&[0, 1, 2, 0]);
    let info = json!({ "dtype": FORGED, "shape": [4, 3], "data_offsets": [0, 48] });
    let of = |name: &str, info: Value| {
        let mut header = serde_json::Map::new();
        header.insert(name.to_owned(), info);
        safetensors_of(&Value::from(header).to_string(), &[0; 48])
    };
    folder.write("dtype.safetensors", of("logits", info));
    let good = json!({ "dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48] });
    folder.write("key.safetensors", of(FORGED, good));
    folder.write("raw.npy", crate::support::npy_of(&format!("{{'descr': '{FORGED}'}}"), &[]));
    let tuning = |format: &str, name: &str, version: &str| {
        let adapter = json!({ "name": name, "driver": name, "backend": name });
        json!({ "format": format, "version": 1, "xent": version, "adapter": adapter }).to_string()
    };
    folder.write("format.json", tuning(FORGED, "a", "1"));
    folder.write("version.json", tuning("xent tuning", "a", FORGED));
    folder.write("adapter.json", tuning("xent tuning", FORGED, env!("CARGO_PKG_VERSION")));
    let eval = ["eval", "logits.npy", "--targets", "targets.npy"];
    for (args, status) in [
        (vec!["eval", "dtype.safetensors", "--targets", "targets.npy"], 2),
        (vec!["eval", "key.safetensors", "--key", "other", "--targets", "targets.npy"], 2),
        (vec!["eval", "raw.npy", "--targets", "targets.npy"], 2),
        ([&eval[..], &["--tuning", "format.json"]].concat(), 2),
        ([&eval[..], &["--tuning", "version.json"]].concat(), 0),
        ([&eval[..], &["--tuning", "adapter.json"]].concat(), 0),
    ] {
        let run = run_with(&folder, &args);
        assert_eq!(run.status, Some(status), "{args:?}: {run:?}");
        assert!(!run.complaints().is_empty(), "{args:?}: {run:?}");
        assert_harmless(&run, &format!("{args:?}"));
    }
}
