// Uses: nothing

// How tokens are drawn from each row: the words of `SamplingRecord`.

const RECORD_WORDS: u32 = 16u;
const RECORD_STEPS: u32 = 0u; // which steps the row has; the values of the steps follow, in the order of their numbers
const RECORD_MIN_KEEP: u32 = 9u;
const RECORD_TEMPERATURE: u32 = 10u; // of the draw; 0 takes the class of the largest logit
const RECORD_DRAW: u32 = 11u;        // the number of the first draw
const RECORD_COUNTER: u32 = 12u;
const RECORD_SEED: u32 = 14u;

override SAMPLING_STEPS: u32; // which steps a row may have: a bit for each
override TRUNCATES: bool;     // whether it may have any

@group(0) @binding(4) var<storage, read> samplings: array<u32>;
