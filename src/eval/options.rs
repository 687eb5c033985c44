//! The options of an evaluation.

/// The options of [`evaluate`](super::evaluate()).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// How many evenly spaced rows to compare with the f64 [`reference`](mod@crate::reference) in the same pass, by
    /// their losses. Default: none.
    pub verify_rows: usize,
    /// Whether each window comes with its gradient. This costs a second pass and its readback. Default: no.
    pub dlogits: bool,
    /// Whether a few rows' targets are compared with those of their neighbours, so that a [`Notice`](super::Notice) says
    /// if the targets look shifted by one row. For class targets. Default: no.
    pub check_shift: bool,
    /// Maximum bytes of all windows together, on host and device. Windows are made smaller to fit. Default: as large as
    /// is fast, about 32 MiB of logits in each of four windows.
    pub memory: Option<u64>,
}
