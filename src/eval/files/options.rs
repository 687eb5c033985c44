//! What is to be known of a file before it is opened.

use super::dtype::Dtype;

/// How a file is opened: [`Default`] will do for logits in a `.npy` file, or in a `.safetensors` file that has nothing
/// else of two or three axes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// The tensor of a `.safetensors` file. Default: the only one that can be what is wanted.
    pub key: Option<String>,
    /// What is wanted, which tells one tensor from another where there is no key. Default: logits.
    pub wanted: Wanted,
    /// What values are in a file without a header. Default: there is a header.
    pub raw: Option<RawLayout>,
}

impl OpenOptions {
    /// For what is wanted, and nothing else.
    pub fn of(wanted: Wanted) -> Self {
        Self { wanted, ..Self::default() }
    }
}

/// What a tensor is for. Where a `.safetensors` file has several and no key is given, the only one that fits is taken.
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
}

impl Wanted {
    #[cfg(feature = "safetensors")]
    pub(super) fn fits(self, dtype: Option<Dtype>, dims: &[usize]) -> bool {
        let Some(dtype) = dtype else { return false };
        match self {
            Self::Logits => dtype.is_float() && matches!(dims.len(), 2 | 3),
            Self::Classes => dtype.is_integer(),
            Self::Values => dtype.is_float(),
            Self::Mask => !dtype.is_float(),
        }
    }

    #[cfg(feature = "safetensors")]
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Logits => "floats of 2 or 3 axes",
            Self::Classes => "integers",
            Self::Values => "floats",
            Self::Mask => "booleans or integers",
        }
    }
}

/// What a file without a header holds: rows of so many values, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawLayout {
    /// The type of the values, little-endian.
    pub dtype: Dtype,
    /// Values of a row.
    pub cols: usize,
    /// Rows of all files together. Default: as many as there are; a stream's must be told.
    pub rows: Option<usize>,
}
