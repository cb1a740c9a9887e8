//! The one table that says what each key of config.yaml means to the edge. Data first, one look-up function below.
//!
//! The default for names without a row is the safe side: a name that LiteLLM reads somewhere declines ([`key_names`] has
//! them all), a name it reads nowhere is reported as unknown and changes nothing, since nothing can depend on it.
use super::{key_names, yaml::Value};
use crate::routes::Decline;

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    Top,
    LitellmSettings,
    GeneralSettings,
    RouterSettings,
    LitellmParams,
    ModelInfo,
}

impl Section {
    /// The prefix of a key path.
    pub fn path(self) -> &'static str {
        match self {
            Section::Top => "",
            Section::LitellmSettings => "litellm_settings.",
            Section::GeneralSettings => "general_settings.",
            Section::RouterSettings => "router_settings.",
            Section::LitellmParams => "litellm_params.",
            Section::ModelInfo => "model_info.",
        }
    }
}

/// What a key does to native serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// the edge does what LiteLLM does
    Native,
    /// nothing the native routes do depends on it
    NoBearing,
    /// model calls go to Python where the condition holds
    Declines(Decline, When),
    /// LiteLLM reads no such key
    Unknown,
}

/// When a declining key takes effect; otherwise its value is the one the edge assumes anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// any value but null
    Set,
    /// a value that Python calls true
    Truthy,
    /// anything but zero or null
    NotZero,
    /// anything but `true`
    NotTrue,
    /// anything but `true` or null
    SetAndNotTrue,
    /// a routing strategy other than simple-shuffle
    NotShuffle,
    /// a deployment mode other than chat
    NotChat,
}

impl When {
    pub fn holds(self, value: &Value) -> bool {
        match self {
            When::Set => !value.is_null(),
            When::Truthy => value.truthy(),
            When::NotZero => !matches!(value, Value::Null | Value::Int(0) | Value::Bool(false)),
            When::NotTrue => *value != Value::Bool(true),
            When::SetAndNotTrue => !matches!(value, Value::Bool(true) | Value::Null),
            When::NotShuffle => !matches!(value.as_str(), Some("simple-shuffle")) && !value.is_null(),
            When::NotChat => !matches!(value.as_str(), Some("chat")) && !value.is_null(),
        }
    }

    /// The value that would not decline, for people.
    pub fn accepts(self) -> &'static str {
        match self {
            When::Set => "absent or null",
            When::Truthy => "absent, null, false or empty",
            When::NotZero => "0",
            When::NotTrue | When::SetAndNotTrue => "true",
            When::NotShuffle => "simple-shuffle",
            When::NotChat => "chat",
        }
    }
}

use Decline::{Callbacks, CustomAuth, DeploymentParam, RouterSettings, SecretManager, Setting};
use Rule::{Declines, Native, NoBearing};
use Section::{GeneralSettings, LitellmParams, LitellmSettings, ModelInfo, RouterSettings as Router, Top};
use When::{NotChat, NotShuffle, NotTrue, NotZero, Set, SetAndNotTrue, Truthy};

