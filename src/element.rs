//! The types a logit can have.

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
}

/// A type that logits can have: `f32`. Sealed: the shaders must know it.
pub trait Element: sealed::Sealed + bytemuck::Pod + Default + Send + Sync + 'static {
    /// The type's name as shaders and messages write it.
    const NAME: &'static str;

    /// The value, exactly.
    fn to_f64(self) -> f64;
}

impl Element for f32 {
    const NAME: &'static str = "f32";

    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}
