//! The command line itself.

use std::io::Write;
use std::process::Stdio;

use crate::support::{Folder, logits};

#[test]
fn what_is_not_understood_has_status_2() {
    let folder = Folder::new();
    folder.logits(&[0.0; 2], 2).targets(&[0]);
    for (name, args, says) in [
        ("no command", "", "Usage: xent"),
        ("unknown command", "evaluate", "unrecognized subcommand"),
        (
            "unknown option",
            "eval logits.npy --targets targets.npy --frobnicate",
            "unexpected argument '--frobnicate'",
        ),
        ("no targets", "eval logits.npy", "--targets: is needed by --loss cross-entropy"),
        ("no logits", "eval --targets targets.npy", "<LOGITS>"),
        ("no logits of a student", "eval --loss kl", "{--targets <FILE> | --loss kl --teacher <FILE>}"),
        ("no output", "softmax logits.npy", "--output <FILE>"),
        ("unknown reduction", "eval logits.npy --targets targets.npy --reduction none", "mean, sum"),
        (
            "ignore index beyond i32",
            "eval logits.npy --targets targets.npy --ignore-index 4294967196",
            "4294967196 is not in -2147483648..=2147483647",
        ),
        (
            "two kinds of targets",
            "eval logits.npy --targets targets.npy --soft-targets soft.npy",
            "'--targets <FILE>' cannot be used with '--soft-targets <FILE>'",
        ),
        (
            "soft and sparse targets",
            "eval logits.npy --soft-targets soft.npy --sparse-targets i.npy --sparse-probs p.npy",
            "cannot be used with",
        ),
        ("indices alone", "eval logits.npy --sparse-targets i.npy", "--sparse-probs <PROBS>"),
        ("probabilities alone", "eval logits.npy --sparse-probs p.npy", "--sparse-targets <INDICES>"),
        (
            "probabilities of classes",
            "eval logits.npy --targets targets.npy --sparse-probs p.npy",
            "cannot be used with",
        ),
        (
            "soft targets ahead",
            "eval logits.npy --soft-targets soft.npy --shift 1",
            "'--soft-targets <FILE>' cannot be used with '--shift <N>'",
        ),
        ("unknown input", "eval logits.npy --targets targets.npy --input p", "logits, log-probs, probs"),
        ("unknown type", "softmax logits.npy -o out.npy --out-dtype f64", "f32, f16"),
        ("a negative count", "eval logits.npy --targets targets.npy --verify=-1", "--verify"),
        ("no classes in the demo", "demo --rows 1 --cols 0", "a row needs at least one class"),
        ("too large a demo", "demo --rows 99999999999 --cols 9999999999", "overflows the address space"),
    ] {
        let run = folder.run(args);
        assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""), "{name}: {run:?}");
        assert!(run.stderr.contains(says), "{name}: {}", run.stderr);
    }
}

#[test]
fn options_outside_their_range_are_named() {
    let folder = Folder::new();
    folder.logits(&[0.0; 2], 2).targets(&[0]).array("soft.npy", &[1, 2], &[0.5f32; 2]);
    let temperature = "must be from 7.888609e-31 (2^-100) to 8.507059e37 (2^126)";
    let softcap = "must be from 1.1754944e-38 (2^-126) to 8.507059e37 (2^126)";
    let left_alone = "must be left at its default when the input is log-probabilities";
    let not_negative = "must be finite and at least 0";
    let classes_only = "focal_gamma = 2: must be 0 unless targets are class indices".to_owned();
    let (targets, soft) = ("--targets targets.npy", "--soft-targets soft.npy");
    for (kind, args, says) in [
        (targets, "--label-smoothing 1.5", "label_smoothing = 1.5: must be in 0..=1".into()),
        (targets, "--label-smoothing -0.5", "label_smoothing = -0.5: must be in 0..=1".into()),
        (targets, "--temperature 0", format!("temperature = 0: {temperature}")),
        (targets, "--temperature -1", format!("temperature = -1: {temperature}")),
        (targets, "--temperature nan", format!("temperature = NaN: {temperature}")),
        (targets, "--softcap 0", format!("softcap = 0: {softcap}")),
        (targets, "--z-loss -1", format!("z_loss = -1: {not_negative}")),
        (targets, "--focal-gamma inf", format!("focal_gamma = inf: {not_negative}")),
        (targets, "--input log-probs --temperature 2", format!("temperature = 2: {left_alone}")),
        (targets, "--input log-probs --softcap 2", format!("softcap = 2: {left_alone}")),
        (targets, "--input log-probs --z-loss 2", format!("z_loss = 2: {left_alone}")),
        (targets, "--input log-probs --focal-gamma 2", format!("focal_gamma = 2: {left_alone}")),
        (soft, "--focal-gamma 2", classes_only.clone()),
        ("--sparse-targets i.npy --sparse-probs soft.npy", "--focal-gamma 2", classes_only),
    ] {
        folder.array("i.npy", &[1, 2], &[0i32, 1]);
        let run = folder.run(&format!("eval logits.npy {kind} {args} --grad-out grad.npy"));
        assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""), "{args}: {run:?}");
        let (option, rest) = says.split_once(" = ").expect("an option and its value");
        let flag = option.replace('_', "-");
        assert_eq!(run.complaints(), [format!("xent: --{flag} {rest}")], "{args}");
    }
    for (args, range) in [("--temperature 0", temperature), ("--softcap -1", softcap)] {
        let run = folder.run(&format!("softmax logits.npy -o out.npy {args}"));
        assert!(run.status == Some(2) && run.complaints()[0].ends_with(range), "{args}: {run:?}");
    }
    assert_eq!(folder.names(), ["i.npy", "logits.npy", "soft.npy", "targets.npy"]);
}

