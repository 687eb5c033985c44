//! Parts of an evaluation (`xent eval --part`), and `xent merge`, which puts them together. On the processor: no driver.

use serde_json::Value;

use crate::support::{Folder, Run, logits};

const COLS: usize = 7;
const ROWS: usize = 90;

/// Logits with special rows, targets of every kind, weights that are rounded when they are added.
fn folder() -> Folder {
    let folder = Folder::new();
    let mut student = logits(ROWS * COLS);
    student[30 * COLS] = f32::NAN;
    student[31 * COLS + 2] = f32::INFINITY;
    let targets: Vec<i64> =
        (0..ROWS).map(|row| if row % 9 == 4 { -100 } else { (row * row % COLS) as i64 }).collect();
    let weights: Vec<f32> = (0..ROWS).map(|row| (row % 5) as f32 * 0.1).collect();
    let labels: Vec<u8> = (0..ROWS * COLS).map(|at| u8::from(at % 3 == 0)).collect();
    let teacher: Vec<f32> = logits(ROWS * COLS).iter().map(|logit| 0.5 * logit + 1.0).collect();
    folder
        .logits(&student, COLS)
        .targets(&targets)
        .array("weights.npy", &[ROWS], &weights)
        .array("labels.npy", &[ROWS, COLS], &labels)
        .array("teacher.npy", &[ROWS, COLS], &teacher)
        .array("pixels.npy", &[15, COLS, 6], &student)
        .array("of_pixels.npy", &[15, 6], &targets);
    folder
}

fn xent(folder: &Folder, args: &str) -> Run {
    folder.run(args)
}

#[track_caller]
fn done(run: Run) -> Run {
    assert!(run.status == Some(0), "{run:?}");
    run
}

/// What a run said, but for the time it took and how it was called.
fn said(run: &Run) -> Value {
    let mut said: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:?}"));
    for name in ["seconds", "logits_per_second", "peak_memory_bytes", "command", "date"] {
        assert!(said.get(name).is_some(), "{name}: {said}");
        said[name] = Value::Null;
    }
    said
}

/// Evaluates all parts, with these outputs, and returns the names of their states.
fn parts(folder: &Folder, eval: &str, of: usize, outputs: &str) -> Vec<String> {
    let part = |k: usize| {
        let outputs = outputs.replace("PART", &k.to_string());
        done(xent(folder, &format!("{eval} --adapter cpu --part {k}/{of} --state-out {k}.state {outputs}")));
        format!("{k}.state")
    };
    (1..=of).map(part).collect()
}

/// Such as the other parts of a job that one failed part has stopped.
#[test]
fn a_part_that_is_done_is_not_done_again() {
    let folder = folder();
    let eval = "eval logits.npy --targets targets.npy --adapter cpu --part 2/3 --state-out 2.state --json";
    let first = done(xent(&folder, eval));
    let rewritten = |args: &str| {
        // A file in the state's place is replaced by a new one.
        let file = || std::fs::metadata(folder.path("2.state")).unwrap().modified().unwrap();
        let (before, run) = (file(), done(xent(&folder, &format!("{eval} --resume {args}"))));
        (file() != before, run)
    };
    let (is_new, again) = rewritten("");
    assert!(!is_new && again.stderr.contains("part 2/3 is done: 2.state has its state"), "{again:?}");
    assert_eq!(said(&again), said(&first));
    for other in ["--temperature 2", "--rows-out rows.csv"] {
        let (is_new, again) = rewritten(other);
        assert!(is_new && !again.stderr.contains("is done"), "{other}: {again:?}");
    }
    let (is_new, again) = rewritten("--rows-out rows.csv");
    assert!(!is_new, "{again:?}");
    // Another run has written to the same file since then.
    let rows = std::fs::read(folder.path("rows.csv")).unwrap();
    std::fs::write(folder.path("rows.csv"), "").unwrap();
    assert!(rewritten("--rows-out rows.csv").0, "an output of another run");
    assert_eq!(std::fs::read(folder.path("rows.csv")).unwrap(), rows);
    folder.targets(&[0; ROWS]);
    assert!(rewritten("--rows-out rows.csv").0, "of other targets");
}

