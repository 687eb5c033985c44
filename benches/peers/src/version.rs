//! Versions for the record.

/// The version of a crate that was compiled in: the first one that begins with `start`.
pub fn version(name: &str, start: &str) -> &'static str {
    let lock: &'static str = include_str!("../Cargo.lock");
    let head = format!("name = \"{name}\"\nversion = \"{start}");
    let found = lock.find(&head).and_then(|at| lock[at + head.len() - start.len()..].split_once('"'));
    found.map_or("of an unknown version", |(version, _)| version)
}
