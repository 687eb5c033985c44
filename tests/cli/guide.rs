//! The guide, `docs/guide/`: its commands give what it shows under them, its files hold what it says, and its links lead
//! somewhere. Its Rust samples are tests of the documentation.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use crate::support::{Folder, Tensor, safetensors, tensor};

/// The files that the guide's commands read.
fn data() -> [(&'static str, Vec<u8>); 3] {
    let (each, three) = ([0, 1, 2, 3], [0, 1, 2]);
    let sure = [2.0f32, 0.0, 2.0, 0.0, 2.0, 0.0, 0.0, 2.0];
    let rows: [Tensor; 16] = [
        tensor("four", &[4, 4], &[2.0f32, 1.0, 0.5, -1.0].repeat(4)),
        tensor("each", &[4], &each),
        tensor("three", &[3, 3], &[2.0f32, 1.0, 0.1].repeat(3)),
        tensor("large", &[3, 3], &[1000.0f32, 1001.0, 1002.0].repeat(3)),
        tensor("each_of_three", &[3], &three),
        tensor("pair", &[1, 2], &[1.0f32, 0.0]),
        tensor("uniform", &[1, 5, 10], &[0.0f32; 50]),
        tensor("tokens", &[1, 5], &[3, 1, 4, 1, 5]),
        tensor("rare", &[4, 2], &[9f32.ln(), 0.0].repeat(4)),
        tensor("classes", &[4], &[0, 0, 0, 1]),
        tensor("sure", &[4, 2], &sure),
        tensor("zeros", &[4], &[0; 4]),
        tensor("nothing", &[4, 4], &[0.0f32; 16]),
        tensor("tags", &[1, 3], &[2.0f32, -1.0, 0.5]),
        tensor("labels", &[1, 3], &[1, 0, 1]),
        tensor("scores", &[3, 3], &[2.0f32, 9.0, 9.0, 2.0, 2.0, 9.0, 4.0, 2.0, 0.2]),
    ];
    let weights = [tensor("weights", &[2], &[1.0f32, 3.0])];
    let mask = [tensor("mask", &[3, 3], &[1, 0, 0, 1, 1, 0, 1, 1, 1])];
    [
        ("rows.safetensors", safetensors(&rows)),
        ("weights.safetensors", safetensors(&weights)),
        ("mask.safetensors", safetensors(&mask)),
    ]
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The names and the texts of the guide's pages.
fn pages() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(source("docs/guide")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".md")).collect();
    names.sort();
    let text = |name: &String| read_to_string(source("docs/guide").join(name)).unwrap();
    names.iter().map(|name| (name.clone(), text(name))).collect()
}

/// A command of a page, and the lines of its output that the page shows.
type Shown<'a> = (&'a str, Vec<&'a str>);

/// The commands of each block of a page, in order.
fn commands(page: &str) -> Vec<Shown<'_>> {
    let mut commands: Vec<Shown> = Vec::new();
    let mut is_console = false;
    for line in page.lines() {
        match (is_console, line) {
            (false, "```console") => is_console = true,
            (true, "```") => is_console = false,
            (true, line) => match line.strip_prefix("$ ") {
                Some(command) => commands.push((command, Vec::new())),
                None => commands.last_mut().expect("a command before its output").1.push(line),
            },
            (false, _) => {}
        }
    }
    commands
}

/// Whether a line of output is what a page shows. Numbers may differ in the digits in which adapters differ.
fn is_same(found: &str, shown: &str) -> bool {
    fn words(line: &str) -> Vec<&str> {
        line.split([' ', ',']).filter(|word| !word.is_empty()).collect()
    }
    let same = |(found, shown): (&&str, &&str)| match (found.parse::<f64>(), shown.parse::<f64>()) {
        _ if found == shown => true,
        (Ok(found), Ok(shown)) => (found - shown).abs() <= 2e-6 + 2e-5 * shown.abs(),
        _ => found == shown,
    };
    let (found, shown) = (words(found), words(shown));
    found.len() == shown.len() && found.iter().zip(&shown).all(same)
}

