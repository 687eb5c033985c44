//! Fuzzing of headers: none may panic, and whatever is accepted must be consistent.

use std::ops::Range;
use std::path::Path;

use super::dtype::Dtype;
use super::format::{Content, read_content};
use super::options::{OpenOptions, RawLayout, Wanted};
use super::{llama_cpp, npy_header, safetensors_header};

/// Number of mutants of each parser's headers.
const EXECUTIONS: usize = 1_000_000;
/// Number of mutants of whole files, and of archives.
const FILES: usize = 100_000;
const ARCHIVES: usize = 3_000;

/// Changes headers: bytes, parts that are cut, repeated or taken from another header, and words of the format.
struct Mutator<'a> {
    state: u64,
    seeds: &'a [Vec<u8>],
    words: &'a [&'a str],
}

impl Mutator<'_> {
    /// A number below `end`, or 0.
    fn below(&mut self, end: usize) -> usize {
        // Knuth's generator; its upper bits are good.
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.state >> 33) as usize).checked_rem(end).unwrap_or(0)
    }

    fn part(&mut self, len: usize) -> Range<usize> {
        let start = self.below(len + 1);
        start..start + self.below((len - start).min(24) + 1)
    }

    fn next(&mut self, mutant: &mut Vec<u8>) {
        let seed = self.below(self.seeds.len());
        mutant.clone_from(&self.seeds[seed]);
        // One in eight is left unchanged, so that valid headers are tried too.
        for _ in 0..self.below(8) {
            let part = self.part(mutant.len());
            match self.below(7) {
                0 => part.for_each(|at| mutant[at] ^= 1 << (at % 8)),
                1 => {
                    mutant.iter_mut().skip(part.start).take(1).for_each(|byte| *byte = self.below(256) as u8)
                }
                2 => drop(mutant.drain(part)),
                3 => {
                    let copy = mutant[part.clone()].to_vec();
                    mutant.splice(part.end..part.end, copy);
                }
                4 => {
                    let other = self.below(self.seeds.len());
                    let from = self.part(self.seeds[other].len());
                    mutant.splice(part, self.seeds[other][from].iter().copied());
                }
                5 => {
                    let word = self.words[self.below(self.words.len())];
                    mutant.splice(part.start..part.start, word.bytes());
                }
                // Replacing a digit with a digit keeps the text well-formed.
                _ => {
                    let digits = mutant.iter_mut().skip(part.start).filter(|byte| byte.is_ascii_digit());
                    digits.take(2).for_each(|byte| *byte = b'0' + self.below(10) as u8);
                }
            }
        }
    }
}

/// Runs this number of mutants. Some must be accepted and some refused, or nothing was tested.
fn fuzz(
    executions: usize,
    seeds: &[Vec<u8>],
    words: &[&str],
    mut parse: impl FnMut(&[u8]) -> Result<(), String>,
) {
    let mut mutator = Mutator { state: 5, seeds, words };
    let (mut mutant, mut understood) = (Vec::new(), 0);
    for _ in 0..executions {
        mutator.next(&mut mutant);
        match parse(&mutant) {
            Ok(()) => understood += 1,
            Err(why) => {
                assert!(why.len() < 600, "{why}");
                assert!(why.chars().all(|c| !c.is_control()), "{why:?}");
            }
        }
    }
    assert!((executions / 50..executions / 50 * 49).contains(&understood), "{understood} understood");
}

fn npy(version: u8, text: &str) -> Vec<u8> {
    let mut bytes = vec![0x93, b'N', b'U', b'M', b'P', b'Y', version, 0];
    match version {
        1 => bytes.extend((text.len() as u16).to_le_bytes()),
        _ => bytes.extend((text.len() as u32).to_le_bytes()),
    }
    bytes.extend(text.as_bytes());
    bytes
}

fn npy_seeds() -> Vec<Vec<u8>> {
    let text = |descr: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}       \n")
    };
    vec![
        npy(1, &text("'<f4'", "(3, 5)")),
        npy(1, &text("'<i8'", "(7,)")),
        npy(2, &text("'|b1'", "()")),
        npy(3, &text("'<f2'", "(2, 18446744073709551615, 0)")),
        npy(1, "{\"descr\": \"=V2\", 'fortran_order': True, 'shape': (3L, 5L)}"),
        npy(1, &text("[('a', '<f4'), ('b', '>u2', (2,))]", "(1,)")),
    ]
}

const NPY_WORDS: [&str; 15] = [
    "(",
    ")",
    "[",
    "{",
    "'",
    "'''",
    "\"",
    "\\",
    "18446744073709551615",
    "-1",
    "True",
    "'descr': ",
    "=",
    "L",
    "\"\"\"",
];

#[test]
fn npy_headers() {
    fuzz(EXECUTIONS, &npy_seeds(), &NPY_WORDS, |mutant| {
        let prefix = &mutant[..mutant.len().min(npy_header::PREFIX_BYTES)];
        let len = npy_header::header_bytes(prefix)?;
        let array = npy_header::parse(mutant.get(..len).ok_or("truncated")?)?;
        let bytes =
            array.shape.iter().try_fold(array.size as u64, |bytes, &len| bytes.checked_mul(len as u64));
        assert_eq!(bytes, Some(array.data_bytes()), "{array:?}");
        if let Some(dtype) = array.dtype {
            assert_eq!(dtype.bytes(), array.size, "{array:?}");
        }
        Ok(())
    });
}

