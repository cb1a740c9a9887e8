//! The JSON schema and the reference page of routes.toml, both derived from the table of keys.
use serde_json::{Map, Value, json};

use super::{
    keys::{self, Key, Kind},
    values,
};

/// `deploy/routes.schema.json`: for editors; the edge itself checks more (see `schema`).
pub fn json_schema() -> String {
    let mut schema = Map::new();
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), "routes.toml of litellm-rust".into());
    if let Value::Object(root) = object(keys::ROOT) {
        schema.extend(root);
    }
    format!("{:#}\n", Value::Object(schema))
}

fn object(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

fn property(key: &Key) -> Value {
    let mut value = match key.kind {
        Kind::Exactly(number) => json!({ "const": number }),
        Kind::Number { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Text => json!({ "type": "string", "minLength": 1 }),
        Kind::Id => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$" }),
        Kind::Url => json!({ "type": "string", "pattern": "^(http://[^/@?#]+/?|unix:/.+)$" }),
        Kind::Duration => json!({ "type": "string", "pattern": "^[0-9]+[smhd]$" }),
        Kind::Versions => {
            let one = r"\s*(=|==|>=|<=|>|<)\s*[0-9]+(\.[0-9]+){0,3}\s*";
            json!({ "type": "string", "pattern": format!("^{one}(,{one})*$") })
        }
        // a bare TOML date reaches a JSON schema as text
        Kind::Date => json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Choices(words) => {
            json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": { "enum": words } })
        }
        Kind::Methods => {
            json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": { "enum": keys::METHODS } })
        }
        Kind::Paths => json!({
            "type": "array", "minItems": 1, "uniqueItems": true,
            "items": { "type": "string", "pattern": r"^/[^%?#;\\\s]*$" },
        }),
        Kind::Table(keys) => object(keys),
        Kind::Tables(keys) => json!({ "type": "array", "items": object(keys) }),
    };
    if let Value::Object(value) = &mut value {
        value.insert("description".into(), key.doc.into());
    }
    value
}

/// `docs/routes.toml.md`.
pub fn reference_page() -> String {
    let mut page = String::from(
        "# routes.toml\n\n\
         <!-- written from src/manifest/keys.rs; UPDATE_GENERATED=1 cargo test --lib manifest:: writes it anew -->\n\n\
         Says which requests the edge serves itself and which it passes to the Python gateway. The file is checked as a\n\
         whole: an unknown key or value is refused with its line and what would be right. While the edge runs, a changed\n\
         file takes effect within a second, or at once on SIGHUP; a file that is refused changes nothing, the last good\n\
         one stays in force and `GET /edge/routes` says why.\n\n\
         `litellm-rust routes lint` finds what is valid and still wrong: paths that LiteLLM does not have, entries that\n\
         no request reaches, native routes that do not exist, tolerances that have expired, families of LiteLLM's routes\n\
         that nothing lists.\n\n\
         An answer is native only if all of this holds: the entry's mode is `native`, or `canary` and the caller is in\n\
         its share; the path is plain; the kill switch is off; the route's evidence is fresh; the Python gateway's\n\
         version, where known, is in range; and the native route supports everything about the request. Otherwise it is\n\
         Python's, with a counted reason.\n",
    );
    section(&mut page, keys::ROOT, "");
    page
}

fn section(page: &mut String, keys: &[Key], prefix: &str) {
    for key in keys {
        let name = if prefix.is_empty() { key.name.to_owned() } else { format!("{prefix}.{}", key.name) };
        let level = if prefix.is_empty() { "##" } else { "###" };
        let title = if matches!(key.kind, Kind::Tables(_)) { format!("{name}[]") } else { name.clone() };
        page.push_str(&format!("\n{level} `{title}`\n\n{}\n\n", key.doc));
        page.push_str(&format!("- must be: {}\n", values::shape(key.kind)));
        if key.required {
            page.push_str("- required\n");
        } else if !key.default.is_empty() {
            page.push_str(&format!("- default: {}\n", key.default));
        }
        page.push_str(&format!("\n```toml\n{}\n```\n", key.example));
        if let Kind::Table(keys) | Kind::Tables(keys) = key.kind {
            section(page, keys, &title);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest::{gate::Verdict, schema};

    fn up_to_date(file: &str, wanted: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::write(&path, wanted).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == wanted, "{file} is out of date: UPDATE_GENERATED=1 cargo test --lib manifest:: writes it");
    }

    #[test]
    fn the_schema_is_up_to_date() {
        up_to_date("deploy/routes.schema.json", &json_schema());
    }

    #[test]
    fn the_reference_is_up_to_date() {
        up_to_date("docs/routes.toml.md", &reference_page());
    }

    /// Each key's example is itself accepted, so the messages and the page that quote it are right.
    #[test]
    fn every_example_is_valid() {
        fn lines(keys: &[Key], header: &str, out: &mut Vec<(String, String)>) {
            for key in keys {
                match key.kind {
                    Kind::Table(inner) => {
                        let header = format!("{header}{}", key.name);
                        lines(inner, &format!("{header}."), out);
                    }
                    Kind::Tables(inner) => lines(inner, &format!("{header}{}[].", key.name), out),
                    _ => out.push((header.to_owned(), key.example.to_owned())),
                }
            }
        }
        let mut all = Vec::new();
        lines(keys::ROOT, "", &mut all);
        assert!(all.len() > 15);
        for (header, example) in all {
            let base = "[[route]]\nid = \"x\"\nmode = \"python\"\n";
            let full = format!("{base}match = {{ paths = [\"/x\"] }}\n");
            let text = match header.as_str() {
                "" => format!("{example}\n"),
                "route[]." if ["id", "mode", "match"].iter().any(|key| example.starts_with(key)) => {
                    let key = example.split(' ').next().unwrap();
                    let rest = full.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n");
                    let canary = "canary = { percent = 1 }";
                    format!("schema = 1\n{rest}\n{example}\n{canary}\n")
                }
                "route[]." => format!("schema = 1\n{full}{example}\n"),
                "route[].match." if example.starts_with("paths") => {
                    format!("schema = 1\n{base}[route.match]\n{example}\n")
                }
                "route[].match." => format!("schema = 1\n{base}[route.match]\npaths = [\"/x\"]\n{example}\n"),
                "route[].canary." => {
                    let percent = if example.starts_with("percent") { "" } else { "percent = 1\n" };
                    format!("schema = 1\n{full}[route.canary]\n{percent}{example}\n")
                }
                "route[].tolerate[]." => {
                    let rest = ["what = \"a\"", "why = \"b\"", "until = 2026-01-01"];
                    let key = example.split(' ').next().unwrap();
                    let rest: Vec<&str> = rest.into_iter().filter(|line| !line.starts_with(key)).collect();
                    format!("schema = 1\n{full}[[route.tolerate]]\n{}\n{example}\n", rest.join("\n"))
                }
                table => format!("schema = 1\n[{}]\n{example}\n", table.trim_end_matches('.')),
            };
            schema::parse("example", &text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        }
    }

    #[test]
    fn words_are_unique() {
        let verdicts: std::collections::HashSet<&str> = Verdict::ALL.iter().map(|verdict| verdict.as_str()).collect();
        assert_eq!(verdicts.len(), Verdict::ALL.len());
    }
}