/// The first shown line that does not follow in the output, in order.
pub fn missing<'a>(output: &str, shown: &[&'a str]) -> Option<&'a str> {
    let mut lines = output.lines();
    shown.iter().copied().find(|shown| !lines.by_ref().any(|found| is_same(found, shown)))
}

#[test]
fn the_comparison_fails_on_a_wrong_answer() {
    let output = "loss        1.870182 nats (mean)\n0,0.49518198,,x\n1,2\n";
    for (shown, expected) in [
        (&["loss 1.870183 nats (mean)", "1,2"][..], None),
        (&["0,0.495182,,x"], None),
        (&["loss 1.8709 nats (mean)"], Some("loss 1.8709 nats (mean)")),
        (&["loss 1.870182 nats (sum)"], Some("loss 1.870182 nats (sum)")),
        (&["loss nan nats (mean)"], Some("loss nan nats (mean)")),
        (&["loss 1.870182 nats"], Some("loss 1.870182 nats")),
        (&["1,2", "0,0.49518198,,x"], Some("0,0.49518198,,x")),
        (&["1,2", "1,2"], Some("1,2")),
    ] {
        assert_eq!(missing(output, shown), expected, "{shown:?}");
    }
    let page = "```sh\n$ no\n```\n```console\n$ a b\nc\n$ d\n```\ntext\n";
    assert_eq!(commands(page), [("a b", vec!["c"]), ("d", vec![])]);
}

#[test]
fn the_files_hold_what_the_guide_says() {
    for (name, bytes) in data() {
        assert!(std::fs::read(source("docs/guide").join(name)).unwrap() == bytes, "{name}");
    }
}

#[test]
#[cfg(unix)]
fn every_command_gives_what_the_guide_shows() {
    let tool = Path::new(env!("CARGO_BIN_EXE_xent")).parent().unwrap().to_path_buf();
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([tool].into_iter().chain(std::env::split_paths(&folders))).unwrap();
    let mut run = 0;
    for (name, page) in pages() {
        let folder = Folder::new();
        for (name, bytes) in data() {
            folder.write(name, bytes);
        }
        for (command, shown) in commands(&page) {
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", command]).current_dir(folder.path("")).env("PATH", &path);
            let result = crate::support::run(shell);
            assert_eq!(result.status, Some(0), "{name}: {command}: {result:?}");
            assert_eq!(missing(&result.stdout, &shown), None, "{name}: {command}: {}", result.stdout);
            run += 1;
        }
    }
    assert!(run >= 30, "{run} commands");
}

/// In the documentation, the links of `src/guide/links.md` take the place of the pages' own.
#[test]
fn links_lead_somewhere() {
    fn definition(line: &str) -> Option<(&str, &str)> {
        line.strip_prefix('[')?.split_once("]: ")
    }
    let links = read_to_string(source("src/guide/links.md")).unwrap();
    let linked: Vec<_> = links.lines().map(|line| definition(line).unwrap().0).collect();
    let module = read_to_string(source("src/guide/mod.rs")).unwrap();
    let mut used = Vec::new();
    for (name, page) in pages() {
        assert!(name == "README.md" || module.contains(&format!("\"{name}\"")), "{name} is no chapter");
        for (label, to) in page.lines().filter_map(definition) {
            assert!(source("docs/guide").join(to).exists(), "{name}: {label} leads to {to}");
            assert!(linked.contains(&label), "{name}: links.md has no {label}");
            assert!(page.matches(&format!("[{label}]")).count() > 1, "{name}: {label} is not used");
            used.push(label.to_owned());
        }
    }
    for label in linked {
        assert!(used.iter().any(|used| used == label), "links.md: {label} is used nowhere");
    }
}
