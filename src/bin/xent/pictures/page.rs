//! A page with everything about a batch: one file that loads nothing else.

use xent::eval::is_safe;

use super::{Picture, Table};
use crate::report::{Line, Tone};

const STYLE: &str = include_str!("page.css");
/// With this policy nothing is fetched and nothing runs, whatever a name may hold.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// What a page says.
pub struct Page<'a> {
    /// The name of what it is about.
    pub name: &'a str,
    /// What was computed.
    pub what: &'a str,
    pub lines: &'a [Line],
    /// What needs attention, before the figures.
    pub first: &'a [Table],
    /// What follows the pictures.
    pub tables: &'a [Table],
    /// What made it.
    pub command: &'a str,
}

impl Page<'_> {
    /// The page with pictures, which are SVG, by their names.
    pub fn html(&self, pictures: &[(&Picture<'_>, String)]) -> String {
        let Self { name, what, lines, first, tables, command } = self;
        let of = |tone: Tone| lines.iter().filter(move |line| line.tone == tone);
        let tiles: String = of(Tone::Result).map(tile).collect();
        let rows: String = of(Tone::Plain).map(row).collect();
        // What needs attention comes first.
        let warnings: String = of(Tone::Warning).map(row).collect();
        let warnings = match warnings.is_empty() {
            true => String::new(),
            false => format!("<table class=\"warnings\">\n{warnings}</table>\n"),
        };
        let [first, tables] = [first, tables].map(|tables| -> String {
            tables.iter().filter(|table| !table.rows.is_empty()).map(section).collect()
        });
        let [name, what, command] = [name, what, command].map(|text| escaped(text));
        let version = env!("CARGO_PKG_VERSION");
        let pictures: String = pictures.iter().map(|(picture, svg)| figure(picture, svg)).collect();
        format!(
            "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta name=\"color-scheme\" content=\"light dark\">
<title>{name}: {what}</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
<h1>{name}</h1>
{warnings}{first}<dl class=\"tiles\">
{tiles}</dl>
<div class=\"pictures\">
{pictures}</div>
<table>
{rows}</table>
{tables}<footer>xent {version}: <code>{command}</code></footer>
</main>
</body>
</html>
"
        )
    }
}

fn tile(Line { name, value, .. }: &Line) -> String {
    format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escaped(name), escaped(value))
}

fn row(Line { name, value, tone }: &Line) -> String {
    let class = if *tone == Tone::Warning { " class=\"warning\"" } else { "" };
    format!(
        "<tr><th scope=\"row\">{}</th><td{class}>{}</td></tr>\n",
        escaped(name.trim()),
        escaped(value).replace(" %", "&nbsp;%")
    )
}

/// A picture. It is the crate's own SVG, so it needs no escapes, but it gets a name for readers who cannot see it.
/// Its numbers are behind it.
fn figure(Picture { name, table, told, .. }: &Picture<'_>, svg: &str) -> String {
    let svg =
        with_titles(svg, told).replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{name}\" "), 1);
    let numbers = match table.rows.is_empty() {
        true => String::new(),
        false => {
            let title = escaped(&table.title);
            format!("<details><summary>{title}</summary>{}</details>\n", cells(table))
        }
    };
    format!("<figure>\n{svg}{numbers}</figure>\n")
}

/// The picture with a title in each of its bars and points, which a browser shows under the pointer. If there are others than
/// are told, they have none.
fn with_titles(svg: &str, told: &[String]) -> String {
    let is_told = |line: &str| {
        let is_shape = ["<rect ", "<circle "].iter().any(|start| line.starts_with(start));
        is_shape && line.contains("fill=\"#0072B2\"") && line.ends_with("/>")
    };
    if svg.lines().filter(|line| is_told(line)).count() != told.len() {
        return svg.to_owned();
    }
    let mut told = told.iter();
    let mut titled = String::with_capacity(svg.len());
    for line in svg.lines() {
        match is_told(line).then(|| told.next()).flatten() {
            Some(text) => {
                let tag = if line.starts_with("<rect ") { "rect" } else { "circle" };
                let open = line.trim_end_matches("/>");
                titled.push_str(&format!("{open}><title>{}</title></{tag}>\n", escaped(text)));
            }
            None => titled.extend([line, "\n"]),
        }
    }
    titled
}

fn section(table: &Table) -> String {
    format!("<h2>{}</h2>\n<div class=\"wide\">{}</div>\n", escaped(&table.title), cells(table))
}

/// A table that may be wider than the page. Its cells may be shaded.
fn cells(table: &Table) -> String {
    let head: String =
        table.head.iter().map(|name| format!("<th scope=\"col\">{}</th>", escaped(name))).collect();
    let mut html = format!("<table class=\"cells\">\n<tr>{head}</tr>\n");
    for (row, values) in table.rows.iter().enumerate() {
        html.push_str("<tr>");
        for (at, value) in values.iter().enumerate() {
            let shade =
                table.shades.get(row).and_then(|shades| shades.get(at)).copied().filter(|&shade| shade > 0.0);
            let style =
                shade.map_or(String::new(), |shade| format!(" style=\"--shade:{:.0}%\"", 60.0 * shade));
            html.push_str(&format!("<td{style}>{}</td>", escaped(value)));
        }
        html.push_str("</tr>\n");
    }
    html + "</table>"
}

/// Escapes any text for a page. Characters that control a terminal or reverse the writing direction become �.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if !is_safe(c) => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_and_nothing_else() {
        for (text, expected) in [
            ("logits.npy", "logits.npy"),
            ("größe 日本.npy", "größe 日本.npy"),
            ("<script>alert('1')</script>", "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"),
            ("a & \"b\"", "a &amp; &quot;b&quot;"),
            ("a\u{200f}\u{61c}\u{2028}b", "a\u{fffd}\u{fffd}\u{fffd}b"),
            ("a\u{1b}[31m\nb\u{202e}c", "a\u{fffd}[31m\u{fffd}b\u{fffd}c"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn bars_have_titles() {
        let svg =
            "<svg>\n<rect fill=\"#FFFFFF\"/>\n<rect fill=\"#0072B2\"/>\n<circle fill=\"#0072B2\"/>\n</svg>\n";
        let titled = with_titles(svg, &["a < b".to_owned(), "c".to_owned()]);
        assert_eq!(
            titled,
            "<svg>\n<rect fill=\"#FFFFFF\"/>\n<rect fill=\"#0072B2\"><title>a &lt; b</title></rect>\n\
             <circle fill=\"#0072B2\"><title>c</title></circle>\n</svg>\n"
        );
        assert_eq!(with_titles(svg, &["a".to_owned()]), svg);
    }

    #[test]
    fn every_colour_of_the_pictures_has_one_in_the_dark() {
        // The way plotters writes black, white and the pictures' own colours.
        for colour in ["#FFFFFF", "#000000", "#0072B2", "#D55E00", "#E1E1E1", "#BEDAEC"] {
            assert!(STYLE.contains(&format!("\"{colour}\"")), "{colour}");
        }
    }
}
