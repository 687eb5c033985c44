//! Structs, sizes and constants that the shaders and the Rust side both define.

use std::mem::offset_of;

use super::params::Params;
use super::passes_tests::{for_every_module, named};
use crate::flags::Flags;
use crate::row_fields::RowFields;

fn find_struct<'a>(module: &'a naga::Module, wanted: &str) -> Option<(&'a [naga::StructMember], u32)> {
    module.types.iter().find_map(|(_, ty)| match &ty.inner {
        naga::TypeInner::Struct { members, span } if named(ty.name.as_ref()) == wanted => {
            Some((&members[..], *span))
        }
        _ => None,
    })
}

#[test]
fn params_lie_alike_on_both_sides() {
    macro_rules! fields {
        ($($field:ident),+) => { [$((stringify!($field), offset_of!(Params, $field) as u32)),+] };
    }
    let expected = fields![
        rows,
        cols,
        row_stride,
        inner,
        first_row,
        logits_base,
        output_base,
        second_base,
        weight_factor,
        entries,
        ignore_index,
        exp_scale,
        inverse_temperature,
        denominator,
        row_denominator,
        upstream,
        softcap,
        inverse_softcap,
        smoothing,
        z_loss,
        focal_gamma,
        sequence_length,
        shift,
        score_from,
        score_to,
        score_scale,
        mask_first_row,
        causal_offset,
        additive_rows,
        additive_repeat,
        boolean_rows,
        boolean_repeat,
        segments,
        segment_values,
        mask_scale,
        twice_exp_scale,
        twice_inverse_temperature,
        distance_scale,
        inverse_distance,
        input_shift,
        entmax_power,
        entmax_slope,
        entmax_twice_slope,
        entmax_loss_scale,
        classes,
        row_negatives,
        count_scale,
        pair_scale,
        first_col,
        total_cols,
        moment_scales_a,
        moment_scales_b
    ];
    for_every_module(|pass, _, module, _| {
        let (members, span) = find_struct(module, "Params").expect("Params");
        let found: Vec<(&str, u32)> =
            members.iter().map(|member| (named(member.name.as_ref()), member.offset)).collect();
        assert_eq!(found, expected, "{}", pass.name);
        assert_eq!(span as usize, size_of::<Params>(), "{}", pass.name);
    });
}

#[test]
fn sizes_that_the_plan_counts_with_are_the_shaders() {
    let mut seen = 0;
    for_every_module(|pass, _, module, _| {
        let span_of = |name| find_struct(module, name).map(|(_, span)| span);
        if let (Some(stats), Some(target)) = (span_of("LaneStats"), span_of("LaneTarget")) {
            assert_eq!(stats + target, super::plan::LANE_BYTES, "{}", pass.name);
            seen |= 1;
        }
        if let Some(span) = span_of("Readouts") {
            assert_eq!(span, super::plan::READOUT_BYTES, "{}", pass.name);
            seen |= 16;
        }
        if let Some((_, span)) = find_struct(module, "Totals") {
            assert_eq!(u64::from(span), crate::op::TOTALS_BYTES, "{}", pass.name);
            seen |= 2;
        }
        if let Some((_, span)) = find_struct(module, "RowSum") {
            assert!(span <= super::plan::LANE_BYTES, "{}", pass.name);
            seen |= 4;
        }
        if let Some((_, span)) = find_struct(module, "PairStats") {
            assert_eq!(span, super::plan::PAIR_LANE_BYTES, "{}", pass.name);
            seen |= 8;
        }
    });
    assert_eq!(seen, 31, "each was found somewhere");
}

