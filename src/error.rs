//! The one error type of the crate. Every message carries the numbers needed to mend the call.

use std::fmt;
use std::time::Duration;

use crate::target_kind::TargetKind;

/// What can go wrong. Nothing here is a panic: bad shapes, options and buffers, and whatever the device
/// reports, come back as one of these.
///
/// `Debug` says the same as `Display`: a `main` that returns a `Result` prints that.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter of the wanted kind was found.
    #[error("no adapter {}; found {}\n{}", one_line(.wanted), one_line(&list(.found)), ADAPTER_HELP)]
    NoAdapter {
        /// What was asked for, as words: "of any kind", "named 'nvidia'", ...
        wanted: String,
        /// The adapters that are there, by name and backend.
        found: Vec<String>,
    },
    /// The adapter refused to open a device.
    #[error("adapter '{}' opened no device: {message}", one_line(.adapter))]
    RequestDevice {
        /// The adapter's name.
        adapter: String,
        /// What wgpu said.
        message: String,
    },
    /// The device's limits are below those of WebGPU's defaults, which every operation fits into.
    #[error("this device allows {available} {limit}; {needed} are needed (WebGPU's default)")]
    DeviceLimit {
        /// Which limit.
        limit: &'static str,
        /// What is needed.
        needed: u64,
        /// What the device allows.
        available: u64,
    },

    /// A softmax over no classes has no meaning.
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
        /// The least stride possible, in values.
        needed: usize,
    },
    /// The shape's length does not fit into this machine's `usize`.
    #[error("shape of {rows} rows × {cols} cols with row_stride {row_stride} overflows the address space")]
    ShapeOverflow {
        /// Rows of the shape.
        rows: usize,
        /// Classes of the shape.
        cols: usize,
        /// Values from one row's start to the next's.
        row_stride: usize,
    },
    /// Rows that lie side by side (class axis not last) come in whole groups.
    #[error("{rows} rows are no whole number of groups of {inner}, which lie side by side")]
    Layout {
        /// Rows of the shape.
        rows: usize,
        /// Values from one class to the next.
        inner: usize,
    },
    /// The array has no such axis.
    #[error("class axis {axis} of an array of {axes} axes")]
    ClassAxis {
        /// The axis asked for.
        axis: isize,
        /// Axes of the array.
        axes: usize,
    },
    /// 16-bit rows that are written begin in the middle of a word: two rows would share it.
    #[error(
        "`{what}`: 16-bit rows {row_stride} values apart share words; write them {needed} apart, or as f32"
    )]
    OddStride {
        /// Which buffer.
        what: &'static str,
        /// The row stride, in values.
        row_stride: usize,
        /// The next row stride that can be written, in values.
        needed: usize,
    },
    /// 16-bit values of rows that lie side by side share words: no row can write its own.
    #[error("`{what}`: 16-bit values of {inner} rows side by side share words; write them as f32")]
    PackedLayout {
        /// Which buffer.
        what: &'static str,
        /// Values from one class to the next.
        inner: usize,
    },
    /// A slice has another length than the shape says.
    #[error("{what} holds {found} values; the shape needs {needed}")]
    Length {
        /// Which argument.
        what: &'static str,
        /// Values found.
        found: usize,
        /// Values needed.
        needed: usize,
    },
    /// One row is larger than the largest binding of the device, or than one of its workgroups can sweep.
    #[error("one row of {cols} cols is {bytes} bytes; this device takes at most {limit}")]
    RowTooLarge {
        /// Classes of a row.
        cols: usize,
        /// Bytes of a row.
        bytes: u64,
        /// Bytes of the largest row possible.
        limit: u64,
    },
    /// Rows that lie side by side come in one binding, and theirs is larger than the largest of the device.
    #[error("{inner} rows of {cols} cols side by side are {bytes} bytes; this device takes at most {limit}")]
    GroupTooLarge {
        /// Classes of a row.
        cols: usize,
        /// Rows side by side.
        inner: usize,
        /// Bytes of them all.
        bytes: u64,
        /// Bytes of the largest group possible.
        limit: u64,
    },
    /// The rows' own scratch does not fit into one binding: bind fewer rows at a time.
    #[error("{rows} rows bound at once; this device allows {limit}: bind a part and encode several times")]
    TooManyRows {
        /// Rows asked for.
        rows: usize,
        /// Rows possible.
        limit: usize,
    },
    /// A bound operation was asked to encode more rows than it was bound for.
    #[error("asked to encode {rows} rows of an operation bound for {bound}")]
    RowsExceedBound {
        /// Rows asked for.
        rows: usize,
        /// Rows bound.
        bound: usize,
    },

    /// A mask's rows, or the queries of a causal sequence, are no divisor of the batch's rows.
    #[error("{what}: {mask_rows} rows, each {repeat} times, do not go into {rows} rows")]
    MaskRows {
        /// Which mask.
        what: &'static str,
        /// Rows of the batch.
        rows: usize,
        /// Rows of the mask.
        mask_rows: usize,
        /// Rows of the batch in succession that have one row of the mask.
        repeat: usize,
    },
    /// A mask is larger than the largest binding of the device.
    #[error("{what} is {bytes} bytes; this device takes at most {limit}")]
    MaskTooLarge {
        /// Which mask.
        what: &'static str,
        /// Bytes of the mask on the device.
        bytes: u64,
        /// Bytes of the largest mask possible.
        limit: u64,
    },
    /// The operation takes the class axis last.
    #[error("{inner} rows side by side: this operation takes the class axis last")]
    ClassAxisNotLast {
        /// Values from one class to the next.
        inner: usize,
    },

    /// A target names no class and is not `ignore_index`.
    #[error("targets[{row}] = {target} is outside 0..{cols} and is not ignore_index")]
    TargetOutOfRange {
        /// The first row with such a target.
        row: usize,
        /// Its target.
        target: i64,
        /// Classes.
        cols: usize,
    },
    /// Targets of another kind than a stream was made for.
    #[error("{given:?} given to a stream made for {made_for:?}")]
    TargetKind {
        /// The kind given.
        given: TargetKind,
        /// The kind the stream takes.
        made_for: TargetKind,
    },
    /// A target's probability is NaN or infinite.
    #[error("targets[{row}, {at}] = {value} is not a finite number")]
    InvalidTarget {
        /// The first row with such a target.
        row: usize,
        /// Which class of the row, or which of its sparse entries.
        at: usize,
        /// The value given.
        value: f32,
    },
    /// An option or a weight has a value outside its range, or cannot be combined with another.
    #[error("option {option}{} = {}: must be {needed}", .at.map(|at| format!("[{at}]")).unwrap_or_default(), number(*.value))]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// Where in the slice, for an option that is one.
        at: Option<usize>,
        /// The value given.
        value: f64,
        /// What is allowed, in words.
        needed: &'static str,
    },

    /// No row counts, and [`EmptyBatch::Error`](crate::EmptyBatch::Error) was asked for.
    #[error("none of {rows} rows counts: all are ignored, masked or of weight 0, their own or their class's")]
    NoRowCounts {
        /// Rows of the batch.
        rows: usize,
    },

    /// The memory allowed does not hold even one row, or one group of rows side by side, under way.
    #[error(
        "{allowed} bytes of memory: windows of {inner} × {cols} values, the smallest there are, take {needed}"
    )]
    MemoryTooSmall {
        /// Bytes allowed.
        allowed: u64,
        /// Bytes needed, on the host and on the device together.
        needed: u64,
        /// Classes of a row.
        cols: usize,
        /// Rows side by side.
        inner: usize,
    },

    /// A bound buffer (or the part of it that is bound) is too small.
    #[error("buffer `{what}`: {found} bytes bound, {needed} needed")]
    BufferTooSmall {
        /// Which buffer.
        what: &'static str,
        /// Bytes bound.
        found: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// A bound buffer begins where this device cannot bind.
    #[error("buffer `{what}`: offset {offset} is no multiple of {alignment}")]
    BufferOffset {
        /// Which buffer.
        what: &'static str,
        /// The offset in bytes.
        offset: u64,
        /// The alignment of this device in bytes.
        alignment: u64,
    },
    /// A bound buffer was created without the usage that this binding needs.
    #[error("buffer `{what}` was created without {needed}")]
    BufferUsage {
        /// Which buffer.
        what: &'static str,
        /// The usage missing.
        needed: &'static str,
    },
    /// Two bindings, at least one of them written, are of one buffer; wgpu allows that not even for disjoint ranges.
    #[error("`{first}` and `{second}` are the same buffer: one of them is written, so they must be two")]
    BufferAlias {
        /// One of the two.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// An operation was bound to buffers of another device than the one it was built on. (Of
    /// buffers from another `wgpu::Instance` this cannot be told.)
    #[error("a buffer belongs to another device than the operation")]
    OtherDevice,
    /// Nothing was asked for: every output is `None`.
    #[error("no output bound: give at least one of {options}")]
    NoOutput {
        /// The fields of which one is needed.
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
    /// The device is lost: it was destroyed, or its driver was reset or updated. Nothing on it works any more: open a new
    /// [`Context`](crate::Context) and build the operations again.
    #[error("the device was lost ({what}: {message}): open a new context and build the operations again")]
    DeviceLost {
        /// What was being done.
        what: String,
        /// What wgpu said.
        message: String,
    },
    /// The device had not finished in the time allowed.
    #[error("the device had not finished after {:.3} s", .after.as_secs_f64())]
    Timeout {
        /// The time allowed.
        after: Duration,
    },

    /// The system started no thread, most often for want of memory or because the process may have no more.
    #[error("no thread could be started for {what}: {message}")]
    NoThread {
        /// What it was to do.
        what: &'static str,
        /// What the system said.
        message: String,
    },
    /// An earlier push into this stream failed, timed out or was dropped half-way: what it holds is unknown.
    #[error("the stream ended with an earlier push that failed or was dropped: make a new one")]
    StreamEnded,
    /// The caller's own callback stopped the run.
    #[error("stopped")]
    Stopped,

    /// A file could not be read or written, or is not what was expected of it. Names and contents of files may be anything:
    /// what a terminal would obey is shown as `?`.
    #[error("{}: {}", one_line(.path), one_line(.message))]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        message: String,
    },
}

impl Error {
    /// An option whose one value is outside its range.
    pub(crate) fn option(option: &'static str, value: impl Into<f64>, needed: &'static str) -> Self {
        Self::InvalidOption { option, at: None, value: value.into(), needed }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whether a terminal shows a character, and does nothing else: neither control characters nor those that end a line or
/// turn its direction.
#[doc(hidden)]
pub fn is_safe(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    let ends = matches!(c, '\u{2028}' | '\u{2029}');
    !c.is_control() && !turns && !ends
}

/// A text of anybody's, as it may stand in a message of one line.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(|c| !is_safe(c), "?")
}

/// A number as one reads it, however large or small.
fn number(value: f64) -> String {
    let is_readable = value == 0.0 || !value.is_finite() || (1e-4..1e9).contains(&value.abs());
    if is_readable { value.to_string() } else { format!("{value:e}") }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none at all".to_owned() } else { names.join(", ") }
}

/// How to get an adapter, told where none was found.
const ADAPTER_HELP: &str = "\
A software adapter is enough:
  Debian, Ubuntu  apt-get install mesa-vulkan-drivers libvulkan1
  Fedora          dnf install mesa-vulkan-drivers vulkan-loader
  macOS           Metal is part of the system; in a virtual machine, pass its GPU through
  Windows         the driver of your GPU, or WARP, which is part of Windows 10 and later";
