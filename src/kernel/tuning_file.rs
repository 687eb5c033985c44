//! Saves a tuning in a small JSON file, with the adapter that it was made for.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::device::Profile;
use crate::error::{Result, one_line};
use crate::kernel::tuning::Tuning;
use crate::whole_file::{WholeFile, file_error};

/// The format name in the file.
const FORMAT: &str = "xent tuning";
/// Increased when the contents of older files would be misread.
const VERSION: u32 = 1;
/// A tuning has a few hundred bytes. A file longer than this is not a tuning.
const MOST_BYTES: u64 = 64 << 10;

/// The result of [`Tuning::load`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SavedTuning {
    /// A tuning that was made for this adapter by this version.
    Fitting(Tuning),
    /// A tuning that does not apply here: it was made for another adapter, with another driver, or by another version
    /// of this crate, whose kernels differ.
    Ignored {
        /// Why it is ignored, in words: "made for llvmpipe …, not for …".
        why: String,
    },
}

/// The head of the file, the same in every version.
#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    #[serde(flatten)]
    head: Head,
    /// The version of this crate.
    xent: String,
    adapter: Adapter,
    tuning: Tuning,
}

/// The properties that distinguish adapters by speed.
#[derive(PartialEq, Serialize, Deserialize)]
struct Adapter {
    name: String,
    driver: String,
    backend: String,
}

impl Adapter {
    fn of(profile: &Profile) -> Self {
        Self {
            name: profile.name.clone(),
            driver: profile.driver.clone(),
            backend: profile.backend.to_string(),
        }
    }

    fn words(&self) -> String {
        let Self { name, driver, backend } = self;
        if driver.is_empty() {
            format!("{name} ({backend})")
        } else {
            format!("{name} ({backend}, {driver})")
        }
    }
}

impl Tuning {
    /// Writes the tuning with the adapter's name, driver and backend, and this crate's version. The file appears whole
    /// or not at all. With the feature `tuning-file`.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption) for a tuning that this device cannot run;
    /// [`Error::File`](crate::Error::File).
    pub fn save(&self, path: impl AsRef<Path>, profile: &Profile) -> Result<()> {
        self.check(profile)?;
        let path = path.as_ref();
        let saved = Saved {
            head: Head { format: FORMAT.to_owned(), version: VERSION },
            xent: env!("CARGO_PKG_VERSION").to_owned(),
            adapter: Adapter::of(profile),
            tuning: *self,
        };
        let text = serde_json::to_string_pretty(&saved).map_err(|error| file_error(path, error))?;
        let mut file = WholeFile::create(path, "tuning")?;
        file.write_bytes(text.as_bytes())?;
        file.write_bytes(b"\n")?;
        file.finish()
    }

