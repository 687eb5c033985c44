//! What a module is made for: an element type, an output, a kind of target, and what the adapter allows.

/// What a module is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    /// The logits' type, by its name.
    pub element: &'static str,
    pub output: Output,
    pub target: Target,
    pub load: Load,
    /// Whether rows are split: their stats come from their segments'.
    pub merged: bool,
    /// Whether what is written may be bound a second time, to be written a pack at a time: WebGPU allows it not.
    pub second_view: bool,
}

impl Variant {
    /// Of passes over rows, which read no logit.
    pub const ROWS: Self = Self {
        element: "f32",
        output: Output::Element,
        target: Target::None,
        load: Load::Words32,
        merged: false,
        second_view: false,
    };
}

/// What one load brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Load {
    /// 16 bytes, in words of 32 bits.
    Words32,
    /// Eight values, in words of 64 bits.
    Words64,
}

/// Where the output goes that has a value for each logit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Output {
    /// A buffer of the logits' type.
    Element,
    /// A buffer of f32.
    F32,
    /// Over the logits.
    InPlace,
}

/// What softmax is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Score {
    /// The logits, capped if asked for.
    Logits,
    /// Logits that are scaled and masked.
    Masked,
}

/// What a row's target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    None,
    Class,
    Soft,
    Sparse,
}
