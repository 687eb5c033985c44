//! A harness of cases for the operations that map the values of rows: masked softmax, and the backward of softmax.
//!
//! A case is a batch with its options. [`Tested`] runs it, through host slices or bound to buffers, and compares what
//! comes out with the reference. An operation supplies only what differs: [`Map`].

use xent::{Bound, Context, Element, OutputBuffer, Shape, Tuning};

use crate::harness::{Region, SENTINEL, gpu, in_pass};
use crate::typed::{Expected, To, check, read, same_bits, unwritten};

/// The plan's lanes, and others.
pub const LANES: [Option<u32>; 6] = [None, Some(1), Some(2), Some(8), Some(64), Some(256)];

/// A batch with the options of its operation.
pub trait Map {
    /// The type of its values.
    type E: Element;
    type Op;
    /// What it reads, on the device.
    type Regions;

    fn shape(&self) -> Shape;
    /// What each row is there for; may be empty.
    fn labels(&self) -> &[String];
    /// The options, for messages.
    fn options(&self) -> String;

    fn op(&self, gpu: &Context) -> Self::Op;
    fn tuned(op: Self::Op, tuning: Tuning) -> Self::Op;
    /// What the reference says of a row, each value with what it may be off.
    fn expected_row(&self, row: usize) -> Vec<(f64, f64)>;
    fn host(&self, op: &Self::Op) -> Vec<Self::E>;
    fn regions(&self, gpu: &Context, offsets: Offsets) -> Self::Regions;
    fn bind(&self, op: &Self::Op, regions: &Self::Regions, output: OutputBuffer<'_>) -> Bound;
    /// What is written over in place.
    fn overwritten(regions: &Self::Regions) -> &Region;
}

/// Where the arrays of a bound operation begin, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Offsets {
    pub first: u64,
    /// The second array, if there is one.
    pub second: u64,
    pub output: u64,
}

/// All arrays begin on a pack.
pub const ALIGNED: Offsets = Offsets { first: 256, second: 256, output: 256 };

/// A case with what the reference makes of it.
pub struct Tested<'a, M> {
    pub case: &'a M,
    pub expected: Expected,
    name: String,
}

impl<'a, M: Map> Tested<'a, M> {
    pub fn new(name: &str, case: &'a M) -> Self {
        let expected = (0..case.shape().rows).map(|row| case.expected_row(row)).collect();
        Self { case, expected, name: format!("{name}, {}", case.options()) }
    }

    fn op(&self, gpu: &Context, lanes: Option<u32>) -> M::Op {
        let op = self.case.op(gpu);
        match lanes {
            Some(lanes) => M::tuned(op, Tuning::fixed(lanes, 1)),
            None => op,
        }
    }

    /// Through host slices.
    pub fn host(&self, gpu: &Context, lanes: Option<u32>) -> Vec<M::E> {
        let found = self.case.host(&self.op(gpu, lanes));
        let context = format!("{}, host, {lanes:?}", self.name);
        check(&context, self.case.labels(), self.case.shape(), &found, &self.expected, true);
        found
    }

    /// Bound to buffers, and encoded twice unless it writes over what it reads. The output is of the logits' type, or of
    /// f32 where it goes to that.
    pub fn bound<O: Element>(&self, gpu: &Context, lanes: Option<u32>, to: To, offsets: Offsets) -> Vec<O> {
        let (case, shape) = (self.case, self.case.shape());
        let regions = case.regions(gpu, offsets);
        let output = unwritten::<O>(gpu, offsets.output, shape.len());
        let bound = case.bind(&self.op(gpu, lanes), &regions, to.buffer(&output));
        for _ in 0..if to == To::InPlace { 1 } else { 2 } {
            in_pass(gpu, |pass| bound.encode(pass));
        }
        let written = if to == To::InPlace { M::overwritten(&regions) } else { &output };
        let found = read::<O>(gpu, written, shape.len());
        let context = format!("{}, bound, {to:?}, {lanes:?}, {offsets:?}", self.name);
        // What lies between the rows is the sentinel before and after, in place too.
        check(&context, case.labels(), shape, &found, &self.expected, false);
        found
    }
}

/// A device of small bindings cuts a batch into windows, and changes no bit.
pub fn windows_change_no_bit<M: Map>(case: &M, small: &Context) {
    let tested = Tested::new("windows", case);
    let [few, whole] = [small, gpu()].map(|gpu| tested.host(gpu, None));
    assert!(same_bits(&few, &whole), "host");
    let [few, whole] = [small, gpu()].map(|gpu| tested.bound::<f32>(gpu, None, To::F32, ALIGNED));
    assert!(same_bits(&few, &whole), "bound");
}

/// The outputs of the other rows are not written. Gives those of the first `rows`.
pub fn fewer_rows_than_bound<M: Map<E = f32>>(case: &M, rows: usize) -> Vec<f32> {
    let (gpu, shape) = (gpu(), case.shape());
    let tested = Tested::new("fewer rows", case);
    let (regions, output) = (case.regions(gpu, ALIGNED), unwritten::<f32>(gpu, 256, shape.len()));
    let bound = case.bind(&case.op(gpu), &regions, OutputBuffer::To(output.binding()));
    in_pass(gpu, |pass| bound.encode_rows(pass, rows).expect("fewer rows"));
    let (found, fewer) = (read::<f32>(gpu, &output, shape.len()), shape.with_rows(rows));
    let (found, rest) = found.split_at(fewer.len());
    check("fewer rows", &[], fewer, found, &tested.expected[..rows].to_vec(), false);
    assert!(rest.iter().all(|value| value.to_bits() == SENTINEL), "the rest");
    found.to_vec()
}

/// The first, the last and columns between: the places of a special value in rows of this length.
pub fn places(cols: usize) -> Vec<usize> {
    let mut places = vec![0, 1, cols / 2, cols.saturating_sub(2), cols - 1];
    places.retain(|&at| at < cols);
    places.dedup();
    places
}

/// Bits of either half of [`SENTINEL`], or of all of it.
pub fn sentinel<E: Element>() -> E {
    bytemuck::cast_slice::<u32, E>(&[SENTINEL])[0]
}
