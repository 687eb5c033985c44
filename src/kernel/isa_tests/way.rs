//! The usual way through a kernel's code.

use super::assembly::{Block, Kind, loads};

/// What blocks on a way through a loop move and cost. Of two ways, the better one moves more bytes with the widest loads, with
/// stores and between lanes, then has more exponentials, then fewer instructions. (Loads that are narrower are for packs that do
/// not lie at whole packs of memory.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    moved: u32,
    transcendental: u32,
    fewer: std::cmp::Reverse<u32>,
}

impl Way {
    fn of(block: &Block, widest: u32) -> Self {
        let moved = block.instructions.iter().map(|instruction| match instruction.kind {
            Kind::Load(bytes) if bytes == widest => bytes,
            Kind::Store(bytes) => bytes,
            Kind::Workgroup => 4,
            _ => 0,
        });
        Self {
            moved: moved.sum(),
            transcendental: block.count(|kind| matches!(kind, Kind::Transcendental)) as u32,
            fewer: std::cmp::Reverse(block.instructions.len() as u32),
        }
    }

    fn then(self, other: Self) -> Self {
        Self {
            moved: self.moved + other.moved,
            transcendental: self.transcendental + other.transcendental,
            fewer: std::cmp::Reverse(self.fewer.0 + other.fewer.0),
        }
    }
}

/// The blocks of the best way from a loop's head back to it, or from the first block of the code to its end. `next` gives the
/// blocks that may follow one.
pub(super) fn way_through<'a>(
    blocks: &[Block],
    next: impl Fn(usize) -> &'a [usize],
    (head, end): (usize, usize),
) -> Vec<usize> {
    let widest = loads(&blocks[head..=end], None).map(|(bytes, _)| bytes).max().unwrap_or_default();
    let mut best: Vec<Option<(Way, usize)>> = vec![None; end + 1];
    for at in (head..=end).rev() {
        let own = Way::of(&blocks[at], widest);
        let ends = next(at).is_empty().then_some((own, head));
        let ways = next(at).iter().filter_map(|&next| match next {
            next if next == head => Some((own, head)),
            next if next > at && next <= end => best[next].map(|(way, _)| (own.then(way), next)),
            _ => None,
        });
        best[at] = ways.chain(ends).max_by_key(|&(way, _)| way);
    }
    let mut way = vec![head];
    let mut at = head;
    while let Some((_, next)) = best[at] {
        if next == head {
            return way;
        }
        way.push(next);
        at = next;
    }
    (head..=end).collect()
}