fn safetensors_seeds() -> Vec<Vec<u8>> {
    [
        r#"{"logits":{"dtype":"BF16","shape":[4,3],"data_offsets":[0,24]}}     "#,
        r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},
            "b":{"dtype":"I64","shape":[2],"data_offsets":[16,32]}}"#,
        r#"{"b":{"data_offsets":[8,9],"shape":[],"dtype":"BOOL"},"a\u001b":{"dtype":"F4","shape":[4,4],
            "data_offsets":[0,8]},"none":{"dtype":"F64","shape":[0,7],"data_offsets":[9,9]}}"#,
        "{}",
    ]
    .map(|json| [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat())
    .to_vec()
}

const SAFETENSORS_WORDS: [&str; 12] = [
    "[",
    "]",
    "{",
    "}",
    "\"",
    "\\u0000",
    "18446744073709551615",
    "-1",
    "1e400",
    "null",
    ",\"shape\":[1]",
    "\"c\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]},",
];

fn check_tensors(tensors: &[safetensors_header::Tensor]) {
    let mut end = 0;
    for (at, tensor) in tensors.iter().enumerate() {
        assert_eq!(tensor.data.start, end, "{tensor:?}");
        assert!(tensor.data.end >= end, "{tensor:?}");
        end = tensor.data.end;
        assert!(tensors[..at].iter().all(|other| other.name != tensor.name), "{tensor:?}");
        if let Some(dtype) = tensor.dtype {
            let bytes = tensor.shape.iter().try_fold(dtype.bytes(), |bytes, &len| bytes.checked_mul(len));
            assert_eq!(bytes.map(|bytes| bytes as u64), Some(end - tensor.data.start), "{tensor:?}");
        }
    }
}

#[test]
fn safetensors_headers() {
    fuzz(EXECUTIONS, &safetensors_seeds(), &SAFETENSORS_WORDS, |mutant| {
        // Half of the mutants would end with a wrong length, which says nothing about what follows it.
        safetensors_header::header_bytes(&mutant[..mutant.len().min(8)])?;
        let tensors = safetensors_header::parse(mutant.get(8..).unwrap_or_default())?;
        check_tensors(&tensors);
        Ok(())
    });
}

#[test]
fn llama_cpp_files() {
    let options = [
        OpenOptions::default(),
        OpenOptions::of(Wanted::Classes),
        OpenOptions { key: Some("tokens".to_owned()), ..Default::default() },
    ];
    let mut turn = 0;
    fuzz(FILES, &llama_cpp::tests::seeds(), &["_logits_", "\0\0", "\u{1}\0\0\0"], |mutant| {
        turn += 1;
        llama_cpp::tests::check_content(mutant, &options[turn % options.len()])
    });
}

/// Archives are read from files, so there are fewer of them. The values of what is accepted are read as well.
#[test]
fn archives() {
    let data = [5; 48];
    let [floats, ints] = [("<f4", "(3, 4)"), ("<i8", "(6,)")]
        .map(|(descr, shape)| super::tensor_tests::npy(descr, "False", shape, &data));
    let members: [(&str, &[u8]); 2] = [("a.npy", &floats), ("targets.npy", &ints)];
    let seeds = [false, true].map(|deflated| super::tensor_tests::archive(&members, deflated));
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("a.npz");
    let options = [
        OpenOptions::default(),
        OpenOptions::of(Wanted::Classes),
        OpenOptions { key: Some("targets".to_owned()), ..Default::default() },
    ];
    let mut turn = 0;
    fuzz(ARCHIVES, &seeds, &["PK\u{3}\u{4}", "PK\u{1}\u{2}", "PK\u{5}\u{6}", "\0\0\0\0", ".npy"], |mutant| {
        turn += 1;
        std::fs::write(&path, mutant).expect("a file");
        let opened = super::TensorFile::open(&path, &options[turn % options.len()]);
        let mut file = opened.map_err(|error| error.to_string())?;
        let bytes = file.dims().iter().product::<usize>() * file.dtype().map_or(0, Dtype::bytes);
        file.read_at(0, &mut vec![0; bytes.min(1000) / 8 * 8]).map_err(|error| error.to_string())
    });
}

/// Files whose length may match the header, read with all options.
#[test]
fn whole_files() {
    let seeds: Vec<_> = npy_seeds().into_iter().chain(safetensors_seeds()).collect();
    let with_data =
        |seed: &Vec<u8>| [0, 1, 16, 24, 32, 56, 60].map(|data| [&seed[..], &vec![7; data]].concat());
    let seeds: Vec<Vec<u8>> = seeds.iter().flat_map(with_data).collect();
    let words = [&NPY_WORDS[..], &SAFETENSORS_WORDS[..]].concat();
    let raw = RawLayout { dtype: Dtype::F16, cols: 3, rows: None };
    let options = [
        OpenOptions::default(),
        OpenOptions::of(Wanted::Classes),
        OpenOptions::of(Wanted::Values),
        OpenOptions::of(Wanted::Mask),
        OpenOptions { key: Some("logits".to_owned()), ..Default::default() },
        OpenOptions { raw: Some(raw), ..Default::default() },
    ];
    let mut turn = 0;
    fuzz(FILES, &seeds, &words, |mutant| {
        turn += 1;
        let (name, options) = (["x", "x.npy", "x.safetensors"][turn % 3], &options[turn / 3 % options.len()]);
        let length = if turn.is_multiple_of(5) { None } else { Some(mutant.len() as u64) };
        let (content, start) = read_content(&mut &mutant[..], Path::new(name), length, options)?;
        assert!(mutant.starts_with(&start.bytes));
        let Content { dtype, dims, data, end, .. } = content;
        assert!(data.start <= data.end && data.end <= end);
        assert!(length.is_none_or(|length| length == end));
        if let Some(dtype) = dtype {
            let bytes = dims.iter().try_fold(dtype.bytes(), |bytes, &len| bytes.checked_mul(len));
            assert_eq!(bytes.map(|bytes| bytes as u64), Some(data.end - data.start));
        }
        Ok(())
    });
}
