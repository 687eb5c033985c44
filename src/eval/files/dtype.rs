//! The types of values in files.

use half::{bf16, f16};

/// The type of a file's values, if they can be read. All are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dtype {
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision, narrowed to f32 when it is read.
    F64,
    /// A byte that is 0 or 1.
    Bool,
    /// Signed, one byte.
    I8,
    /// Signed, two bytes.
    I16,
    /// Signed, four bytes.
    I32,
    /// Signed, eight bytes.
    I64,
    /// Unsigned, one byte.
    U8,
    /// Unsigned, two bytes.
    U16,
    /// Unsigned, four bytes.
    U32,
    /// Unsigned, eight bytes.
    U64,
}

impl Dtype {
    /// Bytes per value.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// The type's name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bool => "bool",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
        }
    }

    /// Whether logits can have this type.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    /// Whether targets can have this type.
    pub fn is_integer(self) -> bool {
        !self.is_float() && self != Self::Bool
    }

    /// A function that reads a number from its bytes: a float, exactly; an integer, to the precision of an f64; a boolean as
    /// 0 or 1.
    pub(super) fn numbers(self) -> fn(&[u8]) -> f64 {
        match self {
            Self::Bool => |bytes| f64::from(u8::from(bytes.iter().any(|&byte| byte != 0))),
            Self::I8 => |bytes| i8::from_le_bytes(array(bytes)).into(),
            Self::I16 => |bytes| i16::from_le_bytes(array(bytes)).into(),
            Self::I32 => |bytes| i32::from_le_bytes(array(bytes)).into(),
            Self::I64 => |bytes| i64::from_le_bytes(array(bytes)) as f64,
            Self::U8 => |bytes| u8::from_le_bytes(array(bytes)).into(),
            Self::U16 => |bytes| u16::from_le_bytes(array(bytes)).into(),
            Self::U32 => |bytes| u32::from_le_bytes(array(bytes)).into(),
            Self::U64 => |bytes| u64::from_le_bytes(array(bytes)) as f64,
            Self::F16 => |bytes| f16::from_le_bytes(array(bytes)).into(),
            Self::Bf16 => |bytes| bf16::from_le_bytes(array(bytes)).into(),
            Self::F32 => |bytes| f32::from_le_bytes(array(bytes)).into(),
            Self::F64 => |bytes| f64::from_le_bytes(array(bytes)),
        }
    }

    /// A function that reads an integer from its bytes; `None` for other types.
    pub(super) fn integers(self) -> Option<fn(&[u8]) -> i128> {
        match self {
            Self::I8 => Some(|bytes| i8::from_le_bytes(array(bytes)).into()),
            Self::I16 => Some(|bytes| i16::from_le_bytes(array(bytes)).into()),
            Self::I32 => Some(|bytes| i32::from_le_bytes(array(bytes)).into()),
            Self::I64 => Some(|bytes| i64::from_le_bytes(array(bytes)).into()),
            Self::U8 => Some(|bytes| u8::from_le_bytes(array(bytes)).into()),
            Self::U16 => Some(|bytes| u16::from_le_bytes(array(bytes)).into()),
            Self::U32 => Some(|bytes| u32::from_le_bytes(array(bytes)).into()),
            Self::U64 => Some(|bytes| u64::from_le_bytes(array(bytes)).into()),
            _ => None,
        }
    }
}

/// The N bytes of one value.
pub(super) fn array<const N: usize>(value: &[u8]) -> [u8; N] {
    value.first_chunk().copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_width_and_sign() {
        for (signed_type, unsigned_type, bytes, signed, unsigned) in [
            (Dtype::I8, Dtype::U8, &[0x9c_u8][..], -100, 156),
            (Dtype::I16, Dtype::U16, &[0x34, 0x12], 0x1234, 0x1234),
            (Dtype::I32, Dtype::U32, &[0x9c, 0xff, 0xff, 0xff], -100, 4_294_967_196),
            (Dtype::I64, Dtype::U64, &[0xff; 8], -1, i128::from(u64::MAX)),
            (Dtype::I64, Dtype::U64, &[0, 0, 0, 0, 0, 0, 0, 0x80], i128::from(i64::MIN), 1 << 63),
        ] {
            assert_eq!(signed_type.bytes(), bytes.len(), "{bytes:?}");
            assert_eq!(signed_type.integers().map(|read| read(bytes)), Some(signed), "{bytes:?}");
            assert_eq!(unsigned_type.integers().map(|read| read(bytes)), Some(unsigned), "{bytes:?}");
            assert_eq!(signed_type.numbers()(bytes), signed as f64, "{bytes:?}");
            assert_eq!(unsigned_type.numbers()(bytes), unsigned as f64, "{bytes:?}");
        }
        assert!(Dtype::F32.integers().is_none() && Dtype::Bool.integers().is_none());
    }

    #[test]
    fn floats_of_every_width() {
        for (dtype, bytes, expected) in [
            (Dtype::F16, &[0x00_u8, 0xc0][..], -2.0),
            (Dtype::Bf16, &[0x80, 0x3f], 1.0),
            (Dtype::F32, &[0, 0, 0x80, 0xff], f64::NEG_INFINITY),
            (Dtype::F64, &[0, 0, 0, 0, 0, 0, 0xf8, 0x3f], 1.5),
        ] {
            assert_eq!(dtype.numbers()(bytes), expected, "{dtype:?}");
        }
        assert_eq!([0, 1].map(|byte| Dtype::Bool.numbers()(&[byte])), [0.0, 1.0]);
    }
}
