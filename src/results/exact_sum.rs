//! Sums without rounding.

/// The exact sum of finite floats in fixed point. No addend is rounded, so any order and any grouping of the addends
/// give the same bits.
///
/// It is an integer of `W` words in two's complement, in units of 2^-149 (the smallest f32) with 5 words and of 2^-298
/// (the smallest product of two f32) with 10. There is room for 2^42 addends of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FixedSum<const W: usize> {
    /// The lowest word first.
    words: [u64; W],
}

/// The exact sum of f32 values.
pub(crate) type ExactSum = FixedSum<5>;

/// The exact sum of products of two f32 values, each as the f64 that holds it. Of a product of more factors, what is
/// below 2^-298 is dropped.
pub(crate) type ProductSum = FixedSum<10>;

impl<const W: usize> Default for FixedSum<W> {
    fn default() -> Self {
        Self { words: [0; W] }
    }
}

impl<const W: usize> FixedSum<W> {
    /// The exponent of the lowest bit.
    const LOWEST: i32 = -149 * (W as i32 / 5);

    /// Adds a finite f32.
    #[inline]
    pub fn add(&mut self, value: f32) {
        let bits = value.to_bits();
        let exponent = (bits >> 23) & 0xff;
        // A denormal has the exponent of the smallest normal number, without the hidden bit.
        let hidden = u32::from(exponent > 0) << 23;
        let lowest = exponent.max(1) as i32 - 150;
        self.add_at((bits & 0x7f_ffff | hidden).into(), (lowest - Self::LOWEST) as usize, bits >> 31 == 1);
    }

    /// Adds a finite f64 of at most 2^300. What is below the lowest bit is dropped.
    pub fn add_f64(&mut self, value: f64) {
        let bits = value.to_bits();
        let exponent = (bits >> 52) & 0x7ff;
        let mantissa = bits & ((1 << 52) - 1) | u64::from(exponent > 0) << 52;
        let lowest = exponent.max(1) as i32 - 1075;
        let place = lowest - Self::LOWEST;
        let below = u32::try_from(-place).unwrap_or(0);
        self.add_at(mantissa.checked_shr(below).unwrap_or(0), place.max(0) as usize, bits >> 63 == 1);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        let mut carry = false;
        for (word, &other) in self.words.iter_mut().zip(&other.words) {
            let (sum, over) = word.overflowing_add(other);
            let (sum, again) = sum.overflowing_add(carry.into());
            (*word, carry) = (sum, over || again);
        }
    }

    /// Adds ± magnitude · 2^place units.
    #[inline]
    fn add_at(&mut self, magnitude: u64, place: usize, is_negative: bool) {
        let shifted = u128::from(magnitude) << (place % 64);
        let mut parts = [shifted as u64, (shifted >> 64) as u64].into_iter();
        let mut carry = 0;
        for word in self.words.iter_mut().skip(place / 64) {
            let Some(part) = parts.next().or((carry != 0).then_some(0)) else { break };
            let (moved, by) = if is_negative {
                let (moved, under) = word.overflowing_sub(part);
                let (moved, again) = moved.overflowing_sub(carry);
                (moved, under || again)
            } else {
                let (moved, over) = word.overflowing_add(part);
                let (moved, again) = moved.overflowing_add(carry);
                (moved, over || again)
            };
            (*word, carry) = (moved, by.into());
        }
    }

