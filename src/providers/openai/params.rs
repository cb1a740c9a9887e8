//! Which body fields of a chat completion LiteLLM sends on to provider `openai`, which it keeps, and which it refuses:
//! `all_litellm_params`, `DEFAULT_CHAT_COMPLETION_PARAM_VALUES`, `_UNTRUSTED_ROOT_CONTROL_FIELDS` and
//! `OpenAIGPTConfig.get_supported_openai_params` as tables. A name in no table is forwarded, as LiteLLM does.

/// What happens to a body field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// sent on as it is
    Forward,
    /// read by this crate's request builder itself
    Read,
    /// kept by LiteLLM without any effect on the call or its answer
    Keep,
    /// LiteLLM acts on it: the request declines
    Act,
    /// refused, dropped or rewritten for some models in ways not built: the request declines
    Unsupported,
}

/// Models are of one of three families for LiteLLM; the third declines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// in the price map as OpenAI's own chat models: `gpt-4o`
    Catalog,
    /// any other name behind `openai/`: `OpenAIUnknownModelConfig`
    Unknown,
    /// o-series, gpt-5 and later, audio and search models: other rules for parameters, messages or prices
    Special,
}

const READ: &[&str] = &[
    "messages",
    "model",
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "functions",
    "stop",
    "user",
    "metadata",
    "reasoning_effort",
    "response_format",
    "service_tier",
    "parallel_tool_calls",
];

const FORWARD: &[&str] = &[
    "frequency_penalty",
    "function_call",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "n",
    "presence_penalty",
    "prompt_cache_key",
    "safety_identifier",
    "seed",
    "store",
    "temperature",
    "top_logprobs",
    "top_p",
];

/// OpenAI parameters that LiteLLM refuses, drops or prices differently for some of its models.
const UNSUPPORTED: &[&str] = &[
    "audio",
    "context_management",
    "deployment_id",
    "include_server_side_tool_invocations",
    "modalities",
    "moderation",
    "prediction",
    "prompt_cache_options",
    "prompt_cache_retention",
    "thinking",
    "verbosity",
    "extra_query",
];

/// Names LiteLLM acts on, strips or refuses.
const ACT: &[&str] = &[
    "acompletion",
    "adaptive_router_config",
    "additional_drop_params",
    "aembedding",
    "agentcore_runtime_session_id",
    "aimg_generation",
    "allm_passthrough_route",
    "allow_client_keepalive_override",
    "allowed_model_region",
    "allowed_openai_params",
    "anthropic-workspace-id",
    "api_base",
    "api_key",
    "api_version",
    "applied_guardrails",
    "applied_policies",
    "assistant_continue_message",
    "async_call",
    "atext_completion",
    "attempted_targets",
    "azure",
    "base_model",
    "base_url",
    "bos_token",
    "budget_duration",
    "cache",
    "cache_key",
    "caching",
    "caching_groups",
    "callbacks",
    "client",
    "client_id",
    "client_secret",
    "client_side_timeout",
    "complete_response",
    "completion_call_id",
    "configurable_clientside_auth_params",
    "content_policy_fallbacks",
    "context_window_fallback_dict",
    "context_window_fallbacks",
    "cooldown_time",
    "custom_llm_provider",
    "custom_prompt_dict",
    "data_residency",
    "default_api_key_rpm_limit",
    "default_api_key_tpm_limit",
    "default_headers",
    "deployment_url",
    "disable_add_transform_inline_image_block",
    "disable_fallbacks",
    "disable_global_guardrail",
    "disable_global_guardrails",
    "drop_params",
    "enable_json_schema_validation",
    "enable_prompt_caching",
    "enable_tag_filtering",
    "ensure_alternating_roles",
    "eos_token",
    "extra_body",
    "extra_headers",
    "fallback_depth",
    "fallbacks",
    "fastest_response",
    "file_id",
    "final_prompt_value",
    "fireworks_forward_user_id",
    "force_timeout",
    "guardrail_config",
    "guardrail_scan_ids",
    "guardrail_scan_metadata",
    "guardrails",
    "headers",
    "hf_model_name",
    "id",
    "include_fallback_errors",
    "include_guardrail_response",
    "itpm",
    "keepalive_seconds",
    "log_client_error_tracebacks",
    "logger_fn",
    "max_agentic_loops",
    "max_budget",
    "max_fallbacks",
    "max_file_size_mb",
    "max_parallel_requests",
    "max_retries",
    "merge_reasoning_content_in_choices",
    "model_alias_map",
    "model_config",
    "model_file_id_mapping",
    "model_info",
    "model_list",
    "no-log",
    "num_retries",
    "nvcf_function_id",
    "opted_out_global_guardrails",
    "order",
    "organization",
    "otpm",
    "output_vector_size",
    "pipelines",
    "policies",
    "policy_sources",
    "preset_cache_key",
    "priority",
    "prompt_environment",
    "prompt_id",
    "prompt_label",
    "prompt_variables",
    "prompt_version",
    "provider_affinity_header",
    "provider_specific_header",
    "proxy_server_request",
    "region_name",
    "request_timeout",
    "retry_policy",
    "retry_strategy",
    "roles",
    "router_settings_override",
    "routing_decision",
    "routing_strategy",
    "rpm",
    "rust",
    "search_tool_name",
    "secret_fields",
    "self",
    "service_callback",
    "shared_session",
    "silent_model",
    "specific_deployment",
    "ssl_verify",
    "standard_logging_object",
    "stream_chunk_size",
    "stream_response",
    "stream_timeout",
    "supports_system_message",
    "tag_regex",
    "tenant_id",
    "text_completion",
    "tiered_pricing",
    "timeout",
    "tpm",
    "ttl",
    "turn_off_message_logging",
    "use_chat_completions_api",
    "use_client",
    "use_in_pass_through",
    "use_litellm_proxy",
    "use_ssl",
    "use_xai_oauth",
    "user_config",
    "user_continue_message",
    "verbose",
    // acts even where it is null
    "web_search_options",
    "weight",
    "weights",
    "workspace_id",
];

