//! The random numbers of sampling.

/// Philox 4×32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): four random words for a counter
/// and a key. The same arguments always give the same words, so rows and draws need no state.
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut c0, mut c1, mut c2, mut c3], [mut k0, mut k1]) = (counter, key);
    let product = |factor: u32, word: u32| {
        let product = u64::from(factor) * u64::from(word);
        ((product >> 32) as u32, product as u32)
    };
    for round in 0..10 {
        if round > 0 {
            k0 = k0.wrapping_add(0x9e37_79b9);
            k1 = k1.wrapping_add(0xbb67_ae85);
        }
        let ((high0, low0), (high1, low1)) = (product(0xd251_1f53, c0), product(0xcd9e_8d57, c2));
        (c0, c1, c2, c3) = (high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0);
    }
    [c0, c1, c2, c3]
}

/// What random words are for. Each purpose has counters of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Draws of tokens.
    Draw = 0,
    /// Whether a draft is accepted.
    Accept = 1,
    /// The token in a refused draft's place.
    Residual = 2,
    /// Whether XTC applies to a row.
    Xtc = 3,
}

/// The four random words of a row: its seed and counter, the number of the draw, what they are for, and a number of the
/// group of four words, below 2^30.
pub fn row_words(seed: u64, counter: u64, draw: u32, purpose: Purpose, group: u32) -> [u32; 4] {
    let halves = |value: u64| [value as u32, (value >> 32) as u32];
    let [low, high] = halves(counter);
    philox4x32([((purpose as u32) << 30) + group, draw, low, high], halves(seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that the authors publish with their code (`kat_vectors` of Random123).
    #[test]
    fn published_vectors() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn the_words_of_a_row() {
        assert_eq!(row_words(42, 7, 0, Purpose::Draw, 128_255 / 4)[128_255 % 4], 0x548c_05c5);
        assert_eq!(row_words(42, 0, 0, Purpose::Draw, 0)[0], 0x9cea_f053);
        let words = row_words(1 << 33, 5 << 32, 9, Purpose::Xtc, 0);
        assert_eq!(words, philox4x32([3 << 30, 9, 0, 5], [0, 2]));
    }
}
