//! The header of a `.safetensors` file: 8 bytes with its length, then that many bytes of JSON.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use safetensors::tensor::{Dtype as FileDtype, Metadata, TensorInfo};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::dtype::Dtype;
use super::text::{one_line, quoted, shape_text};

/// The limit of the format's own library.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// The size of the length field in bytes.
pub(super) const PREFIX_BYTES: usize = 8;
/// A header is padded to a multiple of this, so that the values are aligned.
const ALIGNMENT: usize = 8;
/// An entry that is not a tensor.
const METADATA: &str = "__metadata__";

/// A tensor that a header describes. Its shape matches the length of its data.
#[derive(Debug, PartialEq)]
pub(super) struct Tensor {
    pub name: String,
    /// The type that values are read as, or `None` if they cannot be read.
    pub dtype: Option<Dtype>,
    /// The type as the file writes it: `BF16`.
    pub descr: String,
    /// The length of each axis. The product fits into a `usize`, in bytes too.
    pub shape: Vec<usize>,
    /// The position of the values, in bytes after the header.
    pub data: Range<u64>,
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", quoted(&self.name), self.descr, shape_text(&self.shape))
    }
}

/// The length of everything before the data, prefix included. `prefix` is the first [`PREFIX_BYTES`] of the file, or
/// all of it if it is shorter.
pub(super) fn header_bytes(prefix: &[u8]) -> Result<usize, String> {
    let Some(&len) = prefix.first_chunk() else {
        let found = prefix.len();
        return Err(format!(
            "truncated: a .safetensors file begins with 8 bytes of length; there are {found}"
        ));
    };
    let len = u64::from_le_bytes(len);
    if len > MAX_HEADER_BYTES {
        return Err(format!("a header of {len} bytes; at most {MAX_HEADER_BYTES} are read"));
    }
    Ok(PREFIX_BYTES + len as usize)
}

/// Reads a whole header, without its prefix. Returns tensors in the order of their data, which must have no gaps or
/// overlaps.
pub(super) fn parse(header: &[u8]) -> Result<Vec<Tensor>, String> {
    let not_understood = |why: &dyn fmt::Display| format!("header not understood: {}", one_line(&why));
    if header.first() != Some(&b'{') {
        return Err(not_understood(&"it does not begin with '{'"));
    }
    let Entries(mut entries) = serde_json::from_slice(header).map_err(|why| not_understood(&why))?;
    let mut names = HashSet::new();
    if let Some((name, _)) = entries.iter().find(|(name, _)| !names.insert(name.as_str())) {
        return Err(format!("tensor {} occurs twice", quoted(name)));
    }
    entries.sort_by_key(|(_, info)| info.data_offsets);
    let mut end = 0;
    entries
        .into_iter()
        .map(|(name, info)| {
            let tensor =
                tensor(&name, info, end).map_err(|why| format!("tensor {}: {why}", quoted(&name)))?;
            end = tensor.data.end;
            Ok(tensor)
        })
        .collect()
}

/// Checks one tensor. The data before it ends at `before`.
fn tensor(name: &str, info: TensorInfo, before: u64) -> Result<Tensor, String> {
    let TensorInfo { dtype, shape, data_offsets: (start, end) } = info;
    let (from, to) = (start as u64, end as u64);
    if to < from {
        return Err(format!("it ends at byte {to}, before it begins at {from}"));
    }
    if from != before {
        let what = if from < before { "an overlap" } else { "a gap" };
        return Err(format!("{what}: it begins at byte {from}, and the data before it ends at {before}"));
    }
    let values = shape.iter().try_fold(1usize, |product, &len| product.checked_mul(len.max(1)));
    if values.and_then(|values| values.checked_mul(dtype.bitsize().max(64))).is_none() {
        return Err(format!("shape {} is larger than memory can be", shape_text(&shape)));
    }
    let bits = shape.iter().product::<usize>() * dtype.bitsize();
    let (needed, found) = (bits as u64 / 8, to - from);
    if !bits.is_multiple_of(8) {
        return Err(format!(
            "shape {} of {dtype} has {bits} bits, which are not whole bytes",
            shape_text(&shape)
        ));
    }
    if needed != found {
        let shape = shape_text(&shape);
        return Err(format!("shape {shape} of {dtype} needs {needed} bytes; it has {found}, {from} to {to}"));
    }
    Ok(Tensor {
        name: name.to_owned(),
        dtype: dtype_of(dtype),
        descr: dtype.to_string(),
        shape,
        data: from..to,
    })
}

