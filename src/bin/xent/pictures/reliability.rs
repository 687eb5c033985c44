//! Confidence against accuracy.

use plotters::prelude::*;
use xent::eval::Reliability;

use super::{Area, Axis, BARS, Drawn, MARK, Table, axis_number, chart, nothing};
use crate::numbers::thousands;

/// The accuracy in each bin of confidence, with the line on which predictions are as good as they are sure.
pub fn draw_reliability(area: &Area<'_>, reliability: &Reliability) -> Drawn<()> {
    if reliability.rows() == 0 {
        return nothing(area, "no row has a prediction");
    }
    let share = |&value: &f64| axis_number(value, 1.0);
    let x = Axis { name: "confidence", range: 0.0..1.0, label: &share };
    let y = Axis { name: "accuracy", range: 0.0..1.0, label: &share };
    let ece = reliability.ece().unwrap_or(f64::NAN);
    let mut chart = chart(area, &format!("Reliability: ECE {:.2} %", 100.0 * ece), x, y)?;
    let bins = || reliability.bins().filter(|bin| bin.rows > 0);
    chart.draw_series(bins().map(|bin| {
        let gap = 0.06 * (bin.range.end - bin.range.start);
        Rectangle::new([(bin.range.start + gap, 0.0), (bin.range.end - gap, bin.accuracy)], BARS.filled())
    }))?;
    chart.draw_series([PathElement::new([(0.0, 0.0), (1.0, 1.0)], MARK.stroke_width(2))])?;
    // Where the confidence of a bin is, which need not be in its middle.
    chart.draw_series(bins().map(|bin| Circle::new((bin.confidence, bin.accuracy), 3, BLACK.filled())))?;
    Ok(())
}

/// What each bar stands for.
pub fn reliability_told(reliability: &Reliability) -> Vec<String> {
    let of = reliability.bins().filter(|bin| bin.rows > 0).map(|bin| {
        let (from, to, rows) = (bin.range.start, bin.range.end, thousands(bin.rows as usize));
        format!("confidence {from:.3} to {to:.3}: accuracy {:.4} of {rows} rows", bin.accuracy)
    });
    of.collect()
}

/// The bins in numbers.
pub fn reliability_table(reliability: &Reliability) -> Table {
    let rows = reliability.bins().filter(|bin| bin.rows > 0).map(|bin| {
        let range = format!("{:.3} to {:.3}", bin.range.start, bin.range.end);
        vec![
            range,
            thousands(bin.rows as usize),
            format!("{:.4}", bin.confidence),
            format!("{:.4}", bin.accuracy),
        ]
    });
    Table {
        title: "bins".to_owned(),
        head: vec!["confidence", "rows", "mean confidence", "accuracy"],
        rows: rows.collect(),
        shades: Vec::new(),
    }
}
