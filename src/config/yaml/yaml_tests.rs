use std::path::Path;

use super::*;

/// Every snippet under tests/yaml against what PyYAML made of it.
#[test]
fn the_golden_snippets_load_as_in_pyyaml() {
    // another folder of the same form for longer runs of the generator over other snippets
    let folder = std::env::var_os("YAML_GOLDEN")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/yaml"), std::path::PathBuf::from);
    let mut seen = 0;
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        seen += 1;
        let golden: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
        let ours = parse(&std::fs::read(&path).unwrap());
        let same = match (&ours, golden.get("value")) {
            (Ok(node), Some(value)) => node.value.to_json() == *value,
            (Err(_), None) => true,
            _ => false,
        };
        if !same {
            wrong.push(format!("{}: {:?} but PyYAML {golden}", path.display(), ours.map(|node| node.value.to_json())));
        }
    }
    assert!(seen >= 40, "only {seen} snippets");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn errors_name_the_place_and_no_value() {
    let error = parse(b"a: 1\nkey: 'sk-secret\n").unwrap_err();
    assert!(error.line >= 2 && !error.to_string().contains("secret"), "{error}");
    let error = parse(b"a: 1\nb: \"x\x01\"\n").unwrap_err();
    assert_eq!((error.line, error.column), (2, 6));
}

#[test]
fn lines_are_kept() {
    let node = parse(b"a: 1\n\nb:\n  c: 2\n").unwrap();
    let map = node.value.as_map().unwrap();
    assert_eq!((map.get("a").unwrap().line, map.get("b").unwrap().line), (1, 4));
}

#[test]
fn aliases_do_not_expand_without_bound() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        text += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", "));
    }
    assert!(parse(text.as_bytes()).unwrap_err().problem.contains("too many"));
    let mut text = String::from("m0: &m0 {a: 1, b: 2}\n");
    for i in 1..40 {
        text += &format!("m{i}: &m{i} {{<<: [{}]}}\n", vec![format!("*m{}", i - 1); 8].join(", "));
    }
    assert!(parse(text.as_bytes()).unwrap_err().problem.contains("too many"));
    assert!(parse(b"a: &a [*a]\n").is_err());
    assert!(parse("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn python_texts() {
    let node =
        parse(b"- [1, 2.0, 1e-6, 'it''s', \"q\\\"'\", yes, ~]\n- {a: [1], 1: true, n: ~}\n- 0.000001\n").unwrap();
    let items = node.value.as_list().unwrap();
    assert_eq!(items[0].value.python_str(), r#"[1, 2.0, '1e-6', "it's", 'q"\'', True, None]"#);
    assert_eq!(items[1].value.json_dumps(), r#"{"a": [1], "1": true, "n": null}"#);
    assert_eq!(items[1].value.python_str(), "{'a': [1], 1: True, 'n': None}");
    assert_eq!(items[2].value.python_str(), "1e-06");
}