const ACT_PREFIXES: &[&str] = &[
    "_",
    "litellm",
    "mock_",
    "aws_",
    "azure_",
    "vertex_",
    "bedrock_",
    "sagemaker_",
    "s3_",
    "gcs_",
    "langfuse_",
    "langsmith_",
    "arize_",
    "dd_",
    "posthog_",
    "braintrust_",
    "humanloop_",
    "lunary_",
    "newrelic_",
    "signoz_",
    "slack_",
    "wandb_",
    "weave_",
    "anthropic_",
    "openai_",
    "auto_router_",
    "complexity_router_",
    "quality_router_",
    "adaptive_router_",
    "pillar_",
    "user_api_key",
    "hidden_params",
    "proxy_",
];

const ACT_PARTS: &[&str] = &["_cost", "cost_per_", "uplift_multiplier", "_by_service_tier", "guardrail"];

/// What LiteLLM does with the body field for provider `openai`.
pub fn fate(name: &str) -> Fate {
    if name == "tags" {
        // who is billed (auth::tags), not what is asked
        Fate::Keep
    } else if READ.contains(&name) {
        Fate::Read
    } else if FORWARD.contains(&name) {
        Fate::Forward
    } else if UNSUPPORTED.contains(&name) {
        Fate::Unsupported
    } else if ACT.binary_search(&name).is_ok()
        || ACT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || ACT_PARTS.iter().any(|part| name.contains(part))
    {
        Fate::Act
    } else {
        Fate::Forward
    }
}

/// The family by the provider's model name; `known`: the price map has it as OpenAI's.
pub fn family(model: &str, known: bool) -> Family {
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    let mut letters = name.bytes();
    let o_series = letters.next() == Some(b'o') && letters.next().is_some_and(|b| b.is_ascii_digit());
    let special = ["gpt-5", "gpt-6", "gpt5", "codex", "audio", "search", "realtime", "transcribe", "tts", "image"];
    let ours = ["gpt-", "chatgpt", "davinci", "babbage", "ft:", "computer-use", "omni"];
    if o_series || special.iter().any(|part| name.contains(part)) || model.contains("responses/") {
        Family::Special
    } else if ["gpt-4o", "gpt-4.1", "gpt-4-", "gpt-3.5-turbo-"].iter().any(|p| name.starts_with(p))
        || ["gpt-3.5-turbo", "chatgpt-4o-latest", "gpt-4"].contains(&name.as_str())
    {
        match (known, name.as_str()) {
            // neither takes `response_format`; `chatgpt-4o-latest` is no catalog model
            (_, "gpt-4" | "gpt-3.5-turbo-16k" | "chatgpt-4o-latest") | (false, _) => Family::Special,
            (true, _) => Family::Catalog,
        }
    } else if ours.iter().any(|prefix| name.starts_with(prefix)) {
        Family::Special
    } else {
        Family::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_for_the_search() {
        assert!(ACT.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn names_have_the_fate_litellm_gives_them() {
        for name in ["foo", "top_k", "guided_json", "chat_template_kwargs", "temperature", "seed"] {
            assert_eq!(fate(name), Fate::Forward, "{name}");
        }
        for name in [
            "api_base",
            "mock_response",
            "input_cost_per_token",
            "litellm_metadata",
            "num_retries",
            "extra_body",
            "aws_role_name",
            "_router_weights",
            "fallbacks",
            "cache",
            "timeout",
            "guardrails",
        ] {
            assert_eq!(fate(name), Fate::Act, "{name}");
        }
        assert_eq!(fate("thinking"), Fate::Unsupported);
        assert_eq!(fate("messages"), Fate::Read);
        assert_eq!(fate("tags"), Fate::Keep);
    }

    #[test]
    fn families() {
        for (model, known, expected) in [
            ("gpt-4o", true, Family::Catalog),
            ("gpt-4o-mini-2024-07-18", true, Family::Catalog),
            ("gpt-4.1", true, Family::Catalog),
            ("gpt-3.5-turbo", true, Family::Catalog),
            ("gpt-4o-of-mine", false, Family::Special),
            ("o3-mini", true, Family::Special),
            ("gpt-5.1-codex", true, Family::Special),
            ("gpt-oss-120b", false, Family::Special),
            ("gpt-4o-audio-preview", true, Family::Special),
            ("meta/llama-3", false, Family::Unknown),
            ("my-local-model", false, Family::Unknown),
            ("olmo-2", false, Family::Unknown),
        ] {
            assert_eq!(family(model, known), expected, "{model}");
        }
    }
}
