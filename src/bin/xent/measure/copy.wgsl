// The yardstick: a copy of the same bytes, four words at a time.

@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> copied: array<vec4<u32>>;

const INVOCATIONS = 256u;
// Loads per invocation; neighbouring invocations load neighbouring values.
const LOADS = 4u;

@compute @workgroup_size(INVOCATIONS)
fn copy(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (workgroup.y * workgroups.x + workgroup.x) * INVOCATIONS * LOADS + lane;
    for (var at = 0u; at < LOADS; at++) {
        let word = first + at * INVOCATIONS;
        if word < arrayLength(&source) {
            copied[word] = source[word];
        }
    }
}
