//! Changes one route's mode in the text of routes.toml and nothing else: comments, order and layout stay. Pure; the
//! caller has judged the evidence and writes the file.
use toml_edit::{DocumentMut, InlineTable, Item, Value};

use super::{
    matcher::Manifest,
    schema::{self, Mode, SchemaErrors, unknown},
};

/// Why a route is not flipped.
#[derive(Debug, thiserror::Error)]
pub enum FlipError {
    #[error("{0}")]
    UnknownRoute(String),
    #[error("`{0}` has no native route in this build")]
    NotNative(String),
    #[error("`{route}` stays in python: {why}")]
    NoFreshEvidence { route: String, why: &'static str },
    #[error("mode `canary` needs a share: --percent")]
    NoShare,
    #[error("the edited file would be refused: {0}")]
    Schema(#[from] SchemaErrors),
    #[error("the file cannot be edited: {0}")]
    Edit(String),
}

/// Whether the route may have that mode now.
pub fn permitted(manifest: &Manifest, route: &str, mode: Mode, now: std::time::SystemTime) -> Result<(), FlipError> {
    let Some(entry) = manifest.entries.iter().find(|entry| &*entry.id == route) else {
        let known = manifest.entries.iter().map(|entry| &*entry.id);
        return Err(FlipError::UnknownRoute(unknown("route", route, known)));
    };
    if mode == Mode::Python {
        return Ok(());
    }
    if entry.native_route().is_none() {
        return Err(FlipError::NotNative(route.to_owned()));
    }
    match entry.evidence.verdict(now) {
        super::Verdict::Fresh => Ok(()),
        verdict => Err(FlipError::NoFreshEvidence { route: route.to_owned(), why: verdict.why() }),
    }
}

/// The edited text. `percent` and `key` set the canary's share where they are given.
pub fn flip(
    name: &str,
    text: &str,
    route: &str,
    mode: Mode,
    percent: Option<f64>,
    key: Option<&str>,
) -> Result<String, FlipError> {
    let mut document: DocumentMut = text.parse().map_err(|error| FlipError::Edit(format!("{error}")))?;
    let tables = document.get_mut("route").and_then(Item::as_array_of_tables_mut);
    let table = tables.and_then(|tables| {
        tables.iter_mut().find(|table| table.get("id").and_then(Item::as_str).is_some_and(|id| id == route))
    });
    let Some(table) = table else {
        return Err(FlipError::Edit(format!("`{route}` is not written as a [[route]] table")));
    };
    if let Some(item) = table.get_mut("mode") {
        replace(item, mode.as_str().into());
    }
    if percent.is_some() || key.is_some() {
        let canary = table.entry("canary").or_insert_with(|| Item::Value(Value::InlineTable(InlineTable::new())));
        let Some(canary) = canary.as_table_like_mut() else {
            return Err(FlipError::Edit("`canary` is no table".to_owned()));
        };
        let mut set = |name: &str, value: Value| match canary.get_mut(name) {
            Some(item) => replace(item, value),
            None => {
                canary.insert(name, Item::Value(value));
            }
        };
        if let Some(percent) = percent {
            // whole numbers are written as such
            set("percent", if percent.fract() == 0.0 { (percent as i64).into() } else { percent.into() });
        }
        if let Some(key) = key {
            set("key", key.into());
        }
    } else if mode == Mode::Canary && !table.contains_key("canary") {
        return Err(FlipError::NoShare);
    }
    let edited = document.to_string();
    schema::parse(name, &edited)?;
    Ok(edited)
}

/// Keeps the spaces and the comment around a value.
fn replace(item: &mut Item, value: Value) {
    match item.as_value_mut() {
        Some(old) => {
            let decor = old.decor().clone();
            *old = value;
            *old.decor_mut() = decor;
        }
        None => *item = Item::Value(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::testing::{NOW, manifest};

    const FILE: &str = r#"# a head
schema = 1   # why

[[route]]
id = "messages"    # the id
mode   =  "python"    # until evidence is there
# a note
match = { methods = ["POST"], paths = ["/v1/messages"] }

# between

[[route]]
id = "models"
mode = "native"
canary = { percent = 5, key = "ip" } # share
match = { paths = ["/v1/models"] }
[[route]]
id = "key"
mode = "python"
match = { paths = ["/key/*"] }
# the end
"#;

    #[test]
    fn comments_and_layout_stay() {
        let edited = flip("f", FILE, "messages", Mode::Native, None, None).unwrap();
        assert_eq!(edited, FILE.replace("mode   =  \"python\"", "mode   =  \"native\""));
        assert_eq!(flip("f", &edited, "messages", Mode::Python, None, None).unwrap(), FILE, "and back");
        let edited = flip("f", FILE, "models", Mode::Canary, Some(12.5), None).unwrap();
        assert_eq!(
            edited,
            FILE.replace("\"native\"", "\"canary\"")
                .replace("percent = 5, key = \"ip\"", "percent = 12.5, key = \"ip\"")
        );
        let edited = flip("f", FILE, "messages", Mode::Canary, Some(5.0), Some("random")).unwrap();
        let file = schema::parse("f", &edited).unwrap();
        assert_eq!(file.routes[0].canary.unwrap().percent, 5.0);
        assert!(edited.contains("canary = { percent = 5, key = \"random\" }"), "{edited}");
        assert!(edited.contains("# until evidence is there") && edited.ends_with("# the end\n"));
    }

    #[test]
    fn the_shipped_file_survives_a_flip() {
        let shipped = include_str!("../../routes.toml");
        let edited = flip("f", shipped, "chat_completions", Mode::Python, None, None).unwrap();
        let changed = shipped.lines().zip(edited.lines()).filter(|(a, b)| a != b).count();
        assert_eq!((changed, shipped.lines().count()), (1, edited.lines().count()));
    }

    #[test]
    fn what_is_refused() {
        assert!(matches!(flip("f", FILE, "messages", Mode::Canary, None, None), Err(FlipError::NoShare)));
        assert!(matches!(flip("f", FILE, "models", Mode::Canary, Some(101.0), None), Err(FlipError::Schema(_))));
        assert!(matches!(flip("f", FILE, "models", Mode::Canary, None, Some("x")), Err(FlipError::Schema(_))));
        let manifest = manifest(FILE, &["messages"]);
        let ask = |route, mode| permitted(&manifest, route, mode, NOW());
        assert!(ask("messages", Mode::Native).is_ok());
        assert!(ask("models", Mode::Python).is_ok(), "to Python always");
        for mode in [Mode::Native, Mode::Canary] {
            assert!(matches!(ask("models", mode), Err(FlipError::NoFreshEvidence { .. })));
            assert!(matches!(ask("key", mode), Err(FlipError::NotNative(_))));
        }
        let error = ask("message", Mode::Native).unwrap_err().to_string();
        assert_eq!(error, "unknown route `message`; did you mean `messages`?");
    }
}
