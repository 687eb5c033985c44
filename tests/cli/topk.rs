//! `xent topk`.

use xent::{Shape, TopK, TopKOptions};

use crate::support::{Folder, gpu, logits, shape_of};

#[test]
fn rows_worked_by_hand() {
    let folder = Folder::new();
    folder.logits(&[0.0, 2f32.ln(), 5f32.ln(), 7.0, 7.0, f32::NEG_INFINITY], 3);
    let run = folder.run("topk logits.npy -k 2");
    assert_eq!(run.status, Some(0), "{run:?}");
    assert_eq!(
        run.stdout,
        "row   class   prob   class   prob\n  0       2 0.6250       1 0.2500\n  1       0 0.5000       1 0.5000\n"
    );
    let run = folder.run("topk logits.npy -k 3 --logits -o top.csv");
    assert!(run.stdout.starts_with("rows        2\nclasses     3 of 3\nadapter     "), "{run:?}");
    let text = String::from_utf8(folder.read("top.csv")).unwrap();
    let (two, five) = (2f32.ln(), 5f32.ln());
    let expected = format!(
        "row,rank,class,logit\n0,1,2,{five:?}\n0,2,1,{two:?}\n0,3,0,0.0\n1,1,0,7.0\n1,2,1,7.0\n1,3,2,-inf\n"
    );
    assert_eq!(text, expected);
    assert_eq!(folder.names(), ["logits.npy", "top.csv"]);
}

/// In memory for some rows only, with the classes not last, and with the values in a file of their own.
#[test]
fn files_are_the_librarys_bit_for_bit() {
    let folder = Folder::new();
    let values = logits(6 * 300 * 70);
    folder.array("logits.npy", &[6, 300, 70], &values);
    let options = TopKOptions { renormalize: true, ..TopKOptions::new(4) };
    let op = TopK::<f32>::new(&gpu(), &options).unwrap();
    let expected = op.top_k(&values, Shape::nchw(6, 300, 70)).wait().unwrap();
    let args = "topk logits.npy --class-axis 1 -k 4 --renormalize -o classes.npy --values-out probs.npy";
    assert_eq!(folder.run(args).status, Some(0));
    let (shape, classes) = folder.values_of::<u32>("classes.npy");
    let classes: Vec<i32> = classes.into_iter().map(|class| class as i32).collect();
    assert_eq!((shape, classes == expected.indices), (shape_of(&[6, 70, 4]), true));
    let (shape, probs) = folder.values("probs.npy");
    assert_eq!((shape, probs == expected.values), (shape_of(&[6, 70, 4]), true));
    // They are the targets of a distillation.
    let run = folder
        .run("eval logits.npy --class-axis 1 --sparse-targets classes.npy --sparse-probs probs.npy --json");
    assert_eq!(run.status, Some(0), "{run:?}");
}

#[test]
fn what_cannot_be_done_is_refused_at_once() {
    let folder = Folder::new();
    folder.logits(&[0.0; 6], 3);
    for (args, says) in [
        ("", "xent: -k 5: a row has only 3 classes"),
        ("-k 0", "xent: -k 0: must be in 1..=1024"),
        ("-k 1025", "xent: -k 1025: must be in 1..=1024"),
        ("-k 2 --logits --renormalize", "--renormalize"),
        ("-k 2 --logits --log-probs", "--log-probs"),
        ("-k 2 -o top.txt", "its name must end with .npy or .safetensors"),
        ("-k 2 -o logits.npy", "xent: logits.npy: cannot be written: it is also the logits"),
        ("-k 2 -o top.npy --values-out top.npy", "it is also another output"),
        ("-k 2 --values-out top.csv", "its name must end with .npy or .safetensors"),
    ] {
        let run = folder.run(&format!("topk logits.npy {args}"));
        assert_eq!(run.status, Some(2), "{args}: {run:?}");
        assert!(run.stderr.contains(says), "{args}: {run:?}");
    }
    assert_eq!(folder.names(), ["logits.npy"]);
}

#[cfg(target_os = "linux")]
#[test]
fn without_an_adapter_the_reference_answers() {
    use crate::support::{run, without_adapters};

    let folder = Folder::new();
    folder.logits(&logits(40 * 31), 31);
    assert_eq!(folder.run("topk logits.npy -k 3 -o gpu.csv").status, Some(0));
    let run = run(without_adapters(folder.command("topk logits.npy -k 3 -o cpu.csv")));
    assert_eq!(run.status, Some(0), "{run:?}");
    let [gpu, cpu] = ["gpu.csv", "cpu.csv"].map(|name| String::from_utf8(folder.read(name)).unwrap());
    for (gpu, cpu) in gpu.lines().zip(cpu.lines()) {
        let split = |line: &str| {
            line.rsplit_once(',').map(|(row, value)| (row.to_owned(), value.parse::<f64>().ok()))
        };
        let ((gpu, of_gpu), (cpu, of_cpu)) = (split(gpu).unwrap(), split(cpu).unwrap());
        assert_eq!(gpu, cpu);
        if let (Some(a), Some(b)) = (of_gpu, of_cpu) {
            assert!((a - b).abs() < 1e-6, "{cpu}: {a} {b}");
        }
    }
    assert_eq!(gpu.lines().count(), 1 + 40 * 3);
}
