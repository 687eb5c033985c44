//! The arguments that say where the logits are.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use xent::Result;
use xent::eval::files::{Dtype, OpenOptions, RawLayout, TensorFile, Wanted, is_llama_cpp};

use crate::output::{bad_argument, one_line};

/// The files of the logits, and how they are read.
#[derive(Args)]
pub struct LogitsArgs {
    /// Logits: .npy, .npz, .safetensors or raw; files and folders are shards, - is stdin
    ///
    /// Also llama.cpp's saved logits (llama-perplexity --save-all-logits), with their own targets.
    /// Files are read in the order given, and the files of a folder by the numbers in their names.
    #[arg(value_name = "LOGITS", required = true, allow_negative_numbers = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub read: ReadArgs,
}

/// How files of logits are read.
#[derive(Args)]
pub struct ReadArgs {
    /// The axis of the classes; -1 is the last
    #[arg(long, value_name = "K", default_value_t = -1, allow_negative_numbers = true)]
    pub class_axis: isize,
    /// The array in a .npz or .safetensors file [default: the only floats of 2 or 3 axes]
    #[arg(hide_short_help = true, long, value_name = "NAME")]
    key: Option<String>,
    /// Use the first N classes only: the others pad the vocabulary
    #[arg(hide_short_help = true, long, value_name = "N")]
    pub vocab: Option<usize>,
    /// With --cols: raw values of this type, little-endian, without a header. Else: what 16-bit integers store
    #[arg(hide_short_help = true, long, value_name = "TYPE", value_enum)]
    dtype: Option<RawDtype>,
    /// Raw values per row: the number of classes
    #[arg(hide_short_help = true, long, value_name = "N", requires = "dtype", conflicts_with = "key")]
    cols: Option<usize>,
    /// Rows of raw values; required for stdin [default: as many as the files hold]
    #[arg(hide_short_help = true, long, value_name = "N", requires = "cols")]
    rows: Option<usize>,
}

impl ReadArgs {
    pub fn options(&self) -> OpenOptions {
        let raw = self.dtype.zip(self.cols);
        let raw = raw.map(|(dtype, cols)| RawLayout { dtype: dtype.into(), cols, rows: self.rows });
        let stored = self.dtype.filter(|_| raw.is_none()).map(Dtype::from);
        OpenOptions { key: self.key.clone(), raw, stored, ..OpenOptions::default() }
    }

    /// The layout of the values in the files, in words.
    pub fn identity(&self) -> String {
        format!("axis {}, {:?}, --vocab {:?}", self.class_axis, self.options(), self.vocab)
    }
}

impl LogitsArgs {
    /// Whether they are llama.cpp's saved logits, which hold their targets.
    pub fn are_of_llama_cpp(&self) -> bool {
        !self.files.is_empty() && self.files.iter().all(|path| is_llama_cpp(path))
    }

    /// Whether the first file holds integers beside the logits, which may be the targets.
    pub fn has_integers(&self) -> bool {
        let Some(path) = self.files.first().filter(|path| path.is_file()) else { return false };
        let open = |wanted| TensorFile::open(path, &OpenOptions::of(wanted));
        let is_float = |file: &TensorFile| file.dtype().is_some_and(|dtype| dtype.is_float());
        open(Wanted::Logits).is_ok_and(|file| is_float(&file))
            && match open(Wanted::Classes) {
                Ok(file) => !is_float(&file),
                // Of several arrays of integers, one must be named.
                Err(error) => error.to_string().contains(" of integers;"),
            }
    }

    /// Refuses files of which some are llama.cpp's saved logits: they cannot be joined to others.
    pub fn check_kinds(&self) -> Result<()> {
        let (own, others): (Vec<_>, Vec<_>) = self.files.iter().partition(|path| is_llama_cpp(path));
        let (Some(own), Some(other)) = (own.first(), others.first()) else { return Ok(()) };
        let why = format!(
            "not of llama.cpp's saved logits, as {} is: they cannot be shards of one batch (xent compare puts two side by \
             side)",
            one_line(&own.display().to_string())
        );
        Err(bad_argument(other.display().to_string(), why))
    }

    /// Whether the logits come through stdin or a pipe, alone or among files, so that they can be read once.
    pub fn is_stream(&self) -> bool {
        self.files.iter().any(|path| is_stream(path))
    }
}

/// Whether a path is stdin, or a pipe such as a shell's `<(command)`.
pub fn is_stream(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if path.metadata().is_ok_and(|known| known.file_type().is_fifo()) {
            return true;
        }
    }
    path == Path::new("-")
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