/// Section, rule, names separated by blanks. The first row that has the name counts.
#[rustfmt::skip]
const TABLE: &[(Section, Rule, &str)] = &[
    (Top, Native, "model_list litellm_settings general_settings router_settings environment_variables include"),
    (Top, Declines(Callbacks, Truthy), "guardrails policies prompts"),
    (Top, Declines(Setting, Truthy), "vector_store_registry"),
    (Top, NoBearing, "callback_settings policy_attachments credential_list search_tools sandbox_tools mcp_servers mcp_tools
        agents agent_list assistant_settings files_settings finetune_settings default_vertex_config worker_registry
        enable_jwt_auth litellm_jwtauth"),

    (LitellmSettings, Native, "request_timeout drop_params require_auth_for_metrics_endpoint"),
    (LitellmSettings, Declines(RouterSettings, NotZero), "num_retries num_retries_per_request"),
    (LitellmSettings, Declines(RouterSettings, Truthy), "fallbacks default_fallbacks context_window_fallbacks
        content_policy_fallbacks model_fallbacks retry model_group_settings"),
    (LitellmSettings, Declines(Callbacks, Truthy), "callbacks success_callback failure_callback service_callback
        input_callback guardrails post_call_rules pre_call_rules prompt_name_config_map guardrail_name_config_map
        global_prompt_directory global_bitbucket_config global_gitlab_config websearch_interception_params
        code_interpreter_interception_params compression_interception_params mcp_semantic_tool_filter
        prompt_injection_params"),
    (LitellmSettings, Declines(SecretManager, Truthy), "secret_manager_client"),
    // safe when they hold what is assumed: certificates are checked
    (LitellmSettings, Declines(Setting, SetAndNotTrue), "ssl_verify"),
    (LitellmSettings, NoBearing, "cache_params allowed_fails max_fallbacks json_logs log_level set_verbose suppress_debug_info
        log_raw_request_response turn_off_message_logging redact_user_api_key_info global_disable_no_log_param
        store_audit_logs audit_log_callbacks cold_storage_custom_logger standard_logging_payload_excluded_fields
        max_user_budget max_internal_user_budget default_max_internal_user_budget internal_user_budget_duration
        default_internal_user_params default_key_generate_params default_team_settings default_team_params
        upperbound_key_generate_params key_generation_settings key_alias_pattern enable_key_alias_format_validation
        max_ui_session_budget budget_reset_time timezone budget_rollover default_soft_budget
        default_key_max_budget_alert_emails enable_redis_auth_cache default_redis_ttl default_in_memory_ttl
        default_redis_batch_cache_expiry force_redis_hash_tag_grouping overwrite_user_with_key_hash
        budget_exceeded_status_code budget_exceeded_throttle_percentage
        disable_end_user_cost_tracking disable_end_user_cost_tracking_prometheus_only
        enable_end_user_cost_tracking_prometheus_only disable_add_user_agent_to_request_tags extra_spend_tag_headers
        custom_prometheus_metadata_labels custom_prometheus_tags prometheus_deployment_and_latency_caller_identity
        prometheus_emit_input_sequence_length_label prometheus_emit_rate_limit_labels prometheus_emit_stream_label
        prometheus_end_user_metrics_cleanup_interval_seconds prometheus_end_user_metrics_max_series_per_metric
        prometheus_end_user_metrics_ttl_seconds prometheus_exclude_labels prometheus_exclude_metrics
        prometheus_initialize_budget_metrics prometheus_latency_buckets prometheus_metrics_cleanup_interval_seconds
        prometheus_metrics_config prometheus_metrics_max_series_per_metric prometheus_metrics_ttl_seconds
        prometheus_user_budget_label_include_email_alias s3_callback_params s3_audit_callback_params datadog_params
        datadog_llm_observability_params datadog_use_v1 newrelic_params pointfive_params zerobus_params
        aws_sqs_callback_params langfuse_default_tags langfuse_enable_update_trace_keys langsmith_batch_size
        argilla_batch_size generic_logger_headers generic_api_use_v1 gcs_pub_sub_use_v1 otel_tenant_destination_mode
        public_agent_groups public_mcp_servers public_mcp_hub_strict_whitelist public_model_groups
        public_model_groups_links public_skills_index mcp_aliases default_mcp_sampling_model mcp_tool_search
        agent_search_embedding_model skill_search_embedding_model vector_store_search_failure_mode responses
        enable_loadbalancing_on_batch_endpoints require_managed_files disable_vertex_batch_output_transformation
        vertex_project vertex_location vertex_ai_safety_settings vertex_credentials enable_azure_ad_token_refresh
        disable_copilot_system_to_assistant disable_anthropic_gemini_context_caching_transform gemini_live_defer_setup
        enable_gemini_default_thinking_level_low bedrock_neutralize_orphaned_tool_blocks bedrock_request_metadata_fields
        scim_admin_group scim_upsert_user log_auth_failure_key_identity log_client_error_tracebacks
        request_correlation_in_logs token email presidio_ad_hoc_recognizers output_parse_pii presidio_logging_only
        google_moderation_confidence_threshold llamaguard_model_name llamaguard_unsafe_content_categories llm_guard_mode
        openai_moderations_model_name azure_content_safety_params dynamodb_table_name logged_real_time_event_types
        disable_token_counter disable_hf_tokenizer_download blog_posts_url autorouter_presets_url
        ai21_key aleph_alpha_key amazon_nova_api_key azure_key baseten_key bytez_key clarifai_key cloudflare_api_key
        cohere_key cometapi_key databricks_key datarobot_key gdc_key gdc_api_base gigachat_key gradient_ai_api_key
        groq_key heroku_key huggingface_key hyperbolic_key inception_key infinity_key lemonade_key llama_api_key
        maritalk_key nebius_key nlp_cloud_key novita_api_key ollama_key openai_like_key openrouter_key ovhcloud_key
        predibase_key predibase_tenant_id replicate_key sap_service_key snowflake_key togetherai_api_key
        vercel_ai_gateway_key wandb_key xai_key"),
    // read by LiteLLM, but only where their value is true or filled
    (LitellmSettings, Declines(Setting, Truthy), "model_alias_map max_budget max_end_user_budget_id max_end_user_budget
        validate_end_user_id_in_db block_requests_for_models_without_pricing cost_discount_config cost_margin_config
        tag_budget_config modify_params include_cost_in_streaming_usage always_include_stream_usage
        forward_traceparent_to_llm_provider forward_llm_provider_auth_headers add_user_information_to_llm_headers
        route_all_chat_openai_to_responses use_chat_completions_url_for_anthropic_messages enable_anthropic_prompt_caching
        use_litellm_proxy custom_provider_map network_mock reasoning_auto_summary openai_system_messages_first
        add_function_to_prompt enable_json_schema_validation disable_aiohttp_transport force_ipv4 http2
        disable_streaming_logging return_response_headers expose_router_debug_in_errors redact_messages_in_exceptions
        enable_model_config_credential_overrides strip_anthropic_total_tokens enable_preview_features"),

    (GeneralSettings, Native, "master_key database_url litellm_key_header_name include_call_id_in_error_body
        allow_requests_on_db_unavailable user_api_key_cache_ttl store_model_in_db"),
    (GeneralSettings, Declines(CustomAuth, Truthy), "custom_auth enable_jwt_auth enable_oauth2_auth
        enable_oauth2_proxy_auth enforce_rbac"),
    (GeneralSettings, Declines(SecretManager, Truthy), "key_management_system use_google_kms use_azure_key_vault"),
    (GeneralSettings, Declines(Callbacks, Truthy), "alerting plugins"),
    (GeneralSettings, Declines(RouterSettings, Truthy), "enable_health_check_routing"),
    (GeneralSettings, Declines(Setting, Truthy), "completion_model pass_through_endpoints allowed_routes allowed_ips
        user_header_name user_header_mappings enforce_user_param enforced_params reject_clientside_metadata_tags
        forward_client_headers_to_llm_api forward_llm_provider_auth_headers forward_openai_org_id
        always_include_stream_usage infer_model_from_keys max_parallel_requests global_max_parallel_requests
        max_request_size_mb max_response_size_mb cancel_on_disconnect model_list_healthy_only public_routes
        admin_only_routes expose_fallback_errors_to_caller missing_session_id allow_public_health_readiness_details
        max_in_flight_requests_per_worker max_queued_requests_per_worker admission_queue_timeout_seconds
        use_x_forwarded_for use_team_public_model_name allow_user_auth enforce_fallback_model_access
        enable_claude_code_gateway service_account_settings"),
    (GeneralSettings, NoBearing, "alert_to_webhook_url alert_type_config alert_types alerting_args alerting_threshold
        slack email tracing otel spend_report_frequency custom_auth_run_common_checks litellm_jwtauth
        oauth2_config_mappings role_permissions key_management_settings allow_client_side_credentials
        disable_retry_on_max_parallel_request_limit_error litellm_license
        dangerously_permit_weak_or_unset_master_key disable_master_key_return trusted_proxy_ranges
        database_args database_type database_connect_timeout database_connection_pool_limit
        database_connection_pool_timeout database_connection_timeout database_disable_prepared_statements
        database_extra_connection_params database_max_idle_connection_lifetime database_socket_timeout
        disable_prisma_schema_update encryption_algorithm supported_db_objects proxy_config_reload_interval_seconds
        coordination_redis use_redis_transaction_buffer user_api_key_cache_max_size
        disable_spend_logs disable_spend_updates disable_error_logs disable_reset_budget disable_budget_reservation
        fail_closed_budget_enforcement fail_closed_rate_limit_enforcement token_rate_limit_type
        apply_user_budget_to_team_keys store_prompts_in_spend_logs spend_logs_metadata_fields spend_capture_rate_check
        use_spend_logs_partitioning proxy_batch_write_at proxy_batch_polling_interval proxy_budget_rescheduler_max_time
        proxy_budget_rescheduler_min_time scheduled_job_stagger maximum_spend_logs_retention_period
        maximum_spend_logs_retention_interval maximum_spend_logs_cleanup_cron maximum_spend_logs_cleanup_batch_size
        maximum_spend_logs_cleanup_batch_timeout maximum_spend_logs_cleanup_max_batches
        maximum_spend_logs_cleanup_run_budget maximum_daily_tag_spend_retention_period
        maximum_health_check_retention_period maximum_autorouter_session_retention_period
        background_health_checks background_health_check_model_groups use_shared_health_check health_check_interval
        health_check_concurrency health_check_details health_check_ignore_transient_errors
        health_check_staleness_threshold health_check_skip_disabled_background_models disable_model_info_refresh
        disable_responses_id_security allow_unmanaged_response_ids responses_websocket_session_limit_seconds
        enable_openai_websocket_passthrough passthrough_managed_object_ids pass_through_request_timeout
        disable_bedrock_agent_runtime_passthrough custom_key_generate custom_key_policy custom_key_update custom_sso
        custom_team_metadata_validate custom_ui_sso_sign_in_handler disable_custom_api_keys
        disable_key_generate_for_org_admin disable_auto_add_proxy_admin_to_teams default_team_disabled
        team_metadata_schema team_metadata_validation_error_message team_metadata_validation_timeout
        disable_env_credential_login disable_password_login_when_sso_enabled failed_login_block_seconds
        failed_login_window_seconds max_failed_login_attempts_per_source
        max_failed_login_attempts_per_source_overrides hide_default_credentials_hint auto_redirect_ui_login_to_sso
        password_policy_check_breached_passwords password_policy_min_length password_policy_require_lowercase
        password_policy_require_numbers password_policy_require_special_characters password_policy_require_uppercase
        ui_access_mode control_plane_url enable_public_model_hub allow_cli_sso_verification_uri_complete
        allowed_file_extensions blocked_file_extensions max_file_size_mb max_batch_file_size_mb max_batch_file_records
        max_batch_file_uploads_per_day max_file_downloads_per_minute disable_batch_input_file_rate_limiting
        skip_batch_input_file_rate_limiting_for_models skip_batch_input_file_rate_limiting_for_providers
        track_unmanaged_batch_cost transcribe_media_buckets enable_drain_endpoint drain_endpoint_token
        enable_mcp_registry mcp_advertised_versions mcp_allow_all_keys_respects_mcp_scope mcp_allowed_clients
        mcp_client_id_header mcp_client_side_auth_header_name mcp_internal_ip_ranges
        mcp_prefer_client_id_metadata_document mcp_required_fields mcp_session_token_signing mcp_trusted_proxy_ranges
        mcp_xff_num_trusted_hops user_mcp_management_mode require_end_user_mcp_access_defined
        require_key_mcp_access_defined search_tools search_tool_deny_by_default vector_store_deny_by_default
        claude_code_gateway_managed_settings"),

    (Router, Native, "timeout stream_timeout model_group_alias"),
    (Router, Declines(RouterSettings, NotShuffle), "routing_strategy"),
    (Router, Declines(RouterSettings, NotZero), "num_retries"),
    (Router, Declines(RouterSettings, NotTrue), "disable_cooldowns"),
    (Router, Declines(Callbacks, Truthy), "alerting_config guardrail_list plugins"),
    (Router, Declines(Decline::Caching, Truthy), "cache_responses caching_groups"),
    (Router, Declines(RouterSettings, Truthy), "fallbacks default_fallbacks context_window_fallbacks
        content_policy_fallbacks retry_policy model_group_retry_policy enable_pre_call_checks optional_pre_call_checks
        enable_tag_filtering enable_weighted_failover enable_health_check_routing routing_groups
        provider_budget_config model_group_affinity_config default_litellm_params default_priority
        default_max_parallel_requests router_general_settings routing_strategy_args"),
    (Router, NoBearing, "redis_host redis_port redis_password redis_url redis_db cache_kwargs allowed_fails
        allowed_fails_policy cooldown_time max_fallbacks retry_after set_verbose debug_level client_ttl polling_interval
        search_tools assistants_config ignore_invalid_deployments deployment_affinity_ttl_seconds
        tag_filtering_match_any tag_routing_prefix background_health_check_model_groups
        health_check_ignore_transient_errors health_check_staleness_threshold"),

    (LitellmParams, Native, "model api_key api_base organization timeout stream_timeout request_timeout weight rpm tpm
        extra_headers custom_llm_provider base_model"),
    (LitellmParams, Declines(DeploymentParam, NotZero), "max_retries num_retries"),
    (LitellmParams, Declines(DeploymentParam, Truthy), "drop_params use_in_pass_through use_litellm_proxy use_xai_oauth
        merge_reasoning_content_in_choices allow_client_keepalive_override fallbacks tags tag_regex guardrails
        configurable_clientside_auth_params"),
    // a limit for every key of the deployment
    (LitellmParams, Declines(DeploymentParam, Set), "default_api_key_tpm_limit default_api_key_rpm_limit"),
    (LitellmParams, NoBearing, "max_file_size_mb cooldown_time"),

    (ModelInfo, Native, "id base_model"),
    (ModelInfo, Declines(DeploymentParam, NotChat), "mode"),
    (ModelInfo, Declines(DeploymentParam, Set), "team_id team_public_model_name access_windows supported_environments
        ptu_count cost_per_ptu_per_hour ptu_effective_from ptu_effective_to"),
    (ModelInfo, Declines(DeploymentParam, Truthy), "blocked enable_tag_filtering allow_fail_open internal_router_model
        member_auto_router guardrails"),
];

/// Names of the price map that `model_info` may override; they steer what LiteLLM accepts for the model.
fn price_map_name(name: &str) -> bool {
    name.starts_with("supports_") || name.starts_with("max_") || name == "litellm_provider"
}

/// What the key means.
pub fn rule(section: Section, name: &str) -> Rule {
    let row = TABLE.iter().find(|(at, _, names)| *at == section && names.split_whitespace().any(|known| known == name));
    if let Some((_, rule, _)) = row {
        return *rule;
    }
    let listed = |names: &[&str]| names.contains(&name);
    match section {
        Section::Top => Rule::Unknown,
        Section::LitellmSettings if listed(key_names::LITELLM) => Declines(Setting, Set),
        Section::GeneralSettings if listed(key_names::GENERAL) => Declines(Setting, Set),
        Section::RouterSettings if listed(key_names::ROUTER) => Declines(RouterSettings, Truthy),
        Section::LitellmParams if listed(key_names::PRICING) => Native,
        // whatever else stands there travels with the call: see `deployment`, which knows the request defaults
        Section::LitellmParams => Declines(DeploymentParam, Set),
        Section::ModelInfo if listed(key_names::PRICING) || price_map_name(name) => Native,
        Section::ModelInfo if name == "off_peak_pricing" => Declines(DeploymentParam, Set),
        Section::ModelInfo => NoBearing,
        _ => Rule::Unknown,
    }
}

/// The response cache serves every request unless it is off or answers only on request.
pub(crate) fn cache_is_on(cache: &Value, params: Option<&Value>) -> bool {
    let by_request = params
        .and_then(Value::as_map)
        .and_then(|map| map.get("mode"))
        .is_some_and(|mode| mode.value.as_str() == Some("default_off"));
    *cache != Value::Bool(false) && !cache.is_null() && !by_request
}