/// What would change nothing is refused.
#[test]
fn options_without_an_effect_are_refused() {
    let folder = Folder::new();
    folder.logits(&[0.0; 2], 2).targets(&[0]).array("soft.npy", &[1, 2], &[0.5f32; 2]);
    let (eval, compare) = ("eval logits.npy --targets targets.npy", "compare logits.npy logits.npy");
    let pipe = "input from stdin or a pipe cannot be read again";
    let needs = "needs --shift or --score-from or --score-to or --row-mask or --row-weights";
    for (args, says) in [
        (format!("{eval} --positions"), format!("--positions: {needs}")),
        (format!("{eval} --out-dtype f16"), "--out-dtype: needs --grad-out".into()),
        (
            "eval logits.npy --soft-targets soft.npy --check-shift".into(),
            "--check-shift: does not apply to targets that are probabilities".into(),
        ),
        ("eval - --targets targets.npy --checkpoint here".into(), format!("--checkpoint: {pipe}")),
        ("compare - logits.npy --checkpoint here".into(), format!("--checkpoint: {pipe}")),
        (format!("{compare} --ignore-index 3"), "--ignore-index: needs targets".into()),
        (format!("{eval} --bytes 0"), "'--bytes <N>': 0 is not in 1..".into()),
    ] {
        let run = folder.run(&args);
        assert!(run.status == Some(2) && run.stderr.contains(&says), "{args}: {run:?}");
        assert_eq!(run.stdout, "", "{args}");
    }
    assert_eq!(folder.names(), ["logits.npy", "soft.npy", "targets.npy"]);
}

const COMMANDS: [&str; 15] = [
    "eval",
    "merge",
    "softmax",
    "sample",
    "topk",
    "calibrate",
    "compare",
    "explain",
    "adapters",
    "demo",
    "bench",
    "tune",
    "shaders",
    "completions",
    "man",
];