#[test]
fn the_parts_of_every_loss_are_the_whole() {
    let folder = folder();
    let cross_entropy = "eval logits.npy --targets targets.npy";
    for (eval, of) in [
        (
            format!(
                "{cross_entropy} --row-weights weights.npy --label-smoothing 0.1 --z-loss 1e-3 --readouts --top-k 3 \
                 --verify 5 --worst 4 --bytes 1000"
            ),
            4,
        ),
        (format!("{cross_entropy} --shift 1 --sequence 10 --check-shift --score-from 2 --reduction sum"), 4),
        (format!("{cross_entropy} --shift 1 --sequence 40"), 7),
        (cross_entropy.to_owned(), 100),
        (
            "eval logits.npy --loss kl --teacher teacher.npy --temperature 2 --row-weights weights.npy"
                .to_owned(),
            3,
        ),
        ("eval logits.npy --loss bce --targets labels.npy".to_owned(), 3),
        ("eval logits.npy --loss entmax --targets targets.npy".to_owned(), 2),
        ("eval pixels.npy --targets of_pixels.npy --class-axis 1".to_owned(), 4),
    ] {
        let whole = done(xent(&folder, &format!("{eval} --adapter cpu --json --state-out whole.state")));
        let states = parts(&folder, &eval, of, "");
        let backwards: Vec<&str> = states.iter().rev().map(String::as_str).collect();
        let merged =
            done(xent(&folder, &format!("merge {} --json --state-out a.state", backwards.join(" "))));
        assert_eq!(said(&merged), said(&whole), "{eval}, {of} parts");
        // In groups: those with odd and those with even numbers, which are merged again.
        let every_other =
            |from: usize| states.iter().skip(from).step_by(2).cloned().collect::<Vec<_>>().join(" ");
        done(xent(&folder, &format!("merge {} --state-out even.state", every_other(1))));
        let odd = done(xent(&folder, &format!("merge {} --state-out odd.state", every_other(0))));
        assert!(
            odd.stdout.is_empty() && odd.complaints()[0].starts_with("xent: no report yet: rows "),
            "{odd:?}"
        );
        let grouped = done(xent(&folder, "merge even.state odd.state --json --state-out b.state"));
        assert_eq!(said(&grouped), said(&whole), "{eval}, {of} parts");
        assert!(folder.read("a.state") == folder.read("b.state"), "{eval}: the same bytes in any grouping");
        // A state of the whole says it again, in text too.
        assert_eq!(said(&done(xent(&folder, "merge whole.state --json"))), said(&whole), "{eval}");
        assert!(done(xent(&folder, "merge b.state")).stdout.starts_with("loss "), "{eval}");
    }
}

#[test]
fn the_outputs_of_parts_are_those_of_the_whole_one_after_the_other() {
    let folder = folder();
    let eval = "eval logits.npy --targets targets.npy --row-weights weights.npy --shift 1 --sequence 10";
    let outputs = "--rows-out PARTrows.csv --sequences-out PARTsequences.csv --grad-out PARTgrad.npy \
                   --lse-out PARTlse.npy --argmax-out PARTargmax.safetensors";
    done(xent(&folder, &format!("{eval} --adapter cpu {}", outputs.replace("PART", "w"))));
    parts(&folder, eval, 4, outputs);
    for table in ["rows.csv", "sequences.csv"] {
        let all: Vec<u8> = (1..=4).flat_map(|k| folder.read(&format!("{k}{table}"))).collect();
        assert!(all == folder.read(&format!("w{table}")), "{table}");
    }
    for values in ["grad.npy", "lse.npy"] {
        let bits = |name: String| folder.values(&name).1.into_iter().map(f32::to_bits);
        let all: Vec<u32> = (1..=4).flat_map(|k| bits(format!("{k}{values}"))).collect();
        assert!(all.iter().copied().eq(bits(format!("w{values}"))), "{values}");
    }
    let classes = |name: String| folder.tensor_of::<u32>(&name).2;
    let all: Vec<u32> = (1..=4).flat_map(|k| classes(format!("{k}argmax.safetensors"))).collect();
    assert_eq!(all, classes("wargmax.safetensors".to_owned()));
    // Rows of pixels lie side by side.
    let eval = "eval pixels.npy --targets of_pixels.npy --class-axis 1";
    done(xent(&folder, &format!("{eval} --adapter cpu --grad-out wgrad.npy")));
    parts(&folder, eval, 4, "--grad-out PARTgrad.npy");
    assert_eq!(folder.values("2grad.npy").0, "(4, 7, 6)");
    let all: Vec<u32> =
        (1..=4).flat_map(|k| folder.values(&format!("{k}grad.npy")).1).map(f32::to_bits).collect();
    assert!(all.into_iter().eq(folder.values("wgrad.npy").1.into_iter().map(f32::to_bits)));
}

