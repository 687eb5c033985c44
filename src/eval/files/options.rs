//! The options for opening a file.

use super::dtype::Dtype;

/// How a file is opened. [`Default`] is enough for logits in a `.npy` file, or in a `.safetensors` file with no other
/// floats of two or three axes.
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// The name of the tensor in a `.safetensors` file, or of the array in a `.npz` archive. Default: the only tensor that fits what is wanted.
    pub key: Option<String>,
    /// The purpose of the tensor, which selects one if there is no key. Default: logits.
    pub wanted: Wanted,
    /// The floats that 16-bit integers store: f16 or bf16, where NumPy has no such type. Default: the file's type.
    pub stored: Option<Dtype>,
    /// The layout of a file without a header. Default: the file has a header.
    pub raw: Option<RawLayout>,
}

impl OpenOptions {
    /// Options for this purpose only.
    pub fn of(wanted: Wanted) -> Self {
        Self { wanted, ..Self::default() }
    }
}

/// The purpose of a tensor. If a `.safetensors` file has several tensors and no key is given, the only one that fits is
/// used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Floats of two or three axes.
    #[default]
    Logits,
    /// Integers.
    Classes,
    /// Floats.
    Values,
    /// Booleans, or integers.
    Mask,
    /// Floats, booleans or integers of two or more axes: a value for each class.
    Labels,
}

impl Wanted {
    #[cfg(any(feature = "npz", feature = "safetensors"))]
    pub(super) fn fits(self, dtype: Option<Dtype>, dims: &[usize]) -> bool {
        let Some(dtype) = dtype else { return false };
        match self {
            Self::Logits => dtype.is_float() && matches!(dims.len(), 2 | 3),
            Self::Classes => dtype.is_integer(),
            Self::Values => dtype.is_float(),
            Self::Mask => !dtype.is_float(),
            Self::Labels => dims.len() >= 2,
        }
    }

    #[cfg(any(feature = "npz", feature = "safetensors"))]
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Logits => "floats of 2 or 3 axes",
            Self::Classes => "integers",
            Self::Values => "floats",
            Self::Mask => "booleans or integers",
            Self::Labels => "floats, booleans or integers of 2 or more axes",
        }
    }
}

/// The contents of a file without a header: rows of `cols` values, and nothing else.
///
/// More fields may come: end a literal with `..RawLayout::new(dtype, cols)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawLayout {
    /// The type of the values, little-endian.
    pub dtype: Dtype,
    /// Values per row.
    pub cols: usize,
    /// Rows of all files together. Default: as many as the files hold. For a stream it must be given.
    pub rows: Option<usize>,
}

impl RawLayout {
    /// Rows of `cols` values, as many as the files hold.
    pub const fn new(dtype: Dtype, cols: usize) -> Self {
        Self { dtype, cols, rows: None }
    }
}