#[test]
fn constants_are_the_same_on_both_sides() {
    let expected = [
        ("NAN_LOGIT", Flags::NAN_LOGIT.bits()),
        ("INFINITE_LOGIT", Flags::INFINITE_LOGIT.bits()),
        ("MASKED_ROW", Flags::MASKED_ROW.bits()),
        ("TARGET_OUT_OF_RANGE", Flags::TARGET_OUT_OF_RANGE.bits()),
        ("INFINITE_LOSS", Flags::INFINITE_LOSS.bits()),
        ("NAN_LOSS", Flags::NAN_LOSS.bits()),
        ("NO_ROW_COUNTS", Flags::NO_ROW_COUNTS.bits()),
        ("INVALID_WEIGHT", Flags::INVALID_WEIGHT.bits()),
        ("INVALID_TARGET", Flags::INVALID_TARGET.bits()),
        ("FIELD_LOSS", RowFields::LOSS.bits()),
        ("FIELD_FLAGS", RowFields::FLAGS.bits()),
        ("FIELD_LSE", RowFields::LSE.bits()),
        ("FIELD_ARGMAX", RowFields::ARGMAX.bits()),
        ("FIELD_ROW_MAX", RowFields::ROW_MAX.bits()),
        ("FIELD_SUM_EXP", RowFields::SUM_EXP.bits()),
        ("FIELD_TARGET_LOGIT", RowFields::TARGET_LOGIT.bits()),
        ("FIELD_TARGET_PROB", RowFields::TARGET_PROB.bits()),
        ("FIELD_TARGET_LOG_PROB", RowFields::TARGET_LOG_PROB.bits()),
        ("FIELD_CONFIDENCE", RowFields::CONFIDENCE.bits()),
        ("FIELD_CORRECT", RowFields::CORRECT.bits()),
        ("FIELD_RANK", RowFields::RANK.bits()),
        ("FIELD_MASS_AHEAD", RowFields::MASS_AHEAD.bits()),
        ("FIELD_ENTROPY", RowFields::ENTROPY.bits()),
        ("FIELD_BRIER", RowFields::BRIER.bits()),
        ("FIELD_MARGIN", RowFields::MARGIN.bits()),
        ("FIELD_MIN_LOGIT", RowFields::MIN_LOGIT.bits()),
        ("FIELD_MEAN_LOGIT", RowFields::MEAN_LOGIT.bits()),
        ("IGNORED", crate::results::LEFT_OUT),
        ("NO_CLASS", crate::results::NO_CLASS),
        ("INPUT_HEAD", super::plan::INPUT_HEAD as u32),
        ("MAX_ENTRIES", crate::targets::MAX_SPARSE_ENTRIES as u32),
        ("BLOCK_ROWS", crate::op::BLOCK_ROWS as u32),
        ("STEP_VALUES", super::plan::STEP_VALUES as u32),
        ("CHUNK_STEPS", super::plan::CHUNK_STEPS as u32),
        ("MOMENT_WORDS", crate::op::MOMENT_WORDS as u32),
    ];
    let mut seen = std::collections::HashSet::new();
    for_every_module(|pass, _, module, _| {
        for (_, constant) in module.constants.iter() {
            let Some(&(name, value)) =
                expected.iter().find(|(name, _)| *name == named(constant.name.as_ref()))
            else {
                continue;
            };
            let naga::Expression::Literal(naga::Literal::U32(found)) =
                module.global_expressions[constant.init]
            else {
                panic!("{}: {name} is no u32", pass.name)
            };
            assert_eq!(found, value, "{}: {name}", pass.name);
            seen.insert(name);
        }
    });
    assert_eq!(seen.len(), expected.len(), "{seen:?}");
}

#[test]
fn workgroup_memory_fits_webgpus_default() {
    // naga does not count arrays whose size is an override, so they are counted here.
    let lanes = 256 * (super::plan::LANE_BYTES + super::plan::READOUT_BYTES);
    let pairs = 256 * super::plan::PAIR_LANE_BYTES;
    let totals = 256 * crate::op::TOTALS_BYTES as u32;
    let plain = 256 * super::plan::LANE_BYTES;
    assert!(plain + super::plan::SAVED_BYTES <= 16 << 10 && lanes <= 16 << 10);
    assert!(pairs <= 16 << 10 && totals <= 16 << 10);
}
