use std::path::Path;

use super::super::format::read_content;
use super::*;

/// A file of these numbers, whose tokens count up, and whose codes and scales follow from their place.
fn file([n_ctx, n_vocab, n_chunk]: [usize; 3]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    [n_ctx, n_vocab, n_chunk].iter().for_each(|&number| bytes.extend((number as i32).to_le_bytes()));
    (0..n_chunk * n_ctx).for_each(|token| bytes.extend(((token % n_vocab) as i32).to_le_bytes()));
    for row in 0..n_chunk * (n_ctx - 1 - n_ctx / 2) {
        bytes.extend((scale(row)).to_le_bytes());
        bytes.extend((-17.5f32).to_le_bytes());
        (0..n_vocab.next_multiple_of(2)).for_each(|class| bytes.extend(code(row, class).to_le_bytes()));
    }
    bytes
}

fn scale(row: usize) -> f32 {
    if row.is_multiple_of(2) { 16.0 / 65_535.0 } else { 3.0 / 65_535.0 }
}

fn code(row: usize, class: usize) -> u16 {
    if (row + class).is_multiple_of(3) { 0 } else { (row * 7919 + class * 1013) as u16 }
}

fn open(bytes: &[u8], options: &OpenOptions) -> Result<TensorFile> {
    TensorFile::from_bytes("x.kld", bytes.to_vec(), options)
}

#[test]
fn any_values_are_read() {
    for numbers in [[6, 5, 3], [9, 4, 2], [3, 1, 1]] {
        let bytes = file(numbers);
        let [n_ctx, cols, chunks] = numbers;
        let per_chunk = n_ctx - 1 - n_ctx / 2;
        let mut logits = open(&bytes, &OpenOptions::default()).unwrap();
        assert!(logits.is_llama_cpp());
        assert_eq!(logits.dims(), [chunks, per_chunk, cols]);
        let all: Vec<f32> = (0..chunks * per_chunk)
            .flat_map(|row| (0..cols).map(move |class| scale(row) * f32::from(code(row, class)) - 17.5))
            .collect();
        for start in 0..=all.len() {
            for end in start..=all.len() {
                let mut into = vec![f32::NAN; end - start];
                logits.read_at(start, bytemuck::cast_slice_mut(&mut into)).unwrap();
                assert_eq!(into, all[start..end], "{numbers:?} {start}..{end}");
            }
        }
        let mut targets = open(&bytes, &OpenOptions::of(Wanted::Classes)).unwrap();
        assert!(!targets.is_llama_cpp());
        assert_eq!(targets.dims(), [chunks, per_chunk]);
        let found = targets.read_all("targets", |_, bytes| Ok(i32::from_le_bytes(array(bytes)))).unwrap();
        // The positions are n_ctx/2 … n_ctx − 2, and the target of one is the token after it.
        let next =
            |chunk: usize| (n_ctx / 2..n_ctx - 1).map(move |at| ((chunk * n_ctx + at + 1) % cols) as i32);
        assert_eq!(found, (0..chunks).flat_map(next).collect::<Vec<_>>());
        let tokens = OpenOptions { key: Some(TOKENS.to_owned()), ..OpenOptions::default() };
        assert_eq!(open(&bytes, &tokens).unwrap().dims(), [chunks, n_ctx]);
        // As a stream, from front to back.
        let mut stream =
            TensorFile::from_reader("-", std::io::Cursor::new(bytes), &OpenOptions::default()).unwrap();
        let mut into = vec![f32::NAN; all.len()];
        for (row, into) in into.chunks_mut(cols).enumerate() {
            stream.read_at(row * cols, bytemuck::cast_slice_mut(into)).unwrap();
        }
        assert_eq!(into, all);
        let targets = stream.another(&OpenOptions::of(Wanted::Classes)).unwrap();
        assert_eq!(
            { targets }.read_all("targets", |_, bytes| Ok(i32::from_le_bytes(array(bytes)))).unwrap(),
            found
        );
        assert_eq!(different_token(&stream, &logits), Ok(None));
    }
    let early = file([6, 5, 3])[..50].to_vec();
    let why = TensorFile::from_reader("-", std::io::Cursor::new(early), &OpenOptions::default()).unwrap_err();
    assert!(why.to_string().contains("its header and tokens have 50 of 92 bytes"), "{why}");
}

#[test]
fn targets_at_the_floor_are_counted() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("x.kld");
    let numbers @ [n_ctx, cols, chunks] = [10, 7, 5];
    std::fs::write(&path, file(numbers)).unwrap();
    let per_chunk = n_ctx - 1 - n_ctx / 2;
    let is_floored = |&row: &usize| {
        let target = (row / per_chunk * n_ctx + n_ctx / 2 + row % per_chunk + 1) % cols;
        row.is_multiple_of(2) && code(row, target) == 0
    };
    let expected = (0..chunks * per_chunk).filter(is_floored).count();
    assert!(expected > 0);
    assert_eq!(floored_targets(&[&path]), Ok(expected));
    assert_eq!(floored_targets(&[&path, &path]), Ok(2 * expected), "shards");

    let other = folder.path().join("y.kld");
    let mut bytes = file(numbers);
    std::fs::write(&other, &bytes).unwrap();
    let differs = || {
        let [base, other] =
            [&path, &other].map(|path| TensorFile::open(path, &OpenOptions::default()).unwrap());
        different_token(&base, &other)
    };
    assert_eq!(differs(), Ok(None));
    bytes[HEADER_BYTES + 4 * (2 * n_ctx + 3)] ^= 1;
    std::fs::write(&other, &bytes).unwrap();
    let found = differs().unwrap().unwrap();
    assert_eq!((found.0, found.1, found.2[0] ^ 1), (2, 3, found.2[1]));
    std::fs::write(&other, file([n_ctx, cols, 1])).unwrap();
    assert!(differs().is_err());
}

