//! Files to run the tool on, and what it answered.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use bytemuck::Pod;
use tempfile::TempDir;
use xent::half::{bf16, f16};
use xent::{AdapterChoice, Context};

/// A type that the tests write into a file and read from it.
pub trait Value: Pod {
    /// In a `.npy` file.
    const DESCR: &'static str;
    /// In a `.safetensors` file.
    const TENSOR: &'static str;
}

macro_rules! values {
    ($($type:ty: $descr:literal $tensor:literal),*) => {
        $(impl Value for $type {
            const DESCR: &'static str = $descr;
            const TENSOR: &'static str = $tensor;
        })*
    };
}

values!(f16: "<f2" "F16", bf16: "none" "BF16", f32: "<f4" "F32", f64: "<f8" "F64", i8: "|i1" "I8", u8: "|u1" "U8",
    i16: "<i2" "I16", u16: "<u2" "U16", i32: "<i4" "I32", u32: "<u4" "U32", i64: "<i8" "I64", u64: "<u8" "U64");

/// A folder of its own, in which the tool runs.
pub struct Folder(TempDir);

/// What a run of the tool left.
#[derive(Debug)]
pub struct Run {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// In memory, where there is such a place: what is brought to the disk again and again takes no time there.
    #[cfg(target_os = "linux")]
    pub fn in_memory() -> Self {
        TempDir::new_in("/dev/shm").map_or_else(|_| Self::new(), Self)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path(name), bytes).unwrap();
        self
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// An array of these axes.
    pub fn array<T: Value>(&self, name: &str, dims: &[usize], values: &[T]) -> &Self {
        assert_eq!(dims.iter().product::<usize>(), values.len(), "{name}");
        self.write(name, npy(T::DESCR, &shape_text(dims), bytemuck::cast_slice(values)))
    }

    /// A `.safetensors` file of these tensors.
    pub fn tensors(&self, name: &str, tensors: &[Tensor]) -> &Self {
        self.write(name, safetensors(tensors))
    }

    /// The only tensor of a `.safetensors` file: its name, its axes and its values.
    pub fn tensor_of<T: Value>(&self, name: &str) -> (String, Vec<usize>, Vec<T>) {
        let bytes = self.read(name);
        let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert!(start.is_multiple_of(8), "{name}: values are aligned");
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..start]).unwrap();
        let (key, tensor) = header.as_object().unwrap().iter().next().unwrap();
        assert_eq!((header.as_object().unwrap().len(), &tensor["dtype"]), (1, &T::TENSOR.into()), "{name}");
        assert_eq!(tensor["data_offsets"], serde_json::json!([0, bytes.len() - start]), "{name}");
        let dims = tensor["shape"].as_array().unwrap().iter().map(|len| len.as_u64().unwrap() as usize);
        let values = bytes[start..].chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned);
        (key.clone(), dims.collect(), values.collect())
    }

    /// Logits (rows, cols) as `logits.npy`, f32.
    pub fn logits(&self, logits: &[f32], cols: usize) -> &Self {
        self.array("logits.npy", &[logits.len() / cols, cols], logits)
    }

    /// Targets (rows,) as `targets.npy`, i64.
    pub fn targets(&self, targets: &[i64]) -> &Self {
        self.array("targets.npy", &[targets.len()], targets)
    }

    /// The names of all files, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The tool, run in this folder with these arguments, separated by spaces.
    pub fn run(&self, args: &str) -> Run {
        run(self.command(args))
    }

    pub fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xent"));
        command.args(args.split_whitespace()).current_dir(self.0.path()).env_remove("RUST_LOG");
        // Small inputs would be computed without an adapter.
        if std::env::var("XENT_ADAPTER").is_ok_and(|name| !name.is_empty()) {
            return command;
        }
        static NAME: OnceLock<Option<String>> = OnceLock::new();
        let name = || Some(Context::new().wait().ok()?.profile().ok()?.name);
        command.envs(NAME.get_or_init(name).as_ref().map(|name| ("XENT_ADAPTER", name)));
        command
    }

    /// A file that begins with these bytes; behind them are so many zeros, which take no room on the disk.
    #[cfg(target_os = "linux")]
    pub fn zeros(&self, name: &str, head: &[u8], zeros: usize) -> &Self {
        self.write(name, head);
        let file = std::fs::File::options().write(true).open(self.path(name)).unwrap();
        file.set_len((head.len() + zeros) as u64).unwrap();
        self
    }

    /// `xent eval logits.npy --targets targets.npy --json` with more arguments.
    pub fn eval(&self, args: &str) -> serde_json::Value {
        let run = self.run(&format!("eval logits.npy --targets targets.npy --json {args}"));
        assert_eq!(run.status, Some(0), "{args}: {run:?}");
        serde_json::from_str(&run.stdout).unwrap()
    }

    /// The f32 values of a `.npy` file, and the shape that its header has.
    pub fn values(&self, name: &str) -> (String, Vec<f32>) {
        self.values_of(name)
    }

    /// The same of another type.
    pub fn values_of<T: Value>(&self, name: &str) -> (String, Vec<T>) {
        let bytes = self.read(name);
        assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"), "{name}");
        let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = String::from_utf8(bytes[10..start].to_vec()).unwrap();
        let descr = format!("'descr': '{}'", T::DESCR);
        assert!(header.contains(&descr) && header.contains("'fortran_order': False"), "{name}: {header}");
        let shape = header.split("'shape': ").nth(1).unwrap().split(')').next().unwrap();
        let values = bytes[start..].chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned);
        (format!("{})", shape.trim_end_matches([' ', ','])), values.collect())
    }
}

