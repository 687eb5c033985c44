//! What goes to the terminal and to files.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use xent::{Error, Result};

/// Prints to stdout. A reader that has gone away is no error.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::File { path: "stdout".to_owned(), message: error.to_string() })
        }
        _ => Ok(()),
    }
}

/// Says something on stderr; where that is closed, nobody listens.
pub fn complain(message: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr(), "xent: {}", message.as_ref());
}

/// Refuses an output that is also an input, or another output.
pub fn check_distinct(inputs: &[(&'static str, &Path)], outputs: &[&Path]) -> Result<()> {
    let mut taken: Vec<(&str, PathBuf)> = inputs.iter().map(|&(name, path)| (name, place(path))).collect();
    for output in outputs {
        let place = place(output);
        if let Some((name, _)) = taken.iter().find(|(_, other)| *other == place) {
            return Err(Error::File {
                path: output.display().to_string(),
                message: format!("cannot be written: it is also {name}"),
            });
        }
        taken.push(("another output", place));
    }
    Ok(())
}

/// Where a path leads, links followed, whether or not there is a file yet.
fn place(path: &Path) -> PathBuf {
    if let Ok(place) = path.canonicalize() {
        return place;
    }
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    match (folder.canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}