    /// The sum, rounded once to the nearest f64, ties to even.
    pub fn value(&self) -> f64 {
        let is_negative = self.words.last().is_some_and(|&word| word >> 63 == 1);
        let mut words = self.words;
        if is_negative {
            let mut carry = true;
            for word in &mut words {
                (*word, carry) = (!*word).overflowing_add(carry.into());
            }
        }
        let Some(top) = words.iter().rposition(|&word| word != 0) else { return 0.0 };
        // The 64 highest bits, the lowest of which also says whether anything follows.
        let zeros = words[top].leading_zeros();
        let next = if top > 0 { words[top - 1] } else { 0 };
        let wide = (u128::from(words[top]) << 64 | u128::from(next)) << zeros;
        let has_more = wide as u64 != 0 || words[..top.saturating_sub(1)].iter().any(|&word| word != 0);
        let highest = (wide >> 64) as u64 | u64::from(has_more);
        // 64 bits are rounded to 53 by the conversion; the scaling by a power of two is exact.
        let exponent = 64 * top as i32 - zeros as i32 + Self::LOWEST;
        let magnitude = highest as f64 * 2f64.powi(exponent);
        if is_negative { -magnitude } else { magnitude }
    }
}

#[cfg(feature = "serde")]
impl<const W: usize> serde::Serialize for FixedSum<W> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.words[..].serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de, const W: usize> serde::Deserialize<'de> for FixedSum<W> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<u64>::deserialize(deserializer)?;
        let found = words.len();
        let words =
            words.try_into().map_err(|_| serde::de::Error::invalid_length(found, &"a sum's words"))?;
        Ok(Self { words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f32]) -> ExactSum {
        let mut sum = ExactSum::default();
        values.iter().for_each(|&value| sum.add(value));
        sum
    }

    #[test]
    fn nothing_is_rounded_away() {
        const TINY: f32 = 1e-45;
        for (values, expected) in [
            (&[][..], 0.0),
            (&[0.0, -0.0], 0.0),
            (&[1.5, 2.25], 3.75),
            (&[-1.5, 1.0], -0.5),
            (&[f32::MAX, TINY, -f32::MAX], f64::from(TINY)),
            (&[TINY, -f32::MAX, f32::MAX], f64::from(TINY)),
            (&[f32::MAX, f32::MAX], 2.0 * f64::from(f32::MAX)),
            (&[f32::MIN, f32::MIN, -TINY], 2.0 * f64::from(f32::MIN)),
            (&[f32::MIN_POSITIVE, TINY], f64::from(f32::MIN_POSITIVE) + f64::from(TINY)),
            // 2^53 + 1 is a tie, which goes to the even neighbour; anything more goes up.
            (&[9007199254740992.0, 1.0], 9007199254740992.0),
            (&[9007199254740992.0, 3.0], 9007199254740996.0),
            (&[9007199254740992.0, 1.0, TINY], 9007199254740994.0),
            (&[-9007199254740992.0, -1.0, -TINY], -9007199254740994.0),
        ] {
            assert_eq!(sum(values).value(), expected, "{values:?}");
        }
    }

    #[test]
    fn products_keep_every_digit() {
        let mut products = ProductSum::default();
        for value in [1e-45f32, f32::MAX, 3.1] {
            let exact = f64::from(value) * f64::from(value);
            products.add_f64(exact);
            let mut alone = ProductSum::default();
            alone.add_f64(-exact);
            assert_eq!(alone.value(), -exact, "{value}");
            products.merge(&alone);
        }
        assert_eq!(products, ProductSum::default());
        products.add(0.1);
        assert_eq!(products.value(), f64::from(0.1f32));
        products.add_f64(2f64.powi(-400));
        assert_eq!(products.value(), f64::from(0.1f32), "below the lowest bit");
    }

    #[test]
    fn any_order_and_grouping_give_the_same_bits() {
        let mut state = 7u32;
        let values: Vec<f32> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(state)
        })
        .filter(|value| value.is_finite())
        .take(3_000)
        .collect();
        let whole = sum(&values);
        let backwards: Vec<f32> = values.iter().rev().copied().collect();
        assert_eq!(sum(&backwards), whole);
        for parts in [1, 2, 7, 100] {
            let mut merged = ExactSum::default();
            values.chunks(values.len().div_ceil(parts)).rev().for_each(|part| merged.merge(&sum(part)));
            assert_eq!(merged, whole, "{parts}");
        }
    }
}
