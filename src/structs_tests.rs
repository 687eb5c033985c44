//! Whether a new field of a public struct would break users: CONTRIBUTING says what must hold.

use std::fs;
use std::path::{Path, PathBuf};

/// What the docs of a struct say that users make with a literal.
const MAY_GROW: &str = "/// More fields may come: end a literal with `..";

/// A public struct with public fields.
#[derive(Debug, Default, PartialEq)]
struct Struct {
    name: String,
    /// Whether nobody outside the crate can write a literal: it is non-exhaustive, or has a private field.
    is_closed: bool,
    says_so: bool,
}

/// The public structs with public fields in a file as rustfmt lays it out.
fn structs(code: &str) -> Vec<Struct> {
    let (mut found, mut head) = (Vec::new(), Struct::default());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        head.is_closed |= line == "#[non_exhaustive]";
        head.says_so |= line.starts_with(MAY_GROW);
        if let Some(name) = line.strip_prefix("pub struct ").filter(|_| line.ends_with('{')) {
            let fields: Vec<&str> = lines.by_ref().take_while(|&line| line != "}").map(str::trim).collect();
            let is_field = |line: &&&str| !line.starts_with(['/', '#']) && line.contains(": ");
            let are_public = fields.iter().filter(is_field).map(|line| line.starts_with("pub "));
            let are_public: Vec<bool> = are_public.collect();
            head.is_closed |= are_public.contains(&false);
            head.name = name.chars().take_while(|c| c.is_alphanumeric()).collect();
            if are_public.contains(&true) {
                found.push(std::mem::take(&mut head));
            }
        }
        if !line.starts_with(['/', '#', ' ', ')']) {
            head = Struct::default();
        }
    }
    found
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("bin") {
            files(&path, into);
        } else if path.to_str().is_some_and(|path| path.ends_with(".rs") && !path.ends_with("_tests.rs")) {
            into.push(path);
        }
    }
}

#[test]
fn a_new_field_breaks_no_user() {
    let mut paths = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths);
    let found: Vec<Struct> =
        paths.iter().flat_map(|path| structs(&fs::read_to_string(path).expect("a file"))).collect();
    assert!(found.len() > 40, "only {} structs found", found.len());
    for found in found {
        // Docs that speak of literals nobody can write are wrong too.
        assert!(
            found.is_closed != found.says_so,
            "{found:?}: see CONTRIBUTING, \"A new field breaks no user\""
        );
    }
}

#[test]
fn the_check_sees_every_kind_of_struct() {
    let code = "\
/// A result.
#[derive(Clone)]
#[non_exhaustive]
pub struct Closed {
    /// A field.
    pub value: f32,
}

/// Options.
///
/// More fields may come: end a literal with `..Default::default()`.
pub struct Open<'a> {
    pub value: &'a str,
}

pub struct Neither {
    pub value: f32,
}

pub struct Hidden {
    pub value: f32,
    pub(crate) other: f32,
}

pub struct NoFields {
    value: f32,
}
";
    let found = structs(code);
    let told: Vec<_> =
        found.iter().map(|found| (found.name.as_str(), found.is_closed, found.says_so)).collect();
    let expected =
        [("Closed", true, false), ("Open", false, true), ("Neither", false, false), ("Hidden", true, false)];
    assert_eq!(told, expected);
}
