//! Histograms.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use xent::eval::{EqualBins, Histogram};

use super::{Area, Axis, BARS, Drawn, FONT, MARK, MOST_BARS, Table, axis_count, axis_number, chart, nothing};
use crate::numbers::{decimals, si, thousands};
use crate::report::{digits, of_quantile};

/// The bars on a logarithmic axis: fewer than there are bins in the octaves of most losses.
const MOST_LOGARITHMS: usize = 48;

/// What a histogram is of: its title, the name of its axis with the unit, and what is said where it is empty.
pub struct Words {
    pub title: &'static str,
    pub axis: &'static str,
    pub empty: &'static str,
}

/// A line in a histogram, with its name.
pub struct Mark {
    pub name: &'static str,
    pub at: f64,
}

/// The bars of these values, with a line at the median and at each of the marks. `is_log` puts them on a logarithmic axis, on
/// which values of 0 and below have no place.
pub fn draw_histogram(
    area: &Area<'_>,
    values: &Histogram,
    words: &Words,
    (is_log, marks): (bool, &[Mark]),
) -> Drawn<()> {
    let bars = if is_log { Bars::of_logarithms(values) } else { Bars::of(values) };
    let Some(bars) = bars else { return nothing(area, words.empty) };
    let on_axis = |value: f64| if is_log { value.log10() } else { value };
    let median = values.quantile(0.5).map_or(f64::NAN, |quantile| quantile.value);
    let digits = values.quantile(0.5).map_or(0, |quantile| digits(2.0 * quantile.within));
    let median_text = decimals(median, digits);
    let title = match bars.beyond {
        0 => format!("median {median_text}"),
        beyond => format!("median {median_text}, {} rows not shown", thousands(beyond as usize)),
    };
    let highest = bars.bars.iter().map(|&(.., count)| count).max().unwrap_or(1) as f64;
    // The names of the lines are above the bars.
    let top = (1.05 + 0.08 * (1 + marks.len()) as f64) * highest;
    let x = Axis {
        name: words.axis,
        range: bars.start..bars.end,
        label: &|&loss| match is_log {
            true => power_of_ten(loss),
            false => axis_number(loss, bars.end - bars.start),
        },
    };
    let y = Axis {
        name: "rows",
        range: 0.0..top,
        label: &|&rows| if highest < 1e4 { axis_count(rows) } else { si(rows, "") },
    };
    let mut chart = chart(area, &format!("{}: {title}", words.title), x, y)?;
    chart.draw_series(bars.bars.iter().filter(|&&(.., count)| count > 0).map(|&(start, end, count)| {
        // A narrow gap between two bars.
        let gap = 0.06 * (end - start);
        Rectangle::new([(start + gap, 0.0), (end - gap, count as f64)], BARS.filled())
    }))?;
    let lines = [Mark { name: "median", at: median }];
    let lines = lines
        .iter()
        .map(|mark| (mark, MARK.stroke_width(2)))
        .chain(marks.iter().map(|mark| (mark, BLACK.into())));
    // The names are one below the other, so that they do not overlap.
    for (at, (mark, style)) in lines.enumerate() {
        let x = on_axis(mark.at);
        if !(bars.start..bars.end).contains(&x) {
            continue;
        }
        chart.draw_series([PathElement::new([(x, 0.0), (x, top)], style)])?;
        let is_right = x > bars.start.midpoint(bars.end);
        let (side, gap) = if is_right { (HPos::Right, -0.01) } else { (HPos::Left, 0.01) };
        let place = (x + gap * (bars.end - bars.start), top - (0.02 + 0.07 * at as f64) * highest);
        let font = (FONT, 14).into_font().color(&BLACK).pos(Pos::new(side, VPos::Top));
        chart.draw_series([Text::new(mark.name, place, font)])?;
    }
    Ok(())
}

/// Bars of equal width, and the number of rows outside them.
#[derive(Debug, PartialEq)]
struct Bars {
    start: f64,
    end: f64,
    /// The start, end and rows of each.
    bars: Vec<(f64, f64, u64)>,
    beyond: u64,
}

impl Bars {
    /// All values in as many bars as can be drawn. If the outermost rows, one in a thousand, would take more than half
    /// of the width, they are left out.
    fn of(losses: &Histogram) -> Option<Self> {
        let inner = losses.without_outermost(losses.rows() / 2_000);
        let span = |of: &Histogram| of.range().map(|(min, max)| f64::from(max) - f64::from(min));
        let drawn = if 2.0 * span(&inner)? < span(losses)? { &inner } else { losses };
        let EqualBins { start, width, counts, .. } = drawn.equal_bins(MOST_BARS);
        let edge = |bar: usize| start + bar as f64 * width;
        let bars: Vec<_> =
            counts.iter().enumerate().map(|(bar, &count)| (edge(bar), edge(bar + 1), count)).collect();
        let drawn: u64 = bars.iter().map(|&(.., count)| count).sum();
        let (start, end) = (bars.first()?.0, bars.last()?.1);
        Some(Self { start, end, bars, beyond: losses.rows() - drawn })
    }

