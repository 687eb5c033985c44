//! `examples/from_pytorch.py`: a PyTorch model's logits, by xent and by PyTorch. Where there is no PyTorch it is skipped,
//! and says so.

use std::io::Write;
use std::path::Path;
use std::process::Command;

#[test]
fn pytorch_says_the_same() {
    // Python with torch and numpy, of a virtual environment perhaps.
    let python = std::env::var("XENT_TEST_PYTHON").unwrap_or("python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/from_pytorch.py");
    for (format, needs) in [("npy", "torch, numpy"), ("safetensors", "torch, safetensors.torch")] {
        let probe = Command::new(&python).args(["-c", &format!("import {needs}")]).output();
        if !probe.is_ok_and(|probe| probe.status.success()) {
            // Past the test harness, which shows of a test that passes nothing.
            let _ = writeln!(
                std::io::stderr(),
                "xent: SKIPPED: examples/from_pytorch.py --format {format}: {python} has no {needs} \
                 (XENT_TEST_PYTHON names another)"
            );
            continue;
        }
        let run = Command::new(&python)
            .arg(&script)
            .args(["--format", format, "--xent", env!("CARGO_BIN_EXE_xent")])
            // Small tensors: more threads would only wait for each other.
            .env("OMP_NUM_THREADS", "1")
            .output()
            .unwrap();
        let stdout = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && stdout.ends_with("the same\n"), "{format}: {run:?}");
    }
}
