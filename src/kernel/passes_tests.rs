//! Every module that a plan can choose, validated with no GPU, and the tables of the Rust side held against it.

use std::mem::offset_of;

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

use super::params::Params;
use super::passes::{ALL, Access, LANES, Pass};
use crate::element::Element;
use crate::flags::Flags;

const ELEMENTS: [&str; 1] = [f32::NAME];

fn parse(pass: &Pass, element: &str) -> (naga::Module, ModuleInfo) {
    let source = pass.source(element);
    let module = naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|error| panic!("{}: {}", pass.name, error.emit_to_string(source)));
    let info = validate(pass, &module);
    (module, info)
}

fn validate(pass: &Pass, module: &naga::Module) -> ModuleInfo {
    Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(module)
        .unwrap_or_else(|error| panic!("{}: {error:?}", pass.name))
}

/// Every setting of the switches of a pass, with every workgroup size.
fn settings(pass: &Pass) -> Vec<Vec<(&'static str, u32)>> {
    let mut all = vec![vec![]];
    for &name in pass.overrides {
        let values: Vec<u32> =
            if name == LANES { (0..=10).map(|power| 1 << power).collect() } else { vec![0, 1] };
        all = all
            .into_iter()
            .flat_map(|setting| values.iter().map(move |&value| [&setting[..], &[(name, value)]].concat()))
            .collect();
    }
    all
}

fn for_every_module(mut check: impl FnMut(&Pass, &naga::Module, &ModuleInfo)) {
    for pass in ALL {
        for element in ELEMENTS {
            let (module, info) = parse(pass, element);
            check(pass, &module, &info);
        }
    }
}

fn named(handle: Option<&String>) -> &str {
    handle.map_or("", String::as_str)
}

#[test]
fn every_module_is_valid_under_every_setting() {
    for_every_module(|pass, module, info| {
        for setting in settings(pass) {
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
    for_every_module(|pass, module, _| {
        let names: Vec<&str> = module.entry_points.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, [pass.name]);
    });
}

#[test]
fn the_table_of_overrides_is_the_modules() {
    for_every_module(|pass, module, _| {
        let mut found: Vec<&str> =
            module.overrides.iter().map(|(_, constant)| named(constant.name.as_ref())).collect();
        let mut listed = pass.overrides.to_vec();
        found.sort_unstable();
        listed.sort_unstable();
        assert_eq!(found, listed, "{}", pass.name);
    });
}

#[test]
fn the_table_of_bindings_is_what_the_entry_point_uses() {
    for_every_module(|pass, module, info| {
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
        assert_eq!(found, pass.bindings, "{}", pass.name);
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
    let expected =
        fields![rows, cols, row_stride, first_row, logits_base, output_base, ignore_index, denominator];
    for_every_module(|pass, module, _| {
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
    for_every_module(|pass, module, _| {
        if let Some((_, span)) = find_struct(module, "RowStats") {
            assert_eq!(span, super::plan::LANE_BYTES, "{}", pass.name);
            seen |= 1;
        }
        if let Some((_, span)) = find_struct(module, "Totals") {
            assert_eq!(u64::from(span), crate::op::TOTALS_BYTES, "{}", pass.name);
            seen |= 2;
        }
    });
    assert_eq!(seen, 3, "both were found somewhere");
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
        ("NO_CLASS", crate::op::NO_CLASS),
        ("BLOCK_ROWS", crate::op::BLOCK_ROWS as u32),
        ("STEP_QUADS", super::plan::STEP_QUADS as u32),
        ("CHUNK_STEPS", super::plan::CHUNK_STEPS as u32),
    ];
    let mut seen = std::collections::HashSet::new();
    for_every_module(|pass, module, _| {
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
    let totals = 256 * crate::op::TOTALS_BYTES as u32;
    assert!(lanes + totals <= 16 << 10);
}

/// Browsers compile WGSL with Tint, which refuses what naga accepts (barriers in non-uniform control flow, constant
/// bit patterns of infinity). Runs where the `tint` program is installed.
#[test]
fn tint_accepts_every_module() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for_every_module(|pass, _, _| {
        for element in ELEMENTS {
            let file = folder.path().join(format!("{}_{element}.wgsl", pass.name));
            std::fs::write(&file, pass.source(element)).expect("written");
            match std::process::Command::new("tint").args(["--format", "wgsl"]).arg(&file).output() {
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    assert!(output.status.success(), "{}: {said}", pass.name);
                }
                Err(_) => eprintln!("no `tint` on the PATH: {} not linted", pass.name),
            }
        }
    });
}
