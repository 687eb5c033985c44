//! Tensors in files, shards, archives and streams.

use half::f16;
use tempfile::TempDir;

use std::io::{Cursor, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Dtype, FileLogits, OpenOptions, RawLayout, TensorFile, TensorWriter, shard_paths};
use crate::error::{Error, Result};
use crate::eval::Source;

fn raw(rows: Option<usize>) -> OpenOptions {
    OpenOptions { raw: Some(RawLayout { dtype: Dtype::F32, cols: 2, rows }), ..Default::default() }
}

fn values(from: usize, len: usize) -> Vec<f32> {
    (from..from + len).map(|value| value as f32).collect()
}

/// Rows of 2, with values from `from` on.
fn write(folder: &TempDir, name: &str, from: usize, rows: usize) -> PathBuf {
    let path = folder.path().join(name);
    let mut file = TensorWriter::create(&path, "a", "logits", Dtype::F32, &[rows, 2]).unwrap();
    file.write(&values(from, 2 * rows)).unwrap();
    file.finish().unwrap();
    path
}

fn read(file: &mut TensorFile, start: usize, len: usize) -> Result<Vec<f32>> {
    let mut window = vec![f32::NAN; len];
    file.read_at(start, bytemuck::cast_slice_mut(&mut window))?;
    Ok(window)
}

#[test]
fn shards_are_one_tensor() {
    let folder = TempDir::new().unwrap();
    for suffix in ["npy", "safetensors"] {
        let names = [(0, 1, "s-1"), (2, 0, "s-2"), (2, 3, "s-10"), (8, 2, "s-11")];
        let paths = names.map(|(from, rows, name)| write(&folder, &format!("{name}.{suffix}"), from, rows));
        for mut file in [
            TensorFile::open_all(&paths, &Default::default()).unwrap(),
            TensorFile::open_all(&shard_paths(&paths, false).unwrap(), &Default::default()).unwrap(),
        ] {
            assert_eq!((file.dims(), file.is_sharded()), (&[6, 2][..], true));
            for start in 0..12 {
                for len in 0..=12 - start {
                    assert_eq!(read(&mut file, start, len), Ok(values(start, len)), "{start} {len}");
                }
            }
            assert!(matches!(read(&mut file, 11, 2), Err(Error::Length { .. })));
        }
        paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }
}

#[test]
fn shards_of_a_folder_stand_by_their_numbers() {
    let folder = TempDir::new().unwrap();
    for (name, from, rows) in [("p-10.npy", 4, 1), ("p-9.npy", 0, 2), (".hidden.npy", 0, 9)] {
        write(&folder, name, from, rows);
    }
    std::fs::write(folder.path().join("index.json"), "{}").unwrap();
    let mut file = TensorFile::open(folder.path(), &Default::default()).unwrap();
    assert_eq!(read(&mut file, 0, 6), Ok(values(0, 6)));
    write(&folder, "q.safetensors", 0, 1);
    let error = TensorFile::open(folder.path(), &Default::default()).unwrap_err().to_string();
    assert!(
        error.ends_with("the folder has files of both formats (p-9.npy and q.safetensors): name the files"),
        "{error}"
    );
}

