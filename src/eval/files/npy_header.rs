//! The header of a `.npy` file.

use npyz::{DType, Endianness, NpyHeader, TypeChar, WriteOptions, WriterBuilder};

use super::dtype::Dtype;
use super::text::{one_line, shape_text};

/// NumPy's own limit for files that it does not trust.
const MAX_HEADER_BYTES: usize = 10_000;
/// The header is a dictionary (1) with the shape as a tuple (2); a structured type nests two deeper.
const MAX_NESTING: usize = 4;
/// Magic, version and the longer form of the header's length.
pub(super) const PREFIX_BYTES: usize = 12;

/// The contents of a header that can be read.
#[derive(Debug, PartialEq)]
pub(super) struct NpyArray {
    /// The type that values are read as, or `None` if they cannot be read.
    pub dtype: Option<Dtype>,
    /// Bytes per value.
    pub size: usize,
    /// The type as the file writes it: `'<f4'`.
    pub descr: String,
    /// Whether each value's bytes come in the other order.
    pub big_endian: bool,
    /// Whether the first axis is the fastest in the file, and the others come in this order too.
    pub fortran: bool,
    /// The length of each axis. The product fits into a `usize`, in bytes too.
    pub shape: Vec<usize>,
}

impl NpyArray {
    /// Bytes of all values.
    pub fn data_bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.size as u64
    }
}

/// The length of everything before the data, prefix included. `prefix` is the first [`PREFIX_BYTES`] of the file, or
/// all of it if it is shorter.
pub(super) fn header_bytes(prefix: &[u8]) -> Result<usize, String> {
    if prefix.len() < 10 || !prefix.starts_with(b"\x93NUMPY") {
        return Err(
            "not a .npy file: it does not begin with \\x93NUMPY, version and header length".to_owned()
        );
    }
    let (start, len) = match (prefix[6], prefix[7]) {
        (1, 0) => (10, u64::from(u16::from_le_bytes([prefix[8], prefix[9]]))),
        (2 | 3, 0) if prefix.len() < PREFIX_BYTES => return Err("truncated in its header".to_owned()),
        (2 | 3, 0) => (12, u64::from(u32::from_le_bytes([prefix[8], prefix[9], prefix[10], prefix[11]]))),
        (major, minor) => {
            return Err(format!("version {major}.{minor} of the .npy format; 1.0, 2.0 and 3.0 are read"));
        }
    };
    if len > MAX_HEADER_BYTES as u64 {
        return Err(format!("a header of {len} bytes; at most {MAX_HEADER_BYTES} are read"));
    }
    Ok(start + len as usize)
}

/// Reads a whole header, prefix included.
pub(super) fn parse(header: &[u8]) -> Result<NpyArray, String> {
    let not_understood = |why: &dyn std::fmt::Display| format!("header not understood: {why}");
    let (prefix, text) = header.split_at(if header[6] == 1 { 10 } else { 12 });
    let text = plain_text(text).map_err(|why| not_understood(&why))?;
    let header = [prefix, &text].concat();
    let parsed = match NpyHeader::from_reader(&header[..]) {
        Err(why) if why.to_string().contains(STACK_ENDS) => {
            with_stack(|| NpyHeader::from_reader(&header[..]))
        }
        parsed => parsed,
    };
    let parsed = parsed.map_err(|why| not_understood(&one_line(&why)))?;
    let dtype = parsed.dtype();
    let descr = dtype.descr();
    let DType::Plain(number) = dtype else {
        return Err(format!("structured type {}: plain numbers are needed", one_line(&descr)));
    };
    let size = number.num_bytes().ok_or_else(|| format!("type {descr}: plain numbers are needed"))?;
    let shape: Option<Vec<usize>> = parsed.shape().iter().map(|&len| usize::try_from(len).ok()).collect();
    let shape = shape.filter(|shape| {
        let bytes = shape.iter().try_fold(size.max(8), |bytes, &len| bytes.checked_mul(len.max(1)));
        bytes.is_some()
    });
    let Some(shape) = shape else {
        return Err(format!("shape {} is larger than memory can be", shape_text(parsed.shape())));
    };
    // An array with one axis is the same in both orders.
    let fortran = parsed.order() == npyz::Order::Fortran && shape.iter().filter(|&&len| len != 1).count() > 1;
    let big_endian = number.endianness() == Endianness::Big;
    Ok(NpyArray { dtype: dtype_of(number.type_char(), size), size, descr, big_endian, fortran, shape })
}

