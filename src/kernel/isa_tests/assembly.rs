//! The machine code of a compute shader for AMD's GPUs, as RADV tells it, and what its loops cost.

use std::collections::HashMap;

use super::way::way_through;
use crate::kernel::passes::binding;

/// What an instruction does, as far as its cost goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Arithmetic of each lane.
    Lane,
    /// Exponentials, logarithms and reciprocals: a quarter of the rate of other arithmetic.
    Transcendental,
    /// A load or a store of each lane, with its bytes.
    Load(u32),
    Store(u32),
    /// An access to workgroup memory.
    Workgroup,
    /// An access to memory for registers that did not fit.
    Spill,
    Barrier,
    Branch,
    /// What is done once for all lanes.
    Scalar,
}

pub(super) struct Instruction {
    pub kind: Kind,
    /// The binding of a load or store.
    binding: Option<u32>,
}

#[derive(Default)]
pub(super) struct Block {
    name: String,
    pub instructions: Vec<Instruction>,
    /// The blocks that may follow, by index.
    pub next: Vec<usize>,
}

impl Block {
    pub fn has(&self, kind: impl Fn(&Kind) -> bool) -> bool {
        self.instructions.iter().any(|instruction| kind(&instruction.kind))
    }

    pub fn count(&self, kind: impl Fn(&Kind) -> bool) -> usize {
        self.instructions.iter().filter(|instruction| kind(&instruction.kind)).count()
    }

    /// Instructions that each lane takes. What is done once for all lanes, and branches, are not among them.
    pub fn lane_instructions(&self) -> usize {
        self.count(|kind| !matches!(kind, Kind::Scalar | Kind::Branch | Kind::Barrier))
    }
}

/// What one turn of an innermost loop costs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Loop {
    /// Whether it loads logits by packs.
    has_packs: bool,
    /// Logits that a lane loads in a turn.
    pub values: f64,
    /// Instructions of a lane for each logit.
    pub per_value: f64,
    /// The widest load of the array in [`ARRAYS`] whose loads are narrowest, and the widest store, in bytes.
    pub load_bytes: u32,
    pub store_bytes: u32,
}

impl Loop {
    /// A sweep is the loop that takes most logits a turn. The others are for what does not fill a step.
    fn rank(&self) -> (bool, f64, f64) {
        (self.has_packs, self.values, -self.per_value)
    }
}

/// What RADV tells of a pipeline.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Report {
    /// The loop that only reads the logits, and the one that writes a value for each of them.
    pub read: Option<Loop>,
    pub write: Option<Loop>,
    /// Vector registers of a lane.
    pub registers: u64,
    /// Registers that did not fit, and accesses to the memory that they went to.
    pub spills: u64,
    /// Barriers in the text.
    pub barriers: usize,
}

fn kind(operation: &str) -> Kind {
    let starts = |list: &[&str]| list.iter().any(|start| operation.starts_with(start));
    if starts(&["s_barrier"]) {
        Kind::Barrier
    } else if starts(&["s_branch", "s_cbranch", "s_endpgm", "s_setpc"]) {
        Kind::Branch
    } else if starts(&["s_"]) {
        Kind::Scalar
    } else if starts(&["v_exp_", "v_log_", "v_rcp_", "v_rsq_", "v_sqrt_", "v_sin_", "v_cos_"]) {
        Kind::Transcendental
    } else if starts(&["v_"]) {
        Kind::Lane
    } else if starts(&["ds_"]) {
        Kind::Workgroup
    } else if starts(&["scratch_"]) {
        Kind::Spill
    } else if operation.contains("_load") {
        Kind::Load(width(operation))
    } else if operation.contains("_store") {
        Kind::Store(width(operation))
    } else {
        assert!(starts(&["buffer_", "global_"]), "an unknown instruction: {operation}");
        Kind::Scalar // cache control
    }
}

/// The bytes of a load or store for each lane.
fn width(operation: &str) -> u32 {
    match operation.rsplit('_').next().unwrap_or_default() {
        "b128" | "dwordx4" => 16,
        "b96" | "dwordx3" => 12,
        "b64" | "dwordx2" => 8,
        "b32" | "dword" => 4,
        "b16" | "u16" | "i16" | "ushort" | "sshort" | "short" => 2,
        _ => 1,
    }
}

