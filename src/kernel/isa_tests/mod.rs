//! Counts the instructions of a lane for each logit, in the machine code of a GPU that need not be there: Mesa's RADV
//! compiles for any AMD GPU. `make isa` runs this (`scripts/isa`), and holds the counts to the
//! table of `docs/instructions.md`.

mod assembly;
mod executed;
mod operations;
mod way;

use std::path::{Path, PathBuf};
use std::process::Command;

use naga::back::spv;
use naga::valid::{Capabilities, ValidationFlags, Validator};

use super::passes::{Load, Output, Pass, Target, Variant, binding, constant};
use super::plan::{Plan, Work};
use super::{Needs, Tuning};
use crate::device::{AdapterKind, Profile};
use crate::row_fields::RowFields;
use crate::shape::Shape;
use assembly::{Loop, Report};
use executed::{Executed, Trips};
use operations::{OPERATIONS, Operation};

/// What a limit allows beyond itself: another version of naga or Mesa may take a little more.
const SLACK: f64 = 0.3;
/// What it allows of a whole kernel's, as a share.
const SLACK_SHARE: f64 = 0.02;

/// The bits of a lane's loads and stores in every sweep of logits, whatever the table says.
const SWEEP_BITS: f64 = 128.0;

/// What a loss stores of each row.
const FIELDS: RowFields = RowFields::LOSS.union(RowFields::FLAGS);

const LONG: Shape = Shape::new(4096, 128_256);

/// A kernel: an operation on logits of a type and a shape.
struct Kernel {
    operation: &'static Operation,
    element: &'static str,
    shape: Shape,
    tuning: Option<Tuning>,
}

impl Kernel {
    /// The cells of its row that name it.
    fn begin(&self) -> String {
        let Self { operation, element, shape, .. } = self;
        format!("| {} | {element} | {} × {} | ", operation.name, shape.rows, shape.cols)
    }

    fn element_bytes(&self) -> u64 {
        if self.element == "f32" { 4 } else { 2 }
    }

    fn variant(&self) -> Variant {
        let variant = Variant {
            element: self.element,
            output: Output::Element,
            target: self.operation.target,
            load: Load::Words32,
            merged: false,
            reads_out: false,
            second_view: true,
            trusts_floats: true,
            weighted: false,
        };
        self.operation.pass.fitted(variant)
    }

    /// The plan on a large GPU.
    fn plan(&self) -> Plan {
        let pass = self.operation.pass;
        let work = Work {
            shape: self.shape,
            element_bytes: self.element_bytes(),
            widest_bytes: self.element_bytes(),
            entries: 0,
            writes: pass.writes(),
            splits: false,
            needs: self.operation.searches.map_or_else(|| Needs::of(FIELDS), |needs| needs()),
            tuning: self.tuning,
        };
        Plan::resident(&profile(), work).expect("a plan")
    }

    /// The constants that a call has whose arrays begin at whole packs.
    fn constants(&self) -> Vec<(&'static str, u32)> {
        let (pass, plan) = (self.operation.pass, self.plan());
        let number = |name| self.operation.numbers.iter().find(|number| number.0 == name);
        let value = |name| match name {
            _ if number(name).is_some() => number(name).map_or(0, |number| number.1),
            constant::LANES => plan.seats.lanes,
            constant::ROWS => plan.seats.rows,
            constant::INVOCATIONS => plan.seats.lanes * plan.seats.rows,
            constant::STEPS => u32::from(plan.has_steps()),
            constant::EXCLUDE_TARGET => u32::from(self.operation.target == Target::Class),
            constant::ROW_FIELDS => FIELDS.bits(),
            constant::WHOLE_PACKS | constant::ALIKE | constant::PLAIN_INPUTS | constant::TRUSTS_FLOATS => 1,
            _ => u32::from(self.operation.on.contains(&name)),
        };
        pass.overrides(self.variant()).into_iter().map(|name| (name, value(name))).collect()
    }