#[test]
fn a_part_that_was_stopped_goes_on() {
    let folder = folder();
    let eval = "eval logits.npy --targets targets.npy --shift 1 --sequence 10";
    let whole = done(xent(&folder, &format!("{eval} --adapter cpu --json")));
    let part = |k: usize, more: &str| {
        let part = format!("--part {k}/2 --state-out {k}.state --rows-out {k}.csv");
        xent(&folder, &format!("{eval} --adapter cpu --windows 8KB {part} {more}"))
    };
    done(part(1, ""));
    let stopped = part(2, "--stop-after 25");
    assert_eq!(stopped.status, Some(130), "{stopped:?}");
    assert!(stopped.stdout.contains("of 90 (part 2/2): "), "{stopped:?}");
    // The other part has a checkpoint here, which is none of this one's. Without its state, this one is not done.
    std::fs::remove_file(folder.path("1.state")).unwrap();
    let again = done(part(1, "--resume"));
    assert!(
        again.complaints()[0].contains("there is nothing to resume: the run starts from the beginning"),
        "{again:?}"
    );
    let resumed = done(part(2, "--resume"));
    assert!(resumed.complaints()[0].starts_with("xent: continuing after "), "{resumed:?}");
    assert!(resumed.complaints()[0].ends_with(" of 50 rows"), "{resumed:?}");
    let merged = done(xent(&folder, "merge 1.state 2.state --json"));
    assert_eq!(said(&merged), said(&whole));
    let all = [folder.read("1.csv"), folder.read("2.csv")].concat();
    done(xent(&folder, &format!("{eval} --adapter cpu --rows-out all.csv")));
    assert!(all == folder.read("all.csv"));
    assert!(folder.names().iter().all(|name| !name.contains("xent-")), "{:?}", folder.names());
}

#[test]
fn what_does_not_belong_together_is_refused_by_name() {
    let folder = folder();
    let eval = "eval logits.npy --targets targets.npy --adapter cpu";
    let state = |name: &str, more: &str| {
        done(xent(&folder, &format!("{eval} --state-out {name} {more}")));
    };
    for (name, more) in [
        ("1.state", "--part 1/3"),
        ("2.state", "--part 2/3"),
        ("3.state", "--part 3/3"),
        ("half.state", "--part 2/2"),
        ("smooth.state", "--part 3/3 --label-smoothing 0.25"),
        ("top.state", "--part 3/3 --top-k 2"),
        ("again.state", "--part 1/3"),
    ] {
        state(name, more);
    }
    folder.array("others.npy", &[ROWS], &[1i64; ROWS]);
    done(xent(
        &folder,
        "eval logits.npy --targets others.npy --adapter cpu --part 3/3 --state-out others.state",
    ));
    let damaged: Vec<u8> = folder.read("2.state").iter().map(|byte| byte ^ u8::from(*byte == b'l')).collect();
    folder.write("damaged.state", damaged);
    let stopped = xent(&folder, &format!("{eval} --windows 4KB --stop-after 30 --checkpoint c"));
    assert_eq!(stopped.status, Some(130), "{stopped:?}");
    let before = folder.names();
    for (args, says) in [
        ("1.state 2.state", "the states: rows 60 to 89 of 90 are missing: of the parts, 3/3"),
        (
            "2.state --json --state-out x.state",
            "--json: rows 0 to 29, rows 60 to 89 of 90 are missing: of the parts, 1/3, 3/3",
        ),
        ("1.state half.state", "the states: rows 30 to 44 of 90 are missing"),
        ("1.state 2.state 1.state", "1.state: part 1/3 is also in 1.state"),
        ("1.state 2.state again.state", "again.state: part 1/3 is also in 1.state"),
        ("2.state half.state", "half.state: rows 45 to 59 are also in 2.state"),
        (
            "1.state 2.state smooth.state",
            "smooth.state: it is not of the same whole as 1.state: --label-smoothing is 0.25 here, and not given there",
        ),
        (
            "1.state 2.state top.state",
            "top.state: it is not of the same whole as 1.state: --top-k is 2 here, and not given there",
        ),
        ("1.state 2.state others.state", "others.state: it is not of the same whole as 1.state: "),
        (
            "1.state damaged.state",
            "damaged.state: this file is not a state that xent eval --state-out wrote, or not a complete one",
        ),
        (
            "1.state logits.npy",
            "logits.npy: this file is not a state that xent eval --state-out wrote, or not a complete one",
        ),
        (
            "1.state c",
            "c: it is the checkpoint of a stopped run, not a state that xent eval --state-out wrote: resume the run",
        ),
        ("1.state none", "none: cannot be read: No such file or directory (os error 2)"),
        ("1.state 2.state --state-out 2.state", "2.state: cannot be written: it is also a state"),
        ("1.state --html page.txt", "page.txt: cannot be written: its name must end with .html"),
    ] {
        let run = xent(&folder, &format!("merge {args}"));
        assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""), "{args}: {run:?}");
        let said = run.complaints()[0].trim_start_matches("xent: ").to_owned();
        assert!(said.starts_with(says), "{args}: {said}, not {says}");
    }
    let others = xent(&folder, "merge 1.state others.state");
    for value in ["the targets is ", "others.npy, ", "targets.npy, ", " there"] {
        assert!(
            others.stderr.contains(value) || others.stderr.contains("--targets is others.npy"),
            "{others:?}"
        );
    }
    // The state of a run is no checkpoint.
    let run = xent(&folder, &format!("{eval} --checkpoint 1.state"));
    assert!(run.stderr.contains("1.state: this file is not a checkpoint, and is left as it is"), "{run:?}");
    assert_eq!(folder.names(), before);
}