#[test]
fn a_shard_that_does_not_fit_is_named() {
    let folder = TempDir::new().unwrap();
    let first = write(&folder, "a.npy", 0, 1);
    for (name, dtype, shape) in [
        ("type.npy", Dtype::F16, &[1, 2][..]),
        ("cols.npy", Dtype::F32, &[1, 3]),
        ("axes.npy", Dtype::F32, &[1, 2, 1]),
        ("none.npy", Dtype::F32, &[]),
    ] {
        let path = folder.path().join(name);
        let mut file = TensorWriter::create(&path, "a", "", dtype, shape).unwrap();
        match dtype {
            Dtype::F32 => file.write(&vec![0f32; shape.iter().product()]).unwrap(),
            _ => file.write(&vec![f16::ZERO; shape.iter().product()]).unwrap(),
        }
        file.finish().unwrap();
        let error = TensorFile::open_all(&[&first, &path], &Default::default()).unwrap_err();
        assert!(
            matches!(&error, Error::File { path, message } if path.ends_with(name)
            && message.contains("it cannot be joined along the first axis to") && message.contains("a.npy")),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_shrinks_is_an_error() {
    let folder = TempDir::new().unwrap();
    let paths = [write(&folder, "a.npy", 0, 2), write(&folder, "b.npy", 4, 2)];
    let cut = |path: &Path| {
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 4).unwrap();
    };
    let mut file = TensorFile::open_all(&paths, &Default::default()).unwrap();
    cut(&paths[1]);
    assert_eq!(read(&mut file, 0, 4), Ok(values(0, 4)));
    let error = read(&mut file, 2, 4).unwrap_err().to_string();
    assert!(error.ends_with("b.npy: it had 144 bytes when it was opened; now it has 140"), "{error}");
    cut(&paths[0]);
    let error = read(&mut file, 2, 2).unwrap_err().to_string();
    assert!(error.ends_with("a.npy: it became shorter while it was read"), "{error}");
}

#[test]
fn streams_are_read_once_and_in_full() {
    let folder = TempDir::new().unwrap();
    let bytes = |name: &str| std::fs::read(write(&folder, name, 0, 3)).unwrap();
    let plain: Vec<u8> = bytemuck::cast_slice(&values(0, 6)).to_vec();
    for (name, content, options) in [
        ("npy", bytes("a.npy"), OpenOptions::default()),
        ("safetensors", bytes("a.safetensors"), OpenOptions::default()),
        ("raw", plain, raw(Some(3))),
    ] {
        let open = |content: Vec<u8>| TensorFile::from_reader(name, Cursor::new(content), &options);
        let mut file = open(content.clone()).unwrap();
        assert_eq!(file.dims(), [3, 2], "{name}");
        assert_eq!(read(&mut file, 0, 2), Ok(values(0, 2)), "{name}");
        assert_eq!(read(&mut file, 3, 3), Ok(values(3, 3)), "{name}: what is skipped");
        let error = read(&mut file, 2, 1).unwrap_err().to_string();
        assert_eq!(error, format!("{name}: a stream is read once, from front to back"));

        let mut short = open(content[..content.len() - 1].to_vec()).unwrap();
        let error = read(&mut short, 1, 5).unwrap_err().to_string();
        assert_eq!(error, format!("{name}: it ends early: it has 23 of 24 bytes of values"));
        let mut long = open([&content[..], &[0]].concat()).unwrap();
        let error = read(&mut long, 1, 5).unwrap_err().to_string();
        assert_eq!(error, format!("{name}: too long: it has more than 24 bytes of values"));
    }
    let error = TensorFile::from_reader("raw", std::io::empty(), &raw(None)).unwrap_err();
    assert_eq!(error.to_string(), "raw: the number of rows of a stream must be given");
}

/// An archive with these files, compressed or stored.
pub(super) fn archive(members: &[(&str, &[u8])], deflated: bool) -> Vec<u8> {
    let method = if deflated { zip::CompressionMethod::DEFLATE } else { zip::CompressionMethod::STORE };
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        archive.start_file(*name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A `.npy` file with these values in its header's order.
pub(super) fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

/// Values 0, 1, 2, … of shape (3, 4), with the first axis fastest and in the other byte order.
fn turned() -> Vec<u8> {
    let value = |at: usize| (at % 3 * 4 + at / 3) as f32;
    let bytes: Vec<u8> = (0..12).flat_map(|at| value(at).to_be_bytes()).collect();
    npy(">f4", "True", "(3, 4)", &bytes)
}

#[test]
fn other_orders_and_archives_hold_the_same_values() {
    let folder = TempDir::new().unwrap();
    let plain: Vec<u8> = values(0, 12).into_iter().flat_map(f32::to_le_bytes).collect();
    let plain = npy("<f4", "False", "(3, 4)", &plain);
    let ints = npy("<i8", "False", "(3,)", &[0; 24]);
    for (name, bytes) in [
        ("turned.npy", turned()),
        ("stored.npz", archive(&[("a.npy", &plain), ("targets.npy", &ints)], false)),
        ("deflated.npz", archive(&[("targets.npy", &ints), ("a.npy", &plain)], true)),
        ("turned.npz", archive(&[("targets.npy", &ints), ("a.npy", &turned())], true)),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut file = TensorFile::open(&path, &OpenOptions::default()).unwrap();
        assert_eq!((file.dims(), file.dtype()), (&[3, 4][..], Some(Dtype::F32)), "{name}");
        for start in 0..12 {
            for len in 0..=12 - start {
                assert_eq!(read(&mut file, start, len), Ok(values(start, len)), "{name} {start} {len}");
            }
        }
        // The same file twice, as shards.
        let mut file = TensorFile::open_all(&[&path, &path], &OpenOptions::default()).unwrap();
        let both = [values(0, 12), values(0, 12)].concat();
        assert_eq!(read(&mut file, 0, 24), Ok(both.clone()), "{name}");
        assert_eq!(read(&mut file, 7, 12), Ok(both[7..19].to_vec()), "{name}");
        let targets = OpenOptions { key: Some("targets".to_owned()), ..Default::default() };
        if name.ends_with("npz") {
            assert_eq!(TensorFile::open(&path, &targets).unwrap().dtype(), Some(Dtype::I64), "{name}");
        }
    }
}

/// The columns of a shard are read by themselves, whichever axis they are on.
#[test]
fn some_columns_of_each_row() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("logits.npy");
    for (dims, axis, inner) in [(&[4, 6][..], -1, 1), (&[4, 3, 2], 1, 2)] {
        for dtype in [Dtype::F32, Dtype::F16] {
            let mut file = TensorWriter::create(&path, "a", "logits", dtype, dims).unwrap();
            match dtype {
                Dtype::F32 => file.write(&values(0, 24)).unwrap(),
                _ => file.write(&values(0, 24).into_iter().map(f16::from_f32).collect::<Vec<_>>()).unwrap(),
            }
            file.finish().unwrap();
            let classes = 6 / inner;
            for (first, end) in [(0, classes), (0, 1), (1, 2), (2, classes), (1, classes)] {
                let logits = FileLogits::<f32>::open(&path, axis).unwrap();
                let mut shard = logits.columns(first..end).unwrap();
                assert_eq!(shard.shape().cols, end - first);
                for groups in [0..4, 1..3, 3..4, 2..2] {
                    let of_group = |group: usize| values(group * 6 + first * inner, (end - first) * inner);
                    let expected: Vec<f32> = groups.clone().flat_map(of_group).collect();
                    let mut found = vec![f32::NAN; expected.len()];
                    let rows = groups.start * inner..groups.end * inner;
                    shard.read_rows(rows.clone(), &mut found).unwrap();
                    assert_eq!(found, expected, "{dims:?} {dtype:?} {first}..{end} rows {rows:?}");
                }
            }
            for (first, end) in [(1, classes + 1), (classes, classes), (2, 1)] {
                let refused =
                    FileLogits::<f32>::open(&path, axis).unwrap().columns(Range { start: first, end });
                assert!(refused.unwrap_err().to_string().contains("cannot be taken"), "{first}..{end}");
            }
        }
    }
}

#[test]
fn integers_that_store_floats() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    for (descr, stored, taken) in [
        ("<u2", Dtype::Bf16, true),
        ("<i2", Dtype::F16, true),
        ("<f2", Dtype::F16, true),
        ("|V2", Dtype::Bf16, true),
        ("<f2", Dtype::Bf16, false),
        ("<u2", Dtype::F32, false),
        ("<u4", Dtype::Bf16, false),
    ] {
        let len = 2 * descr[2..].parse::<usize>().unwrap();
        std::fs::write(&path, npy(descr, "False", "(2,)", &vec![0; len])).unwrap();
        let opened = TensorFile::open(&path, &OpenOptions { stored: Some(stored), ..Default::default() });
        match opened {
            Ok(file) => assert!(taken && file.dtype() == Some(stored), "{descr} {stored:?}"),
            Err(error) => {
                assert!(
                    !taken && error.to_string().contains("does not store"),
                    "{descr} {stored:?}: {error}"
                );
            }
        }
    }
}

#[test]
fn bad_archives_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npz");
    let plain = npy("<f4", "False", "(1, 2)", &[0; 8]);
    let good = archive(&[("a.npy", &plain)], true);
    let mut encrypted = good.clone();
    let directory = encrypted.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
    encrypted[directory + 8] |= 1;
    let mut bzip2 = good.clone();
    (bzip2[8], bzip2[directory + 10]) = (12, 12);
    let key = |key: &str| OpenOptions { key: Some(key.to_owned()), ..Default::default() };
    let end = good.windows(4).rposition(|four| four == b"PK\x05\x06").unwrap();
    // A byte of the good archive, changed.
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    // An array in a good archive, whose header is not.
    let of = |descr: &str, fortran: &str, shape: &str, len: usize| {
        archive(&[("a.npy", &npy(descr, fortran, shape, &vec![0; len]))], true)
    };
    for (name, bytes, says) in [
        ("a start alone", good[..4].to_vec(), "archive not understood"),
        ("the first header alone", good[..30].to_vec(), "archive not understood"),
        ("no directory", good[..directory].to_vec(), "archive not understood"),
        ("half a directory", [&good[..directory + 20], &good[end..]].concat(), "archive not understood"),
        ("a directory at the end of the file", with(end + 19, 0x7f), "archive not understood"),
        ("a member beyond the file", with(directory + 44, 0x7f), "a.npz: "),
        ("a member that is none", with(0, b'Q'), "a.npz: "),
        ("a length of less", with(directory + 24, 9), "array \"a\": "),
        ("a length of more", with(directory + 26, 1), "array \"a\": "),
        ("nothing in it", archive(&[], false), "a zip archive"),
        ("an empty array", archive(&[("a.npy", b"")], false), "array \"a\": not a .npy file"),
        ("half a magic", archive(&[("a.npy", b"\x93NUM")], true), "array \"a\": not a .npy file"),
        ("no header", archive(&[("a.npy", b"\x93NUMPY\x01\x00\xff\x00")], true), "array \"a\": "),
        ("objects", of("|O", "False", "(1, 2)", 16), "a.npz: "),
        ("a length that overflows", of("<f4", "False", "(4294967295, 4294967295, 9)", 8), "array \"a\": "),
        ("a negative length", of("<f4", "False", "(-1, 2)", 8), "array \"a\": "),
        ("no order", of("<f4", "None", "(1, 2)", 8), "array \"a\": "),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let opened = TensorFile::open(&path, &OpenOptions::default());
        let opened = opened.and_then(|file| FileLogits::<f32>::new(file, -1).map(drop));
        let error = opened.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(says) && error.contains("a.npz"), "{name}: {error:?}");
    }
    for (name, bytes, options, says) in [
        ("cut", good[..good.len() - 5].to_vec(), OpenOptions::default(), "archive not understood"),
        ("encrypted", encrypted, OpenOptions::default(), "encrypted"),
        ("bzip2", bzip2, OpenOptions::default(), "only deflate is read"),
        ("no arrays", archive(&[("a.txt", b"1")], false), OpenOptions::default(), "a zip archive"),
        ("PyTorch's", archive(&[("x/data.pkl", b"1")], false), OpenOptions::default(), "torch.save"),
        (
            "no npy",
            archive(&[("a.npy", b"1")], false),
            OpenOptions::default(),
            "array \"a\": not a .npy file",
        ),
        (
            "two",
            archive(&[("a.npy", &plain), ("b.npy", &plain)], false),
            OpenOptions::default(),
            "2 arrays of floats of 2 or 3 axes; give the key of one: \"a\" ('<f4' (1, 2)), \"b\"",
        ),
        ("another key", good.clone(), key("b"), "no array \"b\"; it has \"a\""),
        (
            "too long",
            archive(&[("a.npy", &[&plain[..], &[0]].concat())], true),
            OpenOptions::default(),
            "too long",
        ),
        (
            "too short",
            archive(&[("a.npy", &plain[..plain.len() - 1])], true),
            OpenOptions::default(),
            "truncated",
        ),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error =
            TensorFile::open(&path, &options).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(says), "{name}: {error}");
    }
    std::fs::write(&path, good).unwrap();
    assert!(TensorFile::open(&path, &key("a.npy")).is_ok());
    let error =
        TensorFile::from_reader("a.npz", Cursor::new(std::fs::read(&path).unwrap()), &OpenOptions::default());
    assert!(error.is_err_and(|error| error.to_string().contains("not from a stream")));
    let error = TensorFile::from_reader("a.npy", Cursor::new(turned()), &OpenOptions::default());
    assert!(error.is_err_and(|error| error.to_string().contains("in Fortran order")));
}