/// A part of the parser's error when its stack is too small; the rest of that message calls it a syntax error.
const STACK_ENDS: &str = "stack limit reached";

/// Runs a job on a new stack that is large enough, whatever the caller's stack is.
fn with_stack<T: Send>(job: impl Fn() -> T + Sync) -> T {
    const STACK_BYTES: usize = 512 << 10;
    let on_its_own = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, &job);
        thread.ok().and_then(|thread| thread.join().ok())
    });
    // If no thread can be started, the caller's stack may be large enough.
    on_its_own.unwrap_or_else(job)
}

fn dtype_of(kind: TypeChar, size: usize) -> Option<Dtype> {
    Some(match (kind, size) {
        (TypeChar::Float, 2) => Dtype::F16,
        (TypeChar::Float, 4) => Dtype::F32,
        (TypeChar::Float, 8) => Dtype::F64,
        // NumPy has no bf16: JAX and others, with ml_dtypes, write it as two bytes without a type.
        (TypeChar::RawData, 2) => Dtype::Bf16,
        (TypeChar::Bool, 1) => Dtype::Bool,
        (TypeChar::Int, 1) => Dtype::I8,
        (TypeChar::Int, 2) => Dtype::I16,
        (TypeChar::Int, 4) => Dtype::I32,
        (TypeChar::Int, 8) => Dtype::I64,
        (TypeChar::Uint, 1) => Dtype::U8,
        (TypeChar::Uint, 2) => Dtype::U16,
        (TypeChar::Uint, 4) => Dtype::U32,
        (TypeChar::Uint, 8) => Dtype::U64,
        _ => return None,
    })
}

/// The header of an array, as NumPy writes it. Refuses types that the format does not have.
pub(super) fn of_array(dtype: Dtype, shape: &[usize]) -> Result<Vec<u8>, String> {
    let descr = match dtype {
        Dtype::Bf16 => return Err(".npy has no type for bf16: use .safetensors or another type".to_owned()),
        Dtype::F16 => "<f2",
        Dtype::F32 => "<f4",
        Dtype::F64 => "<f8",
        Dtype::Bool => "|b1",
        Dtype::I8 => "|i1",
        Dtype::I16 => "<i2",
        Dtype::I32 => "<i4",
        Dtype::I64 => "<i8",
        Dtype::U8 => "|u1",
        Dtype::U16 => "<u2",
        Dtype::U32 => "<u4",
        Dtype::U64 => "<u8",
    };
    let number = descr.parse().map_err(|error| format!("{error}"))?;
    let lengths: Vec<u64> = shape.iter().map(|&len| len as u64).collect();
    let mut header = Vec::new();
    let options = WriteOptions::new_header_only().dtype(DType::Plain(number)).shape(&lengths);
    options.writer(&mut header).write_header_only().map_err(|error| error.to_string())?;
    Ok(header)
}