    /// Reads a tuning that [`save`](Self::save) or `xent tune` wrote, for a device of this profile. With the feature
    /// `tuning-file`.
    ///
    /// ```no_run
    /// # #[cfg(feature = "tuning-file")] {
    /// use xent::{Context, SavedTuning, Softmax, Tuning};
    ///
    /// let gpu = Context::new().wait()?;
    /// let mut softmax = Softmax::<f32>::new(&gpu, &Default::default())?;
    /// match Tuning::load("tuning.json", &gpu.profile()?)? {
    ///     SavedTuning::Fitting(tuning) => softmax = softmax.with_tuning(tuning)?,
    ///     SavedTuning::Ignored { why } => eprintln!("tuning.json: ignored: {why}"),
    /// }
    /// # }
    /// # Ok::<(), xent::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) if the file cannot be read, is not a tuning, or has values that the device
    /// cannot run. A tuning for another adapter or version is not an error: see [`SavedTuning::Ignored`].
    pub fn load(path: impl AsRef<Path>, profile: &Profile) -> Result<SavedTuning> {
        let path = path.as_ref();
        // Opening a pipe would wait for its writer, so check first.
        let metadata = path.metadata().map_err(|error| file_error(path, error))?;
        if !metadata.is_file() {
            return Err(file_error(path, "not a tuning: it is not a regular file"));
        }
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text))
            .map_err(|error| file_error(path, error))?;
        if text.len() as u64 > MOST_BYTES {
            return Err(file_error(path, format!("not a tuning: longer than {MOST_BYTES} bytes")));
        }
        let refused = |why: serde_json::Error| file_error(path, format!("not a tuning: {why}"));
        let head: Head = serde_json::from_str(&text).map_err(refused)?;
        if head.format != FORMAT {
            return Err(file_error(
                path,
                format!("not a tuning: its format is '{}', not '{FORMAT}'", head.format),
            ));
        }
        let ignored = |why: String| Ok(SavedTuning::Ignored { why: one_line(&why) });
        if head.version != VERSION {
            return ignored(format!("version {} of its format, not {VERSION}", head.version));
        }
        /// The parts that must match before the tuning is parsed, because another version's tuning may have other
        /// fields.
        #[derive(Deserialize)]
        struct MadeFor {
            xent: String,
            adapter: Adapter,
        }
        let MadeFor { xent, adapter } = serde_json::from_str(&text).map_err(refused)?;
        if xent != env!("CARGO_PKG_VERSION") {
            return ignored(format!("made by xent {xent}, not {}", env!("CARGO_PKG_VERSION")));
        }
        let here = Adapter::of(profile);
        if adapter != here {
            return ignored(format!("made for {}, not for {}", adapter.words(), here.words()));
        }
        let Saved { tuning, .. } = serde_json::from_str(&text).map_err(refused)?;
        tuning.check(profile).map_err(|error| file_error(path, error))?;
        Ok(SavedTuning::Fitting(tuning))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::device::AdapterKind;
    use crate::error::Error;

    fn profile() -> Profile {
        let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Cpu, wgpu::Backend::Vulkan);
        let profile = Profile::new(&info, &wgpu::Limits::default(), wgpu::Features::empty());
        Profile { name: "a device".into(), driver: "a driver 1.2".into(), ..profile }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("tuning.json");
        let mut unlike = Tuning::fixed(32, 2).split(7, 4096);
        unlike.read[1].rows = 1;
        unlike.write[2].up_to_cols = 999;
        unlike.words_of_64 = false;
        // The second file replaces the first.
        for tuning in [Tuning::of(&profile()), unlike] {
            tuning.save(&path, &profile()).unwrap();
            assert_eq!(Tuning::load(&path, &profile()).unwrap(), SavedTuning::Fitting(tuning));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_was_made_for_something_else_is_ignored_and_says_so() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("tuning.json");
        Tuning::of(&profile()).save(&path, &profile()).unwrap();
        let here = profile();
        for (other, says) in [
            (
                Profile { name: "another".into(), ..here.clone() },
                "made for a device (vulkan, a driver 1.2), not for another (vulkan, a driver 1.2)",
            ),
            (
                Profile { driver: String::new(), ..here.clone() },
                "made for a device (vulkan, a driver 1.2), not for a device (vulkan)",
            ),
            (
                Profile { backend: wgpu::Backend::Gl, ..here.clone() },
                "made for a device (vulkan, a driver 1.2), not for a device (gl, a driver 1.2)",
            ),
        ] {
            assert_eq!(Tuning::load(&path, &other).unwrap(), SavedTuning::Ignored { why: says.into() });
        }
        // The kind is not compared: it follows from the adapter.
        let other = Profile { kind: AdapterKind::Other, ..here };
        assert!(matches!(Tuning::load(&path, &other).unwrap(), SavedTuning::Fitting(_)));
        let text = fs::read_to_string(&path).unwrap();
        let version = format!("\"xent\": \"{}\"", env!("CARGO_PKG_VERSION"));
        for (part, instead, says) in [
            ("\"version\": 1", "\"version\": 2", "version 2 of its format, not 1".to_owned()),
            (
                &*version,
                "\"xent\": \"0.0.9\"",
                format!("made by xent 0.0.9, not {}", env!("CARGO_PKG_VERSION")),
            ),
        ] {
            assert!(text.contains(part), "{part}: {text}");
            // Its fields may differ.
            fs::write(&path, text.replace(part, instead).replace("\"lanes\"", "\"invocations\"")).unwrap();
            assert_eq!(Tuning::load(&path, &profile()).unwrap(), SavedTuning::Ignored { why: says });
        }
    }

    #[test]
    fn what_is_no_tuning_is_an_error_that_names_the_file() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("tuning.json");
        let refused = |says: &str| match Tuning::load(&path, &profile()) {
            Err(Error::File { path: of, message }) => {
                assert_eq!(of, path.display().to_string());
                assert!(message.contains(says), "{says}: {message}");
            }
            other => panic!("{says}: {other:?}"),
        };
        refused("No such file");
        Tuning::fixed(8, 1).save(&path, &profile()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for (part, instead, says) in [
            (&*text, "", "EOF while parsing"),
            (&*text, "\u{93}NUMPY", "expected value at line 1"),
            (&*text, "[1, 2]", "not a tuning"),
            ("xent tuning", "xent bench", "its format is 'xent bench'"),
            ("\"lanes\"", "\"lane\"", "unknown field `lane`"),
            ("\"side_by_side\": 8", "\"side_by_side\": -1", "expected u32"),
            ("\"side_by_side\": 8", "\"side_by_side\": 3", "tuning.side_by_side = 3: must be a power of two"),
            ("\"side_by_side\": 8,", "", "missing field `side_by_side`"),
        ] {
            assert!(text.contains(part), "{part}: {text}");
            fs::write(&path, text.replace(part, instead)).unwrap();
            refused(says);
        }
        fs::write(&path, " ".repeat(1 << 20)).unwrap();
        refused("longer than 65536 bytes");
        fs::write(&path, [0xff, 0xfe]).unwrap();
        refused("valid UTF-8");
    }

    #[test]
    fn a_tuning_that_the_device_cannot_do_is_not_saved() {
        let folder = TempDir::new().unwrap();
        let refused = Tuning::fixed(3, 1).save(folder.path().join("tuning.json"), &profile());
        assert!(matches!(refused, Err(Error::InvalidOption { option: "tuning.lanes", .. })), "{refused:?}");
        let refused = Tuning::of(&profile()).save(folder.path().join("no/tuning.json"), &profile());
        assert!(matches!(refused, Err(Error::File { .. })), "{refused:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
