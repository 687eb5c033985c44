//! The error type of the crate. Every message carries the numbers needed to correct the call.

use std::fmt;
use std::time::Duration;

use crate::inputs::NegativesKind;
use crate::target_kind::TargetKind;

/// What can go wrong. The crate returns these errors instead of panicking: for bad shapes, options and buffers, and for
/// whatever the device reports.
///
/// `Debug` prints the same text as `Display`, because a `main` that returns a `Result` prints `Debug`.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter of the wanted kind was found.
    #[error("no adapter {}; found {}\n{}", one_line(.wanted), one_line(&list(.found)), ADAPTER_HELP)]
    NoAdapter {
        /// What was asked for, in words: "of any kind", "named 'nvidia'", ...
        wanted: String,
        /// The adapters that were found, by name and backend.
        found: Vec<String>,
    },
    /// The adapter could not open a device.
    #[error("adapter '{}' could not open a device: {message}", one_line(.adapter))]
    RequestDevice {
        /// The adapter's name.
        adapter: String,
        /// What wgpu said.
        message: String,
    },
    /// A limit of the device is below WebGPU's default. Every operation fits within WebGPU's default limits.
    #[error("this device allows {available} {limit}; {needed} are needed (the WebGPU default)")]
    DeviceLimit {
        /// Which limit.
        limit: &'static str,
        /// What is needed.
        needed: u64,
        /// What the device allows.
        available: u64,
    },

    /// The shape has no classes: a softmax over no classes has no meaning.
    #[error("shape of {rows} rows × 0 cols: a row needs at least one class")]
    NoCols {
        /// Rows of the shape.
        rows: usize,
    },
    /// The row stride is smaller than the row.
    #[error("row_stride {row_stride} is smaller than the {needed} values of a row")]
    RowStride {
        /// The stride given, in values.
        row_stride: usize,
        /// The smallest possible stride, in values.
        needed: usize,
    },
    /// The shape's length does not fit into this machine's `usize`.
    #[error("shape of {rows} rows × {cols} cols with row_stride {row_stride} overflows the address space")]
    ShapeOverflow {
        /// Rows of the shape.
        rows: usize,
        /// Classes of the shape.
        cols: usize,
        /// Values from the start of one row to the start of the next.
        row_stride: usize,
    },
    /// The rows do not fill whole groups. When the class axis is not last, `inner` rows lie side by side as a group.
    #[error("{rows} rows are not a multiple of {inner}, the rows that lie side by side in a group")]
    Layout {
        /// Rows of the shape.
        rows: usize,
        /// Values from one class to the next, which is also the number of rows side by side.
        inner: usize,
    },
    /// The array does not have this axis.
    #[error("class axis {axis} is out of range: the array has {axes} axes")]
    ClassAxis {
        /// The axis asked for.
        axis: isize,
        /// Axes of the array.
        axes: usize,
    },
    /// No [`Shape`](crate::Shape) describes an array with these strides.
    #[error(
        "the kernels cannot read an array of shape {dims:?} with strides {strides:?} and its classes along axis \
         {class_axis}: copy it first (ndarray: `as_standard_layout()`), or use `eval`, which copies rows as it reads \
         them"
    )]
    Strides {
        /// The lengths of the array's axes.
        dims: Vec<usize>,
        /// Values from one index to the next along each axis.
        strides: Vec<isize>,
        /// The class axis asked for.
        class_axis: isize,
    },
    /// The values of a view do not lie side by side: it is a part of a larger array.
    #[error(
        "a view of shape {dims:?} with strides {strides:?} has values of another array between its own: use \
         `from_ndarray_part` and pass the whole array too"
    )]
    Gaps {
        /// The lengths of the view's axes.
        dims: Vec<usize>,
        /// Values from one index to the next along each axis.
        strides: Vec<isize>,
    },
    /// A view is not a part of the array that was passed with it.
    #[error("the view of shape {dims:?} with strides {strides:?} is not a part of the array passed with it")]
    NotAPart {
        /// The lengths of the view's axes.
        dims: Vec<usize>,
        /// Values from one index to the next along each axis.
        strides: Vec<isize>,
    },
    /// Output rows of 16-bit values begin in the middle of a 32-bit word, so two rows would share that word.
    #[error(
        "`{what}`: 16-bit rows {row_stride} values apart share words: use a row stride of {needed}, or write f32"
    )]
    OddStride {
        /// Which buffer.
        what: &'static str,
        /// The row stride, in values.
        row_stride: usize,
        /// The next larger row stride that works, in values.
        needed: usize,
    },
    /// Output rows of 16-bit values lie side by side and share 32-bit words, so no row can write its own.
    #[error("`{what}`: 16-bit values of {inner} rows side by side share words: write f32")]
    PackedLayout {
        /// Which buffer.
        what: &'static str,
        /// Values from one class to the next.
        inner: usize,
    },
    /// The length of a slice does not match the shape.
    #[error("{what} holds {found} values; the shape needs {needed}")]
    Length {
        /// Which argument.
        what: &'static str,
        /// Values found.
        found: usize,
        /// Values needed.
        needed: usize,
    },
    /// The state of a run is of other rows than the run that is to continue from it.
    #[error("the state is of rows from {found} on; the run begins at row {needed}")]
    OtherRows {
        /// The first row of the state.
        found: usize,
        /// The first row of the run.
        needed: usize,
    },
    /// One row is larger than the device's largest binding, or than one workgroup can process.
    #[error("one row of {cols} cols is {bytes} bytes; this device allows at most {limit}")]
    RowTooLarge {
        /// Classes of a row.
        cols: usize,
        /// Bytes of a row.
        bytes: u64,
        /// Bytes of the largest possible row.
        limit: u64,
    },
    /// A group of rows side by side is larger than the device's largest binding. Such a group needs a single binding.
    #[error("{inner} rows of {cols} cols side by side are {bytes} bytes; this device allows at most {limit}")]
    GroupTooLarge {
        /// Classes of a row.
        cols: usize,
        /// Rows side by side.
        inner: usize,
        /// Bytes of the group.
        bytes: u64,
        /// Bytes of the largest possible group.
        limit: u64,
    },
    /// The scratch memory of the rows does not fit into one binding: bind fewer rows at a time.
    #[error(
        "{rows} rows bound at once; this device allows {limit}: bind fewer rows and encode several times"
    )]
    TooManyRows {
        /// Rows asked for.
        rows: usize,
        /// The most rows that can be bound.
        limit: usize,
    },
    /// A bound operation was asked to encode more rows than it was bound for.
    #[error("asked to encode {rows} rows, but the operation was bound for {bound}")]
    RowsExceedBound {
        /// Rows asked for.
        rows: usize,
        /// Rows bound.
        bound: usize,
    },

    /// The batch's rows are not a multiple of a mask's rows, or of the queries of a causal sequence.
    #[error("{what}: {rows} rows are not a multiple of {mask_rows} rows, each used {repeat} times")]
    MaskRows {
        /// Which mask.
        what: &'static str,
        /// Rows of the batch.
        rows: usize,
        /// Rows of the mask.
        mask_rows: usize,
        /// How many consecutive rows of the batch use the same row of the mask.
        repeat: usize,
    },
    /// A mask is larger than the device's largest binding.
    #[error("{what} is {bytes} bytes; this device allows at most {limit}")]
    MaskTooLarge {
        /// Which mask.
        what: &'static str,
        /// Bytes of the mask on the device.
        bytes: u64,
        /// Bytes of the largest possible mask.
        limit: u64,
    },
    /// The class axis is not last, and this operation needs it last.
    #[error("{inner} rows side by side: this operation needs the class axis last")]
    ClassAxisNotLast {
        /// Values from one class to the next.
        inner: usize,
    },
    /// The similarities of pairs are not a dense square matrix.
    #[error(
        "{rows} rows × {cols} cols with row_stride {row_stride}: the similarities of pairs are a square matrix, dense"
    )]
    NotSquare {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
        /// Values from one row to the next.
        row_stride: usize,
    },

    /// The processor path does not have this form: see [`cpu`](crate::cpu).
    #[cfg(feature = "cpu")]
    #[error("the processor path has no {form}: use a GPU operation, or the f64 reference")]
    NoProcessorForm {
        /// What was asked for, in words.
        form: &'static str,
    },

    /// A target names no class and is not `ignore_index`.
    #[error("targets[{row}] = {target} is outside 0..{cols} and is not ignore_index")]
    TargetOutOfRange {
        /// The first row with such a target.
        row: usize,
        /// Its target, as it was given.
        target: i128,
        /// Classes.
        cols: usize,
    },
    /// The targets are not of the kind that the loss takes, or that the stream was made for.
    #[error("{given:?} given, where targets are {made_for:?}")]
    TargetKind {
        /// The kind given.
        given: TargetKind,
        /// The kind that the loss or the stream takes.
        made_for: TargetKind,
    },
    /// The negatives are shared where each row has its own, or the other way round.
    #[error("negatives {given:?} given, where the stream takes {made_for:?}")]
    NegativesKind {
        /// The kind given.
        given: NegativesKind,
        /// The kind that the stream takes.
        made_for: NegativesKind,
    },
    /// A target's probability is NaN or infinite.
    #[error("targets[{row}, {at}] = {value} is not a finite number")]
    InvalidTarget {
        /// The first row with such a target.
        row: usize,
        /// The class of the row, or the position among its sparse entries.
        at: usize,
        /// The value given.
        value: f32,
    },
    /// An option or a weight has a value outside its range, or cannot be combined with another.
    #[error("option {option}{} = {}: must be {needed}", .at.map(|at| format!("[{at}]")).unwrap_or_default(), number(*.value))]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// The index into the slice, for an option that is a slice.
        at: Option<usize>,
        /// The value given.
        value: f64,
        /// What is allowed, in words.
        needed: &'static str,
    },

    /// More classes of a row were asked for than a row has.
    #[error("option k = {k}: a row has only {cols} class{}", if *.cols == 1 { "" } else { "es" })]
    TooFewClasses {
        /// The number of classes asked for.
        k: usize,
        /// The number of classes.
        cols: usize,
    },

    /// No row counts, and [`EmptyBatch::Error`](crate::EmptyBatch::Error) was asked for.
    #[error("none of {rows} rows counts: each is ignored, masked, or has a row weight or class weight of 0")]
    NoRowCounts {
        /// Rows of the batch.
        rows: usize,
    },

    /// The memory allowed cannot hold even one row in flight, or one group of rows side by side.
    #[error(
        "{allowed} bytes of memory allowed; the smallest windows, {inner} × {cols} values, need {needed} bytes"
    )]
    MemoryTooSmall {
        /// Bytes allowed.
        allowed: u64,
        /// Bytes needed, on host and device together.
        needed: u64,
        /// Classes of a row.
        cols: usize,
        /// Rows side by side.
        inner: usize,
    },

    /// A bound buffer, or the part of it that is bound, is too small.
    #[error("buffer `{what}`: {found} bytes bound, {needed} needed")]
    BufferTooSmall {
        /// Which buffer.
        what: &'static str,
        /// Bytes bound.
        found: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// The offset of a bound buffer is not a multiple of the alignment that this device needs.
    #[error("buffer `{what}`: offset {offset} is not a multiple of {alignment}")]
    BufferOffset {
        /// Which buffer.
        what: &'static str,
        /// The offset in bytes.
        offset: u64,
        /// The alignment that this device needs, in bytes.
        alignment: u64,
    },
    /// A bound buffer was created without a usage that this binding needs.
    #[error("buffer `{what}` was created without {needed}")]
    BufferUsage {
        /// Which buffer.
        what: &'static str,
        /// The missing usage.
        needed: &'static str,
    },
    /// Two bindings use the same buffer, and at least one of them is written. wgpu does not allow that even for
    /// disjoint ranges.
    #[error("`{first}` and `{second}` are the same buffer and one of them is written: use two buffers")]
    BufferAlias {
        /// The first of the two.
        first: &'static str,
        /// The second.
        second: &'static str,
    },
    /// A buffer belongs to a different device than the operation. This can't be detected for buffers from another
    /// `wgpu::Instance`.
    #[error("a buffer belongs to a different device than the operation")]
    OtherDevice,
    /// No output was asked for, or a stream has none of this type.
    #[error("no output: one of {options} is needed")]
    NoOutput {
        /// What gives an output. At least one is needed.
        options: &'static str,
    },

    /// The device ran out of memory.
    #[error("out of memory: {what}: {message}")]
    OutOfMemory {
        /// What was being made.
        what: String,
        /// What wgpu said.
        message: String,
    },
    /// wgpu refused a call.
    #[error("wgpu refused {what}: {message}")]
    Validation {
        /// What was being made.
        what: String,
        /// What wgpu said.
        message: String,
    },
    /// The driver failed.
    #[error("the device failed: {what}: {message}")]
    Device {
        /// What was being done.
        what: String,
        /// What wgpu said.
        message: String,
    },
    /// The device is lost: it was destroyed, or its driver was reset or updated. Nothing on it works any more: open a
    /// new [`Context`](crate::Context) and build the operations again.
    #[error("the device was lost ({what}: {message}): open a new context and build the operations again")]
    DeviceLost {
        /// What was being done.
        what: String,
        /// What wgpu said.
        message: String,
    },
    /// The device did not finish within the time allowed.
    #[error("the device did not finish within {:.3} s", .after.as_secs_f64())]
    Timeout {
        /// The time allowed.
        after: Duration,
    },

    /// The system could not start a thread. Most often memory is short, or the process has reached its thread limit.
    #[error("could not start a thread for {what}: {message}")]
    NoThread {
        /// The thread's task.
        what: &'static str,
        /// What the system said.
        message: String,
    },
    /// An earlier push into this stream failed, timed out or was dropped halfway, so the stream's contents are unknown.
    #[error("the stream ended when an earlier push failed or was dropped: make a new stream")]
    StreamEnded,
    /// The caller's own callback stopped the run.
    #[error("stopped")]
    Stopped,

    /// A file could not be read or written, or its contents are not as expected. File names and contents are untrusted:
    /// characters that control a terminal are shown as `?`.
    #[error("{}: {}", one_line(.path), one_line(.message))]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        message: String,
    },
}

