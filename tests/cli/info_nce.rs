//! `xent eval --loss infonce`, on the processor and on an adapter.

use xent::reference::info_nce;
use xent::{InfoNceOptions, Shape};

use crate::support::Folder;

const SIMILARITIES: [f32; 4] = [0.9, 0.1, 0.2, 0.8];

fn is_near(found: &serde_json::Value, expected: f64) -> bool {
    found.as_f64().is_some_and(|found| (found - expected).abs() < 5e-6)
}

/// What it says of a matrix, as an object.
fn said(folder: &Folder, args: &str) -> serde_json::Value {
    let run = folder.run(&format!("eval pairs.npy --loss infonce --json {args}"));
    assert_eq!(run.status, Some(0), "{args}: {run:?}");
    serde_json::from_str(&run.stdout).expect("an object")
}

/// On an adapter and by the reference.
const COMPUTERS: [&str; 2] = ["", "--adapter cpu"];

#[test]
fn a_worked_matrix() {
    let folder = Folder::new();
    folder.array("pairs.npy", &[2, 2], &SIMILARITIES);
    for computer in COMPUTERS {
        let found = said(&folder, &format!("--temperature 1 {computer}"));
        for (key, expected) in [
            ("loss", 0.403740179),
            ("row_loss", 0.404294308),
            ("column_loss", 0.403186049),
            ("dlog_scale", -0.231290938),
            ("row_recall_at_1", 1.0),
            ("pairs", 2.0),
        ] {
            assert!(is_near(&found[key], expected), "{key}: {found:#}");
        }
        assert_eq!(found["format"], "xent eval infonce");
    }
    let run = folder.run("eval pairs.npy --loss infonce --temperature 1");
    assert!(run.status == Some(0) && run.stdout.starts_with("loss        0.403740 nats"), "{run:?}");
    assert_eq!(said(&folder, "--temperature 0.3 --adapter cpu")["temperature"], 0.3);
    // Its own temperature, if none is given.
    let found = said(&folder, "");
    assert_eq!(found["temperature"], 0.07);
    let expected = info_nce::loss(&SIMILARITIES, Shape::new(2, 2), &Default::default()).expect("a loss");
    assert!(is_near(&found["loss"], expected), "{found:#}");
}

/// Row 3 does not find its pair, and column 4 does not either.
#[test]
fn a_matrix_with_a_wrong_pair() {
    let (folder, pairs) = (Folder::new(), 40);
    let similarity =
        |at: usize| ((at * 7919) % 1000) as f32 / 1000.0 + f32::from(at.is_multiple_of(pairs + 1));
    let mut matrix: Vec<f32> = (0..pairs * pairs).map(similarity).collect();
    matrix[3 * pairs + 4] = 2.5;
    folder.array("pairs.npy", &[pairs, pairs], &matrix);
    let options = InfoNceOptions { temperature: 0.5 };
    let shape = Shape::new(pairs, pairs);
    let [rows, columns] = info_nce::row_and_column_losses(&matrix, shape, &options).expect("losses");
    let gradients = info_nce::gradients(&matrix, shape, &options).expect("gradients");
    for computer in COMPUTERS {
        let found = said(&folder, &format!("--temperature 0.5 {computer}"));
        assert!(is_near(&found["row_loss"], rows) && is_near(&found["column_loss"], columns), "{found:#}");
        assert!(is_near(&found["dlog_scale"], gradients.dlog_scale), "{found:#}");
        assert!(is_near(&found["row_recall_at_1"], 39.0 / 40.0), "{found:#}");
        assert!(is_near(&found["column_recall_at_1"], 39.0 / 40.0), "{found:#}");
    }
}

#[test]
fn what_does_not_apply() {
    let folder = Folder::new();
    folder.array("pairs.npy", &[2, 2], &SIMILARITIES).array("wide.npy", &[1, 4], &SIMILARITIES);
    folder.targets(&[0, 1]);
    for (args, said) in [
        ("pairs.npy --targets targets.npy", "--targets"),
        ("pairs.npy --verify 1", "--verify: does not apply to --loss infonce"),
        ("pairs.npy --temperature 1,2", "--temperature"),
        ("pairs.npy --temperature 0", "xent: --temperature 0: must be from"),
        ("wide.npy", "1"),
    ] {
        let run = folder.run(&format!("eval {args} --loss infonce"));
        assert!(run.status == Some(2) && run.stderr.contains(said), "{args}: {run:?}");
    }
    folder.array("pairs.npy", &[2, 2], &[f32::NAN, 0.0, 0.0, 0.0]);
    for computer in COMPUTERS {
        let found = said(&folder, computer);
        assert!(found["loss"].is_null() && found["flags"][0] == "nan_logit", "{found:#}");
    }
}
