//! Names that LiteLLM 1.106.2 reads and `keys` has no row for, and the names of its price keys. Data only; written by
//! `tests/golden/tables.py`.

/// attributes of the `litellm` module that its code reads
#[rustfmt::skip]
pub(super) const LITELLM: &[&str] = &[
    "aclient_session", "adapters", "aiohttp_trust_env", "allow_dynamic_callback_disabling",
    "anthropic_beta_headers_url", "anthropic_key", "anthropic_prompt_caching_ttl",
    "anthropic_sse_ping_interval_seconds", "api_base", "api_key", "api_version", "apply_search_free_tier",
    "argilla_transformation_object", "azure_assistants_api", "azure_llms", "banned_keywords_list",
    "base_llm_aiohttp_handler", "bedrock_image_edit", "bedrock_image_generation", "bfl_image_edit",
    "bfl_image_generation", "blocked_user_list", "budget_duration", "cache", "callback_settings",
    "check_provider_endpoint", "client_session", "common_cloud_provider_auth_params", "config_path",
    "credential_list", "custom_prompt_dict", "disable_add_prefix_to_prompt",
    "disable_add_transform_inline_image_block", "disable_aiohttp_trust_env", "disable_stop_sequence_limit",
    "enable_caching_on_provider_specific_optional_params", "enable_post_custom_auth_checks", "error_logs",
    "filter_invalid_headers", "google_batch_embeddings", "headers", "huggingface_embed",
    "in_memory_llm_clients_cache", "known_tokenizer_config", "litellm_mode", "longer_context_model_fallback_dict",
    "max_tokens", "model_cost_map_url", "model_list", "openai_assistants_api", "openai_compatible_endpoints",
    "openai_compatible_providers", "openai_image_variations", "openai_key",
    "openai_text_completion_compatible_providers", "organization", "priority_reservation",
    "priority_reservation_settings", "project", "provider_list", "provider_url_destination_allowed_hosts",
    "proxy_auth", "request_timeout_explicitly_set", "safe_memory_mode", "sagemaker_llm", "sap_gen_ai_hub_emb",
    "skip_system_message_in_guardrail", "skip_tool_message_in_guardrail", "sse_keepalive_ping_interval_seconds",
    "ssl_certificate", "ssl_ecdh_curve", "ssl_security_level", "sync_transport", "use_aiohttp_transport",
    "use_client", "user_url_allowed_hosts", "user_url_validation", "vector_store_index_registry",
    "vector_store_registry", "vertex_image_generation",
];

/// keys of `general_settings` that its code reads
#[rustfmt::skip]
pub(super) const GENERAL: &[&str] = &[
    "provider_url_destination_allowed_hosts", "user_url_allowed_hosts", "user_url_validation",
];

/// arguments of `Router.__init__`
#[rustfmt::skip]
pub(super) const ROUTER: &[&str] = &[
    "auto_router_capability_limit", "fallback_access_check", "fallback_budget_check", "model_list",
];

