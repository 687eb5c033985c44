//! A page with everything about a batch: one file that loads nothing else.

use xent::eval::is_safe;

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
    /// What made it.
    pub command: &'a str,
}

impl Page<'_> {
    /// The page with pictures, which are SVG, by their names.
    pub fn html(&self, pictures: &[(&str, String)]) -> String {
        let Self { name, what, lines, command } = self;
        let (tiles, rows): (String, String) = (
            lines.iter().filter(|line| line.tone == Tone::Result).map(tile).collect(),
            lines.iter().filter(|line| line.tone != Tone::Result).map(row).collect(),
        );
        let [name, what, command] = [name, what, command].map(|text| escaped(text));
        let version = env!("CARGO_PKG_VERSION");
        let pictures: String = pictures.iter().map(|(name, svg)| figure(name, svg)).collect();
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
<dl class=\"tiles\">
{tiles}</dl>
<div class=\"pictures\">
{pictures}</div>
<table>
{rows}</table>
<footer>xent {version}: <code>{command}</code></footer>
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
fn figure(title: &str, svg: &str) -> String {
    let svg = svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{title}\" "), 1);
    format!("<figure>\n{svg}</figure>\n")
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
    fn every_colour_of_the_pictures_has_one_in_the_dark() {
        // The way plotters writes black, white and the pictures' own colours.
        for colour in ["#FFFFFF", "#000000", "#0072B2", "#D55E00", "#E1E1E1"] {
            assert!(STYLE.contains(&format!("\"{colour}\"")), "{colour}");
        }
    }
}
