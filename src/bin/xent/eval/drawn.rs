//! The pictures and the page of `xent eval`.

use xent::eval::Tally;
use xent::{NO_CLASS, Result};

use crate::names::{self, Names};
use crate::numbers::{decimals, thousands};
use crate::pictures::{
    Mark, Page, Picture, Pictures, Table, Words, draw_histogram, draw_positions, draw_reliability,
    histogram_table, histogram_told, positions_table, positions_told, reliability_table, reliability_told,
};
use crate::report::{Summary, lines};

/// The most classes that have a line of their own; those with the most rows.
const MOST_CLASSES: usize = 200;
/// The most classes of a confusion that can be read.
const MOST_CONFUSED: usize = 40;

/// Draws the results for the logits of this name.
pub fn draw(pictures: &mut Pictures, summary: &Summary<'_>, name: &str, names: Option<&Names>) -> Result<()> {
    let [axis, means] = match summary.loss.name.is_in_nats() {
        true => ["loss of a row, nats", "mean loss, nats"],
        false => ["loss of a row", "mean loss"],
    };
    let words = Words { title: "Row losses", axis, empty: "no row has a finite loss" };
    let tally = summary.tally;
    let command = summary.origin.command();
    let has_classes = summary.loss.name.has_classes();
    let is_of_sequences = (tally.positions().length() as u64) < tally.rows();
    let mut tables = vec![worst(tally, names, is_of_sequences, has_classes)];
    if has_classes && !is_of_sequences {
        tables.extend([confusion(tally, summary.report.cols, names), of_classes(tally, names)]);
    }
    let mut marks = Vec::new();
    marks.extend(summary.finite_mean().map(|at| Mark { name: "mean", at }));
    if has_classes {
        marks.push(Mark { name: "uniform guess", at: (summary.report.cols as f64).ln() });
    }
    let page = Page {
        name,
        what: summary.loss.name.words(),
        lines: &lines(summary),
        first: &[bad_rows(tally)],
        tables: &tables,
        command,
    };
    // Losses of tokens are of all sizes.
    let is_log = is_of_sequences && tally.losses().quantile(0.5).is_some_and(|median| median.value > 0.0);
    let losses = Picture {
        name: "Histogram of the row losses",
        draw: &|area| draw_histogram(area, tally.losses(), &words, (is_log, &marks)),
        table: histogram_table(tally.losses(), &marks),
        told: histogram_told(tally.losses(), is_log),
    };
    let positions = Picture {
        name: "Mean loss by position",
        draw: &|area| draw_positions(area, tally, means),
        table: positions_table(tally, means),
        told: positions_told(tally),
    };
    let reliability = Picture {
        name: "Reliability diagram",
        draw: &|area| draw_reliability(area, tally.reliability()),
        table: reliability_table(tally.reliability()),
        told: reliability_told(tally.reliability()),
    };
    let all = match (has_classes && tally.reliability().rows() > 0, is_of_sequences) {
        (true, true) => vec![losses, positions, reliability],
        // The order of the rows says little where they are no sequences.
        (true, false) => vec![losses, reliability, positions],
        (false, _) => vec![losses, positions],
    };
    pictures.draw(&page, &all)
}

/// The bad rows, with what is wrong with each.
fn bad_rows(tally: &Tally) -> Table {
    let rows = tally.bad_rows().map(|(row, flags)| {
        let names = flags.names().map(|name| name.replace('_', " ")).collect::<Vec<_>>().join(", ");
        vec![thousands(row), names]
    });
    let rows: Vec<_> = rows.collect();
    let title = match tally.bad() {
        bad if bad > rows.len() as u64 => {
            format!("Bad rows: the first {} of {}", rows.len(), thousands(bad as usize))
        }
        _ => "Bad rows".to_owned(),
    };
    Table { title, head: vec!["row", "flags"], rows, shades: Vec::new() }
}

/// The rows with the largest losses.
fn worst(tally: &Tally, names: Option<&Names>, is_of_sequences: bool, has_classes: bool) -> Table {
    let rows = tally.worst_rows().iter().map(|worst| {
        let mut cells = vec![thousands(worst.row)];
        if is_of_sequences {
            cells.extend([thousands(worst.sequence), thousands(worst.position)]);
        }
        let target = Some(worst.target).filter(|&target| target != NO_CLASS);
        cells.push(target.map_or(String::new(), |target| names::shown(names, target)));
        cells.push(decimals(worst.loss.into(), 4));
        if has_classes {
            cells.push(format!("{:.2e}", (-f64::from(worst.loss)).exp()));
        }
        cells
    });
    let mut head = vec!["row"];
    if is_of_sequences {
        head.extend(["sequence", "position"]);
    }
    head.extend(["target", "loss"]);
    if has_classes {
        head.push("e to the −loss");
    }
    Table { title: "Rows with the largest losses".to_owned(), head, rows: rows.collect(), shades: Vec::new() }
}

/// The classes with the most rows.
fn of_classes(tally: &Tally, names: Option<&Names>) -> Table {
    let mut all: Vec<_> =
        (0..).zip(tally.class_figures()).filter(|(_, of)| of.support + of.predicted > 0).collect();
    all.sort_by_key(|(class, of)| (std::cmp::Reverse(of.support), *class));
    let share = |share: f64| if share.is_nan() { String::new() } else { format!("{:.1} %", 100.0 * share) };
    let title = match all.len() {
        0..=MOST_CLASSES => "Classes".to_owned(),
        more => format!("Classes: the {MOST_CLASSES} with the most rows of {}", thousands(more)),
    };
    let rows = all.into_iter().take(MOST_CLASSES).map(|(class, of)| {
        let loss = if of.mean_loss.is_nan() { String::new() } else { decimals(of.mean_loss, 4) };
        let [support, predicted] = [of.support, of.predicted].map(|rows| thousands(rows as usize));
        vec![names::shown(names, class), support, predicted, share(of.recall()), share(of.precision()), loss]
    });
    let head = vec!["class", "rows", "predicted", "recall", "precision", "mean loss, nats"];
    Table { title, head, rows: rows.collect(), shades: Vec::new() }
}

/// Targets by predictions, if they can be read. Each row is shaded by its shares.
fn confusion(tally: &Tally, cols: usize, names: Option<&Names>) -> Table {
    let counts = tally.confusion();
    if !(2..=MOST_CONFUSED).contains(&cols) || counts.iter().all(|&count| count == 0) {
        return Table::default();
    }
    // The predictions have the order of the rows, so that their names are there.
    let (mut rows, mut shades) = (Vec::new(), Vec::new());
    for (class, counts) in (0..).zip(counts.chunks(cols)) {
        let all = counts.iter().sum::<u64>().max(1) as f64;
        let cells =
            counts.iter().map(|&count| if count > 0 { thousands(count as usize) } else { String::new() });
        rows.push([names::shown(names, class)].into_iter().chain(cells).collect());
        shades.push([0.0].into_iter().chain(counts.iter().map(|&count| count as f64 / all)).collect());
    }
    let title = "Confusion: targets down, predictions across in the same order".to_owned();
    Table { title, head: Vec::new(), rows, shades }
}
