//! Logits in several files, in a folder of them, and through stdin.

use xent::half::f16;

use crate::files::refuses;
use crate::support::{Folder, logits, npy, run_with_stdin, tensor};

const COLS: usize = 7;

/// Twelve shards of one to three rows, as `.npy`, `.safetensors` and raw, each with its targets; all of them as
/// `logits.npy` and `targets.npy`.
fn folder() -> Folder {
    let folder = Folder::new();
    let rows: Vec<usize> = (0..12).map(|shard| 1 + shard % 3).collect();
    let total: usize = rows.iter().sum();
    let values = logits(total * COLS);
    let targets: Vec<i64> = (0..total as i64).map(|row| row % COLS as i64).collect();
    folder.logits(&values, COLS).targets(&targets);
    for name in ["npy", "tensors", "raw"] {
        std::fs::create_dir(folder.path(name)).unwrap();
    }
    let mut first = 0;
    for (shard, rows) in rows.into_iter().enumerate() {
        let (dims, values) = ([rows, COLS], &values[first * COLS..(first + rows) * COLS]);
        folder.array(&format!("npy/part-{shard}.npy"), &dims, values);
        let tensors =
            [tensor("logits", &dims, values), tensor("t", &dims[..1], &targets[first..first + rows])];
        folder.tensors(&format!("tensors/m-{:05}-of-00012.safetensors", shard + 1), &tensors);
        folder.write(&format!("raw/{shard}.bin"), bytemuck::cast_slice(values));
        first += rows;
    }
    folder.write("tensors/model.safetensors.index.json", "{}");
    folder
}

fn loss(folder: &Folder, args: &str) -> (String, Vec<f32>) {
    let run = folder.run(&format!("eval {args} --rows-out rows.npy --json"));
    assert_eq!(run.status, Some(0), "{args}: {run:?}");
    folder.values("rows.npy")
}

#[test]
fn shards_are_one_batch() {
    let folder = folder();
    let expected = loss(&folder, "logits.npy --targets targets.npy");
    let parts: String = (0..12).map(|shard| format!("npy/part-{shard}.npy ")).collect();
    for args in [
        "npy --targets targets.npy".to_owned(),
        format!("{parts} --targets targets.npy"),
        "tensors --targets targets.npy".to_owned(),
        "tensors --targets-key t".to_owned(),
        "tensors --targets tensors --key logits".to_owned(),
        "raw --dtype f32 --cols 7 --targets targets.npy".to_owned(),
        "raw --dtype f32 --cols 7 --rows 24 --targets targets.npy".to_owned(),
    ] {
        assert_eq!(loss(&folder, &args), expected, "{args}");
    }
    // Across the ends of shards in windows of the processor's, and written in one file.
    for args in ["softmax npy -o a.npy", "softmax logits.npy -o b.npy"] {
        assert_eq!(folder.run(args).status, Some(0), "{args}");
    }
    assert_eq!(folder.read("a.npy"), folder.read("b.npy"));
}

#[test]
fn the_order_of_a_shell_is_told_of() {
    let folder = folder();
    let args = "npy/part-10.npy npy/part-11.npy npy/part-2.npy";
    let run = folder.run(&format!("softmax {args} -o out.npy"));
    let line = "xent: npy/part-11.npy is read before npy/part-2.npy, as given; their folder would be read by the numbers";
    assert_eq!((run.status, run.complaints()), (Some(0), vec![line]), "{run:?}");
    let run = folder.run("softmax npy/part-2.npy npy/part-1.npy -o out.npy");
    assert_eq!((run.status, run.complaints().len()), (Some(0), 0), "an order of one's own: {run:?}");
}

#[test]
fn shards_that_are_not_one_batch() {
    let folder = folder();
    for name in ["empty", "cols", "missing", "mixed"] {
        std::fs::create_dir(folder.path(name)).unwrap();
    }
    folder.array("cols/1.npy", &[1, 7], &[0f32; 7]).array("cols/2.npy", &[1, 6], &[0f32; 6]);
    folder.array("missing/m-1-of-3.npy", &[1, 7], &[0f32; 7]).array(
        "missing/m-3-of-3.npy",
        &[1, 7],
        &[0f32; 7],
    );
    folder.array("mixed/1.npy", &[1, 7], &[0f32; 7]).tensors("mixed/2.safetensors", &[]);
    folder.array("half.npy", &[1, 7], &[f16::ONE; 7]).write("cut.npy", &folder.read("logits.npy")[..99]);
    for (name, args, line) in [
        ("no file", "empty", "empty: the folder has no files named .npy or .safetensors"),
        (
            "other cols",
            "cols",
            "cols/2.npy: shape (1, 6) of '<f4': it cannot be joined along the first axis to cols/1.npy",
        ),
        (
            "another type",
            "logits.npy half.npy",
            "half.npy: shape (1, 7) of '<f2': it cannot be joined along the first axis to logits.npy",
        ),
        ("one is missing", "missing", "missing: shard 2 of 3 is missing"),
        (
            "two formats",
            "mixed",
            "mixed: the folder has files of both formats (1.npy and 2.safetensors): name the files",
        ),
        ("one is cut", "logits.npy cut.npy", "cut.npy: truncated: a header of 128 bytes in a file of 99"),
        ("one is not there", "logits.npy none.npy", "none.npy: No such file"),
        (
            "classes first",
            "npy --class-axis 0",
            "npy: files are joined along the first axis, but here that is the class axis",
        ),
        (
            "fewer rows than told",
            "raw --dtype f32 --cols 7 --rows 25",
            "raw: truncated: 25 rows were given; there are 24",
        ),
        (
            "an output is a shard",
            "npy -o npy/part-3.npy",
            "npy/part-3.npy: cannot be written: it is also the logits",
        ),
    ] {
        let command = if args.contains(" -o ") { "softmax" } else { "softmax -o out.npy" };
        refuses(&folder, name, &format!("{command} {args}"), &format!("xent: {line}"));
    }
}

