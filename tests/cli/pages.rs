//! The pages that `--html` writes: what they show of the data at hand.

use crate::support::{Folder, logits};

const COLS: usize = 4;

fn folder(dims: &[usize]) -> Folder {
    let folder = Folder::new();
    let rows: usize = dims.iter().product();
    let mut values = logits(rows * COLS);
    values.iter_mut().for_each(|x| *x /= 2.0);
    folder.array("logits.npy", &[dims, &[COLS]].concat(), &values);
    folder.targets(&(0..rows as i64).map(|row| row * row % COLS as i64).collect::<Vec<_>>());
    folder
}

fn page(folder: &Folder, args: &str) -> String {
    let run = folder.run(&format!("eval logits.npy --targets targets.npy --html page.html {args}"));
    assert_eq!(run.status, Some(0), "{args}: {run:?}");
    String::from_utf8(folder.read("page.html")).unwrap()
}

/// The parts stand on the page in this order.
fn assert_order(page: &str, parts: &[&str]) {
    let mut rest = page;
    for part in parts {
        let (_, behind) = rest.split_once(part).unwrap_or_else(|| panic!("no {part:?} here: {rest}"));
        rest = behind;
    }
}

#[test]
fn of_classes() {
    let folder = folder(&[60]);
    folder.write("names.txt", "cat\nlarge dog\n<script>\n\u{1b}[31mred\n");
    let html = page(&folder, "--names names.txt --worst 3");
    assert_order(
        &html,
        &[
            "<dl class=\"tiles\">",
            "Histogram of the row losses",
            "<summary>quantiles</summary>",
            "<td>mean</td>",
            "<td>uniform guess</td><td>1.386294</td>",
            "<td>50 % are below</td>",
            "Reliability diagram",
            "<th scope=\"col\">mean confidence</th>",
            "Mean loss by position",
            "<h2>Rows with the largest losses</h2>",
            "<th scope=\"col\">row</th><th scope=\"col\">target</th>",
            "<h2>Confusion: targets down",
            "<tr><td>0 cat</td><td",
            "<h2>Classes</h2>",
            "0 cat</td><td>30</td>",
        ],
    );
    // What a bar says under the pointer, without a script.
    let told = |says: &str| html.matches("<title>").count() > 10 && html.contains(says);
    assert!(told(" rows</title></rect>") && told("<title>confidence 0."), "{html}");
    assert!(html.contains("2 &lt;script&gt;") && html.contains("1 large dog"), "{html}");
    assert!(
        html.contains("3 \\u{1b}[31mred") && !html.contains("<script") && !html.contains('\u{1b}'),
        "{html}"
    );
    assert!(html.contains("style=\"--shade:") && !html.contains("class=\"warnings\""), "{html}");
    // What needs attention comes first.
    let mut values = folder.values("logits.npy").1;
    values[7 * COLS] = f32::NAN;
    folder.array("logits.npy", &[60, COLS], &values);
    let parts = [
        "<h1>",
        "<table class=\"warnings\">",
        "bad rows",
        "<h2>Bad rows</h2>",
        "<td>7</td><td>nan logit, nan loss</td>",
        "class=\"tiles\"",
    ];
    assert_order(&page(&folder, ""), &parts);
}

#[test]
fn of_sequences() {
    let folder = folder(&[6, 10]);
    let html = page(&folder, "");
    assert_order(
        &html,
        &[
            "Histogram of the row losses",
            "Mean loss by position",
            "2 standard errors",
            "<th scope=\"col\">standard error</th>",
            "Reliability diagram",
            "<th scope=\"col\">row</th><th scope=\"col\">sequence</th><th scope=\"col\">position</th>",
        ],
    );
    assert!(!html.contains("<h2>Confusion") && !html.contains("<h2>Classes"), "{html}");
}

#[test]
fn names_that_do_not_fit_are_refused() {
    let folder = folder(&[6]);
    folder.write("few.txt", "cat\ndog\n").write("odd.json", "{\"a\": []}");
    for (args, says) in [
        ("--html p.html --names few.txt", "few.txt: it has 2 names, but there are 4 classes"),
        ("--html p.html --names odd.json", "odd.json: no vocabulary"),
        ("--html p.html --names none.txt", "none.txt: No such file"),
        ("--names few.txt", "--html <FILE.html>"),
    ] {
        let run = folder.run(&format!("eval logits.npy --targets targets.npy {args}"));
        assert!(run.status == Some(2) && run.stderr.contains(says), "{args}: {run:?}");
    }
    assert!(!folder.path("p.html").exists());
}
