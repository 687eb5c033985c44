//! `--memory`: what a run takes.

use crate::support::{Folder, logits};

const ROWS: usize = 12;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.logits(&logits(ROWS * 5), 5).targets(&[2; ROWS]);
    folder
}

#[test]
fn memory_is_bounded_and_said_before() {
    let folder = folder();
    let args = "eval logits.npy --targets targets.npy --memory";
    let run = folder.run(&format!("{args} 2GiB"));
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(run.complaints()[0].starts_with("xent: memory: at most 2.0 GiB, "), "{run:?}");
    let run = folder.run(&format!("{args} 1MiB"));
    let refused = run.complaints().concat();
    assert!(
        run.status == Some(2) && refused.starts_with("xent: --memory: 1.0 MiB is too little: "),
        "{run:?}"
    );
    for wrong in ["much", "-1", "1XB"] {
        assert_eq!(folder.run(&format!("{args} {wrong}")).status, Some(2), "{wrong}");
    }
}

#[cfg(target_os = "linux")]
mod peaks {
    use std::fs::{File, read_to_string};
    use std::process::{Command, Stdio};

    use crate::support::{Folder, npy, run, safetensors_of, shape_text, without_adapters};

    const MIB: u64 = 1 << 20;

    /// The most that a process had resident while this was asked, in bytes, and its exit status.
    fn peak(mut command: Command) -> (u64, Option<i32>) {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut peak = 0;
        loop {
            let status = read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let resident = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes =
                resident.and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok());
            peak = peak.max(1024 * kilobytes.unwrap_or(0));
            if let Some(status) = child.try_wait().unwrap() {
                return (peak, status.code());
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Runs a command, with these logits on stdin where it reads them, and holds it to what it is allowed.
    fn hold(folder: &Folder, mut command: Command, args: &str, allowed: u64) {
        let reads_stdin = args.starts_with("eval - ");
        command.stdin(if reads_stdin {
            File::open(folder.path("logits.npy")).unwrap().into()
        } else {
            Stdio::null()
        });
        let (peak, status) = peak(command);
        assert_eq!(status, Some(0), "{args}, {allowed} allowed");
        assert!(peak > 4 * MIB, "{args}: {peak} bytes: it was seen at work");
        assert!(peak <= allowed, "{args}: {peak} bytes, {allowed} allowed");
    }

    const ROWS: usize = 1_000_000;
    const COLS: usize = 2;

    /// Narrow rows, so that what grows with their number shows. Most files are holes.
    fn narrow() -> Folder {
        let folder = Folder::new();
        let head = |descr, dims: &[usize]| npy(descr, &shape_text(dims), &[]);
        let values = ROWS * COLS;
        folder.zeros("logits.npy", &head("<f2", &[ROWS, COLS]), 2 * values);
        folder.zeros("soft.npy", &head("<f4", &[ROWS, COLS]), 4 * values);
        folder.zeros("logits.raw", &[], 2 * values);
        let info = format!(
            r#"{{"x":{{"dtype":"BF16","shape":[{ROWS},{COLS}],"data_offsets":[0,{}]}}}}"#,
            2 * values
        );
        folder.zeros("logits.safetensors", &safetensors_of(&info, &[]), 2 * values);
        for part in ["part-1.npy", "part-2.npy"] {
            folder.zeros(part, &head("<f2", &[ROWS / 2, COLS]), values);
        }
        folder.zeros("targets.npy", &head("<i8", &[ROWS]), 8 * ROWS);
        folder.zeros("bytes.npy", &head("|u1", &[ROWS]), ROWS);
        folder.zeros("indices.npy", &head("<i4", &[ROWS, 3]), 12 * ROWS);
        folder.zeros("probs.npy", &head("<f2", &[ROWS, 3]), 6 * ROWS);
        folder.array("weights.npy", &[ROWS], &vec![0.5f32; ROWS]).array(
            "mask.npy",
            &[ROWS],
            &vec![1u8; ROWS],
        );
        folder
    }

    const SOURCES: [&str; 6] = [
        "logits.npy --targets targets.npy",
        "logits.safetensors --targets bytes.npy",
        "logits.raw --dtype f16 --cols 2 --targets targets.npy",
        "part-1.npy part-2.npy --targets targets.npy",
        "- --targets targets.npy",
        "logits.npy --targets targets.npy --verify 1000 --plot p.svg --html p.html",
    ];

    const OPTIONS: [&str; 7] = [
        "logits.npy --targets targets.npy --shift 1",
        "logits.npy --targets targets.npy --row-weights weights.npy --row-mask mask.npy --shift 1 --sequence 500",
        "logits.npy --soft-targets soft.npy --row-weights weights.npy",
        "logits.npy --sparse-targets indices.npy --sparse-probs probs.npy --shift 1",
        "logits.npy --targets targets.npy --rows-out rows.csv",
        "logits.npy --targets targets.npy --rows-out rows.npy --lse-out lse.npy --argmax-out argmax.npy",
        "logits.npy --targets targets.npy --row-mask mask.npy",
    ];

    const GRADIENTS: [&str; 4] = [
        "logits.npy --targets targets.npy --grad-out g.npy --out-dtype f32",
        "logits.npy --targets targets.npy --grad-out g.safetensors --out-dtype bf16 --row-weights weights.npy",
        "logits.npy --soft-targets soft.npy --grad-out g.npy",
        "logits.npy --sparse-targets indices.npy --sparse-probs probs.npy --grad-out g.npy",
    ];

    #[test]
    fn no_source_and_no_option_takes_more_than_64_mebibytes_on_the_cpu() {
        let folder = narrow();
        for args in [&SOURCES[..], &OPTIONS, &GRADIENTS].concat() {
            let args = format!("eval {args} --memory 64MiB");
            hold(&folder, without_adapters(folder.command(&args)), &args, 64 * MIB);
        }
    }

    /// The least memory that such a run of the adapter may be allowed, but for its windows.
    fn least(folder: &Folder, args: &str) -> u64 {
        let refused = run(folder.command(&format!("eval {args} --memory 1MiB")));
        let needed = refused.stderr.split("driver take ").nth(1).and_then(|rest| rest.split(' ').next());
        let mebibytes: f64 = needed.unwrap_or_else(|| panic!("{args}: {refused:?}")).parse().unwrap();
        mebibytes.ceil() as u64 * MIB
    }

    #[test]
    fn what_an_adapter_takes_does_not_grow_with_the_rows() {
        let folder = narrow();
        for args in [OPTIONS[1], OPTIONS[2], OPTIONS[3], GRADIENTS[0], GRADIENTS[3]] {
            let allowed = least(&folder, args) + 12 * MIB;
            let args = format!("eval {args} --memory {}KiB", allowed / 1024);
            hold(&folder, folder.command(&args), &args, allowed);
        }
    }

    #[test]
    fn gigabytes_in_a_quarter_of_one_and_in_half_of_one() {
        // All of it a hole: no disk is needed, and every logit is 0.
        let (rows, cols) = (10_000, 50_000);
        let folder = Folder::new();
        folder.zeros("logits.raw", &[], rows * cols * 4).targets(&vec![7; rows]);
        let args = "eval logits.raw --dtype f32 --cols 50000 --targets targets.npy";
        for mebibytes in [256, 512] {
            let args = format!("{args} --memory {mebibytes}MiB");
            hold(&folder, folder.command(&args), &args, mebibytes * MIB);
        }
        // The gradient of a part: it is written.
        let rows = 600;
        folder.zeros("logits.raw", &[], rows * cols * 4).targets(&vec![7; rows]);
        for mebibytes in [256, 512] {
            let args = format!("{args} --grad-out g.npy --out-dtype f16 --memory {mebibytes}MiB");
            hold(&folder, folder.command(&args), &args, mebibytes * MIB);
        }
    }
}