#[test]
fn what_has_no_parts_is_refused() {
    let folder = folder();
    folder.array("square.npy", &[3, 3], &[0.5f32; 9]);
    let eval = "eval logits.npy --targets targets.npy";
    let part = "--part 1/2 --state-out a.state";
    let of_four = "invalid value 'K/4' for '--part <K/N>': the parts are 1/4 to 4/4";
    for (args, says) in [
        (format!("{eval} --part 0/4 --state-out a.state"), of_four.replace('K', "0").replace("<0/N>", "<K/N>")),
        (format!("{eval} --part 5/4 --state-out a.state"), of_four.replace('K', "5").replace("<5/N>", "<K/N>")),
        (format!("{eval} --part 3 --state-out a.state"), "a part is written as 3/16: the third of 16".into()),
        (format!("{eval} --part 1/4"), "--state-out <FILE>".into()),
        (format!("{eval} {part} --html a.html"), "--html: does not apply to a part: xent merge draws the whole".into()),
        (format!("{eval} {part} --temperature 1,2"), "--part: does not apply to several temperatures".into()),
        (
            format!("eval square.npy --loss infonce {part}"),
            "--part: does not apply to --loss infonce".into(),
        ),
        (
            format!("eval - --dtype f32 --cols 7 --rows 90 --targets targets.npy {part}"),
            "--part: stdin and pipes have no parts: the other parts could not read them again".into(),
        ),
        (
            format!("{eval} --sequence 50 --sequences-out s.csv {part}"),
            "--sequences-out: part 1/2 begins or ends within a sequence, as the longest has 50 of all 90 rows: take fewer parts".into(),
        ),
        (format!("{eval} --state-out logits.npy"), "logits.npy: cannot be written: it is also the logits".into()),
    ] {
        let run = xent(&folder, &format!("{args} --adapter cpu"));
        assert!(run.status == Some(2) && run.stdout.is_empty(), "{args}: {run:?}");
        assert!(run.stderr.contains(&says), "{args}: {}, not {says}", run.stderr);
    }
    assert!(folder.names().iter().all(|name| name.ends_with(".npy")), "{:?}", folder.names());
}

#[test]
fn a_page_of_all_parts() {
    let folder = folder();
    let eval = "eval logits.npy --targets targets.npy --verify 3";
    let states = parts(&folder, eval, 2, "").join(" ");
    folder.write("names.txt", (0..COLS).map(|class| format!("class {class}\n")).collect::<String>());
    let merged =
        done(xent(&folder, &format!("merge {states} --html page.html --plot plot.svg --names names.txt")));
    assert!(merged.stdout.contains("90: 80 counted, 10 ignored"), "{merged:?}");
    let page = String::from_utf8(folder.read("page.html")).unwrap();
    assert!(
        page.contains("class 3")
            && page.contains("logits.npy")
            && page.contains("xent merge 1.state 2.state")
    );
    assert!(folder.read("plot.svg").starts_with(b"<svg"));
    // Two rows are bad.
    let strict = xent(&folder, &format!("merge {states} --strict"));
    assert!(strict.status == Some(1) && strict.complaints()[0].contains("row 30"), "{strict:?}");
}