/// Reads a number after a name, such as `s[` in `s[4:7]`.
fn number_after(text: &str, name: &str) -> Option<u32> {
    let digits = text.split_once(name)?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// The blocks of the code. A block ends behind each branch.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut targets: Vec<(usize, String)> = Vec::new();
    // The binding whose descriptor is in the scalar registers from this one on: a descriptor has 16 bytes.
    let mut descriptors: HashMap<u32, u32> = HashMap::new();
    let mut ends = true;
    for line in text.lines().map(str::trim) {
        // "(then repeated 3 times)" stands for fillers behind the end.
        let line =
            if line.starts_with(['#', '(']) { "" } else { line.split(';').next().unwrap_or_default().trim() };
        if let Some(name) = line.strip_suffix(':') {
            blocks.push(Block { name: name.to_owned(), ..Block::default() });
            ends = false;
            continue;
        }
        // Two instructions that are issued at once are in one line.
        if blocks.is_empty() {
            continue; // the name of the part
        }
        for part in line.split("::").map(str::trim).filter(|part| !part.is_empty()) {
            if std::mem::replace(&mut ends, false) {
                blocks.push(Block::default());
            }
            let at = blocks.len() - 1;
            let operation = part.split_whitespace().next().unwrap_or_default();
            let kind = kind(operation);
            if operation.starts_with("s_load_") {
                let last = part.rsplit(',').next().unwrap_or_default().trim();
                let offset = last
                    .strip_prefix("0x")
                    .map_or(last.parse(), |hex| u32::from_str_radix(hex, 16))
                    .unwrap_or_default();
                if let Some(first) = number_after(part, "s[") {
                    let end = number_after(part, ":").unwrap_or(first);
                    for (register, binding) in (first..=end).step_by(4).zip(offset / 16..) {
                        descriptors.insert(register, binding);
                    }
                }
            }
            let binding = match kind {
                Kind::Load(_) | Kind::Store(_) => {
                    number_after(part, " s[").and_then(|first| descriptors.get(&first).copied())
                }
                _ => None,
            };
            blocks[at].instructions.push(Instruction { kind, binding });
            if kind == Kind::Branch {
                ends = true;
                if let Some(at_name) = part.find("BB") {
                    let name = part[at_name..].split_whitespace().next().unwrap_or_default();
                    targets.push((at, name.to_owned()));
                }
                if !operation.starts_with("s_cbranch") {
                    continue;
                }
                let behind = at + 1;
                blocks[at].next.push(behind);
            }
        }
    }
    let places: HashMap<String, usize> =
        blocks.iter().enumerate().map(|(at, block)| (block.name.clone(), at)).collect();
    for (at, name) in targets {
        blocks[at].next.extend(places.get(&name));
    }
    for at in 0..blocks.len() {
        let falls_through = blocks[at].instructions.last().is_none_or(|last| last.kind != Kind::Branch);
        if falls_through {
            blocks[at].next.push(at + 1);
        }
    }
    blocks
}

/// All loops, as ranges of blocks from a loop's head to the last branch back to it.
pub(super) fn loops(blocks: &[Block]) -> Vec<(usize, usize)> {
    let mut ends: HashMap<usize, usize> = HashMap::new();
    for (at, block) in blocks.iter().enumerate() {
        for &head in block.next.iter().filter(|&&head| head <= at) {
            ends.entry(head).and_modify(|end| *end = at.max(*end)).or_insert(at);
        }
    }
    let mut found: Vec<_> = ends.into_iter().collect();
    found.sort_unstable();
    found
}

/// The loops in which there is no other.
fn innermost_loops(blocks: &[Block]) -> Vec<(usize, usize)> {
    let all = loops(blocks);
    let holds = |outer: (usize, usize), inner: (usize, usize)| {
        outer != inner && outer.0 <= inner.0 && inner.1 <= outer.1
    };
    all.iter().copied().filter(|&one| !all.iter().any(|&other| holds(one, other))).collect()
}

/// The widths of the loads, and their bindings; of one binding, or of all.
pub(super) fn loads(blocks: &[Block], of: Option<u32>) -> impl Iterator<Item = (u32, Option<u32>)> {
    blocks.iter().flat_map(|block| &block.instructions).filter_map(move |instruction| {
        match instruction.kind {
            Kind::Load(bytes) if of.is_none() || of == instruction.binding => {
                Some((bytes, instruction.binding))
            }
            _ => None,
        }
    })
}

/// The loop that only reads the logits, and the one that writes a value for each of them, with their blocks.
#[derive(Default)]
pub(super) struct Sweeps {
    read: Option<((usize, usize), Loop)>,
    write: Option<((usize, usize), Loop)>,
}

impl Sweeps {
    pub fn ranges(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.read.iter().chain(&self.write).map(|&(range, _)| range)
    }
}

/// The bindings of arrays with the logits' layout, through which a sweep loads several values at a time.
const ARRAYS: [u32; 4] =
    [binding::LOGIT_PACKS, binding::PROB_PACKS, binding::TEACHER_PACKS, binding::TARGET_QUADS];

/// The narrowest of the widest loads, in bytes, of the arrays that are loaded.
fn narrowest_array<'a>(instructions: impl Iterator<Item = &'a Instruction> + Clone) -> Option<u32> {
    let widest = |array: u32| {
        let loads = instructions.clone().filter(move |one| one.binding == Some(array));
        loads.filter_map(|one| if let Kind::Load(bytes) = one.kind { Some(bytes) } else { None }).max()
    };
    ARRAYS.into_iter().filter_map(widest).min()
}

