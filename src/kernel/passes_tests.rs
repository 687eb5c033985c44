//! Validates every module that a plan can choose, without a GPU, and checks the tables of the passes against it.

use std::sync::OnceLock;

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

use super::passes::{Access, FILE_MARK, Pass, Variant, constant, modules};

fn parse(pass: &Pass, variant: Variant) -> (naga::Module, ModuleInfo) {
    let source = pass.source(variant);
    let module = naga::front::wgsl::parse_str(&source).unwrap_or_else(|error| {
        let line = error.location(&source).map_or(1, |location| location.line_number as usize);
        let (file, line) = place(&source, line).expect("a file's line");
        panic!("{} {variant:?}: {file}:{line}: {}", pass.name, error.emit_to_string(&source))
    });
    let info = validate(pass, &module);
    (module, info)
}

/// Maps a line of a module to a file of `shaders/` and the line in it; both are counted from 1.
fn place(source: &str, line: usize) -> Option<(&str, usize)> {
    let lines: Vec<&str> = source.lines().take(line).collect();
    let marked = lines.iter().rposition(|line| line.starts_with(FILE_MARK))?;
    Some((lines[marked].strip_prefix(FILE_MARK)?, line.checked_sub(marked + 1).filter(|&line| line > 0)?))
}

fn validate(pass: &Pass, module: &naga::Module) -> ModuleInfo {
    Validator::new(
        ValidationFlags::all(),
        Capabilities::SHADER_INT64 | Capabilities::SHADER_FLOAT16_IN_FLOAT32,
    )
    .validate(module)
    .unwrap_or_else(|error| panic!("{}: {error:?}", pass.name))
}

/// Settings of a module's switches: all off, all on, each alone on, each alone off; with every workgroup size, and one row,
/// several rows, or a row for each invocation, in turn.
pub(super) fn settings(pass: &Pass, variant: Variant) -> Vec<Vec<(&'static str, u32)>> {
    let sizes = [constant::LANES, constant::ROWS, constant::INVOCATIONS, constant::REDUCE_LANES];
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
            let rows = [0, power / 2, power][at % 3];
            let sizes = [
                (constant::LANES, 1 << (power - rows)),
                (constant::ROWS, 1 << rows),
                (constant::INVOCATIONS, 1 << power),
            ];
            sized.push([&setting[..], &sizes].concat());
        }
        return sized;
    }
    if overrides.contains(&constant::REDUCE_LANES) {
        let sized = all.iter().enumerate();
        return sized
            .map(|(at, setting)| [&setting[..], &[(constant::REDUCE_LANES, 1 << (at % 9))]].concat())
            .collect();
    }
    all
}