/// Checks the text before npyz reads it, because npyz recurses on every bracket and multiplies the axis lengths
/// unchecked. The checks limit the nesting and the product of all numbers, and refuse characters with which a string
/// could hide a bracket.
///
/// Returns the text as NumPy writes it now: other writers use double quotes, `=` for the byte order of the machine that
/// wrote the file (all of today's are little-endian), and, under Python 2, an `L` behind numbers.
fn plain_text(text: &[u8]) -> Result<Vec<u8>, String> {
    if text.windows(3).any(|part| part == b"'''" || part == b"\"\"\"") {
        return Err("it holds a string in triple quotes".to_owned());
    }
    let (mut nesting, mut quote) = (0usize, None);
    let (mut number, mut product) = (0u64, 1u64);
    let (mut before, mut plain) = (b' ', Vec::with_capacity(text.len()));
    for &byte in text.iter().chain(b" ") {
        let mut written = byte;
        match byte {
            b'0'..=b'9' if quote.is_none() => {
                let appended = number.checked_mul(10).and_then(|n| n.checked_add(u64::from(byte - b'0')));
                number = appended.ok_or("it holds a number above 2^64")?;
                before = byte;
                plain.push(byte);
                continue;
            }
            b'\\' => return Err(format!("it holds {:?}", char::from(byte))),
            b'\'' | b'"' => {
                quote = match quote {
                    None => Some(byte),
                    Some(open) if open == byte => None,
                    Some(_) => return Err(format!("it holds {:?} in a string", char::from(byte))),
                };
                written = b'\'';
            }
            b'=' if quote == Some(before) => written = b'<',
            _ if quote.is_some() => {}
            b'{' | b'(' | b'[' => nesting += 1,
            b'}' | b')' | b']' => nesting = nesting.saturating_sub(1),
            b'L' if before.is_ascii_digit() => written = b' ',
            b',' | b':' | b' ' | b'\n' | b'-' => {}
            // The letters of True and False.
            b'T' | b'r' | b'u' | b'e' | b'F' | b'a' | b'l' | b's' => {}
            _ => return Err(format!("it holds {:?} outside of a string", char::from(byte))),
        }
        if nesting > MAX_NESTING {
            return Err(format!("its brackets are nested more than {MAX_NESTING} deep"));
        }
        product = product.checked_mul(number.max(1)).ok_or("its shape overflows 2^64 values")?;
        (number, before) = (0, byte);
        plain.push(written);
    }
    plain.truncate(text.len());
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn a_small_stack_is_no_syntax_error() {
        let header = of_array(Dtype::F32, &[2, 3]).unwrap();
        let thread = std::thread::Builder::new().stack_size(48 << 10);
        let parsed = thread.spawn(move || parse(&header)).unwrap().join().unwrap();
        assert_eq!(parsed.map(|array| array.shape), Ok(vec![2, 3]));
    }

    #[test]
    fn numpys_own_header_is_read() {
        let bytes = header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5), }      \n");
        assert_eq!(header_bytes(&bytes[..12]), Ok(bytes.len()));
        let expected = NpyArray {
            dtype: Some(Dtype::F32),
            size: 4,
            descr: "'<f4'".to_owned(),
            big_endian: false,
            fortran: false,
            shape: vec![3, 5],
        };
        assert_eq!(parse(&bytes), Ok(expected));
    }

    #[test]
    fn other_writers_headers_are_read() {
        for (text, dtype, big_endian, fortran, shape) in [
            (
                r#"{"descr": "<f4", "fortran_order": False, "shape": (3, 5)}"#,
                Dtype::F32,
                false,
                false,
                &[3, 5][..],
            ),
            ("{'descr': '=f4', 'fortran_order': False, 'shape': (3, 5)}", Dtype::F32, false, false, &[3, 5]),
            (r#"{"descr": "=i8", 'fortran_order': False, 'shape': (6L,), }"#, Dtype::I64, false, false, &[6]),
            (
                "{'descr': '<f8', 'fortran_order': True, 'shape': (6L, 2L), }",
                Dtype::F64,
                false,
                true,
                &[6, 2],
            ),
            ("{'descr': '>f2', 'fortran_order': True, 'shape': (1, 2), }", Dtype::F16, true, false, &[1, 2]),
            ("{'descr': '|V2', 'fortran_order': False, 'shape': (2,)}", Dtype::Bf16, false, false, &[2]),
            ("{'descr': '<V2', 'fortran_order': False, 'shape': (2,)}", Dtype::Bf16, false, false, &[2]),
        ] {
            let array = parse(&header(text)).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(
                (array.dtype, array.big_endian, array.fortran),
                (Some(dtype), big_endian, fortran),
                "{text}"
            );
            assert_eq!(array.shape, shape, "{text}");
        }
    }

    #[test]
    fn no_header_is_a_panic() {
        let with_shape =
            |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
        for (name, text, says) in [
            ("empty", String::new(), "expected"),
            ("product overflows u64", with_shape("(4294967296, 4294967296, 2)"), "overflows 2^64"),
            ("product overflows before a zero", with_shape("(4294967296, 4294967296, 0)"), "overflows 2^64"),
            ("number above u64", with_shape("(99999999999999999999,)"), "a number above 2^64"),
            ("bytes overflow", with_shape("(4611686018427387904, 2)"), "larger than memory"),
            ("hexadecimal", with_shape("(0xffffffff, 0xffffffff)"), "holds 'x' outside"),
            ("underscores", with_shape("(1_000,)"), "holds '_' outside"),
            ("negative", with_shape("(-3, 5)"), "negative"),
            ("an exponent", with_shape("(1e9,)"), "integer"),
            ("a number as the shape", with_shape("5"), "list or tuple"),
            ("deep", with_shape(&"(".repeat(5000)), "nested more than 4 deep"),
            ("deep lists", with_shape(&"[".repeat(5000)), "nested more than 4 deep"),
            ("brackets behind a triple quote", format!("'''a'1'''{}", "(".repeat(5000)), "triple quotes"),
            ("brackets behind another quote", format!("'''\"{}", "(".repeat(5000)), "triple quotes"),
            ("one quote in the other", "{'a\"(((((((': 1}".to_owned(), "holds '\"' in a string"),
            ("the other way", "{\"a'(((((((\": 1}".to_owned(), r"holds '\'' in a string"),
            ("triple double quotes", format!("\"\"\"a\"1\"\"\"{}", "(".repeat(5000)), "triple quotes"),
            ("a letter behind a name", with_shape("(aL,)"), "holds 'L' outside"),
            ("an escape", r"{'a\'((': 1}".to_owned(), r"holds '\\'"),
            ("closing first", format!("{}{}", ")".repeat(50), "(".repeat(50)), "nested more than 4 deep"),
            ("no shape", "{'descr': '<f4', 'fortran_order': False}".to_owned(), "'shape'"),
            (
                "unknown type",
                "{'descr': '<x4', 'fortran_order': False, 'shape': (1,)}".to_owned(),
                "type string",
            ),
            (
                "objects",
                "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}".to_owned(),
                "plain numbers are needed",
            ),
            (
                "a name that colours the terminal",
                "{'descr': [('\x1b[31m', '<f4')], 'fortran_order': False, 'shape': (1,)}".to_owned(),
                "structured type [('\\u{1b}[31m', '<f4'), ]: plain",
            ),
            (
                "many fields",
                format!(
                    "{{'descr': [{}], 'fortran_order': False, 'shape': (1,)}}",
                    "('a', '<f4'),".repeat(500)
                ),
                "…: plain numbers",
            ),
            (
                "structured",
                "{'descr': [('a', '<f4', (99, 99))], 'fortran_order': False, 'shape': (1,)}".to_owned(),
                "structured type",
            ),
        ] {
            let error = parse(&header(&text)).unwrap_err();
            assert!(error.contains(says), "{name}: {error}");
            assert!(error.len() < 250 && !error.contains(char::is_control), "{name}: {error}");
        }
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_read() {
        for (name, prefix, says) in [
            ("empty", &b""[..], "not a .npy file"),
            ("magic alone", b"\x93NUMPY", "not a .npy file"),
            ("text", b"hello, world", "not a .npy file"),
            ("zip", b"PK\x03\x04________", "not a .npy file"),
            ("version 4", b"\x93NUMPY\x04\x00\x10\x00\x00\x00", "version 4.0"),
            ("version 2 cut short", b"\x93NUMPY\x02\x00\x10\x00", "truncated"),
            ("4 GiB", b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "a header of 4294967295 bytes"),
            ("64 KiB", b"\x93NUMPY\x01\x00\xff\xff\x00\x00", "a header of 65535 bytes"),
        ] {
            let error = header_bytes(prefix).unwrap_err();
            assert!(error.contains(says), "{name}: {error}");
        }
    }
}