impl Error {
    /// An option with a single value, which is outside its range.
    pub(crate) fn option(option: &'static str, value: impl Into<f64>, needed: &'static str) -> Self {
        Self::InvalidOption { option, at: None, value: value.into(), needed }
    }

    /// Says which value of a slice an invalid option is.
    pub(crate) fn at_index(self, index: usize) -> Self {
        match self {
            Self::InvalidOption { option, value, needed, .. } => {
                Self::InvalidOption { option, at: Some(index), value, needed }
            }
            other => other,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whether a character only shows on a terminal. Control characters, line ends and characters that change the text
/// direction do not, nor do spaces without a width and other characters that cannot be seen.
#[doc(hidden)]
pub fn is_safe(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    let ends = matches!(c, '\u{2028}' | '\u{2029}');
    let is_unseen = matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}');
    !c.is_control() && !turns && !ends && !is_unseen
}

/// Untrusted text, made safe for a message of one line.
pub(crate) fn one_line(text: &str) -> String {
    escaped(text, |_| false)
}

/// Untrusted text as a terminal may show it: characters that do more than show are written as Rust writes them, `\n` or
/// `\u{1b}`. `is_kept` names those that stay as they are.
#[doc(hidden)]
pub fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_safe(c) || is_kept(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    shown
}

/// A number in readable form: very large and very small ones in scientific notation. What was an f32 has no more digits than it
/// needs.
fn number(value: f64) -> String {
    let is_readable = value == 0.0 || !value.is_finite() || (1e-4..1e9).contains(&value.abs());
    let narrow = value as f32;
    match (is_readable, f64::from(narrow) == value && value.fract() != 0.0) {
        (true, true) => narrow.to_string(),
        (true, false) => value.to_string(),
        (false, true) => format!("{narrow:e}"),
        (false, false) => format!("{value:e}"),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none at all".to_owned() } else { names.join(", ") }
}

/// How to get an adapter. Part of the message when none was found.
#[cfg(target_arch = "wasm32")]
const ADAPTER_HELP: &str = "The browser has no WebGPU, or offers it no GPU: its settings may allow one";
#[cfg(not(target_arch = "wasm32"))]
const ADAPTER_HELP: &str = "\
A software adapter is enough:
  Debian, Ubuntu  apt-get install mesa-vulkan-drivers libvulkan1
  Fedora          dnf install mesa-vulkan-drivers vulkan-loader
  macOS           Metal is part of the system; in a virtual machine, pass its GPU through
  Windows         the driver of your GPU, or WARP, which is part of Windows 10 and later";