/// All tensors in the order of the header. Duplicates are kept.
struct Entries(Vec<(String, TensorInfo)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let named = |why: A::Error| A::Error::custom(format!("tensor {}: {why}", quoted(&name)));
                    let info = map.next_value().map_err(named)?;
                    entries.push((name, info));
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Map)
    }
}

fn dtype_of(dtype: FileDtype) -> Option<Dtype> {
    Some(match dtype {
        FileDtype::F16 => Dtype::F16,
        FileDtype::BF16 => Dtype::Bf16,
        FileDtype::F32 => Dtype::F32,
        FileDtype::F64 => Dtype::F64,
        FileDtype::BOOL => Dtype::Bool,
        FileDtype::I8 => Dtype::I8,
        FileDtype::I16 => Dtype::I16,
        FileDtype::I32 => Dtype::I32,
        FileDtype::I64 => Dtype::I64,
        FileDtype::U8 => Dtype::U8,
        FileDtype::U16 => Dtype::U16,
        FileDtype::U32 => Dtype::U32,
        FileDtype::U64 => Dtype::U64,
        _ => return None,
    })
}

/// The header of a file with one tensor, prefix included.
pub(super) fn of_tensor(name: &str, dtype: Dtype, shape: &[usize], bytes: usize) -> Result<Vec<u8>, String> {
    let dtype = match dtype {
        Dtype::F16 => FileDtype::F16,
        Dtype::Bf16 => FileDtype::BF16,
        Dtype::F32 => FileDtype::F32,
        Dtype::F64 => FileDtype::F64,
        Dtype::Bool => FileDtype::BOOL,
        Dtype::I8 => FileDtype::I8,
        Dtype::I16 => FileDtype::I16,
        Dtype::I32 => FileDtype::I32,
        Dtype::I64 => FileDtype::I64,
        Dtype::U8 => FileDtype::U8,
        Dtype::U16 => FileDtype::U16,
        Dtype::U32 => FileDtype::U32,
        Dtype::U64 => FileDtype::U64,
    };
    let info = TensorInfo { dtype, shape: shape.to_vec(), data_offsets: (0, bytes) };
    let metadata = Metadata::new(None, vec![(name.to_owned(), info)]).map_err(|error| error.to_string())?;
    let mut json = serde_json::to_vec(&metadata).map_err(|error| error.to_string())?;
    json.resize(json.len().next_multiple_of(ALIGNMENT), b' ');
    Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_come_in_the_order_of_their_data() {
        let json = r#"{"b": {"dtype": "I64", "shape": [2], "data_offsets": [12, 28]},
            "__metadata__": {"format": "pt"},
            "a\u001b": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
            "none": {"dtype": "F4", "shape": [0, 9], "data_offsets": [28, 28], "more": [[{}]]}}   "#;
        let tensors = parse(json.as_bytes()).unwrap();
        let names: Vec<_> = tensors.iter().map(Tensor::to_string).collect();
        assert_eq!(names, [r#""a\u{1b}" (BF16 (2, 3))"#, r#""b" (I64 (2,))"#, r#""none" (F4 (0, 9))"#]);
        assert_eq!(tensors[1].data, 12..28);
        assert_eq!(
            tensors.iter().map(|tensor| tensor.dtype).collect::<Vec<_>>(),
            [Some(Dtype::Bf16), Some(Dtype::I64), None]
        );
        assert_eq!(parse(b"{}"), Ok(vec![]));
    }

    #[test]
    fn what_is_written_is_read() {
        let header = of_tensor("probs", Dtype::Bf16, &[3, 5], 30).unwrap();
        let len = header_bytes(&header).unwrap();
        assert_eq!((len, len % ALIGNMENT), (header.len(), 0));
        let tensors = parse(&header[PREFIX_BYTES..]).unwrap();
        assert_eq!(tensors.len(), 1);
        assert_eq!(
            (tensors[0].to_string().as_str(), &tensors[0].data),
            ("\"probs\" (BF16 (3, 5))", &(0..30))
        );
    }
}
