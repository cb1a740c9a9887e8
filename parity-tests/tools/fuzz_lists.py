"""The lists of fuzz_cases.py: values, parameters, messages, error bodies, statuses and headers."""

ODD = [None, True, False, 0, 1, -1, 0.5, 1e300, -0.0, 12345678901234567890123, "", "text", "1", [], ["a"], {}, {"a": 1}]
TEXTS = ["", " ", "plain", "é😀\u2028\u0000", "a\"b\\c/d", "x" * 3000, "<script>", "\u001f\u007f", "line\r\nbreak"]
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

CHAT_PARAMS = """audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens metadata
modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key reasoning_effort response_format
safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools top_logprobs top_p
user verbosity web_search_options thinking foo top_k guided_json enable_thinking messages model prompt input api_key
api_base tags cache timeout num_retries extra_body extra_headers mock_response fallbacks guardrails litellm_metadata
litellm_call_id user_config context_window_fallbacks caching request_timeout max_retries priority model_info
proxy_server_request secret_fields headers drop_params additional_drop_params allowed_openai_params deployment_id
custom_llm_provider litellm_params kwargs self args acompletion optional_params litellm_logging_obj litellm_trace_id
chat_template_kwargs ignore_eos min_p repetition_penalty best_of echo suffix use_beam_search extra_query language file
id created object choices usage provider route models transforms plugins include_reasoning reasoning web_search
stream_timeout logger_fn session_id trace_id mode hidden_params num_ctx aws_region_name region_name base_model
input_cost_per_token roles text_completion atext_completion async_call client""".split()
MESSAGES_PARAMS = """max_tokens messages model metadata stop_sequences stream system temperature thinking tool_choice tools
top_k top_p service_tier container mcp_servers betas output_config output_format context_management cache_control
inference_geo user n foo speed response_format reasoning_effort api_key api_base tags timeout num_retries extra_body
extra_headers mock_response fallbacks guardrails litellm_metadata custom_llm_provider client anthropic_beta
anthropic_version""".split()

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CLAUDE_TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
VALID_CHAT = {
    "logit_bias": [{"50256": -100}], "max_tokens": [5, 10**12], "n": [2], "reasoning_effort": ["low"],
    "metadata": [{"a": "b"}, {"tags": ["x"]}, {"session_id": "s"}, {"trace_id": "t"}, {"user_api_key": "x"},
                 {"headers": {}}, {"model_info": {}}, {"generation_id": "x"}, {"requester_metadata": {}}, {"a": None}],
    "response_format": [{"type": "text"}, {"type": "json_object"},
                        {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": True}}],
    "service_tier": ["auto", "default", "flex", "priority"], "stop": ["END", ["a", "b"], list("abcde")],
    "stream_options": [{"include_usage": True}, {"include_usage": False}, {"include_obfuscation": False}],
    "tool_choice": ["auto", "none", "required", {"type": "function", "function": {"name": "f"}}],
    "tools": [[TOOL], [TOOL, TOOL], [{"type": "web_search"}], [{"type": "function"}], [dict(TOOL, strict=True)],
              [{"type": "function", "function": {"name": "f"}}], [{"type": "custom", "custom": {"name": "c"}}],
              [{"type": "function", "function": {"name": "f", "parameters": None}}], [{"type": "mcp", "server_url": "x"}],
              [{"name": "f", "input_schema": {"type": "object"}}], [{"type": "function", "name": "f", "parameters": {}}],
              [{"type": "function", "function": {"name": "f", "parameters": {"$defs": {"a": {}}, "$ref": "#/$defs/a"}}}],
              [{"type": "function", "function": {"name": "f", "strict": None, "description": None}}]],
    "functions": [[{"name": "f", "parameters": {}}]], "function_call": ["auto", {"name": "f"}],
    "user": ["u", "user@example.com"], "temperature": [0, 2], "top_p": [0.1], "stream": ["true"], "model": ["gpt-4o"],
    "thinking": [{"type": "enabled", "budget_tokens": 1024}], "prediction": [{"type": "content", "content": "x"}],
}
VALID_MESSAGES = {
    "system": ["Be brief.", [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]],
    "stop_sequences": [["END"]], "metadata": [{"user_id": "u"}, {"user_id": None}, {"user_id": "u", "a": 1}, {"user_id": ""},
                                              {"user_id": "a@example.com"}, {"user_id": "+1 555 123 4567"}],
    "thinking": [{"type": "enabled", "budget_tokens": 1024}, {"type": "adaptive"}, {"type": "disabled"}, {"type": "odd"},
                 {"type": "enabled", "budget_tokens": 20}, {"type": "enabled"}, {"type": "adaptive", "display": "omitted"}],
    "tool_choice": [{"type": "auto"}, {"type": "any"}, {"type": "none"}, {"type": "tool", "name": "f"},
                    {"type": "auto", "disable_parallel_tool_use": True}],
    "tools": [[CLAUDE_TOOL], [dict(CLAUDE_TOOL, cache_control={"type": "ephemeral"})], [dict(CLAUDE_TOOL, type="custom")],
              [dict(CLAUDE_TOOL, defer_loading=True)], [{"type": "web_search_20250305", "name": "web_search"}],
              [{"type": "bash_20250124", "name": "bash"}], [{"type": "computer_20250124", "name": "computer"}], [TOOL],
              [dict(CLAUDE_TOOL, input_examples=[{}])], [dict(CLAUDE_TOOL, allowed_callers=["direct"])],
              [dict(CLAUDE_TOOL, strict=True)], [dict(CLAUDE_TOOL, type=None)], [{"type": "code_execution_20250825", "name": "c"}],
              [{"type": "tool_search_tool_regex_20251119", "name": "t"}], [{"type": "memory_20250818", "name": "memory"}],
              [dict(CLAUDE_TOOL, eager_input_streaming=True)], [{"name": "f"}]],
    "output_config": [{"effort": "high"}, {"effort": "low"}, {"effort": "max"}, {"effort": "odd"},
                      {"format": {"type": "json_schema", "schema": {"type": "object"}}}],
    "output_format": [{"type": "json_schema", "schema": {"type": "object"}}],
    "context_management": [{"edits": [{"type": "clear_tool_uses_20250919"}]}, {"edits": []},
                           {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}],
    "service_tier": ["auto", "standard_only"], "container": ["c"], "inference_geo": ["us"], "mcp_servers": [[]],
    "cache_control": [{"type": "ephemeral"}], "max_tokens": [1, 0, 10**9, 64000, 5.0, 5.5], "stream": ["true"], "speed": ["fast"],
    "temperature": [1, 0.3, 2], "top_k": [5], "top_p": [0.9], "betas": [["a"]],
}

CHAT_MESSAGES = [
    [{"role": role, "content": "x"}] if role is not None else [{"content": "x"}]
    for role in ["user", "system", "developer", "assistant", "tool", "function", "banana", "", None, 5]
] + [[{"role": "user", "content": content}] for content in [
    *TEXTS, None, 5, True, [], {}, [{"type": "text", "text": "a"}], [{"type": "text"}], [{"type": "text", "text": None}], ["a"], [None],
    [{"text": "no type"}], [{"type": None, "text": "a"}], [{"type": "text", "text": ""}],
    [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
    [{"type": "image_url", "image_url": {"url": PIXEL}}], [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}}],
    [{"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}], [{"type": "image_url", "image_url": PIXEL}],
    [{"type": "image_url", "image_url": {}}], [{"type": "image_url", "image_url": {"url": None}}], [{"type": "image_url"}],
    [{"type": "image_url", "image_url": {"url": "https://example.com/x.png", "extra": 1}}],
    [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}], [{"type": "input_audio"}],
    [{"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}], [{"type": "refusal", "refusal": "no"}],
    [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}],
    [{"type": "video_url", "video_url": {"url": "https://example.com"}}], [{"type": "thinking", "thinking": "x"}],
    [{"type": "text", "text": "a", "text2": 1}, {"type": "text", "text": "b"}], [{"type": "tool_result", "content": "x"}],
    [{"type": "document", "source": {}}], [{"type": "guarded_text", "text": "x"}],
]] + [[{"role": "user", "content": "x", **extra}] for extra in [
    {"name": "n"}, {"name": None}, {"name": ""}, {"foo": 1}, {"foo": None}, {"cache_control": {"type": "ephemeral"}},
    {"tool_calls": None}, {"provider_specific_fields": {"a": 1}}, {"tool_call_id": "x"}, {"annotations": []}, {"audio": {"id": "x"}},
]] + [[{"role": "user", "content": "x"}, {"role": "assistant", **extra}, {"role": "tool", "tool_call_id": "c1", "content": content}]
      for extra, content in [
    ({"content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}, "r"),
    ({"tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]}, ""),
    ({"content": "", "tool_calls": []}, [{"type": "text", "text": "r"}]), ({"content": "x", "tool_calls": [{}]}, None),
    ({"content": "x", "tool_calls": [{"id": None, "function": {}}]}, {"a": 1}), ({"content": "x", "refusal": "no"}, 5),
    ({"content": "x", "refusal": None, "audio": None, "function_call": None, "annotations": []}, "r"),
    ({"content": "x", "function_call": {"name": "f", "arguments": "{}"}}, "r"), ({"content": "x", "tool_calls": "no"}, "r"),
    ({"content": "x", "reasoning_content": "t", "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "s"}]}, "r"),
    ({"content": "x", "thinking_blocks": []}, "r"), ({"content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]}, "r"),
    ({"content": "x", "tool_calls": [{"id": "c1", "index": 0, "type": "custom", "custom": {"name": "c", "input": "i"}}]}, "r"),
    ({"content": "x", "provider_specific_fields": {"refusal": None}, "prefix": True}, "r"),
    ({"content": "x", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "not json"}, "caller": None}]}, "r"),
]] + [[], {}, "text", None, 5, [None], ["x"], [[]], [{}], [{"role": "user"}], [{"role": "user", "content": "a"}] * 200]

CLAUDE_MESSAGES = [
    [{"role": role, "content": "x"}] for role in ["user", "assistant", "system", "banana", None, 5]
] + [[{"role": "user", "content": content}] for content in [
    *TEXTS, None, 5, [], {}, ["a"], [{"type": "text", "text": "a"}], [{"type": "text", "text": ""}], [{"type": "text"}], [{"text": "a"}],
    [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}], [{"type": "odd"}], [None],
    [{"type": "text", "text": "a", "cache_control": None, "citations": None}],
    [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}],
    [{"type": "image", "source": {"type": "url", "url": "https://example.com/x.png"}}], [{"type": "image"}],
    [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}, "citations": {"enabled": True}}],
    [{"type": "document", "source": {"type": "file", "file_id": "f"}}], [{"type": "search_result", "source": "s", "title": "t", "content": []}],
    [{"type": "container_upload", "file_id": "f"}], [{"type": "image_url", "image_url": {"url": PIXEL}}],
    [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "r"}], [{"type": "tool_result", "tool_use_id": "t.1:2", "content": None}],
]] + [[{"role": "user", "content": "x"}, {"role": "assistant", "content": content},
       {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": result, **more}]}]
      for content, result, more in [
    ([{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}], "r", {}), ("text", "", {}), ("trailing  ", [], {}), ("", "r", {}),
    ([{"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "text", "text": "a"}], "r", {"is_error": True}),
    ([{"type": "thinking", "thinking": "t", "signature": ""}], "r", {}), ([{"type": "thinking", "thinking": "", "signature": "s"}], "r", {}),
    ([{"type": "redacted_thinking", "data": "d"}], [{"type": "text", "text": "r"}], {"cache_control": {"type": "ephemeral"}}),
    ([{"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}], "r", {}), ([], "r", {}), (None, "r", {}),
    ([{"type": "tool_use", "id": "toolu_1", "name": "f", "input": "{}"}], "r", {}), ([{"type": "tool_use"}], "r", {}),
    ([{"type": "tool_use", "id": "bad id:1", "name": "f", "input": {}, "caller": {"type": "direct"}}], "r", {}),
    ([{"type": "compaction", "content": "c"}], "r", {}), ([{"type": "text", "text": "a", "provider_specific_fields": {}}], "r", {}),
]] + [[], {}, "text", None, 5, [None], ["x"], [{}], [{"role": "user"}], [{"role": "user", "content": "a", "foo": 1}], [{"role": "user", "content": "a"}] * 200]

ERROR_BODIES = ["", "plain text", "<html>x</html>", "null", "[]", "{}", "\"x\"", "5", "{\"error\":null}", "{\"error\":\"text\"}", "{\"error\":{}}", "{\"error\":[]}", "{\"message\":\"m\"}", "{\"detail\":\"d\"}", "{\"detail\":[{\"msg\":\"x\"}]}",
                "{\"error\":{\"message\":\"m\",\"type\":\"t\",\"param\":\"p\",\"code\":\"c\"}}", "{\"error\":{\"message\":null,\"type\":null}}", "{\"error\":{\"message\":\"é😀 \\\"q\\\" \\n\",\"code\":5}}", "{\"error\":{\"message\":{\"a\":1}}}",
                "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"m\"},\"request_id\":\"r\"}", "x" * 5000, "{\"error\":{\"message\":\"This model's maximum context length is 5 tokens\",\"code\":\"context_length_exceeded\"}}",
                "{\"error\":{\"message\":\"prompt is too long: 5 tokens > 4 maximum\"}}", "{\"error\":{\"message\":\"content management policy\",\"code\":\"content_policy_violation\"}}", "{\"error\":{\"message\":\"invalid_request_error content_policy\"}}",
                "{\"error\":{\"message\":\"Incorrect API key provided: sk-abcdefghijklmnop1234567890. You can find\",\"code\":\"invalid_api_key\"}}", "{\"error\":{\"message\":\"Rate limit reached, try again\",\"code\":\"rate_limit_exceeded\",\"type\":\"tokens\"}}",
                "{\"error\":{\"message\":\"The model `x` does not exist\",\"code\":\"model_not_found\"}}", "{\"error\":{\"message\":\"Timeout Error\"}}", "{\"error\":{\"message\":\"API key abc: Bearer sk-ant-REDACTED0123456789\"}}", "{\"error\":{\"message\":\"\"}}",
                "{\"error\":{\"message\":\"image url rejected\",\"type\":\"invalid_request_error\"}}", "{\"error\":{\"message\":\"Could not finish the message because max_tokens or model output limit was reached.\"}}", "\udcff", "{\"error\":{\"message\":\"Mistral API raised a streaming error\"}}",
                "{\"error\":{\"message\":\"A timeout occurred\"}}", "{\"error\":{\"message\":\"Request too large\"}}", "{\"error\":{\"message\":\"quota exceeded\",\"code\":\"insufficient_quota\"}}", "{\"error\":{\"message\":\"string too long\"}}", "{\"error\":{\"message\":\"messages.1: `thinking` blocks cannot be modified Invalid `signature` in `thinking` block\"}}"]
STATUSES = [201, 202, 203, 204, 206, 226, 299, 304, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 522, 524, 529, 598, 599]
ANSWER_HEADERS = [[("set-cookie", "a=b"), ("set-cookie", "c=d")], [("retry-after", "7")], [("retry-after-ms", "50")], [("x-should-retry", "false")], [("x-should-retry", "true")], [("x-request-id", "req_1")], [("request-id", "req_2"), ("x-request-id", "req_3")],
                  [("x-ratelimit-limit-requests", "5"), ("x-ratelimit-remaining-tokens", "6"), ("x-ratelimit-reset-requests", "1s")], [("x-custom", "a"), ("x-custom", "b")], [("x-empty", "")], [("x-litellm-model-id", "fake")], [("llm_provider-x", "y")],
                  [("x-utf", "é😀")], [("server", "cloudflare"), ("cf-ray", "x"), ("date", "Mon, 01 Jan 2024 00:00:00 GMT")], [("x-litellm-edge", "python")], [("openai-processing-ms", "5"), ("openai-version", "v"), ("openai-organization", "o"), ("openai-model", "m")],
                  [("access-control-allow-origin", "*"), ("vary", "x")], [("content-language", "en"), ("via", "1.1 x"), ("alt-svc", "h3")], [("x-big", "b" * 4000)], [("anthropic-ratelimit-requests-limit", "5"), ("anthropic-organization-id", "x")], [("location", "/x")],
                  [("connection", "keep-alive"), ("keep-alive", "timeout=5")], [("trailer", "x")], [("x-none", "None")], [("x-frame-options", "SAMEORIGIN"), ("content-security-policy", "x")], [("www-authenticate", "Bearer")], [("link", "<x>"), ("etag", "\"x\"")]]
REQUEST_HEADERS = [[("accept-encoding", "gzip")], [("accept-encoding", "identity")], [("accept-encoding", "br, gzip;q=0")], [("accept", "text/event-stream")], [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")], [("x-request-id", "rid")], [("user-agent", "curl/8")],
                   [("user-agent", "claude-cli/2.1.330 (external, cli)")], [("cookie", "a=b")], [("cookie", "token=x"), ("cookie", "b=c")], [("x-litellm-call-id", "call-id-1")], [("x-litellm-call-id", "")], [("x-litellm-call-id", "x" * 300)], [("x-litellm-tags", "a,b")], [("x-litellm-timeout", "5")],
                   [("x-litellm-trace-id", "t")], [("x-litellm-session-id", "s")], [("x-litellm-num-retries", "1")], [("x-litellm-foo", "bar")], [("x-litellm-enable-message-redaction", "true")], [("openai-organization", "org")], [("openai-beta", "x")], [("openai-project", "p")],
                   [("anthropic-beta", "context-1m-2025-08-07")], [("anthropic-beta", "z,a, a")], [("anthropic-beta", "")], [("anthropic-beta", "oauth-2025-04-20")], [("anthropic-version", "2024-01-01")], [("anthropic-version", "")], [("anthropic-beta", "a"), ("anthropic-beta", "b")], [("x-api-key", "other")],
                   [("x-api-key", "$KEY")], [("api-key", "other")], [("x-goog-api-key", "other")], [("ocp-apim-subscription-key", "x")], [("x-forwarded-for", "1.2.3.4")], [("origin", "https://example.com")], [("origin", "null")], [("referer", "https://example.com")], [("x-stainless-retry-count", "3")],
                   [("helicone-auth", "x")], [("langfuse_trace_id", "x")], [("langfuse-public-key", "x")], [("x-mcp-auth", "x")], [("x-bedrock-api-key", "x")], [("x-customer-id", "x")], [("x-openwebui-user-id", "u")], [("x-app", "cli")], [("x-claude-code-session-id", "s")], [("x-vertex-ai-project", "x")],
                   [("litellm-timeout", "1")], [("x-header-with-é", "x")], [("x-val", "é😀")], [("authorization", "Bearer other")], [("expect", "100-continue")], [("x-b3-traceid", "x")], [("tracestate", "a=b")], [("x-session-id", "s")], [("x-session-affinity", "s")], [("session_id", "x")], [("host", "other")],
                   [("x-end-user-id", "e")], [("x-user-id", "e")], [("x-agent-id", "a")], [("x-litellm-agent-id", "a")], [("x-litellm-customer-id", "c")], [("x-litellm-end-user-id", "c")], [("x-litellm-keepalive-seconds", "1")], [("x-litellm-stream-timeout", "1")], [("x-litellm-api-key", "$KEY")], [("x-litellm-api-key", "x")],
                   [("prefer", "wait")], [("idempotency-key", "x")], [("x-amzn-trace-id", "x")], [("range", "bytes=0-1")], [("if-none-match", "x")], [("upgrade", "h2c")], [("te", "trailers")], [("cache-control", "no-cache")], [("x-mock-response", "x")], [("anthropic-dangerous-direct-browser-access", "true")],
                   [("x-anthropic-billing-header", "x")], [("x-codex-turn-metadata", "{}")], [("thread-id", "x")], [("session-id", "x")], [("x-client-request-id", "x")], [("x-parent-session-id", "x")]]
AUTHS = [("authorization", "Bearer $KEY"), ("authorization", "bearer $KEY"), ("authorization", "BEARER $KEY"), ("authorization", "$KEY"), ("authorization", "Bearer  $KEY"), ("authorization", "Bearer $KEY "), ("authorization", "Basic $KEY"), ("x-api-key", "$KEY"), ("api-key", "$KEY"),
         ("x-goog-api-key", "$KEY"), ("ocp-apim-subscription-key", "$KEY"), ("x-litellm-api-key", "$KEY"), ("x-litellm-api-key", "Bearer $KEY"), ("authorization", "Bearer sk-wrong"), ("authorization", ""), ("authorization", "Bearer"), ("authorization", "Bearer Bearer $KEY"), ("x-api-key", "Bearer $KEY"), ("x-none", "x"),
         ("authorization", "Bearer\t$KEY"), ("authorization", "AWS4-HMAC-SHA256 $KEY")]
KINDS = ["application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8", "application/json; charset=latin-1", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/vnd.api+json", "APPLICATION/JSON", "", "application/json, application/json", "application/json;", "application/json; charset=\"utf-8\"", "application/json; foo=bar"]
QUERIES = ["?", "?beta=true", "?api-version=1", "?key=x", "?a=b", "?model=x", "?beta=true&x=1", "?beta=false", "?stream=true", "?%00"]
RAW_BODIES = [b"", b"{", b"null", b"[]", b"5", b"\"x\"", b"{}", b"not json", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"{\"a\":NaN}", b"[" * 5000, b"{\"a\":" * 3000, b"{}{}", b" ", b"{\"model\":\"gpt-4o\"}", b"{'model':'x'}", b"// x\n{}"]