#[test]
fn what_comes_through_stdin_is_all_that_was_told() {
    let folder = folder();
    let bytes = folder.read("logits.npy");
    let values = &bytes[bytes.len() - 24 * COLS * 4..];
    for (name, args, stdin, line) in [
        (
            "a value less",
            "--dtype f32 --cols 7 --rows 24",
            &values[4..],
            "it ends early: it has 668 of 672 bytes of values",
        ),
        (
            "a row more",
            "--dtype f32 --cols 7 --rows 23",
            values,
            "too long: it has more than 644 bytes of values",
        ),
        (".npy, cut", "", &bytes[..bytes.len() - 1], "it ends early: it has 671 of 672 bytes of values"),
        (".npy, cut in its header", "", &bytes[..50], "truncated: a header of 128 bytes in a file of 50"),
        (
            ".npy, too long",
            "",
            &[&bytes[..], b"\n"].concat(),
            "too long: it has more than 672 bytes of values",
        ),
        ("text", "", b"hello, world, no logits", "text, and numbers are not read from text: convert it"),
    ] {
        let before = folder.names();
        let run = run_with_stdin(folder.command(&format!("softmax - {args} -o g.npy")), stdin);
        assert_eq!(
            (run.status, run.stdout.as_str(), run.complaints().len()),
            (Some(2), "", 1),
            "{name}: {run:?}"
        );
        assert!(run.complaints()[0].starts_with(&format!("xent: stdin: {line}")), "{name}: {run:?}");
        assert_eq!(folder.names(), before, "{name}");
    }
    let run = run_with_stdin(folder.command("softmax - -o a.npy"), &bytes);
    assert_eq!((run.status, folder.run("softmax logits.npy -o b.npy").status), (Some(0), Some(0)), "{run:?}");
    assert_eq!(folder.read("a.npy"), folder.read("b.npy"));
}

/// Names that a terminal would obey, of files and of tensors.
#[cfg(unix)]
#[test]
fn no_name_reaches_the_terminal_as_it_is() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("names")).unwrap();
    folder.write("names/\u{1b}[31mred.npy", npy("<f4", "(1, 2)", &[0; 7]));
    folder.tensors(
        "t.safetensors",
        &[tensor("\u{1b}]0;title\u{7}", &[1], &[1i32]), tensor("\u{202e}", &[1], &[1u8])],
    );
    for args in [
        "softmax names -o out.npy",
        "softmax t.safetensors -o out.npy",
        "softmax names/\u{1b}[31mred.npy -o \u{7}.npy",
    ] {
        let run = folder.run(args);
        assert_eq!((run.status, run.complaints().len()), (Some(2), 1), "{args:?}: {run:?}");
        let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!run.stderr.contains(obeyed), "{args:?}: {run:?}");
    }
}

/// A file that may not grow further is as a disk that is full.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_finds_no_room() {
    let folder = Folder::new();
    folder.logits(&logits(200 * 1000), 1000).targets(&[1; 200]);
    let tool = env!("CARGO_BIN_EXE_xent");
    for out in ["out.npy", "out.safetensors"] {
        for args in [
            format!("softmax logits.npy -o {out}"),
            format!("eval logits.npy --targets targets.npy --grad-out {out}"),
        ] {
            folder.write(out, "whole");
            // 200 blocks of 512 bytes or of 1024, by the shell; the output would have 800,000 bytes.
            let script = format!("trap '' XFSZ; ulimit -f 200; exec {tool} {args}");
            let mut command = std::process::Command::new("sh");
            command.args(["-c", &script]).current_dir(folder.path("."));
            let run = crate::support::run(command);
            assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""), "{args}: {run:?}");
            assert_eq!(run.complaints(), [format!("xent: {out}: File too large (os error 27)")], "{args}");
            assert_eq!(folder.read(out), b"whole", "{args}");
            std::fs::remove_file(folder.path(out)).unwrap();
            assert_eq!(folder.names(), ["logits.npy", "targets.npy"], "{args}");
        }
    }
}
