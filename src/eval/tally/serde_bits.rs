//! Saves floats as their bits, because not every reader of a text format restores the last bit.

/// An f32.
pub mod one {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
        value.to_bits().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
        Ok(f32::from_bits(u32::deserialize(deserializer)?))
    }
}

/// A pair of f32.
pub mod pair {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(&(a, b): &(f32, f32), serializer: S) -> Result<S::Ok, S::Error> {
        (a.to_bits(), b.to_bits()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(f32, f32), D::Error> {
        let (a, b) = <(u32, u32)>::deserialize(deserializer)?;
        Ok((f32::from_bits(a), f32::from_bits(b)))
    }
}
