//! Saves floats as their bits, because not every reader of a text format restores the last bit.

/// A vector of f64.
pub mod all {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        values.iter().map(|value| value.to_bits()).collect::<Vec<_>>().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        Ok(Vec::<u64>::deserialize(deserializer)?.into_iter().map(f64::from_bits).collect())
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
