//! Every module that a plan can choose, validated with no GPU, and the tables of the Rust side held against it.

use std::mem::offset_of;

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

use super::params::Params;
use super::passes::{ALL, Access, Output, Pass, Variant, constant};
use crate::element::Element;
use crate::flags::Flags;

const ELEMENTS: [&str; 3] = [f32::NAME, half::f16::NAME, half::bf16::NAME];

fn parse(pass: &Pass, variant: Variant) -> (naga::Module, ModuleInfo) {
    let source = pass.source(variant);
    let module = naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|error| panic!("{} {variant:?}: {}", pass.name, error.emit_to_string(&source)));
    let info = validate(pass, &module);
    (module, info)
}

fn validate(pass: &Pass, module: &naga::Module) -> ModuleInfo {
    Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(module)
        .unwrap_or_else(|error| panic!("{}: {error:?}", pass.name))
}

/// Settings of the switches of a module: all off, all on, each alone on, each alone off; with every workgroup size, of
/// one row and of several.
fn settings(pass: &Pass, variant: Variant) -> Vec<Vec<(&'static str, u32)>> {
    let sizes = [constant::LANES, constant::ROWS, constant::INVOCATIONS];
    let overrides = pass.overrides(variant);
    let switches: Vec<&str> = overrides.iter().filter(|name| !sizes.contains(name)).copied().collect();
    let mut all: Vec<Vec<(&str, u32)>> = Vec::new();
    for on in [0, 1] {
        all.push(switches.iter().map(|&name| (name, on)).collect());
        for &other in &switches {
            all.push(switches.iter().map(|&name| (name, if name == other { 1 - on } else { on })).collect());
        }
    }
    if overrides.contains(&constant::LANES) {
        let mut sized = Vec::new();
        for (at, setting) in all.into_iter().enumerate() {
            let power = at % 11;
            for rows in [0, power / 2, power] {
                let sizes = [
                    (constant::LANES, 1 << (power - rows)),
                    (constant::ROWS, 1 << rows),
                    (constant::INVOCATIONS, 1 << power),
                ];
                sized.push([&setting[..], &sizes].concat());
            }
        }
        return sized;
    }
    all
}

/// Every module that there can be.
fn for_every_module(mut check: impl FnMut(&Pass, Variant, &naga::Module, &ModuleInfo)) {
    for (pass, targets) in ALL {
        for &target in targets {
            for element in ELEMENTS {
                for output in [Output::Element, Output::F32, Output::InPlace] {
                    // Only what writes a value for each logit may write over them.
                    let is_swept =
                        pass.source(Variant { element, output, target }).contains("fn sweep_output");
                    if output != Output::Element && !is_swept {
                        continue;
                    }
                    let variant = Variant { element, output, target };
                    let (module, info) = parse(pass, variant);
                    check(pass, variant, &module, &info);
                }
            }
        }
    }
}

fn named(handle: Option<&String>) -> &str {
    handle.map_or("", String::as_str)
}

#[test]
fn every_module_is_valid_under_every_setting() {
    for_every_module(|pass, variant, module, info| {
        for setting in settings(pass, variant) {
            let constants =
                setting.iter().map(|&(name, value)| (name.to_owned(), f64::from(value))).collect();
            let entry_point = Some((naga::ShaderStage::Compute, pass.name));
            let (processed, _) =
                naga::back::pipeline_constants::process_overrides(module, info, entry_point, &constants)
                    .unwrap_or_else(|error| panic!("{} with {setting:?}: {error}", pass.name));
            validate(pass, &processed);
        }
    });
}

#[test]
fn a_pass_is_named_as_its_only_entry_point() {
    for_every_module(|pass, _, module, _| {
        let names: Vec<&str> = module.entry_points.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, [pass.name]);
    });
}

#[test]
fn the_table_of_overrides_is_the_modules() {
    for_every_module(|pass, variant, module, _| {
        let mut found: Vec<&str> =
            module.overrides.iter().map(|(_, constant)| named(constant.name.as_ref())).collect();
        let mut listed = pass.overrides(variant);
        found.sort_unstable();
        listed.sort_unstable();
        assert_eq!(found, listed, "{}", pass.name);
    });
}

#[test]
fn the_table_of_bindings_is_what_the_entry_point_uses() {
    for_every_module(|pass, variant, module, info| {
        let uses = info.get_entry_point(0);
        let mut found: Vec<(u32, Access)> = module
            .global_variables
            .iter()
            .filter(|&(handle, _)| !uses[handle].is_empty())
            .filter_map(|(_, global)| {
                let naga::AddressSpace::Storage { access } = global.space else { return None };
                let written = access.contains(naga::StorageAccess::STORE);
                Some((global.binding.as_ref()?.binding, if written { Access::Write } else { Access::Read }))
            })
            .collect();
        found.sort_unstable_by_key(|&(binding, _)| binding);
        let mut listed = pass.bindings(variant);
        listed.sort_unstable_by_key(|&(binding, _)| binding);
        assert_eq!(found, listed, "{} {variant:?}", pass.name);
        assert!(found.len() <= 8, "{}: WebGPU's default is 8 storage buffers a stage", pass.name);
    });
}

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
        second_stride,
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
        weight_factor,
        unused_0,
        unused_1,
        unused_2
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
        if let Some((_, span)) = find_struct(module, "RowStats") {
            assert_eq!(span, super::plan::LANE_BYTES, "{}", pass.name);
            seen |= 1;
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
    assert_eq!(seen, 15, "each was found somewhere");
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
        ("NO_CLASS", crate::op::NO_CLASS),
        ("INPUT_HEAD", super::plan::INPUT_HEAD as u32),
        ("MAX_ENTRIES", crate::targets::MAX_SPARSE_ENTRIES as u32),
        ("BLOCK_ROWS", crate::op::BLOCK_ROWS as u32),
        ("STEP_QUADS", super::plan::STEP_QUADS as u32),
        ("CHUNK_STEPS", super::plan::CHUNK_STEPS as u32),
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
    // naga leaves arrays sized by an override to be counted by hand.
    let lanes = 256 * super::plan::LANE_BYTES;
    let pairs = 256 * super::plan::PAIR_LANE_BYTES;
    let totals = 256 * crate::op::TOTALS_BYTES as u32;
    assert!(lanes + super::plan::SAVED_BYTES <= 16 << 10 && pairs <= 16 << 10 && totals <= 16 << 10);
}

/// Browsers compile WGSL with Tint, which refuses what naga accepts (barriers in non-uniform control flow, constant
/// bit patterns of infinity). Runs where the `tint` program is installed.
#[test]
fn tint_accepts_every_module() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for_every_module(|pass, variant, _, _| {
        let file = folder.path().join("module.wgsl");
        std::fs::write(&file, pass.source(variant)).expect("written");
        match std::process::Command::new("tint").args(["--format", "wgsl"]).arg(&file).output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{} {variant:?}: {said}", pass.name);
            }
            Err(_) => eprintln!("no `tint` on the PATH: {} not linted", pass.name),
        }
    });
}
