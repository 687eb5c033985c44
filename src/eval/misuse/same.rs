//! Whether values are all the same.

/// None yet, one value, or several that differ. The order in which values come changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Same<T> {
    #[default]
    None,
    One(T),
    Several,
}

impl<T: Copy + PartialEq> Same<T> {
    pub fn add(&mut self, value: T) {
        self.join(Self::One(value));
    }

    /// Adds the values of another part.
    pub fn join(&mut self, other: Self) {
        *self = match (*self, other) {
            (Self::None, all) | (all, Self::None) => all,
            (Self::One(one), Self::One(other)) if one == other => Self::One(one),
            _ => Self::Several,
        };
    }

    /// The one value that there is.
    pub fn one(self) -> Option<T> {
        match self {
            Self::One(value) => Some(value),
            _ => None,
        }
    }
}
