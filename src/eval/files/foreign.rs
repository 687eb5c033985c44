//! Files of other formats that people have: what they are, and how they become one that is read.

use std::path::Path;

/// How a format begins.
struct Foreign {
    /// Its first bytes.
    starts: &'static [u8],
    /// The ending of its names, for a format whose first bytes are not its own.
    ending: Option<&'static str>,
    /// What it is, and what to do.
    told: &'static str,
}

const fn starting(starts: &'static [u8], told: &'static str) -> Foreign {
    Foreign { starts, ending: None, told }
}

pub(super) const TORCH: &str = "a file of torch.save: convert it in Python with \
     `from safetensors.torch import save_file; save_file({\"logits\": torch.load(\"x.pt\")}, \"x.safetensors\")`";
pub(super) const ARCHIVE: &str =
    "a zip archive: of these, only .npz files with .npy members are read, and not from a stream. Unpack it";
const MODEL: &str = "it holds the weights of a model, not logits: run the model, and save its logits with \
     `numpy.save(\"x.npy\", logits)`";

static FOREIGN: [Foreign; 15] = [
    Foreign { starts: b"PK", ending: Some("pt"), told: TORCH },
    Foreign { starts: b"PK", ending: Some("pth"), told: TORCH },
    Foreign { starts: b"PK", ending: Some("bin"), told: TORCH },
    starting(b"PK\x03\x04", ARCHIVE),
    // An archive with nothing in it.
    starting(b"PK\x05\x06", ARCHIVE),
    starting(
        b"\x1f\x8b",
        "compressed with gzip: unpack it with `gunzip -k`, or give `gunzip -c FILE |` as stdin",
    ),
    starting(
        b"\x28\xb5\x2f\xfd",
        "compressed with zstd: unpack it with `unzstd`, or give `zstdcat FILE |` as stdin",
    ),
    starting(b"\x80\x02", PICKLE),
    starting(b"\x80\x03", PICKLE),
    starting(b"\x80\x04", PICKLE),
    starting(b"\x80\x05", PICKLE),
    starting(b"GGUF", MODEL),
    Foreign { starts: b"", ending: Some("onnx"), told: MODEL },
    starting(
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file: convert it in Python with `numpy.save(\"x.npy\", h5py.File(\"x.h5\")[\"logits\"][:])`",
    ),
    starting(
        b"PAR1",
        "a Parquet file: convert it in Python with `numpy.save(\"x.npy\", pandas.read_parquet(\"x.parquet\").to_numpy())`",
    ),
];

const PICKLE: &str = "a Python pickle: convert it in Python with `numpy.save(\"x.npy\", pickle.load(open(\"x.pkl\", \"rb\")))`, \
     or torch.load if torch wrote it";

/// Whether PyTorch wrote a file that begins with these bytes, by its name.
#[cfg(feature = "npz")]
pub(super) fn is_torch(start: &[u8], name: &Path) -> bool {
    known(start, name).is_some_and(|known| known.told == TORCH)
}

/// Whether a file that begins with these bytes, or has this name, is of such a format.
pub(super) fn is_known(start: &[u8], name: &Path) -> bool {
    known(start, name).is_some()
}

fn known(start: &[u8], name: &Path) -> Option<&'static Foreign> {
    let ending = name.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    let has = |needed: &str| ending.as_deref() == Some(needed);
    let is = |foreign: &&Foreign| start.starts_with(foreign.starts) && foreign.ending.is_none_or(has);
    FOREIGN.iter().find(is)
}

/// Says what a file is that begins with these bytes, and what to do with it.
pub(super) fn told(start: &[u8], name: &Path) -> String {
    if let Some(known) = known(start, name) {
        return known.told.to_owned();
    }
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    if start.len() > 3 && start.iter().all(is_text) {
        return "text, and numbers are not read from text: convert it in Python with \
                `numpy.save(\"x.npy\", numpy.loadtxt(\"x.csv\", delimiter=\",\"))`"
            .to_owned();
    }
    "neither .npy nor .safetensors; for raw values, type and cols must be given".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_files_are_told() {
        for (start, name, says) in [
            (&b"PK\x03\x04abcdefgh"[..], "x.pt", "torch.save"),
            (b"PK\x03\x04abcdefgh", "x.zip", "a zip archive"),
            (b"\x1f\x8b\x08abcdefghi", "x.npy.gz", "gunzip"),
            (b"\x28\xb5\x2f\xfdabcdefgh", "x.npy.zst", "unzstd"),
            (b"\x80\x04\x95abcdefghi", "x", "a Python pickle"),
            (b"GGUF\x03abcdefg", "model", "weights of a model"),
            (b"\x08\x07\x12abcdefghi", "m.onnx", "weights of a model"),
            (b"\x89HDF\r\n\x1a\nabcd", "x.h5", "HDF5"),
            (b"PAR1abcdefgh", "x.parquet", "Parquet"),
            (b"1.0,2.0,3.0\n", "x.csv", "numpy.loadtxt"),
            (b"\x00\x01\x02\x03", "x", "neither .npy nor .safetensors"),
            (b"", "x", "neither .npy nor .safetensors"),
        ] {
            let why = told(start, Path::new(name));
            assert!(why.contains(says), "{name}: {why}");
        }
    }
}