    /// The module, from the files as they are now: a change of a shader is counted without a new build.
    fn source(&self) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
        let files = self.operation.pass.files(self.variant());
        files.map(|file| std::fs::read_to_string(folder.join(file.path)).expect("a shader")).collect()
    }

    fn report(&self, assembly: &str) -> Report {
        assembly::report(assembly, binding::LOGIT_PACKS, self.element_bytes() as u32)
    }

    /// What the whole kernel executes for a row.
    fn executed(&self, assembly: &str) -> Executed {
        let plan = self.plan();
        let trips = Trips {
            lanes: plan.seats.lanes,
            cols: self.shape.cols as u32,
            pack: self.operation.pass.pack_values(self.variant()) as u32,
            has_steps: plan.has_steps(),
        };
        let blocks = assembly::blocks(assembly);
        executed::executed(&blocks, binding::LOGIT_PACKS, self.element_bytes() as u32, &trips)
    }
}

/// A large GPU.
fn profile() -> Profile {
    Profile {
        name: "a GPU".to_owned(),
        driver: String::new(),
        backend: wgpu::Backend::Vulkan,
        kind: AdapterKind::Discrete,
        unified_memory: false,
        max_binding_bytes: (1 << 31) - 4,
        max_buffer_bytes: 1 << 32,
        offset_alignment: 32,
        max_workgroups: 65_535,
        max_invocations: 1024,
        workgroup_memory: 32 << 10,
        subgroup_sizes: (32, 64),
        shader_int64: false,
        keeps_specials: true,
    }
}

/// Rows of 65,536 for which the tuning has other lanes.
const SHORTER: [usize; 4] = [4096, 1000, 128, 16];

/// Every operation with each type, and a few with shorter rows.
fn kernels() -> Vec<Kernel> {
    let of = |operation, shape| move |element| Kernel { operation, element, shape, tuning: None };
    let mut kernels: Vec<Kernel> = Vec::new();
    for operation in &OPERATIONS {
        kernels.extend(["f32", "bf16", "f16"].map(of(operation, LONG)));
    }
    for cols in SHORTER {
        for operation in &OPERATIONS[..2] {
            kernels.extend(["f32", "bf16"].map(of(operation, Shape::new(65_536, cols))));
        }
    }
    kernels
}

/// The module as wgpu's Vulkan backend translates it, where the driver checks bounds.
fn spirv(pass: &Pass, source: &str, constants: &[(&'static str, u32)]) -> Vec<u8> {
    let module =
        naga::front::wgsl::parse_str(source).unwrap_or_else(|error| panic!("{}: {error}", pass.name));
    let info = Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32)
        .validate(&module)
        .expect("valid");
    let entry = Some((naga::ShaderStage::Compute, pass.name));
    let constants = constants.iter().map(|&(name, value)| (name.to_owned(), f64::from(value))).collect();
    let (module, info) = naga::back::pipeline_constants::process_overrides(&module, &info, entry, &constants)
        .expect("constants");
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::empty(),
        fake_missing_bindings: true,
        bounds_check_policies: naga::proc::BoundsCheckPolicies {
            index: naga::proc::BoundsCheckPolicy::Restrict,
            ..Default::default()
        },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: true,
        ..Default::default()
    };
    let pipeline =
        spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: pass.name.to_owned() };
    let words = spv::write_vec(&module, &info, &options, Some(&pipeline)).expect("SPIR-V");
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// Compiles modules, and returns the machine code of each.
fn compiled(compiler: &Path, modules: &[(&Pass, Vec<u8>)]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(compiler);
    let mut paths = Vec::new();
    for (at, (pass, module)) in modules.iter().enumerate() {
        let path = folder.path().join(format!("{at}.spv"));
        std::fs::write(&path, module).expect("written");
        command.arg(&path).arg(pass.name);
        paths.push(path.with_extension("spv.asm"));
    }
    let output = command.output().expect("the compiler that XENT_ISA names");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    print!("{}", String::from_utf8_lossy(&output.stdout));
    let read = |path: PathBuf| std::fs::read_to_string(&path).expect("machine code");
    if let Some(kept) = std::env::var_os("XENT_ISA_KEEP") {
        for (at, path) in paths.iter().enumerate() {
            std::fs::copy(path, Path::new(&kept).join(format!("{at}.asm")))
                .expect("the folder that it names");
        }
    }
    paths.into_iter().map(read).collect()
}

