//! Special values: what NaN, infinities and far targets make of a class, at several places of rows of every length.

use xent::half::{bf16, f16};
use xent::{Element, Flags, Shape};

use crate::losses::{Run, check_runs};
use crate::sigmoid_bce::{BOUND, IN_PLACE, INF, MEAN, NAN, plain, random};

/// What a special value makes of its class; NaN: of the whole row.
const SPECIALS: [(&str, f32, f32, f32, f32, Flags); 32] = [
    ("NaN", NAN, 1.0, 1.0, 1.0, Flags::NAN_LOGIT),
    ("−NaN", -NAN, 0.0, 1.0, 1.0, Flags::NAN_LOGIT),
    ("NaN of weight 0", NAN, 0.0, 1.0, 0.0, Flags::NAN_LOGIT),
    ("+∞, applies", INF, 1.0, 1.0, 1.0, Flags::empty()),
    ("+∞, does not apply", INF, 0.0, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("+∞, almost applies", INF, 0.999_999_94, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("+∞ of weight 0", INF, 0.0, 1.0, 0.0, Flags::empty()),
    ("−∞, applies", -INF, 1.0, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("−∞, hardly applies", -INF, 1e-40, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("−∞, does not apply", -INF, 0.0, 1.0, 1.0, Flags::empty()),
    ("−∞, does not apply, −0", -INF, -0.0, 1.0, 1.0, Flags::empty()),
    ("−∞, pos_weight 0", -INF, 1.0, 0.0, 1.0, Flags::empty()),
    ("−∞ of weight 0", -INF, 1.0, 1.0, 0.0, Flags::empty()),
    ("1e4, wrong", 1e4, 0.0, 1.0, 1.0, Flags::empty()),
    ("the end of f32, wrong", f32::MIN, 1.0, 1.0, 1.0, Flags::empty()),
    ("beyond f32", f32::MIN, 1.0, 3.0, 1.0, Flags::INFINITE_LOSS),
    ("a target at the end of f32", 2.0, 3.4e38, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("the same of the other sign", 2.0, -3.4e38, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("the same below 0", -2.0, 3.4e38, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("a far target of a small weight", -2.0, 1e38, 1.0, 1e-30, Flags::empty()),
    ("a far target of weights", 5.0, 3.4e38, 2.0, 0.1, Flags::empty()),
    ("a far target of weights, below 0", -0.5, 3.4e38, 2.0, 0.1, Flags::empty()),
    ("a far target twice applied, below 0", -0.5, 3.4e38, 2.0, 1.0, Flags::INFINITE_LOSS),
    ("a far target twice applied", 5.0, 3.4e38, 2.0, 1.0, Flags::INFINITE_LOSS),
    ("a target far below 0, twice applied", 5.0, -3.4e38, 2.0, 1.0, Flags::INFINITE_LOSS),
    ("a far target, far", 1000.0, 3.4e38, 2.0, 1.0, Flags::INFINITE_LOSS),
    ("a far target of a weight, far", 1000.0, 3.4e38, 1.0, 2.0, Flags::INFINITE_LOSS),
    ("a far target of weights, far below", -1000.0, 3.4e38, 2.0, 0.1, Flags::INFINITE_LOSS),
    ("a far target that applies nowhere", -9.17e19, 3.4e38, 0.0, 2.54, Flags::empty()),
    ("+∞, more than applies", INF, 2.0, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("−∞, less than does not", -INF, -1.0, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("+∞, less than does not", INF, -1.0, 1.0, 1.0, Flags::INFINITE_LOSS),
];

#[test]
fn special_values_at_several_places() {
    for cols in [1usize, 2, 3, 5, 8, 31, 64, 65, 257, 1_000, 50_257] {
        let mut places = vec![0, 1, cols / 2, cols.saturating_sub(2), cols - 1];
        places.retain(|&place| place < cols);
        places.dedup();
        if cols > 1_000 {
            places = vec![cols / 2 + 1];
        }
        // Of three rows the middle one is special.
        let plain = random::<f32>(cols as u64, Shape::new(3, cols), 4.0, MEAN);
        for at in places {
            for (name, x, t, pos_weight, weight, flags) in SPECIALS {
                let mut case = plain.clone();
                case.name = format!("{name} at {at} of {cols}");
                (case.logits[cols + at], case.second[cols + at]) = (x, t);
                let mut weights = vec![1.0; cols];
                weights[at] = pos_weight;
                case.given.pos_weight = Some(weights.clone());
                weights[at] = weight;
                case.given.class_weights = Some(weights);
                let runs: &[Run] = if cols <= 65 { &[Run::Host, IN_PLACE] } else { &[Run::Host] };
                let told = if flags == Flags::NAN_LOGIT { flags | Flags::NAN_LOSS } else { flags };
                for found in check_runs(&case, None, runs) {
                    assert_eq!(found.flags, told, "{}", case.name);
                }
            }
        }
    }
}

/// Infinite losses of both signs have no sum, in a row and in a batch.
#[test]
fn infinities_of_both_signs() {
    let (logits, targets) = ([INF, INF, 1.0, 2.0], [2.0, 0.5, 0.5, 0.5]);
    for shape in [Shape::new(2, 2), Shape::new(4, 1)] {
        let case = plain("both signs", shape, logits.to_vec(), targets.to_vec(), MEAN);
        for found in check_runs(&case, None, &[Run::Host, BOUND]) {
            assert!(found.flags.contains(Flags::NAN_LOSS), "{shape:?}: {:?}", found.flags);
        }
    }
}

#[test]
fn special_values_of_16_bits_and_of_rows_side_by_side() {
    fn of_type<E: Element>(shape: Shape) {
        let plain = random::<E>(3, shape, 4.0, MEAN);
        for (name, x, t, ..) in SPECIALS {
            let at = shape.row_start(2) + 3 * shape.inner;
            let mut case = plain.clone();
            case.name = name.to_owned();
            (case.logits[at], case.second[at]) = (E::from_f32(x), t);
            check_runs(&case, None, &[Run::Host]);
        }
    }
    of_type::<f16>(Shape::new(4, 5));
    of_type::<bf16>(Shape::new(4, 64));
    of_type::<f32>(Shape::nchw(1, 5, 4));
    of_type::<f16>(Shape::nchw(1, 5, 4));
}
