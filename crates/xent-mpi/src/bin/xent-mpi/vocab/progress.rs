//! What is known of the rows so far, also in a file, from which a stopped job continues.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;
use xent::RowPartials;

use super::args::VocabArgs;
use crate::Failure;

/// The partials of whole rows, folded, and their file. Each rank has one with the same content, so that ranks need no
/// folder in common.
pub struct Progress {
    pub merged: Vec<RowPartials>,
    file: File,
    path: PathBuf,
}

impl Progress {
    /// Begins, or continues from the rows that every rank has. All ranks call it.
    pub fn open(world: &SimpleCommunicator, args: &VocabArgs, rows: usize) -> Result<Self, Failure> {
        let (rank, ranks) = (world.rank(), world.size());
        // The name is that of the command, and the file begins with what the figures depend on.
        let path = format!("xent-mpi.{:016x}.{}-of-{ranks}.partials", hash(&names(args)), rank + 1);
        let path = PathBuf::from(path);
        let head = format!(
            "xent-mpi partials {} {:016x}\n",
            env!("CARGO_PKG_VERSION"),
            hash(&identity(args, ranks))
        );
        let refused = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut merged = if args.resume { read(&path, head.as_bytes(), rows) } else { Vec::new() };
        merged.truncate(xent_mpi::least(world, merged.len()));
        if args.resume && rank == 0 {
            eprintln!("xent-mpi: continuing after {} of {rows} rows", merged.len());
        }
        let mut file = File::create(&path).map_err(refused)?;
        file.write_all(head.as_bytes()).map_err(refused)?;
        file.write_all(bytemuck::cast_slice(&merged)).map_err(refused)?;
        Ok(Self { merged, file, path })
    }

    /// Adds the next rows.
    pub fn add(&mut self, rows: Vec<RowPartials>) -> Result<(), Failure> {
        let written = self.file.write_all(bytemuck::cast_slice(&rows));
        written.map_err(|error| format!("{}: {error}", self.path.display()))?;
        self.merged.extend(rows);
        Ok(())
    }

    /// Removes the file, which nobody needs any more.
    pub fn finish(self) {
        let _ = fs::remove_file(self.path);
    }
}

/// The rows in a file that begins like this: none, unless it is there and of the same job.
fn read(path: &Path, head: &[u8], rows: usize) -> Vec<RowPartials> {
    let mut bytes = Vec::new();
    if File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).is_err() {
        return Vec::new();
    }
    let Some(records) = bytes.strip_prefix(head) else { return Vec::new() };
    // A record that a killed process left incomplete is not there.
    let records = records.chunks_exact(size_of::<RowPartials>()).take(rows);
    records.map(bytemuck::pod_read_unaligned).collect()
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn names(args: &VocabArgs) -> (&Path, &Path, String) {
    (&args.logits, &args.targets, args.identity())
}

/// What the partials depend on: the files, by their lengths and the times of their last changes, and the options.
fn identity(args: &VocabArgs, ranks: i32) -> (Vec<String>, String, i32) {
    let file = |path: &Path| {
        let known = fs::metadata(path).map(|file| format!("{} {:?}", file.len(), file.modified().ok()));
        known.unwrap_or_default()
    };
    let mut files = vec![file(&args.logits), file(&args.targets)];
    files.extend(args.class_weights.as_deref().map(file));
    (files, args.identity(), ranks)
}