/// A kernel's row of the table: instructions of a lane for each logit in the sweep that reads, in the one that writes, and in the
/// whole kernel; the narrowest of their widest loads and the stores in bits; registers; barriers that a row passes.
fn row(kernel: &Kernel, assembly: &str) -> String {
    let mut report = kernel.report(assembly);
    // A loop that writes the results of a search is no sweep.
    report.write = report.write.filter(|_| kernel.operation.pass.writes());
    let Executed { per_value: whole, barriers } = kernel.executed(assembly);
    let dash = || "–".to_owned();
    let (whole, barriers) = match kernel.operation.searches {
        Some(_) => (dash(), dash()),
        None => (format!("{whole:.1}"), barriers.to_string()),
    };
    let per_value =
        |found: &Option<Loop>| found.as_ref().map_or_else(dash, |one| format!("{:.1}", one.per_value));
    let sweeps = || report.read.iter().chain(&report.write);
    let loads = sweeps().map(|one| 8 * one.load_bytes).min().unwrap_or_default();
    let stores = report.write.as_ref().map_or_else(dash, |one| (8 * one.store_bytes).to_string());
    let (read, write, registers) = (per_value(&report.read), per_value(&report.write), report.registers);
    let begin = kernel.begin();
    format!("{begin}{read} | {write} | {whole} | {loads} | {stores} | {registers} | {barriers} |")
}

/// The counts of a row: both sweeps, the whole kernel, and the widths of loads and stores.
fn counts(row: &str) -> [Option<f64>; 5] {
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    [4, 5, 6, 7, 8].map(|at| cells.get(at).and_then(|cell| cell.parse().ok()))
}

/// What is worse in a kernel's row than its limit allows.
fn worse(row: &str, limit: &str) -> Vec<&'static str> {
    let (found, allowed) = (counts(row), counts(limit));
    let more = |at: usize, share: f64| match (found[at], allowed[at]) {
        (Some(found), Some(allowed)) => found > allowed + SLACK.max(share * allowed),
        (found, allowed) => found.is_some() != allowed.is_some(),
    };
    let narrower = |at: usize| found[at] < allowed[at];
    let all = [
        (more(0, 0.0), "instructions in the first sweep"),
        (more(1, 0.0), "instructions in the second sweep"),
        (more(2, SLACK_SHARE), "instructions in the whole kernel"),
        (narrower(3), "width of loads"),
        (narrower(4), "width of stores"),
    ];
    all.into_iter().filter(|&(is, _)| is).map(|(_, what)| what).collect()
}

/// The page with the table of limits. Its rows are the lines that begin with the name of an operation.
fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/instructions.md")
}

fn is_row(line: &str) -> bool {
    OPERATIONS.iter().any(|operation| line.starts_with(&format!("| {} | ", operation.name)))
}

/// Makes these rows the table of the page.
fn write(rows: &[String]) {
    let text = std::fs::read_to_string(page()).expect("the page");
    let (mut lines, mut old): (Vec<&str>, bool) = (Vec::new(), false);
    for line in text.lines() {
        if is_row(line) {
            if !std::mem::replace(&mut old, true) {
                lines.extend(rows.iter().map(String::as_str));
            }
        } else {
            lines.push(line);
        }
    }
    std::fs::write(page(), lines.join("\n") + "\n").expect("written");
}