    /// The values above 0 by their decimal logarithms, in bars of equal width there. The outermost rows, one in a thousand, are
    /// left out.
    fn of_logarithms(losses: &Histogram) -> Option<Self> {
        let inner = losses.without_outermost(losses.rows() / 2_000);
        // The bin of 0 begins there, although it holds the smallest numbers, too.
        let middles = || {
            let bins = inner.bins().filter(|(bin, count)| *count > 0 && bin.start > 0.0);
            bins.map(|(bin, count)| (f64::midpoint(bin.start, bin.end), count))
        };
        let logarithms = || middles().map(|(middle, count)| (middle.log10(), count));
        let ends = logarithms()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (x, _)| (low.min(x), high.max(x)));
        let (start, end) = (ends.0 - 0.02, ends.1 + 0.02);
        if start > end {
            return None;
        }
        let width = (end - start) / MOST_LOGARITHMS as f64;
        let mut bars: Vec<_> = (0..MOST_LOGARITHMS)
            .map(|bar| (start + bar as f64 * width, start + (bar + 1) as f64 * width, 0))
            .collect();
        for (x, count) in logarithms() {
            let bar = (((x - start) / width) as usize).min(MOST_LOGARITHMS - 1);
            bars[bar].2 += count;
        }
        let drawn: u64 = bars.iter().map(|&(.., count)| count).sum();
        Some(Self { start, end, bars, beyond: losses.rows() - drawn })
    }
}

/// The label of a decimal logarithm: that of its power, where it is whole or stands for 2 or 5 of them.
fn power_of_ten(logarithm: f64) -> String {
    let value = 10f64.powf(logarithm);
    if (1e-3..1e4).contains(&value) {
        format!("{value:.2e}").parse::<f64>().map_or(String::new(), |value| value.to_string())
    } else {
        format!("{value:.0e}")
    }
}

/// What each bar holds.
pub fn histogram_told(values: &Histogram, is_log: bool) -> Vec<String> {
    let bars = if is_log { Bars::of_logarithms(values) } else { Bars::of(values) };
    let Some(Bars { start, end, bars, .. }) = bars else { return Vec::new() };
    let edge = |at: f64| match is_log {
        true => format!("{:.3e}", 10f64.powf(at)),
        false => decimals(at, digits((end - start) / MOST_BARS as f64)),
    };
    let drawn = bars.iter().filter(|&&(.., count)| count > 0);
    let rows = |count: u64| {
        if count == 1 { "1 row".to_owned() } else { format!("{} rows", thousands(count as usize)) }
    };
    drawn.map(|&(from, to, count)| format!("{} to {}: {}", edge(from), edge(to), rows(count))).collect()
}

/// The quantiles of a histogram.
pub fn histogram_table(values: &Histogram, marks: &[Mark]) -> Table {
    let mut rows: Vec<Vec<String>> =
        marks.iter().map(|mark| vec![mark.name.to_owned(), decimals(mark.at, 6)]).collect();
    if let Some((min, max)) = values.range() {
        rows.push(vec!["least".to_owned(), decimals(min.into(), 6)]);
        for percent in [1, 5, 25, 50, 75, 95, 99] {
            let quantile = values.quantile(f64::from(percent) / 100.0).map_or(String::new(), of_quantile);
            rows.push(vec![format!("{percent} % are below"), quantile]);
        }
        rows.push(vec!["largest".to_owned(), decimals(max.into(), 6)]);
    }
    Table { title: "quantiles".to_owned(), head: vec!["", "value"], rows, shades: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(losses: impl IntoIterator<Item = f32>) -> Histogram {
        let mut histogram = Histogram::default();
        losses.into_iter().for_each(|loss| histogram.add(loss));
        histogram
    }

    #[test]
    fn bars_hold_every_row_or_say_how_many_they_do_not() {
        let usual = |rows: usize| (0..rows).map(move |row| (row % 97) as f32 * 0.1);
        for (name, histogram, beyond) in [
            ("one row", of([2.5]), 0),
            ("usual", of(usual(5_000)), 0),
            ("an outlier among few", of(usual(1_000).chain([900.0])), 0),
            ("an outlier among many", of(usual(5_000).chain([900.0])), 1),
            ("one on each side", of([-900.0].into_iter().chain(usual(5_000)).chain([900.0])), 2),
        ] {
            let bars = Bars::of(&histogram).unwrap();
            assert_eq!(bars.beyond, beyond, "{name}");
            assert!(bars.bars.len() <= MOST_BARS, "{name}: {}", bars.bars.len());
            let drawn: u64 = bars.bars.iter().map(|&(.., count)| count).sum();
            assert_eq!(drawn + beyond, histogram.rows(), "{name}");
            assert!(bars.bars.windows(2).all(|pair| pair[0].1 == pair[1].0), "{name}");
        }
        assert_eq!(Bars::of(&of([])), None);
    }

    #[test]
    fn logarithms_hold_every_row_above_0() {
        let losses = (0..3_000).map(|row| 1e-6 * 1.006f32.powi(row)).chain([0.0, 0.0]);
        let bars = Bars::of_logarithms(&of(losses)).unwrap();
        let drawn: u64 = bars.bars.iter().map(|&(.., count)| count).sum();
        // One in a thousand at each end is left out: the zeros, and one of the largest.
        assert!(bars.beyond >= 2 && bars.beyond <= 4, "{}", bars.beyond);
        assert_eq!(drawn + bars.beyond, 3_002);
        assert!(bars.start < -5.9 && bars.end > 1.6 && bars.bars.len() == MOST_LOGARITHMS, "{bars:?}");
        // Nearly as many in each.
        let ends = bars.bars.iter().fold((u64::MAX, 0), |(low, high), &(.., n)| (low.min(n), high.max(n)));
        assert!(ends.0 > 40 && ends.1 < 90, "{ends:?}");
        assert_eq!(Bars::of_logarithms(&of([])), None);
        assert_eq!(Bars::of_logarithms(&of([0.0, -1.0])), None);
        assert_eq!([-5.0, -2.0, 0.0, 0.5, 3.0].map(power_of_ten), ["1e-5", "0.01", "1", "3.16", "1000"]);
    }
}
