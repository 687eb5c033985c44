//! The loss by position in a sequence.

use plotters::prelude::*;
use xent::eval::{Positions, Tally};

use super::{Area, Axis, BARS, Drawn, MOST_BARS, axis_count, axis_number, chart, nothing};
use crate::numbers::si;

/// The most points of a line.
const MOST_POINTS: usize = 240;

pub fn draw_positions(area: &Area<'_>, tally: &Tally) -> Drawn<()> {
    let positions = tally.positions();
    let runs = runs(positions);
    let means = || runs.iter().flatten().map(|&(_, mean)| mean);
    let (low, high) = (means().fold(f64::INFINITY, f64::min), means().fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return nothing(area, "no position has a finite loss");
    }
    let room = if high > low { 0.06 * (high - low) } else { 0.5 };
    let (low, high) = (low - room, high + room);
    let is_one_sequence = positions.length() as u64 >= tally.rows();
    let (title, x_name) = if is_one_sequence {
        ("Loss by row", "row")
    } else {
        ("Loss by position", "position in the sequence")
    };
    let length = positions.length() as f64;
    let x = Axis {
        name: x_name,
        range: 0.0..length,
        label: &|&at| if length < 1e5 { axis_count(at) } else { si(at, "") },
    };
    let y = Axis { name: "mean loss, nats", range: low..high, label: &|&loss| axis_number(loss, high - low) };
    let mut chart = chart(area, title, x, y)?;
    chart.draw_series(runs.iter().map(|run| PathElement::new(run.clone(), BARS.stroke_width(2))))?;
    // A line of one point would be invisible. A few points are drawn as well, so that they can be seen.
    let is_sparse = means().count() <= MOST_BARS;
    let points = runs.iter().filter(|run| is_sparse || run.len() == 1).flatten();
    chart.draw_series(points.map(|&point| Circle::new(point, 3, BARS.filled())))?;
    Ok(())
}

/// The means by position, as lines without gaps.
fn runs(positions: &Positions) -> Vec<Vec<(f64, f64)>> {
    let means: Vec<_> = positions.means().collect();
    let merged = means.len().div_ceil(MOST_POINTS);
    let mut runs = vec![Vec::new()];
    for (bins, counts) in means.chunks(merged).zip(positions.counts().chunks(merged)) {
        let rows: u64 = counts.iter().sum();
        let (Some((first, _)), Some((last, _))) = (bins.first(), bins.last()) else { continue };
        let sum: f64 =
            bins.iter().zip(counts).filter_map(|((_, mean), &count)| Some((*mean)? * count as f64)).sum();
        match (runs.last_mut(), rows) {
            (Some(run), 1..) => run.push((first.start.midpoint(last.end) as f64, sum / rows as f64)),
            _ => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}
