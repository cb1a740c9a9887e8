//! Model name -> provider, by litellm_core_utils/get_llm_provider_logic.py `get_llm_provider`. Pure.
//! It is exact for OpenAI and Anthropic; where another provider or an error comes out, [`Provider::Other`] says so and
//! the deployment declines. It must never call another provider's model OpenAI's or Anthropic's.
use super::{
    Provider,
    prices::PriceMap,
    provider_table::{ENDPOINTS, PROVIDERS},
};

/// What LiteLLM makes of `litellm_params.model`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inferred {
    pub(crate) provider: Provider,
    /// without the provider's prefix: what the provider is asked for
    pub(crate) model: String,
}

impl Inferred {
    fn new(provider: &str, model: &str) -> Self {
        let provider = match provider {
            "openai" => Provider::OpenAi,
            "anthropic" => Provider::Anthropic,
            other => Provider::Other(other.to_owned()),
        };
        Self { provider, model: model.to_owned() }
    }
}

/// `None`: LiteLLM refuses the model and skips the deployment.
pub(crate) fn infer(
    model: &str,
    explicit: Option<&str>,
    api_base: Option<&str>,
    prices: &PriceMap,
) -> Option<Inferred> {
    // azure-hosted models of other vendors are called through the OpenAI client: left to Python
    if model.split('/').next() == Some("azure") {
        return Some(Inferred::new("azure", model.strip_prefix("azure/").unwrap_or(model)));
    }
    let text_model = |name: &str| name == "claude-2" || name == "claude-instant-1";
    let explicit = explicit.filter(|provider| !provider.is_empty());
    if explicit == Some("anthropic") && text_model(model) || model.strip_prefix("anthropic/").is_some_and(text_model) {
        return Some(Inferred::new("anthropic_text", model));
    }
    let prefixed;
    let model = match explicit {
        Some(provider) if model.split('/').next() != Some(provider) => {
            prefixed = format!("{provider}/{model}");
            &prefixed
        }
        _ => model,
    };
    if let Some((first, rest)) = model.split_once('/') {
        if PROVIDERS.contains(&first) {
            return Some(Inferred::new(first, rest));
        }
        if explicit.is_some() {
            return Some(Inferred::new(first, rest));
        }
    }
    if let Some(base) = api_base.filter(|base| !base.is_empty())
        && let Some(endpoint) = ENDPOINTS.iter().find(|endpoint| endpoint_matches(endpoint, base))
    {
        return Some(Inferred::new(endpoint, model));
    }
    by_name(model, prices)
}

/// Whether LiteLLM has a provider of this name.
pub(crate) fn is_provider(name: &str) -> bool {
    PROVIDERS.contains(&name)
}

/// Provider and rest of a bare name, as LiteLLM takes them of a request's `model`. `None`: it knows none.
pub(crate) fn name_provider(model: &str) -> Option<(String, String)> {
    let inferred = infer(model, None, None, &PriceMap::default())?;
    Some((inferred.provider.as_str().to_owned(), inferred.model))
}

/// A name without a provider: the price map knows whose it is.
fn by_name(model: &str, prices: &PriceMap) -> Option<Inferred> {
    let known = prices.provider_of(model);
    let finetune = model.starts_with("ft:") && model.matches(':').count() <= 1;
    if known == Some("openai") && !finetune
        || model.contains("ft:gpt-3.5-turbo")
        || model.contains("ft:gpt-4")
        || model.starts_with("gpt-image")
        || matches!(model, "dall-e-2" | "dall-e-3" | "sora-2" | "text-embedding-ada-002")
        || model == "*"
    {
        return Some(Inferred::new("openai", model));
    }
    if let Some(provider) = known.filter(|provider| *provider != "openai" && known_by_name(provider)) {
        let provider = match (provider, model) {
            ("anthropic", "claude-2" | "claude-instant-1") => "anthropic_text",
            _ => provider,
        };
        return Some(Inferred::new(provider, model));
    }
    // the price map's routing rules for names it does not know
    let lower = model.to_ascii_lowercase();
    let unzoned = match lower.split_once('.') {
        Some((zone, rest)) if zone.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && zone != "anthropic" => rest,
        _ => &lower,
    };
    if unzoned.starts_with("anthropic.claude-") {
        return Some(Inferred::new("bedrock", model));
    }
    if claude_id(model) {
        return Some(Inferred::new("anthropic", model));
    }
    None
}

/// Providers whose bare model names LiteLLM recognises; others need their prefix.
fn known_by_name(provider: &str) -> bool {
    const NAMED: &[&str] = &[
        "openai",
        "text-completion-openai",
        "anthropic",
        "anthropic_text",
        "cohere",
        "cohere_chat",
        "replicate",
        "openrouter",
        "maritalk",
        "ai21",
        "ai21_chat",
        "aleph_alpha",
        "baseten",
        "nlp_cloud",
        "petals",
        "watsonx",
        "empower",
        "gradient_ai",
        "bedrock",
        "bedrock_converse",
    ];
    NAMED.contains(&provider) || provider.starts_with("vertex_ai-")
}

/// `^claude-[a-z]+-\d+(?:[-.]\d+)?(?:-\d{8})?$`, any case (`fallback_generalizations`, rule anthropic-claude-ids).
fn claude_id(model: &str) -> bool {
    let lower = model.to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix("claude-") else { return false };
    let Some((family, version)) = rest.split_once('-') else { return false };
    if family.is_empty() || !family.bytes().all(|b| b.is_ascii_lowercase()) {
        return false;
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let date = |text: &str| digits(text) && text.len() == 8;
    let parts: Vec<&str> = version.split('-').collect();
    let major = |text: &str| match text.split_once('.') {
        Some((major, minor)) => digits(major) && digits(minor),
        None => digits(text),
    };
    match parts.as_slice() {
        [first] => major(first),
        [first, second] if first.contains('.') => major(first) && date(second),
        [first, second] => digits(first) && digits(second),
        [first, second, third] => digits(first) && digits(second) && date(third),
        _ => false,
    }
}

/// `_endpoint_matches_api_base`: same host, and the endpoint's path a whole-segment prefix of the base's.
fn endpoint_matches(endpoint: &str, base: &str) -> bool {
    let (endpoint_host, endpoint_path) = host_and_path(endpoint);
    let (host, path) = host_and_path(base);
    if endpoint_host.is_empty() || endpoint_host != host {
        return false;
    }
    endpoint_path.is_empty()
        || path.strip_prefix(&endpoint_path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Python's `urlparse`: lower-case host without user and port, path without trailing slashes.
fn host_and_path(url: &str) -> (String, String) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => host.split(':').next().unwrap_or(host),
    };
    let path = tail.split(['?', '#']).next().unwrap_or("");
    (host.to_lowercase(), path.trim_end_matches('/').to_owned())
}