/// Runs a check on every possible module. They are parsed once for all tests.
pub(super) fn for_every_module(mut check: impl FnMut(&Pass, Variant, &naga::Module, &ModuleInfo)) {
    type Parsed = (&'static Pass, Variant, naga::Module, ModuleInfo);
    static MODULES: OnceLock<Vec<Parsed>> = OnceLock::new();
    let modules = MODULES.get_or_init(|| {
        let mut all = Vec::new();
        for (pass, variant) in modules() {
            let (module, info) = parse(pass, variant);
            all.push((pass, variant, module, info));
        }
        all
    });
    for (pass, variant, module, info) in modules {
        check(pass, *variant, module, info);
    }
}

pub(super) fn named(handle: Option<&String>) -> &str {
    handle.map_or("", String::as_str)
}

/// Every module with all switches off, with all on, and with an eighth of the other settings; a pass's other modules have the
/// other eighths.
#[test]
fn every_module_is_valid_under_every_setting() {
    let mut nth = 0;
    for_every_module(|pass, variant, module, info| {
        nth += 1;
        let settings = settings(pass, variant);
        let half = settings.len() / 2;
        for (at, setting) in settings.into_iter().enumerate() {
            if at % half != 0 && (at + nth) % 8 != 0 {
                continue;
            }
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
fn every_line_of_a_module_leads_to_its_file() {
    let mut seen = std::collections::HashSet::new();
    for (pass, variant) in modules() {
        // Modules with a file that none before had.
        if pass.files(variant).filter(|file| seen.insert(file.path)).count() == 0 {
            continue;
        }
        let source = pass.source(variant);
        let mut before = 0;
        for file in pass.files(variant) {
            assert_eq!(place(&source, before + 1), None, "{}: a mark", file.path);
            let lines = file.text.lines().count();
            // The first line, the last, and one between.
            for line in [1, lines / 2 + 1, lines] {
                assert_eq!(place(&source, before + 1 + line), Some((file.path, line)), "{}", pass.name);
                assert_eq!(
                    source.lines().nth(before + line),
                    file.text.lines().nth(line - 1),
                    "{}",
                    file.path
                );
            }
            before += 1 + lines;
        }
        assert_eq!(source.lines().count(), before, "{}", pass.name);
    }
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

/// An override that is never set is then an error, rather than a module with an unintended default.
#[test]
fn no_override_has_a_default() {
    for_every_module(|pass, _, module, _| {
        for (_, constant) in module.overrides.iter() {
            assert!(constant.init.is_none(), "{}: {}", pass.name, named(constant.name.as_ref()));
        }
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
        if variant.merged || pass.name == "accept_drafts" {
            // Bindings that only the sweep over the segments reads are bound all the same; and so are the packs, where single
            // values are read.
            listed.retain(|bound| found.contains(bound) || bound.1 == Access::Write);
        }
        assert_eq!(found, listed, "{} {variant:?}", pass.name);
        assert!(found.len() <= 8, "{}: WebGPU's default is 8 storage buffers a stage", pass.name);
    });
}

/// Functions that sweep over a row's logits. All others load only a few.
const SWEEPS: [&str; 13] = [
    "sweep_largest",
    "sweep_shares",
    "sweep_changes",
    "sweep_classes",
    "sweep_stats",
    "sweep_output",
    "sweep_packs",
    "sweep_losses",
    "find_candidates",
    "sweep_listed",
    "sweep_moments",
    "sweep_first",
    "sweep_sums",
];
/// Parts of a sweep in separate functions, and loops over a few columns.
const BESIDE: [&str; 20] = [
    "store_raw",
    "change_listed",
    "sweep_target",
    "accepted_drafts",
    "class_at",
    "terms_at",
    "first_left",
    "store_drawn",
    "leave_out",
    "token_at",
    "run_race",
    "sweep_apart",
    "first_of_step",
    "target_part",
    "find_alone",
    "find_together",
    "save_entries",
    "rewrite_entries",
    "refill_output",
    "fill_output",
];

/// Walks the statements of a block and reports for each whether it is in a loop.
fn walk<'a>(block: &'a naga::Block, in_loop: bool, visit: &mut impl FnMut(&'a naga::Statement, bool)) {
    use naga::Statement::{Block, If, Loop, Switch};
    for statement in block {
        visit(statement, in_loop);
        match statement {
            Block(inner) => walk(inner, in_loop, visit),
            If { accept, reject, .. } => {
                walk(accept, in_loop, visit);
                walk(reject, in_loop, visit);
            }
            Switch { cases, .. } => cases.iter().for_each(|case| walk(&case.body, in_loop, visit)),
            Loop { body, continuing, .. } => {
                walk(body, true, visit);
                walk(continuing, true, visit);
            }
            _ => {}
        }
    }
}

/// Whether a function loads logits, directly or through the functions that it calls.
fn loads_logits(module: &naga::Module, function: &naga::Function) -> bool {
    let is_logits = |global: naga::Handle<naga::GlobalVariable>| {
        named(module.global_variables[global].name.as_ref()).starts_with("logit")
    };
    let mut loads = function.expressions.iter().any(
        |(_, expression)| matches!(expression, naga::Expression::GlobalVariable(global) if is_logits(*global)),
    );
    walk(&function.body, false, &mut |statement, _| {
        if let naga::Statement::Call { function, .. } = statement {
            loads |= loads_logits(module, &module.functions[*function]);
        }
    });
    loads
}

/// How many sweeps a function makes, and the functions that it calls. None of them may be in a loop.
fn sweeps(module: &naga::Module, function: &naga::Function, names: &mut Vec<String>) -> u64 {
    let mut count = 0;
    walk(&function.body, false, &mut |statement, in_loop| {
        let naga::Statement::Call { function, .. } = statement else { return };
        let called = &module.functions[*function];
        let name = named(called.name.as_ref());
        if !loads_logits(module, called) || BESIDE.contains(&name) {
            return;
        }
        assert!(!in_loop, "{name} is called in a loop");
        if SWEEPS.contains(&name) {
            names.push(name.to_owned());
            count += 1;
        } else {
            count += sweeps(module, called, names);
        }
    });
    count
}

/// A loss reads the logits once, softmax and gradients at most twice, as the plan counts the bytes.
#[test]
fn logits_are_read_as_often_as_the_plan_says() {
    let mut seen = [0; 3];
    for_every_module(|pass, variant, module, _| {
        if loads_logits(module, &module.entry_points[0].function) {
            let mut names = Vec::new();
            let found = sweeps(module, &module.entry_points[0].function, &mut names);
            let expected = pass.reads(variant);
            assert_eq!(found, expected, "{} {variant:?}: {names:?}", pass.name);
            assert!(found <= 2);
            seen[found as usize] += 1;
        }
    });
    assert!(seen[1] > 0 && seen[2] > 0, "{seen:?}");
}