#[test]
#[ignore = "needs RADV: run `make isa`"]
fn kernels_are_within_their_limits() {
    let compiler = PathBuf::from(std::env::var_os("XENT_ISA").expect("scripts/isa sets XENT_ISA"));
    let kernels = kernels();
    let module = |kernel: &Kernel, source: &str| {
        (kernel.operation.pass, spirv(kernel.operation.pass, source, &kernel.constants()))
    };
    let mut modules: Vec<_> = kernels.iter().map(|kernel| module(kernel, &kernel.source())).collect();
    // A kernel that is worse on purpose: one more exponential for each logit.
    let (source, exponential) = (kernels[0].source(), "return exp2_or_zero(differences(s, base));");
    assert!(source.contains(exponential));
    let slowed = source.replace(exponential, "return exp2_or_zero(differences(s, base)) + exp2(s);");
    modules.push(module(&kernels[0], &slowed));

    let assembly = compiled(&compiler, &modules);
    let rows: Vec<String> = kernels.iter().zip(&assembly).map(|(kernel, text)| row(kernel, text)).collect();
    println!("{}", rows.join("\n"));
    if std::env::var_os("XENT_ISA_WRITE").is_some() {
        write(&rows);
    }
    let text = std::fs::read_to_string(page()).expect("the page");
    let limits: Vec<&str> = text.lines().filter(|line| is_row(line)).collect();
    let limit = |kernel: &Kernel| *limits.iter().find(|row| row.starts_with(&kernel.begin())).unwrap_or(&"");
    let mut failed = Vec::new();
    for ((kernel, text), row) in kernels.iter().zip(&assembly).zip(&rows) {
        for what in worse(row, limit(kernel)) {
            failed.push(format!("{row}\n    {what}: the limit is {}", limit(kernel)));
        }
        for at in [3, 4] {
            if counts(row)[at].is_some_and(|bits| bits < SWEEP_BITS) {
                failed.push(format!(
                    "{row}\n    a sweep of logits loads or stores less than {SWEEP_BITS} bits"
                ));
            }
        }
        let spills = kernel.report(text).spills;
        if spills > 0 {
            failed.push(format!("{row}\n    {spills} registers are spilled"));
        }
    }
    assert!(failed.is_empty(), "worse than docs/instructions.md allows:\n{}", failed.join("\n"));
    assert_eq!(limits.len(), kernels.len(), "a limit for each kernel, and no other");

    let slowed = row(&kernels[0], &assembly[kernels.len()]);
    let more = ["instructions in the first sweep", "instructions in the whole kernel"];
    assert_eq!(worse(&slowed, limit(&kernels[0])), more, "{slowed}");
}

/// Prints what kernels take with each number of lanes to a row, for rows of a few lengths: what the tuning is argued from.
#[test]
#[ignore = "needs RADV: run `scripts/isa --lanes`"]
fn instructions_by_lanes() {
    if std::env::var_os("XENT_ISA_LANES").is_none() {
        return;
    }
    let compiler = PathBuf::from(std::env::var_os("XENT_ISA").expect("scripts/isa sets XENT_ISA"));
    let lanes = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024];
    println!("| operation | type | rows × cols | {} |", lanes.map(|lanes| lanes.to_string()).join(" | "));
    for (cols, operation) in [16, 128, 256, 1000, 2048, 4096, 16_384, 128_256]
        .into_iter()
        .flat_map(|cols| OPERATIONS[..2].iter().map(move |operation| (cols, operation)))
    {
        let with = |lanes: u32| Kernel {
            operation,
            element: "f32",
            shape: Shape::new(65_536, cols),
            tuning: Some(Tuning { words_of_64: false, ..Tuning::fixed(lanes, (128 / lanes).max(1)) }),
        };
        let kernels = lanes.map(with);
        let modules = kernels
            .each_ref()
            .map(|kernel| (operation.pass, spirv(operation.pass, &kernel.source(), &kernel.constants())));
        let assembly = compiled(&compiler, &modules);
        let cells: Vec<String> = kernels
            .iter()
            .zip(&assembly)
            .map(|(kernel, text)| format!("{:.1}", kernel.executed(text).per_value))
            .collect();
        println!("{}{} |", kernels[0].begin(), cells.join(" | "));
    }
}
