//! `<run>` in a case: a word that is another one in each phase. What LiteLLM remembers of a key, a team or a user for a
//! minute (windows, counters, refusals) is then no other phase's. Pure.
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::case::{Case, CaseError, parse};

/// What stands in the case.
pub const RUN: &str = "<run>";

/// A new word.
pub fn word() -> String {
    let mut word = uuid::Uuid::new_v4().simple().to_string();
    word.truncate(8);
    word
}

/// It is asked for with another word each time.
pub fn is_fresh(case: &Case) -> bool {
    case.client.is_none() && case.text.contains(RUN)
}

/// The case with `word` in it.
pub fn with(case: &Case, word: &str) -> Result<Case, CaseError> {
    if !is_fresh(case) {
        return Ok(case.clone());
    }
    let file = format!("{}.yaml", case.name);
    let fresh = parse(file.as_ref(), &case.text.replace(RUN, word))?;
    Ok(Case { text: case.text.clone(), ..fresh })
}

/// What became of the word, and what it was: hashes of keys first.
pub fn renames(case: &Case, word: &str) -> Vec<(String, String)> {
    if !is_fresh(case) {
        return Vec::new();
    }
    let part_of_key = |c: char| c.is_ascii_alphanumeric() || "-_<>".contains(c);
    let words = case.text.split(|c| !part_of_key(c));
    let keys = words.filter(|text| text.starts_with("sk-") && text.contains(RUN));
    let hash = |key: &str| {
        let digest = Sha256::digest(key.replace(RUN, word).as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let mut renames: Vec<_> = keys.map(|key| (hash(key), format!("<hash of {key}>"))).collect();
    renames.push((word.to_owned(), RUN.to_owned()));
    renames
}

/// Takes the words out of all texts and names of the tree.
pub fn rename(tree: &mut Value, renames: &[(String, String)]) {
    let renamed = |text: &str| renames.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    match tree {
        Value::String(text) => *text = renamed(text),
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, renames)),
        Value::Object(map) => {
            let old: Map<String, Value> = std::mem::take(map);
            for (name, mut value) in old {
                rename(&mut value, renames);
                map.insert(renamed(&name), value);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_word_goes_in_and_comes_out_with_its_hashes() {
        let text = "route: messages\nwhy: x\nrequest: {method: POST, path: /v1/messages, key: 'raw:sk-a-<run>-1', json: {user: 'u-<run>'}}\nexpect: native\n";
        let case = parse(Path::new("cases/messages/x.yaml"), text).unwrap();
        assert!(is_fresh(&case));
        let word = word();
        let fresh = with(&case, &word).unwrap();
        assert_eq!(fresh.name, case.name);
        assert_eq!(fresh.requests[0].json.as_ref().unwrap()["user"], format!("u-{word}"));
        let hash = renames(&case, &word)[0].0.clone();
        assert_eq!(hash.len(), 64);
        let mut tree = json!({format!("{{api_key:{hash}}}:requests"): [format!("u-{word}")], "n": 1});
        rename(&mut tree, &renames(&case, &word));
        assert_eq!(tree, json!({"{api_key:<hash of sk-a-<run>-1>}:requests": ["u-<run>"], "n": 1}));
        let plain = parse(Path::new("cases/messages/x.yaml"), &text.replace("<run>", "r")).unwrap();
        assert!(!is_fresh(&plain) && renames(&plain, &word).is_empty());
    }
}