/// Finds the sweeps over logits of `element_bytes` bytes that are loaded through the binding `packs` (if they are: otherwise
/// through the widest loads).
pub(super) fn sweeps(blocks: &[Block], packs: u32, element_bytes: u32) -> Sweeps {
    let mut found = Sweeps::default();
    for range in innermost_loops(blocks) {
        let way = way_through(blocks, |at| &blocks[at].next, range);
        let way: Vec<&Block> = way.into_iter().map(|at| &blocks[at]).collect();
        let all = || way.iter().flat_map(|block| &block.instructions);
        let load_bytes =
            all().filter_map(|one| if let Kind::Load(bytes) = one.kind { Some(bytes) } else { None });
        let store_bytes =
            all().filter_map(|one| if let Kind::Store(bytes) = one.kind { Some(bytes) } else { None });
        let widest = load_bytes.clone().max().unwrap_or_default();
        let of_packs = all().filter(|one| one.binding == Some(packs));
        let of_packs: u32 =
            of_packs.map(|one| if let Kind::Load(bytes) = one.kind { bytes } else { 0 }).sum();
        let of_widest: u32 = load_bytes.filter(|&bytes| bytes == widest).sum();
        let bytes = if of_packs > 0 { of_packs } else { of_widest };
        if bytes == 0 {
            continue;
        }
        let values = f64::from(bytes) / f64::from(element_bytes);
        let instructions: usize = way.iter().map(|block| block.lane_instructions()).sum();
        let one = Loop {
            has_packs: of_packs > 0,
            values,
            per_value: instructions as f64 / values,
            load_bytes: narrowest_array(all()).unwrap_or(widest),
            store_bytes: store_bytes.max().unwrap_or_default(),
        };
        let place = if one.store_bytes > 0 { &mut found.write } else { &mut found.read };
        if place.as_ref().is_none_or(|(_, other)| one.rank() > other.rank()) {
            *place = Some((range, one));
        }
    }
    found
}

/// Counts the instructions of a pipeline: see [`sweeps`].
pub(super) fn report(text: &str, packs: u32, element_bytes: u32) -> Report {
    let blocks = blocks(text);
    let told = |name: &str| {
        let line =
            text.lines().find_map(|line| line.strip_prefix("## ")?.strip_prefix(name)?.strip_prefix(": "));
        line.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    let count = |wanted: Kind| blocks.iter().map(|block| block.count(|kind| *kind == wanted)).sum::<usize>();
    let found = sweeps(&blocks, packs, element_bytes);
    Report {
        read: found.read.map(|(_, one)| one),
        write: found.write.map(|(_, one)| one),
        registers: told("VGPRs"),
        spills: told("Spilled VGPRs")
            + told("Spilled SGPRs")
            + told("Scratch size")
            + count(Kind::Spill) as u64,
        barriers: count(Kind::Barrier),
    }
}

#[test]
fn a_loop_is_counted() {
    // A loop that loads a pack of binding 2 and stores it, unless it branches to what loads a word.
    let text = "## Spilled VGPRs: 0\n## VGPRs: 24\nBB0:\n\
        s_load_b128 s[4:7], s[2:3], 0x20 ; f408\n\
        s_load_b128 s[8:11], s[2:3], 48\n\
        BB1:\n\
        s_add_i32 s0, s0, 1\n\
        s_cbranch_scc1 BB3\n\
        buffer_load_b128 v[0:3], v4, s[4:7], 0 offen\n\
        v_dual_add_f32 v0, v0, v0 :: v_dual_mul_f32 v1, v1, v1\n\
        v_exp_f32_e32 v0, v0\n\
        buffer_store_b128 v[0:3], v4, s[8:11], 0 offen\n\
        s_branch BB4\n\
        BB3:\n\
        buffer_load_b32 v0, v4, s[4:7], 0 offen\n\
        BB4:\n\
        s_cbranch_scc0 BB1\n\
        s_barrier\n\
        s_endpgm\n\
        (then repeated 3 times)\n";
    let found = report(text, 2, 4);
    let sweep = Loop { has_packs: true, values: 4.0, per_value: 1.25, load_bytes: 16, store_bytes: 16 };
    let expected = Report { read: None, write: Some(sweep), registers: 24, spills: 0, barriers: 1 };
    assert_eq!(found, expected);
    // A second array of pairs, of which a single word is loaded.
    let other = format!("0x{:x} ; f408", 16 * binding::TEACHER_PACKS);
    let narrow = text.replace("48\n", &format!("48\ns_load_b128 s[12:15], s[2:3], {other}\n"));
    let narrow = narrow.replace("v_exp_f32", "buffer_load_b32 v5, v4, s[12:15], 0 offen\nv_exp_f32");
    assert_eq!(report(&narrow, 2, 4).write.map(|one| one.load_bytes), Some(4));
    let spilled = report(&text.replace("Spilled VGPRs: 0", "Spilled VGPRs: 3"), 2, 4);
    assert_eq!(spilled.spills, 3);
}
