//! Names of classes.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use xent::Result;

use crate::numbers::thousands;
use crate::output::bad_argument;

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
        match vocabulary {
            // Of a unigram model: pairs of a token and its score.
            Value::Array(pairs) => {
                let tokens = pairs.iter().filter_map(|pair| pair[0].as_str().map(str::to_owned));
                names.extend((0..).zip(tokens));
            }
            Value::Object(ids) => {
                let id = |id: &Value| u32::try_from(id.as_u64()?).ok();
                names.extend(ids.iter().filter_map(|(token, of)| Some((id(of)?, token.clone()))));
            }
            _ => {}
        }
        for added in json["added_tokens"].as_array().into_iter().flatten() {
            if let (Some(id), Some(token)) = (added["id"].as_u64(), added["content"].as_str()) {
                names.insert(u32::try_from(id).unwrap_or(u32::MAX), token.to_owned());
            }
        }
        if names.is_empty() {
            return Err("no vocabulary: a JSON object of tokens with their numbers, as in vocab.json or tokenizer.json, is \
                        needed"
                .to_owned());
        }
        Ok(Self(names))
    }

    /// The name of a class, if it has one.
    pub fn get(&self, class: u32) -> Option<&str> {
        self.0.get(&class).map(String::as_str)
    }
}

/// A class by its number, and by its name if it has one: `3 cat`.
pub fn shown(names: Option<&Names>, class: u32) -> String {
    match names.and_then(|names| names.get(class)) {
        Some(name) => format!("{class} {name}"),
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
        ] {
            let why = Names::of(text, 2).expect_err(text);
            assert!(why.contains(says), "{text}: {why}");
        }
        assert_eq!(shown(None, 7), "7");
    }
}
