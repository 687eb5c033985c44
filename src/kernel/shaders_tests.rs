//! Checks the first line of each file in `shaders/`, and the slots in its README, against the code.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::passes::{File, modules};

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/README.md"));

/// The names that a WGSL file defines at its top level, and the names that it uses from elsewhere.
struct Names<'a> {
    defined: BTreeSet<&'a str>,
    used: BTreeSet<&'a str>,
}

/// The words and signs of WGSL text, without its comments.
fn tokens(text: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    for line in text.lines() {
        let mut rest = line.split("//").next().unwrap_or_default().trim_start();
        while let Some(first) = rest.chars().next() {
            let is_number = first.is_ascii_digit();
            let end = if is_word(first) {
                rest.find(|c| !(is_word(c) || (is_number && c == '.'))).unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            tokens.push(&rest[..end]);
            rest = rest[end..].trim_start();
        }
    }
    tokens
}

fn names(text: &str) -> Names<'_> {
    let tokens = tokens(text);
    let at = |index: usize| tokens.get(index).copied().unwrap_or_default();
    let mut names = Names { defined: BTreeSet::new(), used: BTreeSet::new() };
    let mut start = 0;
    while start < tokens.len() {
        // A declaration ends with its `;`, or with the brace that closes its body.
        let mut depth = 0;
        let mut end = start;
        loop {
            depth += i32::from(at(end) == "{") - i32::from(at(end) == "}");
            let closes = depth == 0 && (at(end) == ";" || at(end) == "}");
            end += 1;
            if closes || end == tokens.len() {
                break;
            }
        }
        declaration(&tokens[start..end], &mut names);
        start = end;
    }
    names
}

/// Adds the names that one declaration defines and uses.
fn declaration<'a>(tokens: &[&'a str], names: &mut Names<'a>) {
    let at = |index: usize| tokens.get(index).copied().unwrap_or_default();
    let is_name = |token: &str| token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let kinds = ["fn", "struct", "const", "override", "alias", "var"];
    let kind = tokens.iter().position(|token| kinds.contains(token)).expect("a declaration");
    let mut name = kind + 1;
    if at(name) == "<" {
        name += tokens[name..].iter().position(|&token| token == ">").expect("a closed list") + 1;
    }
    names.defined.insert(at(name));
    let mut own = HashSet::from([at(name)]);
    for index in kind + 1..tokens.len() {
        let is_declared = ["let", "var", "const"].contains(&at(index - 1));
        // Parameters and members; a `case` ends with the same sign.
        let is_listed = at(index + 1) == ":" && ["(", ",", "{", ")"].contains(&at(index - 1));
        if index > name && is_name(at(index)) && (is_declared || is_listed) {
            own.insert(at(index));
        }
    }
    for index in 0..tokens.len() {
        let is_member = index > 0 && (at(index - 1) == "." || at(index - 1) == "@");
        let is_builtin = index > 1 && at(index - 1) == "(" && at(index - 2) == "builtin";
        if is_name(at(index)) && !is_member && !is_builtin && !own.contains(at(index)) {
            names.used.insert(at(index));
        }
    }
}

/// A slot in the README: the names that each of its choices defines.
struct Slot {
    name: &'static str,
    names: BTreeSet<&'static str>,
    /// Folders, which end with a slash, and files.
    files: BTreeSet<&'static str>,
}

impl Slot {
    fn has(&self, path: &str) -> bool {
        self.files.iter().any(|file| if file.ends_with('/') { path.starts_with(file) } else { path == *file })
    }
}

/// The rows of the table below a README heading: the words in backticks in each cell.
fn table(heading: &str) -> Vec<Vec<Vec<&'static str>>> {
    let below = README.split_once(&format!("## {heading}\n")).expect("a heading").1;
    let section = below.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = |line: &'static str| line.trim_matches('|').split('|');
    rows.map(|line| cells(line).map(|cell| cell.split('`').skip(1).step_by(2).collect()).collect()).collect()
}

fn slots() -> Vec<Slot> {
    let slot = |row: Vec<Vec<&'static str>>| Slot {
        name: row[0][0],
        names: row[1].iter().copied().collect(),
        files: row[2].iter().copied().collect(),
    };
    table("Slots").into_iter().map(slot).collect()
}

/// How the first lines of other files name a file: by its slot, as the pass, or by its own name.
fn called(slots: &[Slot], path: &'static str, name: &str) -> &'static str {
    if let Some(slot) = slots.iter().find(|slot| slot.has(path) && slot.names.contains(name)) {
        return slot.name;
    }
    match path.split_once('/') {
        Some(("common" | "pairs", file)) => file.trim_end_matches(".wgsl"),
        Some((folder, _)) => folder,
        None => "the pass",
    }
}

/// One file that uses a name of another file in some module.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    user: &'static str,
    name: &'static str,
    definer: &'static str,
}

/// All files of all modules, and which names they use of each other.
fn uses() -> (BTreeMap<&'static str, &'static File>, BTreeSet<Use>) {
    let mut files = BTreeMap::new();
    let mut uses = BTreeSet::new();
    let mut known: BTreeMap<&str, Names<'_>> = BTreeMap::new();
    for (pass, variant) in modules() {
        let of_module: Vec<&'static File> = pass.files(variant).collect();
        for file in &of_module {
            files.insert(file.path, *file);
            known.entry(file.path).or_insert_with(|| names(file.text));
        }
        for definer in &of_module {
            for user in of_module.iter().filter(|user| user.path != definer.path) {
                for name in known[definer.path].defined.intersection(&known[user.path].used) {
                    uses.insert(Use { user: user.path, name, definer: definer.path });
                }
            }
        }
    }
    (files, uses)
}

