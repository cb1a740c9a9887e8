//! Which routes an entry of a key's `allowed_routes` covers (proxy/auth/route_checks.py
//! `is_virtual_key_allowed_to_call_route`). Pure. A new native route must be added to every group of LiteLLM's that has it.

/// A path, the start of one, a prefix with a star, or one of LiteLLM's groups.
pub(super) fn covers(entry: &str, route: &str) -> bool {
    let chat = || route.ends_with("/chat/completions");
    let group = GROUPS.iter().any(|(name, routes)| {
        *name == entry && routes.iter().any(|listed| *listed == route || *listed == CHAT && chat())
    });
    let below = || route.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    group || below() || entry.strip_suffix('*').is_some_and(|prefix| route.starts_with(prefix))
}

/// Stands for every path of chat completions.
const CHAT: &str = "/chat/completions";

/// The native routes in LiteLLM's groups of routes (proxy/_types.py `LiteLLMRoutes`).
const GROUPS: &[(&str, &[&str])] = &[
    ("llm_api_routes", &[CHAT, "/v1/messages", "/v1/models", "/models", "/v1/model/info", "/model/info"]),
    ("openai_routes", &[CHAT, "/v1/models", "/models"]),
    ("anthropic_routes", &["/v1/messages"]),
    ("info_routes", &["/v1/models", "/models", "/key/info", "/v1/model/info", "/model/info"]),
    ("key_management_routes", &["/key/info"]),
    ("management_routes", &["/key/info", "/model/info"]),
    ("internal_user_routes", &["/key/info"]),
    ("ui_routes", &["/v1/models", "/models", "/key/info", "/v1/model/info", "/model/info"]),
    ("admin_viewer_routes", &["/v1/models", "/models", "/key/info", "/v1/model/info", "/model/info"]),
    ("org_admin_allowed_routes", &["/v1/models", "/models", "/key/info", "/v1/model/info", "/model/info"]),
];

/// Python's `repr` of a list of plain strings.
pub(super) fn python_list(entries: &[String]) -> Option<String> {
    let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '\'' | '\\');
    let quoted: Option<Vec<String>> =
        entries.iter().map(|entry| entry.chars().all(plain).then(|| format!("'{entry}'"))).collect();
    Some(format!("[{}]", quoted?.join(", ")))
}
