//! What a broken routes.toml is told, word by word, and what a good one becomes.
use super::*;

fn errors(text: &str) -> Vec<String> {
    match parse("routes.toml", text) {
        Ok(_) => Vec::new(),
        Err(SchemaErrors(errors)) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// One route with these further lines.
fn with(lines: &str) -> String {
    format!(
        "schema = 1\n[[route]]\nid = \"models\"\nmode = \"python\"\nmatch = {{ paths = [\"/v1/models\"] }}\n{lines}\n"
    )
}

#[test]
fn golden_messages() {
    let cases: &[(&str, &[&str])] = &[
        ("", &["routes.toml:1: schema: missing: write schema = 1"]),
        ("schema = 2", &["routes.toml:1: schema: must be 1, the only version of this format"]),
        ("schema = 1\nrout = []", &["routes.toml:2: rout: unknown key `rout`; did you mean `route`?"]),
        (
            "schema = 1\n[logging]\nx = 1",
            &[
                "routes.toml:2: logging: unknown key `logging`; there is `schema`, `python`, `gate`, `switch` or `route`",
            ],
        ),
        (
            "schema = 1\n[python]\nurl = 1",
            &["routes.toml:3: python.url: must be \"http://host:port\" or \"unix:/path\", is a number"],
        ),
        (
            "schema = 1\n[python]\nurl = \"localhost:4001\"",
            &["routes.toml:3: python.url: must be \"http://host:port\" or \"unix:/path\", is \"localhost:4001\""],
        ),
        (
            "schema = 1\n[python]\nversions = \"1.106\"",
            &[
                "routes.toml:3: python.versions: must be a version range such as \"=1.106.2\" or \">=1.106.2, <1.107\", is \"1.106\"",
            ],
        ),
        (
            "schema = 1\n[gate]\nmax_age = \"1w\"",
            &[
                "routes.toml:3: gate.max_age: must be a duration such as \"30d\", \"12h\", \"90m\" or \"45s\", is \"1w\"",
            ],
        ),
        (
            "schema = 1\n[switch]\n",
            &["routes.toml:2: switch.file: missing: write file = \"/run/litellm-edge/all-python\""],
        ),
        ("schema = 1\ngate = 3", &["routes.toml:2: gate: must be a table, is a number"]),
        ("schema = 1\nroute = 3", &["routes.toml:2: route: must be an array of tables: [[route]], is a number"]),
        (
            "schema = 1\n[[route]]\nid = \"a b\"\n",
            &[
                "routes.toml:2: route[0].match: missing: write match = { methods = [\"POST\"], paths = [\"/v1/chat/completions\"] }",
                "routes.toml:2: route[0].mode: missing: write mode = \"native\"",
                "routes.toml:3: route[0].id: must be 1 to 64 letters, digits, `_`, `-` or `.`, not beginning with `.`, is \"a b\"",
            ],
        ),
        (
            "schema = 1\n[[route]]\nid = \"a\"\nmode = \"natve\"\nmatch = { paths = [] , method = [\"GET\"] }",
            &[
                "routes.toml:4: route[0].mode: unknown value `natve`; did you mean `native`?",
                "routes.toml:5: route[0].match.paths: an empty list says nothing: fill it or leave the key out",
                "routes.toml:5: route[0].match.method: unknown key `method`; did you mean `methods`?",
            ],
        ),
        (
            "schema = 1\n[[route]]\nid = \"a\"\nmode = \"shadow\"\nmatch = { paths = [\"v1\", \"/a\", \"/a\", 3], methods = [\"post\", \"BREW\"] }",
            &[
                "routes.toml:4: route[0].mode: unknown value `shadow`; there is `python`, `canary` or `native`",
                "routes.toml:5: route[0].match.paths[0]: a path starts with `/`",
                "routes.toml:5: route[0].match.paths[2]: `/a` stands twice in the list",
                "routes.toml:5: route[0].match.paths[3]: must be a text, is a number",
                "routes.toml:5: route[0].match.methods[0]: unknown value `post`; did you mean `POST`?",
                "routes.toml:5: route[0].match.methods[1]: unknown value `BREW`; there is `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` or `OPTIONS`",
            ],
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(errors(text), *wanted, "{text}");
    }
}

#[test]
fn golden_messages_of_a_route() {
    let cases: &[(&str, &str)] = &[
        ("canary = { percent = 101 }", "routes.toml:6: route[0].canary.percent: must be between 0 and 100, is 101"),
        (
            "canary = { percent = nan }",
            "routes.toml:6: route[0].canary.percent: must be a number between 0 and 100, is a number",
        ),
        ("canary = { key = \"ip\" }", "routes.toml:6: route[0].canary.percent: missing: write percent = 5"),
        (
            "canary = { percent = 5, key = \"team\" }",
            "routes.toml:6: route[0].canary.key: unknown value `team`; there is `virtual_key`, `ip` or `random`",
        ),
        (
            "providers = [\"OpenAI\"]",
            "routes.toml:6: route[0].providers[0]: unknown value `OpenAI`; did you mean `openai`?",
        ),
        (
            "accept = [\"no_spend_row\"]",
            "routes.toml:6: route[0].accept[0]: unknown value `no_spend_row`; did you mean `no_spend_rows`?",
        ),
        (
            "providers = []",
            "routes.toml:6: route[0].providers: an empty list says nothing: fill it or leave the key out",
        ),
        ("accept = \"no_spend_rows\"", "routes.toml:6: route[0].accept: must be a list of texts, is a text"),
        ("owner = \" \"", "routes.toml:6: route[0].owner: must be a non-empty text, is \" \""),
        (
            "[[route.tolerate]]\nwhat = \"a\"\nwhy = \"b\"\nuntil = \"soon\"",
            "routes.toml:9: route[0].tolerate[0].until: must be a day such as \"2026-12-31\"",
        ),
        ("[[route.tolerate]]\nwhat = \"a\"\nwhy = \"b\"\nuntil = 2026-02-30", "routes.toml:9: not TOML: "),
        (
            "[[route]]\nid = \"models\"\nmode = \"python\"\nmatch = { paths = [\"/x\"] }",
            "routes.toml:7: route[1].id: the id `models` stands already on line 3",
        ),
        (
            "[[route]]\nid = \"x\"\nmode = \"canary\"\nmatch = { paths = [\"/x\"] }",
            "routes.toml:8: route[1].canary: mode `canary` needs the share: write canary = { percent = 5, key = \"ip\" }",
        ),
        ("x = [", "routes.toml:"),
        ("id = \"again\"", "routes.toml:6: not TOML: duplicate key"),
    ];
    for (lines, wanted) in cases {
        let found = errors(&with(lines));
        assert_eq!(found.len(), 1, "{lines}: {found:?}");
        assert!(found[0].starts_with(wanted), "{lines}: {found:?}");
    }
}

#[test]
fn defaults_are_filled_in() {
    let file = parse("routes.toml", &with("")).unwrap();
    assert_eq!(file.versions.to_string(), "=1.106.2");
    assert_eq!(file.max_age, Duration::from_secs(30 * 86_400));
    assert_eq!(file.evidence, "parity-tests/evidence");
    assert_eq!((file.python_url, file.switch_file), (None, None));
    let route = &file.routes[0];
    assert_eq!((route.line, route.paths[0].line), (3, 5));
    assert!(route.methods.is_none() && route.providers.is_none() && route.canary.is_none());
}

#[test]
fn everything_that_is_set_is_read() {
    let text = "schema = 1
[python]
url = \"unix:/run/litellm.sock\"
versions = \">=1.106.2, <1.107\"
[gate]
evidence = \"evidence\"
max_age = \"12h\"
[switch]
file = \"/run/all-python\"
[[route]]
id = \"messages\"
mode = \"canary\"
canary = { percent = 0.5, key = \"random\" }
providers = [\"anthropic\"]
accept = [\"no_spend_rows\"]
owner = \"us\"
[route.match]
methods = [\"POST\"]
paths = [
    \"/v1/messages\",
    \"/x/{y:path}\",
]
[[route.tolerate]]
what = \"w\"
why = \"y\"
until = 2026-12-31
";
    let file = parse("routes.toml", text).unwrap();
    assert_eq!(file.python_url.as_deref(), Some("unix:/run/litellm.sock"));
    assert_eq!(file.versions.to_string(), ">=1.106.2, <1.107");
    assert_eq!((file.evidence.as_str(), file.max_age), ("evidence", Duration::from_secs(43_200)));
    assert_eq!(file.switch_file.as_deref(), Some("/run/all-python"));
    let route = &file.routes[0];
    assert_eq!(route.canary, Some(Canary { percent: 0.5, key: CanaryKey::Random }));
    assert_eq!(route.providers.as_deref(), Some(&["anthropic".to_owned()][..]));
    assert_eq!((route.accept.as_slice(), route.owner.as_deref()), (&["no_spend_rows".to_owned()][..], Some("us")));
    assert_eq!(route.methods.as_deref(), Some(&[Method::POST][..]));
    assert_eq!(route.paths.iter().map(|path| path.line).collect::<Vec<_>>(), [20, 21]);
    assert_eq!(route.tolerate[0].until, time::macros::date!(2026 - 12 - 31));
}

proptest::proptest! {
    /// Whatever stands in the file: an answer, no panic, and every message with a line that exists.
    #[test]
    fn never_panics(text in "(schema = 1|\\[\\[route\\]\\]|id = |\"a\"|mode|match|\\{|\\}|\\[|\\]|paths = |\"/x\"|,|=|\n|1|é|2026-01-01|\\.){0,30}") {
        if let Err(SchemaErrors(errors)) = parse("routes.toml", &text) {
            proptest::prop_assert!(!errors.is_empty());
            let lines = text.matches('\n').count() + 1;
            proptest::prop_assert!(errors.iter().all(|error| (1..=lines).contains(&error.line)));
        }
    }
}
