//! The variants of a module: element type, output, kind of target, and what the adapter allows.

/// The element that is a code of 16 bits: each row has a scale and a minimum, which make values of its codes. No type of
/// logits has this name.
pub(crate) const CODES: &str = "codes";

/// The variant of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    /// The name of the logits' type, or [`CODES`].
    pub element: &'static str,
    pub output: Output,
    pub target: Target,
    pub load: Load,
    /// Whether the statistics of rows are not from this pass: rows are split, so that they come from their segments, or they come
    /// with the call.
    pub merged: bool,
    /// Whether the sweep sums something for a row's readouts.
    pub reads_out: bool,
    /// Whether a written buffer may be bound a second time, to write it by packs. WebGPU in a browser does not allow
    /// that.
    pub second_view: bool,
    /// Whether the adapter's floats keep special values. The override constant of that name goes with it.
    pub trusts_floats: bool,
    /// Whether the call has weights of classes.
    pub weighted: bool,
}

impl Variant {
    /// The variant of passes over rows, which read no logits.
    pub const ROWS: Self = Self {
        element: "f32",
        output: Output::Element,
        target: Target::None,
        load: Load::Words32,
        merged: false,
        reads_out: false,
        second_view: false,
        trusts_floats: false,
        weighted: false,
    };
}

/// The width of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Load {
    /// 16 bytes, in 32-bit words.
    Words32,
    /// Eight values, in 64-bit words.
    Words64,
}

/// The destination of an output with a value for each logit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Output {
    /// A buffer of the logits' type.
    Element,
    /// A buffer of f32.
    F32,
    /// Overwrites the logits.
    InPlace,
}

/// The scores that softmax is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Score {
    /// The logits, capped if a softcap is set.
    Logits,
    /// Scaled and masked logits.
    Masked,
    /// Logits of a row's own class and of drawn negatives, less the logarithm of their expected counts.
    Sampled,
}

impl Score {
    /// What distinguishes a pass of these scores from that of the logits.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Logits => None,
            Self::Masked => Some("masked"),
            Self::Sampled => Some("sampled"),
        }
    }
}

/// The kind of a row's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    None,
    Class,
    Soft,
    Sparse,
}
