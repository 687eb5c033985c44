//! The columns of a rank, in a file.

use std::ops::Range;
use std::time::Duration;

use mpi::topology::SimpleCommunicator;
use xent::VocabularyShard;
use xent::eval::Source;
use xent::eval::files::{FileLogits, OpenOptions, TensorFile};

use super::args::VocabArgs;
use super::timed;
use crate::Failure;

/// The columns that this rank has of every row.
pub struct Columns {
    /// `None` if it has none.
    file: Option<FileLogits<f32>>,
    pub shard: VocabularyShard,
    /// How many this rank has.
    pub cols: usize,
    /// How many the rank with most columns has.
    pub widest: usize,
    pub rows: usize,
}

impl Columns {
    /// Opens the file of all ranks, or of this one. All ranks call it.
    pub fn open(world: &SimpleCommunicator, args: &VocabArgs) -> Result<Self, Failure> {
        let options = OpenOptions { key: args.key.clone(), ..Default::default() };
        let file = FileLogits::<f32>::new(TensorFile::open(&args.logits, &options)?, -1)?;
        let (rows, stored) = (file.shape().rows, file.shape().cols);
        let (file, cols) = if args.is_own {
            (Some(file), stored)
        } else {
            xent_mpi::same(world, "the classes of the logits", stored)?;
            let own = xent_mpi::columns_of(world, stored);
            let cols = own.len();
            ((cols > 0).then(|| file.columns(own)).transpose()?, cols)
        };
        xent_mpi::same(world, "the rows of the logits", rows)?;
        let shard = xent_mpi::shard_of(world, cols);
        let widest = xent_mpi::largest(world, cols);
        Ok(Self { file, shard, cols, widest, rows })
    }

    /// Reads some rows of its columns.
    pub fn read(
        &mut self,
        rows: Range<usize>,
        into: &mut Vec<f32>,
        reading: &mut Duration,
    ) -> Result<(), Failure> {
        into.resize(rows.len() * self.cols, 0.0);
        match &mut self.file {
            Some(file) => Ok(timed(reading, || file.read_rows(rows, into))?),
            None => Ok(()),
        }
    }

    /// The columns of a rank, in words, for a report.
    pub fn describe(&self, world_size: i32) -> String {
        format!("{} on {world_size} ranks, {} at most", self.shard.total_cols, self.widest)
    }
}
