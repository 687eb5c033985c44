//! Names of classes.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use xent::Result;

use crate::numbers::thousands;
use crate::output::{bad_argument, one_line};

/// More bytes than a tokenizer has.
const MOST_BYTES: u64 = 256 << 20;

/// The names of classes, by their index.
#[derive(Debug, PartialEq)]
pub struct Names(HashMap<u32, String>);

impl Names {
    /// The names in a file: one a line, a JSON array of them, or the vocabulary of a tokenizer. Lines and arrays have a name for
    /// each of these classes; a vocabulary may be padded.
    pub fn open(path: &Path, classes: usize) -> Result<Self> {
        let refused = |why: String| bad_argument(path.display().to_string(), why);
        let mut text = String::new();
        let file = File::open(path).map_err(|error| refused(error.to_string()))?;
        file.take(MOST_BYTES).read_to_string(&mut text).map_err(|error| refused(error.to_string()))?;
        Self::of(&text, classes).map_err(refused)
    }

    fn of(text: &str, classes: usize) -> Result<Self, String> {
        let of_all = |names: Vec<String>| match names.len() == classes {
            true => Ok(Self((0..).zip(names).collect())),
            false => {
                let [found, needed] = [names.len(), classes].map(thousands);
                Err(format!("it has {found} names, but there are {needed} classes"))
            }
        };
        // Editors on Windows begin a file with a mark of its encoding.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if !text.trim_start().starts_with(['{', '[']) {
            return of_all(text.lines().map(str::to_owned).collect());
        }
        let json: Value =
            serde_json::from_str(text).map_err(|error| format!("JSON not understood: {error}"))?;
        if let Some(all) = json.as_array() {
            let names: Option<Vec<String>> = all.iter().map(|name| Some(name.as_str()?.to_owned())).collect();
            return of_all(names.ok_or("an array of other things than names")?);
        }
        let vocabulary = match &json["model"]["vocab"] {
            Value::Null => &json,
            vocabulary => vocabulary,
        };
        let mut names: HashMap<u32, String> = HashMap::new();
        let id = |token: &str, id: &Value| {
            let class = id.as_u64().and_then(|id| u32::try_from(id).ok());
            class.ok_or_else(|| {
                format!("the token {token:?} has the number {id}: numbers are 0, 1, 2 and so on")
            })
        };
        match vocabulary {
            // Of a unigram model: pairs of a token and its score.
            Value::Array(pairs) => {
                let tokens = pairs.iter().filter_map(|pair| pair[0].as_str().map(str::to_owned));
                names.extend((0..).zip(tokens));
            }
            Value::Object(ids) => {
                // A tokenizer without a vocabulary of its own has other keys.
                let ids = ids.iter().filter(|(_, of)| of.is_number());
                for (token, of) in ids {
                    names.insert(id(token, of)?, token.clone());
                }
            }
            _ => {}
        }
        for added in json["added_tokens"].as_array().into_iter().flatten() {
            if let Some(token) = added["content"].as_str() {
                names.insert(id(token, &added["id"])?, token.to_owned());
            }
        }
        if names.is_empty() {
            return Err("no vocabulary: a JSON object of tokens with their numbers, as in vocab.json or tokenizer.json, is \
                        needed"
                .to_owned());
        }
        if !(0..).take(classes).any(|class| names.contains_key(&class)) {
            let least = names.keys().min().copied().unwrap_or_default();
            return Err(format!(
                "its numbers begin at {least}, but there are {} classes",
                thousands(classes)
            ));
        }
        Ok(Self(names))
    }

    /// The name of a class, if it has one.
    pub fn get(&self, class: u32) -> Option<&str> {
        self.0.get(&class).map(String::as_str)
    }
}

/// A class by its number, and by its name if it has one: `3 cat`. Characters that show nothing are escaped.
pub fn shown(names: Option<&Names>, class: u32) -> String {
    match names.and_then(|names| names.get(class)) {
        Some(name) => format!("{class} {}", one_line(name)),
        None => class.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_kind() {
        for text in [
            "cat\nlarge dog\n",
            "cat\r\nlarge dog",
            "[\"cat\", \"large dog\"]",
            "{\"large dog\": 1, \"cat\": 0}",
            "{\"model\": {\"vocab\": {\"cat\": 0}}, \"added_tokens\": [{\"id\": 1, \"content\": \"large dog\"}]}",
            "{\"model\": {\"vocab\": [[\"cat\", -1.5], [\"large dog\", -2.0]]}}",
            "\u{feff}cat\r\nlarge dog\r\n",
            "\u{feff}[\"cat\", \"large dog\"]",
            "{\"type\": \"x\", \"cat\": 0, \"large dog\": 1}",
        ] {
            let names = Names::of(text, 2).expect(text);
            assert_eq!(
                [0, 1, 2].map(|class| shown(Some(&names), class)),
                ["0 cat", "1 large dog", "2"],
                "{text}"
            );
        }
        for (text, says) in [
            ("cat", "it has 1 names, but there are 2 classes"),
            ("[\"a\", \"b\", \"c\"]", "it has 3 names"),
            ("[1, 2]", "other things than names"),
            ("{\"a\"", "JSON not understood"),
            ("{\"a\": \"b\"}", "no vocabulary"),
            ("{\"a\": 0, \"b\": -1}", "the token \"b\" has the number -1"),
            ("{\"a\": 0, \"b\": 1.5}", "the token \"b\" has the number 1.5"),
            ("{\"a\": 0, \"b\": 4294967296}", "the token \"b\" has the number 4294967296"),
            ("{\"a\": 0, \"added_tokens\": [{\"content\": \"b\"}]}", "the token \"b\" has the number null"),
            ("{\"a\": 7, \"b\": 8}", "its numbers begin at 7, but there are 2 classes"),
        ] {
            let why = Names::of(text, 2).expect_err(text);
            assert!(why.contains(says), "{text}: {why}");
        }
        assert_eq!(shown(None, 7), "7");
        let invisible = Names::of("\u{200b}\na\tb\u{feff}", 2).expect("two names");
        assert_eq!([0, 1].map(|class| shown(Some(&invisible), class)), ["0 \\u{200b}", "1 a\\tb\\u{feff}"]);
    }
}