#[test]
fn help_and_version() {
    let folder = Folder::new();
    let help = folder.run("--help");
    assert_eq!(help.status, Some(0));
    for word in COMMANDS.into_iter().chain(["Exit status:", "Examples:"]) {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
    for (command, word) in [
        ("eval", "docs/eval-json.md"),
        ("merge", "--state-out"),
        ("softmax", "--log"),
        ("topk", "--log-probs"),
        ("calibrate", "JSON keys:"),
        ("compare", "JSON keys:"),
        ("explain", "--names"),
        ("adapters", "--json"),
        ("demo", "--seed"),
        ("bench", "JSON keys:"),
        ("tune", "--quick"),
        ("shaders", "override constants"),
        ("completions", "fish"),
        ("man", "xent-eval.1"),
    ] {
        let help = folder.run(&format!("{command} --help"));
        assert!(help.status == Some(0) && help.stdout.contains(word), "{command}: {help:?}");
        assert!(help.stdout.lines().all(|line| line.chars().count() <= 100), "{command}: {}", help.stdout);
    }
    let eval = folder.run("eval --help").stdout;
    for heading in ["Targets (one kind):", "Loss:", "Rows:", "Output:", "Examples:", "Options:"] {
        assert!(eval.lines().any(|line| line == heading), "{heading}: {eval}");
    }
    assert!(!folder.run("demo --help").stdout.contains("--rows"), "hidden");
    let version = folder.run("--version");
    assert_eq!(version.stdout, format!("xent {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn short_help_fits_a_screen() {
    let folder = Folder::new();
    for command in COMMANDS.into_iter().chain([""]) {
        let help = folder.run(&format!("{command} -h"));
        assert_eq!(help.status, Some(0), "{command}: {help:?}");
        let (lines, widest) =
            (help.stdout.lines().count(), help.stdout.lines().map(|line| line.chars().count()).max());
        assert!(lines <= 50, "{command}: {lines} lines: {}", help.stdout);
        assert!(widest <= Some(100), "{command}: {widest:?} columns: {}", help.stdout);
    }
    for word in ["Exit status:", "Examples:", "--strict", "--json", "--targets", "--html"] {
        assert!(folder.run("eval -h").stdout.contains(word), "{word}");
    }
}

#[test]
fn every_exit_status_is_in_the_help() {
    let help = Folder::new().run("--help").stdout;
    let statuses: Vec<&str> = help.split("Exit status:\n").nth(1).unwrap().lines().collect();
    for status in ["0", "1", "2", "3", "130"] {
        assert!(statuses.iter().any(|line| line.starts_with(&format!("  {status:<5}"))), "{status}: {help}");
    }
}

#[test]
fn manual_pages() {
    let folder = Folder::new();
    let page = folder.run("man");
    assert_eq!(page.status, Some(0), "{page:?}");
    for word in [".TH xent 1", ".SH SUBCOMMANDS", "compare"] {
        assert!(page.stdout.contains(word), "{word}: {}", page.stdout);
    }
    let page = folder.run("man eval").stdout;
    assert!(page.contains(".TH xent-eval 1") && page.contains("label\\-smoothing"), "{page}");
    let refused = folder.run("man evil");
    assert!(
        refused.status == Some(2) && refused.stderr.contains("evil: there is no such command"),
        "{refused:?}"
    );
}

#[test]
fn shells_complete_what_there_is() {
    let folder = Folder::new();
    for (shell, says) in [
        ("bash", "complete -F _xent"),
        ("zsh", "#compdef xent"),
        ("fish", "complete -c xent"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion:arg-completer[xent]"),
    ] {
        let run = folder.run(&format!("completions {shell}"));
        assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{shell}: {run:?}");
        for word in [says, "label-smoothing", "rows-out", "completions"] {
            assert!(run.stdout.contains(word), "{shell}, {word}: {}", run.stdout);
        }
        assert!(!run.stdout.contains('\u{1b}'), "{shell}");
    }
    assert_eq!(folder.run("completions csh").status, Some(2));
    #[cfg(unix)]
    {
        // What bash makes of it, where there is one: `xent ev<tab>`, `xent eval --label<tab>`.
        folder.write("xent.bash", folder.run("completions bash").stdout);
        let script = ". ./xent.bash; complete() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                      _xent xent \"${COMP_WORDS[COMP_CWORD]}\" \"\"; echo \"${COMPREPLY[*]}\"; }; \
                      complete xent ev; complete xent eval --label";
        match std::process::Command::new("bash").args(["-c", script]).current_dir(folder.path("")).output() {
            Ok(output) => {
                assert_eq!(
                    String::from_utf8_lossy(&output.stdout),
                    "eval\n--label-smoothing\n",
                    "{output:?}"
                );
            }
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "xent: SKIPPED: what bash makes of completions: {error}");
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let folder = Folder::new();
    folder.logits(&logits(40), 4).targets(&[1; 10]);
    for args in
        ["eval logits.npy --targets targets.npy", "adapters", "demo --rows 4 --cols 100", "eval --help"]
    {
        let mut child = folder.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args}: {stderr}");
        assert!(!stderr.contains("panicked"), "{args}: {stderr}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let folder = Folder::new();
    folder.logits(&[0.0; 2], 2).targets(&[0]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = folder.command("eval logits.npy --targets targets.npy").stdout(full).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("xent: stdout: No space left"), "{stderr}");
}

#[test]
fn logging_is_off_unless_asked_for() {
    let folder = Folder::new();
    folder.logits(&[0.0; 2], 2).targets(&[0]);
    let run = |level: Option<&str>| {
        let mut command = folder.command("eval logits.npy --targets targets.npy");
        level.map(|level| command.env("RUST_LOG", level));
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    assert!(!run(None).contains("using adapter"));
    assert!(run(Some("info")).contains("using adapter"));
    let all = run(Some("debug"));
    assert!(all.contains("using adapter") && !all.contains("wgpu_core") && !all.contains("naga"), "{all}");
    assert!(run(Some("debug,wgpu_core=debug")).contains("wgpu_core"));
}