/// fields of `CustomPricingLiteLLMParams`: a deployment may set its own prices
#[rustfmt::skip]
pub(super) const PRICING: &[&str] = &[
    "annotation_cost_per_page", "annotation_cost_per_page_batches", "cache_creation_input_audio_token_cost",
    "cache_creation_input_token_cost", "cache_creation_input_token_cost_above_100k_tokens",
    "cache_creation_input_token_cost_above_100k_tokens_batches", "cache_creation_input_token_cost_above_1hr",
    "cache_creation_input_token_cost_above_1hr_above_100k_tokens",
    "cache_creation_input_token_cost_above_200k_tokens", "cache_creation_input_token_cost_above_200k_tokens_batches",
    "cache_creation_input_token_cost_above_272k_tokens", "cache_creation_input_token_cost_above_272k_tokens_batches",
    "cache_creation_input_token_cost_above_272k_tokens_flex",
    "cache_creation_input_token_cost_above_272k_tokens_priority",
    "cache_creation_input_token_cost_above_272k_tokens_ultrafast", "cache_creation_input_token_cost_batches",
    "cache_creation_input_token_cost_flex", "cache_creation_input_token_cost_priority",
    "cache_creation_input_token_cost_ultrafast", "cache_read_input_audio_token_cost",
    "cache_read_input_image_token_cost", "cache_read_input_token_cost",
    "cache_read_input_token_cost_above_100k_tokens", "cache_read_input_token_cost_above_100k_tokens_batches",
    "cache_read_input_token_cost_above_200k_tokens", "cache_read_input_token_cost_above_200k_tokens_batches",
    "cache_read_input_token_cost_above_200k_tokens_priority", "cache_read_input_token_cost_above_272k_tokens",
    "cache_read_input_token_cost_above_272k_tokens_batches", "cache_read_input_token_cost_above_272k_tokens_flex",
    "cache_read_input_token_cost_above_272k_tokens_priority",
    "cache_read_input_token_cost_above_272k_tokens_ultrafast", "cache_read_input_token_cost_above_512k_tokens",
    "cache_read_input_token_cost_balanced", "cache_read_input_token_cost_batches",
    "cache_read_input_token_cost_flex", "cache_read_input_token_cost_priority",
    "cache_read_input_token_cost_ultrafast", "citation_cost_per_token", "cost_per_second",
    "google_maps_grounding_cost_per_query", "input_cost_per_audio_per_second",
    "input_cost_per_audio_per_second_above_128k_tokens", "input_cost_per_audio_token",
    "input_cost_per_audio_token_batches", "input_cost_per_character", "input_cost_per_character_above_128k_tokens",
    "input_cost_per_image", "input_cost_per_image_above_128k_tokens", "input_cost_per_image_token",
    "input_cost_per_image_token_batches", "input_cost_per_pixel", "input_cost_per_query", "input_cost_per_second",
    "input_cost_per_token", "input_cost_per_token_above_100k_tokens",
    "input_cost_per_token_above_100k_tokens_batches", "input_cost_per_token_above_128k_tokens",
    "input_cost_per_token_above_200k_tokens", "input_cost_per_token_above_200k_tokens_batches",
    "input_cost_per_token_above_200k_tokens_priority", "input_cost_per_token_above_272k_tokens",
    "input_cost_per_token_above_272k_tokens_batches", "input_cost_per_token_above_272k_tokens_flex",
    "input_cost_per_token_above_272k_tokens_priority", "input_cost_per_token_above_272k_tokens_ultrafast",
    "input_cost_per_token_above_512k_tokens", "input_cost_per_token_balanced", "input_cost_per_token_batches",
    "input_cost_per_token_cache_hit", "input_cost_per_token_flex", "input_cost_per_token_priority",
    "input_cost_per_token_ultrafast", "input_cost_per_video_per_second",
    "input_cost_per_video_per_second_above_128k_tokens", "input_cost_per_video_per_second_above_15s_interval",
    "input_cost_per_video_per_second_above_8s_interval", "input_cost_per_video_token",
    "input_cost_per_video_token_batches", "ocr_cost_per_credit", "ocr_cost_per_page", "ocr_cost_per_page_batches",
    "output_cost_per_audio_per_second", "output_cost_per_audio_token", "output_cost_per_character",
    "output_cost_per_character_above_128k_tokens", "output_cost_per_image", "output_cost_per_image_1024",
    "output_cost_per_image_1536", "output_cost_per_image_512", "output_cost_per_image_token",
    "output_cost_per_image_token_batches", "output_cost_per_pixel", "output_cost_per_reasoning_token",
    "output_cost_per_reasoning_token_flex", "output_cost_per_reasoning_token_priority", "output_cost_per_second",
    "output_cost_per_second_1080p", "output_cost_per_second_2k", "output_cost_per_second_480p",
    "output_cost_per_second_4k", "output_cost_per_second_720p", "output_cost_per_second_768p",
    "output_cost_per_token", "output_cost_per_token_above_100k_tokens",
    "output_cost_per_token_above_100k_tokens_batches", "output_cost_per_token_above_128k_tokens",
    "output_cost_per_token_above_200k_tokens", "output_cost_per_token_above_200k_tokens_batches",
    "output_cost_per_token_above_200k_tokens_priority", "output_cost_per_token_above_272k_tokens",
    "output_cost_per_token_above_272k_tokens_batches", "output_cost_per_token_above_272k_tokens_flex",
    "output_cost_per_token_above_272k_tokens_priority", "output_cost_per_token_above_272k_tokens_ultrafast",
    "output_cost_per_token_above_512k_tokens", "output_cost_per_token_balanced", "output_cost_per_token_batches",
    "output_cost_per_token_flex", "output_cost_per_token_priority", "output_cost_per_token_ultrafast",
    "output_cost_per_video_per_second", "output_cost_per_video_token", "output_vector_size",
    "regional_endpoint_uplift_multiplier", "regional_processing_uplift_multiplier_eu",
    "regional_processing_uplift_multiplier_us", "search_context_cost_per_query", "tiered_pricing",
];
