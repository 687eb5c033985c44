//! Where logits are.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use xent::eval::files::{Dtype, OpenOptions, RawLayout};

/// The files of the logits, and how these are read.
#[derive(Args)]
pub struct LogitsArgs {
    /// Logits: .npy, .safetensors or raw; several files or a folder are shards, - is stdin
    ///
    /// Files are taken in the order given, a folder's by the numbers in their names.
    #[arg(value_name = "LOGITS", required = true)]
    pub files: Vec<PathBuf>,
    /// The axis of the classes; -1 is the last
    #[arg(long, value_name = "K", default_value_t = -1, allow_negative_numbers = true)]
    pub class_axis: isize,
    /// The tensor of a .safetensors file [default: the only floats of 2 or 3 axes]
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Read raw values of this type, little-endian, without a header
    #[arg(
        hide_short_help = true,
        long,
        value_name = "TYPE",
        value_enum,
        requires = "cols",
        conflicts_with = "key"
    )]
    dtype: Option<RawDtype>,
    /// Raw values of a row: the classes
    #[arg(hide_short_help = true, long, value_name = "N", requires = "dtype")]
    cols: Option<usize>,
    /// Rows of raw values; from stdin they must be told [default: all there are]
    #[arg(hide_short_help = true, long, value_name = "N", requires = "dtype")]
    rows: Option<usize>,
}

impl LogitsArgs {
    pub fn options(&self) -> OpenOptions {
        let raw = self.dtype.zip(self.cols);
        let raw = raw.map(|(dtype, cols)| RawLayout { dtype: dtype.into(), cols, rows: self.rows });
        OpenOptions { key: self.key.clone(), raw, ..OpenOptions::default() }
    }

    /// How the values lie in the files, in words.
    pub fn identity(&self) -> String {
        format!("axis {}, {:?}", self.class_axis, self.options())
    }

    /// Whether they come through stdin, alone or among files.
    pub fn is_stdin(&self) -> bool {
        self.files.iter().any(|path| path == Path::new("-"))
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum RawDtype {
    F32,
    F16,
    Bf16,
    F64,
}

impl From<RawDtype> for Dtype {
    fn from(dtype: RawDtype) -> Self {
        match dtype {
            RawDtype::F32 => Self::F32,
            RawDtype::F16 => Self::F16,
            RawDtype::Bf16 => Self::Bf16,
            RawDtype::F64 => Self::F64,
        }
    }
}