#[test]
fn damaged_files_are_refused() {
    let numbers = [6, 5, 3];
    let whole = file(numbers);
    let with = |at: usize, number: i32| {
        let mut bytes = whole.clone();
        bytes[8 + 4 * at..][..4].copy_from_slice(&number.to_le_bytes());
        bytes
    };
    let ends = |len: usize| whole[..len].to_vec();
    let row_bytes = 8 + 2 * 6;
    let tokens = HEADER_BYTES + 4 * 6 * 3;
    for (case, bytes, says) in [
        ("no header", ends(8), "truncated: llama.cpp's header of 20 bytes"),
        ("half a header", ends(13), "truncated: llama.cpp's header of 20 bytes"),
        ("a byte of the header missing", ends(19), "truncated: llama.cpp's header of 20 bytes"),
        ("no tokens", ends(20), "it ends early, with 0 of 3 chunks"),
        ("half the tokens", ends(50), "it ends early, with 0 of 3 chunks"),
        ("no rows", ends(tokens), "it ends early, with 0 of 3 chunks"),
        ("a row", ends(tokens + row_bytes), "it ends early, with 0 of 3 chunks"),
        ("a chunk", ends(tokens + 2 * row_bytes), "it ends early, with 1 of 3 chunks"),
        ("two chunks and a half", ends(tokens + 5 * row_bytes), "it ends early, with 2 of 3 chunks"),
        ("the pad missing", ends(whole.len() - 2), "it ends early, with 2 of 3 chunks"),
        ("a byte missing", ends(whole.len() - 1), "it ends early, with 2 of 3 chunks"),
        ("a byte too many", [&whole[..], &[0]].concat(), "too long: 3 chunks of 2 rows of 5 need"),
        ("a row too many", [&whole[..], &[0; 20]].concat(), "too long"),
        ("no context", with(0, 0), "n_ctx = 0; it must be at least 3"),
        ("a context without rows", with(0, 2), "n_ctx = 2; it must be at least 3"),
        ("a negative context", with(0, -512), "n_ctx = -512; it must be at least 3"),
        ("a longer context", with(0, 8), "it ends early"),
        ("a shorter context", with(0, 4), "too long"),
        ("no vocabulary", with(1, 0), "n_vocab = 0; it must be at least 1"),
        ("a negative vocabulary", with(1, i32::MIN), "n_vocab = -2147483648"),
        ("a larger vocabulary", with(1, 7), "it ends early"),
        ("a smaller vocabulary", with(1, 4), "too long"),
        ("no chunks", with(2, 0), "n_chunk = 0; it must be at least 1"),
        ("negative chunks", with(2, -1), "n_chunk = -1; it must be at least 1"),
        ("a chunk more", with(2, 4), "it ends early, with 2 of 4 chunks"),
        ("a chunk less", with(2, 2), "too long"),
        ("very many chunks", with(2, i32::MAX), "it ends early"),
    ] {
        for options in [OpenOptions::default(), OpenOptions::of(Wanted::Classes)] {
            let why = open(&bytes, &options).unwrap_err().to_string();
            assert!(why.contains(says), "{case}: {why}");
        }
    }
    let mut huge = MAGIC.to_vec();
    (0..3).for_each(|_| huge.extend(i32::MAX.to_le_bytes()));
    let why = open(&huge, &OpenOptions::default()).unwrap_err().to_string();
    assert!(why.contains("are larger than memory can be"), "{why}");
    let named = OpenOptions { key: Some("logits".to_owned()), ..OpenOptions::default() };
    let why = open(&whole, &named).unwrap_err().to_string();
    assert!(why.contains("have no names but \"tokens\""), "{why}");
    let mut bytes = whole.clone();
    bytes[tokens - 4..tokens].copy_from_slice(&5i32.to_le_bytes());
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("x.kld");
    std::fs::write(&path, bytes).unwrap();
    let why = floored_targets(&[path]).unwrap_err().to_string();
    assert!(why.contains("targets[2, 1] = 5 is outside 0..5"), "{why}");
}

/// As a part of a fuzzing of headers: what is accepted is consistent.
pub(in super::super) fn check_content(mutant: &[u8], options: &OpenOptions) -> Result<(), String> {
    let length = Some(mutant.len() as u64);
    let (content, _) = read_content(&mut &mutant[..], Path::new("x"), length, options)?;
    let Content { dtype, dims, order, data, end, .. } = content;
    assert_eq!(Some(end), length);
    assert!(data.start <= data.end && data.end <= end);
    let values: usize = dims.iter().product();
    let records = order.records.map_or(0, |records| values.div_ceil(records.values) * records.bytes);
    let needed = if order.records.is_some() { records } else { values * dtype.map_or(0, Dtype::bytes) };
    assert_eq!((data.end - data.start) as usize, needed);
    Ok(())
}

pub(in super::super) fn seeds() -> Vec<Vec<u8>> {
    [[6, 5, 3], [9, 4, 2], [3, 1, 1], [4, 2, 1]].map(file).to_vec()
}
