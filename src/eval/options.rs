//! What an evaluation does besides the loss.

/// What [`evaluate`](super::evaluate()) does besides the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// Rows, evenly spread, whose losses are compared with the f64 [`reference`](mod@crate::reference) in the same
    /// pass. Default: none.
    pub verify_rows: usize,
    /// Whether each window comes with its gradient, which costs a second sweep and its readback. Default: no.
    pub dlogits: bool,
    /// Bytes that all windows together may take, on the host and on the device: they get smaller to fit. Default: as many
    /// as are fast, some 32 MiB of logits in each of four windows.
    pub memory: Option<u64>,
}