/// A shape as [`Folder::values`] gives it: `(5)`, `(2, 5)`.
pub fn shape_of(dims: &[usize]) -> String {
    format!("({})", dims.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
}

/// A shape as Python writes it: `(5,)`, `(2, 5)`.
pub fn shape_text(dims: &[usize]) -> String {
    match dims {
        [only] => format!("({only},)"),
        _ => shape_of(dims),
    }
}

pub fn run(mut command: Command) -> Run {
    finished(command.stdin(Stdio::null()).output().unwrap())
}

/// Without Vulkan's and EGL's drivers no adapter is found: the reference computes, and nothing is compiled.
#[cfg(target_os = "linux")]
pub fn without_adapters(mut command: Command) -> Command {
    command.env_remove("XENT_ADAPTER").env_remove("VK_ADD_DRIVER_FILES");
    for variable in
        ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "__EGL_VENDOR_LIBRARY_FILENAMES", "LIBGL_DRIVERS_PATH"]
    {
        command.env(variable, "/nonexistent");
    }
    command
}

/// Waits for a process to end, and for so long at most: the status, where it ended by itself.
pub fn ended_within(child: &mut std::process::Child, limit: std::time::Duration) -> Option<i32> {
    let start = std::time::Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("it had not ended after {limit:?}");
}

/// The same with this on stdin.
pub fn run_with_stdin(mut command: Command, bytes: &[u8]) -> Run {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A tool that has refused what came reads no more of it.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), bytes);
    finished(child.wait_with_output().unwrap())
}

fn finished(output: std::process::Output) -> Run {
    Run {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Run {
    /// What the tool itself said on stderr; drivers may talk there too.
    pub fn complaints(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("xent: ")).collect()
    }
}

/// A `.npy` file, version 1.0, as NumPy writes it.
pub fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    npy_of(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"), data)
}

/// The same with any header.
pub fn npy_of(header: &str, data: &[u8]) -> Vec<u8> {
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((padded as u16).to_le_bytes());
    bytes.extend(format!("{header:<width$}\n", width = padded - 1).into_bytes());
    bytes.extend(data);
    bytes
}

/// A tensor of a file: its name, its type as the file writes it, its axes and its values.
pub struct Tensor {
    name: String,
    dtype: &'static str,
    dims: Vec<usize>,
    data: Vec<u8>,
}

/// A tensor to be written.
pub fn tensor<T: Value>(name: &str, dims: &[usize], values: &[T]) -> Tensor {
    assert_eq!(dims.iter().product::<usize>(), values.len(), "{name}");
    let data = bytemuck::cast_slice(values).to_vec();
    Tensor { name: name.to_owned(), dtype: T::TENSOR, dims: dims.to_vec(), data }
}

/// A `.safetensors` file, as its own library writes it.
pub fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for Tensor { name, dtype, dims, data: values } in tensors {
        let start = data.len();
        data.extend(values);
        let offsets = [start, data.len()];
        let info = serde_json::json!({ "dtype": dtype, "shape": dims, "data_offsets": offsets });
        header.insert(name.clone(), info);
    }
    safetensors_of(&serde_json::to_string(&header).unwrap(), &data)
}

/// The same with any header.
pub fn safetensors_of(header: &str, data: &[u8]) -> Vec<u8> {
    let padded = header.len().next_multiple_of(8);
    let mut bytes = [&(padded as u64).to_le_bytes()[..], header.as_bytes()].concat();
    bytes.resize(8 + padded, b' ');
    bytes.extend(data);
    bytes
}

/// The adapter that the tool takes too.
pub fn gpu() -> Context {
    let name = std::env::var("XENT_ADAPTER").ok().filter(|name| !name.is_empty());
    Context::open(&AdapterChoice { name, ..Default::default() }).wait().unwrap()
}

/// Logits that differ, and are the same in every run.
pub fn logits(len: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..len).map(|_| 16.0 * next() - 8.0).collect()
}
