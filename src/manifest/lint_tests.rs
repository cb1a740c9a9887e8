//! The lint on a broken file, on the shipped one, and on the table of native routes itself.
use time::macros::date;

use super::*;
use crate::{
    manifest::{schema, testing::TABLE},
    routes::table::NATIVE_ROUTES,
};

const SHIPPED: &str = include_str!("../../routes.toml");

fn findings(text: &str, native: &'static [NativeRoute]) -> Vec<Finding> {
    let file = schema::parse("routes.toml", text).unwrap();
    lint(&file, native, &LiteLlmTable::embedded().unwrap(), date!(2026 - 11 - 22))
}

#[test]
fn the_shipped_file_is_clean() {
    assert_eq!(findings(SHIPPED, TABLE), []);
}

#[test]
fn the_shipped_file_is_clean_for_the_real_table() {
    assert_eq!(findings(SHIPPED, NATIVE_ROUTES), []);
}

#[test]
fn the_shipped_modes() {
    let file = schema::parse("routes.toml", SHIPPED).unwrap();
    let native: Vec<&str> =
        file.routes.iter().filter(|entry| entry.mode == Mode::Native).map(|entry| entry.id.as_str()).collect();
    assert_eq!(
        native,
        [
            "models",
            "model_info",
            "key_info",
            "health_liveliness",
            "health_readiness",
            "metrics",
            "chat_completions",
            "messages"
        ]
    );
    assert!(file.routes.iter().all(|entry| entry.accept.is_empty()), "missing spend rows are the operator's choice");
}

/// Every row of the native table is a route of LiteLLM with these methods, and nothing of LiteLLM's comes before it.
#[test]
fn native_rows_are_litellm_routes() {
    let table = LiteLlmTable::embedded().unwrap();
    for row in TABLE.iter().chain(NATIVE_ROUTES) {
        for path in row.paths {
            let pattern = Pattern::parse(path).unwrap();
            for method in row.methods {
                let own = table
                    .routes
                    .iter()
                    .position(|route| route.serves(method.as_str()) && same_shape(&route.pattern, &pattern))
                    .unwrap_or_else(|| panic!("{}: {method} {path} is no LiteLLM route", row.id));
                let before = table.routes.iter().take(own);
                let mut before = before.filter(|route| route.serves(method.as_str()));
                assert!(!before.any(|route| overlaps(&route.pattern, &pattern)), "{}: {method} {path}", row.id);
            }
        }
    }
}

#[test]
fn a_broken_file_is_taken_apart() {
    let text = r#"schema = 1
[[route]]
id = "chat_completion"
mode = "native"
match = { methods = ["POST"], paths = ["/v1/chat/completions"] }
[[route]]
id = "embedings"
mode = "python"
match = { methods = ["POST", "PUT"], paths = ["/v1/embeddings"] }
[[route]]
id = "mcp"
mode = "python"
match = { paths = [
    "/{mcp_server_name}/mcp",
    "/nowhere",
    "/x/mcp",
] }
[[route]]
id = "messages"
mode = "canary"
canary = { percent = 5 }
[route.match]
methods = ["POST", "GET"]
paths = [
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
]
[[route.tolerate]]
what = "an old difference"
why = "because"
until = 2026-11-21
[[route.tolerate]]
what = "one until today"
why = "because"
until = 2026-11-22
"#;
    let found = findings(text, TABLE);
    let found: Vec<(&str, usize, &str)> = found
        .iter()
        .filter(|finding| finding.code != LintCode::Unlisted)
        .map(|finding| (finding.code.as_str(), finding.line, finding.message.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (
                "not_native",
                3,
                "mode `native`, but there is no such native route: unknown id `chat_completion`; did you mean `chat_completions`?"
            ),
            ("unknown_id", 7, "neither a native route nor a family of LiteLLM; did you mean `embeddings`?"),
            ("no_litellm_method", 9, "LiteLLM does not serve PUT at `/v1/embeddings`"),
            ("no_litellm_route", 15, "LiteLLM 1.106.2 has no route at `/nowhere`"),
            ("dead", 16, "`/x/mcp` is part of `/{mcp_server_name}/mcp` just before it"),
            ("no_litellm_method", 25, "LiteLLM does not serve GET at `/v1/messages`"),
            ("not_served", 25, "the native route does not serve GET: it is always Python's"),
            ("no_litellm_method", 26, "LiteLLM does not serve GET at `/v1/messages/count_tokens`"),
            ("not_served", 26, "the native route does not serve `/v1/messages/count_tokens`: it is always Python's"),
            ("no_litellm_method", 27, "LiteLLM does not serve GET at `/v1/embeddings`"),
            ("not_served", 27, "the native route does not serve `/v1/embeddings`: it is always Python's"),
            ("expired_tolerance", 30, "tolerated until 2026-11-21 only: an old difference"),
        ]
    );
}

#[test]
fn a_dead_entry_names_who_takes_its_requests() {
    let text = r#"schema = 1
[[route]]
id = "passthrough"
mode = "python"
match = { methods = ["POST"], paths = ["/openai/*"] }
[[route]]
id = "chat_completions"
mode = "native"
match = { methods = ["POST"], paths = ["/openai/deployments/{model:path}/chat/completions"] }
[[route]]
id = "images"
mode = "python"
match = { methods = ["POST", "GET"], paths = ["/openai/deployments/{model:path}/images/edits"] }
"#;
    let found = findings(text, TABLE);
    let dead: Vec<&Finding> = found.iter().filter(|finding| finding.code == LintCode::Dead).collect();
    assert_eq!(dead.len(), 1, "the last one still gets GET: {dead:?}");
    assert_eq!((dead[0].line, dead[0].route.as_str()), (9, "chat_completions"));
    assert!(dead[0].message.contains("`/openai/*` of `passthrough` on line 5"), "{}", dead[0].message);
}

/// LiteLLM's catch-all pass-through of OpenAI stands after its own routes; a native row behind it would be shadowed.
#[test]
fn a_route_behind_an_earlier_one_of_litellm_is_shadowed() {
    static BEHIND: &[NativeRoute] = &[NativeRoute {
        id: "files",
        methods: &[http::Method::POST],
        paths: &["/{provider}/v1/files"],
        needs_body: false,
        needs_caller: false,
        fetch: None,
        dialect: crate::error::Dialect::OpenAi,
        serves: "",
        declines: &[],
        admit_head: |_, _| Ok(()),
        admit: |_| Err(crate::routes::Decline::Model.into()),
    }];
    let text = "schema = 1\n[[route]]\nid = \"files\"\nmode = \"native\"\nmatch = { methods = [\"POST\"], paths = [\"/{provider}/v1/files\"] }\n";
    let found = findings(text, BEHIND);
    assert!(found.iter().any(|finding| finding.code == LintCode::ShadowedByLiteLlm), "{found:?}");
}

#[test]
fn every_unlisted_family_is_named() {
    let found = findings("schema = 1\n", TABLE);
    assert!(found.iter().all(|finding| finding.code == LintCode::Unlisted));
    let table = LiteLlmTable::embedded().unwrap();
    let groups: std::collections::BTreeSet<&str> = table.routes.iter().map(|route| route.group.as_str()).collect();
    assert_eq!(found.len(), groups.len());
    let without_key = SHIPPED.replace("\"/key/*\", ", "");
    let found = findings(&without_key, TABLE);
    assert!(!found.is_empty() && found.iter().all(|finding| finding.message.contains("/key/")), "{found:?}");
}