#[test]
fn the_first_line_of_a_file_names_what_it_uses() {
    let (files, uses) = uses();
    let slots = slots();
    let mut wrong = Vec::new();
    for (path, file) in files {
        let own = path.split_once('/').map_or("the pass", |(folder, _)| folder);
        let mut expected: BTreeSet<&str> = uses
            .iter()
            .filter(|used| used.user == path)
            .map(|used| called(&slots, used.definer, used.name))
            .collect();
        // The files of one choice of a slot belong together.
        expected.remove(own);
        if expected.is_empty() {
            expected.insert("nothing");
        }
        let first = file.text.lines().next().unwrap_or_default();
        let listed: Vec<&str> =
            first.strip_prefix("// Uses: ").map_or(vec![], |list| list.split(", ").collect());
        if listed.len() != expected.len() || listed.iter().any(|name| !expected.contains(name)) {
            let expected: Vec<&str> = expected.into_iter().collect();
            wrong.push(format!("{path}\t// Uses: {}", expected.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "what it should be:\n{}", wrong.join("\n"));
}

#[test]
fn every_choice_of_a_slot_defines_its_names_and_all_are_used() {
    let (files, uses) = uses();
    let slots = slots();
    let mut choices: BTreeSet<(&str, Vec<&'static str>)> = BTreeSet::new();
    for (pass, variant) in modules() {
        for slot in &slots {
            let of_slot = pass.files(variant).map(|file| file.path).filter(|path| slot.has(path)).collect();
            choices.insert((slot.name, of_slot));
        }
    }
    for slot in &slots {
        for (_, paths) in choices.iter().filter(|(name, paths)| *name == slot.name && !paths.is_empty()) {
            if !paths.iter().all(|path| slot.has(path)) {
                continue; // of another row of the same slot
            }
            let defined: BTreeSet<&str> =
                paths.iter().flat_map(|path| names(files[path].text).defined).collect();
            let missing: Vec<_> = slot.names.difference(&defined).collect();
            assert!(missing.is_empty(), "{}: {paths:?} lack {missing:?}", slot.name);
        }
        for file in &slot.files {
            assert!(files.keys().any(|path| path.starts_with(file)), "{}: no {file}", slot.name);
        }
        for name in &slot.names {
            let is_used = uses.iter().any(|used| used.name == *name && slot.has(used.definer));
            assert!(is_used, "{}: nobody uses {name}", slot.name);
        }
    }
}

#[test]
fn nothing_but_its_names_is_used_of_a_slot() {
    let (_, uses) = uses();
    let slots = slots();
    let between: Vec<Vec<Vec<&str>>> = table("From one file to another");
    let mut seen = HashSet::new();
    for used in &uses {
        let Some((folder, _)) = used.definer.split_once('/') else { continue };
        if !slots.iter().any(|slot| slot.files.contains(format!("{folder}/").as_str())) {
            continue;
        }
        let is_slots = slots.iter().any(|slot| slot.has(used.definer) && slot.names.contains(used.name));
        if is_slots || used.user.starts_with(&format!("{folder}/")) {
            continue;
        }
        let allowed = between.iter().position(|row| {
            row[0].contains(&used.name) && row[1].contains(&used.definer) && row[2].contains(&used.user)
        });
        let Some(row) = allowed else { panic!("{} uses {} of {}", used.user, used.name, used.definer) };
        seen.insert(row);
    }
    assert_eq!(seen.len(), between.len(), "a row of the README that is not so");
}

#[test]
fn every_name_is_used() {
    let (files, _) = uses();
    let used: BTreeSet<&str> = files.values().flat_map(|file| names(file.text).used).collect();
    let passes: HashSet<&str> = super::passes::ALL.iter().map(|(pass, _)| pass.name).collect();
    for (path, file) in &files {
        for name in names(file.text).defined {
            assert!(used.contains(name) || passes.contains(name), "{path}: nobody uses {name}");
        }
    }
}

#[test]
fn the_passes_of_the_operations_are_all_there_are() {
    let rows = table("The passes of an operation");
    let listed: BTreeSet<&str> = rows.iter().flat_map(|row| &row[1]).copied().collect();
    let passes: BTreeSet<&str> = super::passes::ALL.iter().map(|(pass, _)| pass.name).collect();
    assert_eq!(listed, passes);
}

#[test]
fn every_file_is_in_a_module() {
    let (files, _) = uses();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let within =
                path.strip_prefix(&root).expect("within").to_str().expect("a name").replace('\\', "/");
            assert!(within == "README.md" || files.contains_key(within.as_str()), "{within} is in no module");
        }
    }
}

#[test]
fn names_are_found() {
    let text = "// Uses: other\n\
        @group(0) @binding(1) var<storage, read> words: array<Pack>;\n\
        struct Pair { a: vec4<u32>, b: Quad }\n\
        fn moved(pair: Pair, at: u32) -> u32 {\n\
            let first = words[at].x + far(2.0e1); // not_used\n\
            switch at { case LIMIT: { return first; } default: {} }\n\
            return pair.a.x;\n\
        }\n";
    let found = names(text);
    assert_eq!(found.defined, BTreeSet::from(["words", "Pair", "moved"]));
    for name in ["Pack", "Quad", "Pair", "words", "far", "LIMIT"] {
        assert!(found.used.contains(name), "{name}");
    }
    for name in ["other", "not_used", "first", "pair", "at", "a", "b", "x"] {
        assert!(!found.used.contains(name), "{name}");
    }
}
