"""The cases of golden_messages.py. Data only."""

CONFIG = """
model_list:
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-4-5-20250929, api_base: $PROVIDER, api_key: sk-ant-golden}
    model_info: {id: id-claude}
  - model_name: opus46
    litellm_params: {model: anthropic/claude-opus-4-6, api_base: $PROVIDER, api_key: sk-ant-golden}
    model_info: {id: id-opus46}
  - model_name: opus45
    litellm_params: {model: anthropic/claude-opus-4-5, api_base: $PROVIDER, api_key: sk-ant-golden}
    model_info: {id: id-opus45}
  - model_name: opus5
    litellm_params: {model: anthropic/claude-opus-5-5, api_base: $PROVIDER, api_key: sk-ant-golden}
    model_info: {id: id-opus5}
  - model_name: haiku35
    litellm_params: {model: anthropic/claude-3-5-haiku-20241022, api_base: $PROVIDER, api_key: sk-ant-golden}
    model_info: {id: id-haiku35}
  - model_name: unpriced
    litellm_params: {model: anthropic/my-own-model, api_base: $PROVIDER, api_key: sk-ant-golden}
    model_info: {id: id-unpriced}
  - model_name: slow
    litellm_params: {model: anthropic/claude-sonnet-4-5-20250929, api_base: $PROVIDER, api_key: sk-ant-golden, timeout: 0.4}
    model_info: {id: id-slow}
  - model_name: dead
    litellm_params: {model: anthropic/claude-sonnet-4-5-20250929, api_base: $DEAD, api_key: sk-ant-golden}
    model_info: {id: id-dead}
  - model_name: defaults
    litellm_params: {model: anthropic/claude-sonnet-4-5-20250929, api_base: $PROVIDER, api_key: sk-ant-golden, temperature: 0.25, max_tokens: 77, extra_headers: {x-team: blue}}
    model_info: {id: id-defaults}
  - model_name: pricey
    litellm_params: {model: anthropic/my-pricey, api_base: $PROVIDER, api_key: sk-ant-golden, input_cost_per_token: 0.01, output_cost_per_token: 0.02}
    model_info: {id: id-pricey}
litellm_settings:
  num_retries: 0
router_settings:
  num_retries: 0
  disable_cooldowns: true
"""

UPSTREAM_HEADERS = {"request-id": "req_g1", "anthropic-organization-id": "org-g", "anthropic-ratelimit-requests-limit": "50",
                    "x-ratelimit-limit-requests": "9", "via": "1.1 google"}


def message(usage=None, **more):
    usage = {"input_tokens": 25, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 12} if usage is None else usage
    return {"id": "msg_g1", "type": "message", "role": "assistant", "model": "$MODEL",
            "content": [{"type": "text", "text": "Héllo"}], "stop_reason": "end_turn", "stop_sequence": None, "usage": usage, **more}


def ok(usage=None, **more):
    return [{"status": 200, "headers": UPSTREAM_HEADERS, "json": message(usage, **more)}]


FRAMES = [
    'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_g1","type":"message","role":"assistant","model":"$MODEL","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":3,"cache_read_input_tokens":4,"output_tokens":1}}}',
    'event: content_block_start\ndata: {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}',
    'event: ping\ndata: {"type": "ping"}',
    'event: content_block_delta\ndata: {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hé"}}',
    'event: content_block_stop\ndata: {"type": "content_block_stop", "index": 0}',
    'event: message_delta\ndata: {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 12}}',
    'event: message_stop\ndata: {"type": "message_stop"}',
]


def sse(frames=None, **more):
    return [{"status": 200, "headers": UPSTREAM_HEADERS, "sse": FRAMES if frames is None else frames, **more}]


HI = [{"role": "user", "content": "hi"}]


def case(name, body, provider=None, headers=None, why="", path="/v1/messages"):
    body = {"model": "claude", "max_tokens": 64, "messages": HI, **body}
    request = {"path": path, "json": {k: v for k, v in body.items() if v != "ABSENT"}}
    if headers:
        request["headers"] = headers
    return {"name": name, "why": why, "request": request, "provider": ok() if provider is None else provider}


def error(status, text=None):
    return [{"status": status, "headers": UPSTREAM_HEADERS,
             "body": '{"type": "error", "error": {"type": "some_error", "message": "nö"}}' if text is None else text}]


CLAUDE_CODE = {"anthropic-version": "2023-06-01", "user-agent": "claude-cli/2.1.330 (external, sdk-cli)", "x-app": "cli", "accept": "application/json",
               "anthropic-beta": "interleaved-thinking-2025-05-14,claude-code-20250219, context-management-2025-06-27,effort-2025-11-24",
               "x-stainless-lang": "js", "anthropic-dangerous-direct-browser-access": "true", "x-claude-code-session-id": "5d2c"}
TOOL = {"name": "Bash", "description": "run", "input_schema": {"type": "object", "properties": {"c": {"type": "string"}}, "$schema": "http://x"}}
CODE = {
    "messages": [{"role": "user", "content": [{"type": "text", "text": "<system-reminder>x</system-reminder>"}, {"type": "text", "text": "do", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
                 {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}, {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"c": "ls"}}]},
                 {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "a"}], "is_error": False, "cache_control": {"type": "ephemeral"}}]}],
    "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330; cc_entrypoint=sdk-cli;"}, {"type": "text", "text": "You are", "cache_control": {"type": "ephemeral"}}],
    "tools": [TOOL, {**TOOL, "name": "Later", "defer_loading": True}],
    "metadata": {"user_id": '{"device_id":"d","account_uuid":"","session_id":"s"}'},
    "max_tokens": 32000, "thinking": {"type": "adaptive", "display": "omitted"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}, "output_config": {"effort": "high"},
}

CASES = [
    case("plain", {}),
    case("stream", {"stream": True}, sse()),
    case("stream_false", {"stream": False}),
    case("claude_code", {"model": "opus46", **CODE, "stream": True}, sse(), CLAUDE_CODE, path="/v1/messages?beta=true"),
    case("claude_code_json", {"model": "opus46", **CODE}, None, CLAUDE_CODE, path="/v1/messages?beta=true"),
    case("claude_code_opus5", {"model": "opus5", **CODE, "stream": True}, sse(), CLAUDE_CODE, path="/v1/messages?beta=true"),
    case("claude_code_sonnet45", {"model": "claude", **CODE, "stream": True}, sse(), CLAUDE_CODE, path="/v1/messages?beta=true"),
    case("claude_code_opus45", {"model": "opus45", **CODE, "stream": True}, sse(), CLAUDE_CODE, path="/v1/messages?beta=true"),
    case("unknown_fields", {"foo": 1, "service_tier": "auto", "betas": ["x"], "container": {"id": "c"}, "mcp_servers": [], "cache_control": {"type": "ephemeral"}, "inference_geo": "us"}),
    case("null_fields", {"temperature": None, "system": None, "tools": None, "stream": None, "metadata": None, "stop_sequences": None}),
    case("stream_text", {"stream": "true"}, sse()),
    case("metadata_empty", {"metadata": {}}),
    case("metadata_null_user", {"metadata": {"user_id": None}}),
    case("metadata_more", {"metadata": {"user_id": "u", "tags": ["t"], "x": 1}}),
    case("metadata_int_user", {"metadata": {"user_id": 5}}),
    case("output_format", {"output_format": {"type": "json_schema", "schema": {"type": "object"}}}),
    case("output_config_format", {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, headers={"anthropic-beta": "zz"}),
    case("version_header", {}, headers={"anthropic-version": "2026-10-21"}),
    case("beta_odd", {}, headers={"anthropic-beta": " b2,a1,, b2 "}),
    case("beta_empty", {}, headers={"anthropic-beta": ""}),
    case("compact_edit", {"context_management": {"edits": [{"type": "compact_20260112"}, {"type": "clear_tool_uses_20250919"}]}}),
    case("tool_search", {"tools": [TOOL, {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}]}),
    case("display_updates", {"model": "opus5", "thinking": {"type": "adaptive", "display": "updates"}}),
    case("thinking_enabled", {"max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 2000}}),
    case("thinking_temperature", {"max_tokens": 4096, "temperature": 0.5, "thinking": {"type": "enabled", "budget_tokens": 2000}}),
    case("thinking_temperature_one", {"max_tokens": 4096, "temperature": 1, "thinking": {"type": "enabled", "budget_tokens": 2000}}),
    case("thinking_enabled_opus46", {"model": "opus46", "max_tokens": 4096, "temperature": 0.5, "thinking": {"type": "enabled", "budget_tokens": 2000}}),
    case("thinking_enabled_opus5", {"model": "opus5", "max_tokens": 64000, "thinking": {"type": "enabled", "budget_tokens": 31999}}),
    case("thinking_disabled_opus5", {"model": "opus5", "thinking": {"type": "disabled"}}),
    case("thinking_disabled", {"thinking": {"type": "disabled"}}),
    case("sampling", {"temperature": 0.3, "top_p": 0.9, "top_k": 5}),
    case("sampling_opus5", {"model": "opus5", "temperature": 1}),
    case("sampling_opus5_bad", {"model": "opus5", "temperature": 0.5}),
    case("sampling_unpriced", {"model": "unpriced", "temperature": 0.5, "thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}),
    case("tool_choice", {"tools": [TOOL], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}),
    case("tool_custom", {"tools": [{**TOOL, "type": "custom", "cache_control": {"type": "ephemeral"}}, {"type": "bash_20250124", "name": "bash"}, {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}]}),
    case("image", {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}, {"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:1/x.png"}}, {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}, "title": "t", "citations": {"enabled": True}}]}]}),
    case("system_text", {"system": "be brief"}),
    case("system_empty_block", {"system": [{"type": "text", "text": ""}]}),
    case("message_system_role", {"messages": [{"role": "system", "content": "s"}, *HI]}),
    case("message_extra_keys", {"messages": [{"role": "user", "content": "hi", "id": "x"}]}),
    case("message_output_config", {"messages": [{"role": "user", "content": "hi", "output_config": {"effort": "low"}}]}),
    case("empty_text_string", {"messages": [{"role": "user", "content": ""}]}),
    case("empty_text_nested", {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": ""}]}]}]}),
    case("messages_empty", {"messages": []}),
    case("max_tokens_zero", {"max_tokens": 0}),
    case("max_tokens_text", {"max_tokens": "64"}),
    case("max_tokens_float", {"max_tokens": 64.5}),
    case("max_tokens_string_model_params", {"model": "defaults", "max_tokens": "ABSENT"}),
    case("defaults_client_wins", {"model": "defaults", "max_tokens": 5, "temperature": 0.75}),
    case("unicode", {"messages": [{"role": "user", "content": "zażółć \u2028 \U0001f600"}]}),
    case("numbers", {"temperature": 1e-1, "top_p": 1.0, "tools": [{"name": "t", "input_schema": {"maximum": 12345678901234567890123, "x": 1e400 if False else 5.0}}]}),
    case("cost_cache", {}, ok({"input_tokens": 10, "cache_creation_input_tokens": 1000, "cache_read_input_tokens": 2000, "output_tokens": 5})),
    case("cost_cache_1h", {}, ok({"input_tokens": 10, "cache_creation_input_tokens": 1000, "cache_read_input_tokens": 0, "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600}, "output_tokens": 5})),
    case("cost_read_only", {}, ok({"input_tokens": 10, "cache_read_input_tokens": 2000, "output_tokens": 5})),
    case("cost_creation_null", {}, ok({"input_tokens": 10, "cache_creation_input_tokens": None, "cache_read_input_tokens": None, "output_tokens": 5})),
    case("cost_unpriced", {"model": "unpriced"}),
    case("cost_other_model", {"model": "opus5"}, ok(model="claude-sonnet-4-5-20250929"), why="LiteLLM prices the model that the answer names"),
    case("cost_other_unknown", {"model": "opus5"}, ok(model="nobody-knows")),
    case("cost_model_missing", {"model": "opus5"}, [{"status": 200, "json": {k: v for k, v in message().items() if k != "model"}}]),
    case("cost_priced_by_config", {"model": "pricey"}, ok({"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 4})),
    case("cost_opus5", {"model": "opus5"}, ok({"input_tokens": 10, "cache_creation_input_tokens": 1000, "cache_read_input_tokens": 2000, "output_tokens": 5})),
    case("cost_priority_tier", {}, ok({"input_tokens": 10, "output_tokens": 5, "service_tier": "priority"})),
    case("cost_batch_tier", {}, ok({"input_tokens": 10, "output_tokens": 5, "service_tier": "batch"})),
    case("cost_geo", {"model": "opus46"}, ok({"input_tokens": 10, "output_tokens": 5, "inference_geo": "us"})),
    case("cost_geo_na", {"model": "opus46"}, ok({"input_tokens": 10, "output_tokens": 5, "inference_geo": "not_available", "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0}})),
    case("cost_fast", {"model": "opus46"}, ok({"input_tokens": 10, "output_tokens": 5, "speed": "fast"})),
    case("cost_web_search", {}, ok({"input_tokens": 10, "output_tokens": 5, "server_tool_use": {"web_search_requests": 2}})),
    case("cost_iterations", {}, ok({"input_tokens": 10, "output_tokens": 5, "iterations": [{"type": "message", "input_tokens": 7, "output_tokens": 3}, {"type": "compaction", "input_tokens": 100, "output_tokens": 30}]})),
    case("cost_thinking", {}, ok({"input_tokens": 10, "output_tokens": 50}, content=[{"type": "thinking", "thinking": "let me think about it for a while", "signature": "s"}, {"type": "text", "text": "x"}])),
    case("cost_output_details", {}, ok({"input_tokens": 10, "output_tokens": 50, "output_tokens_details": {"thinking_tokens": 20}}, content=[{"type": "thinking", "thinking": "let me", "signature": "s"}, {"type": "text", "text": "x"}])),
    case("cost_large", {}, ok({"input_tokens": 250000, "output_tokens": 50})),
    case("cost_zero", {}, ok({"input_tokens": 0, "output_tokens": 0})),
    case("cost_float_tokens", {}, ok({"input_tokens": 10.0, "output_tokens": 5.0})),
    case("usage_missing", {}, [{"status": 200, "json": {"id": "m", "type": "message", "role": "assistant", "model": "x", "content": [{"type": "text", "text": "abc"}]}}]),
    case("usage_null", {}, [{"status": 200, "json": {**message(), "usage": None}}]),
    case("model_missing", {}, [{"status": 200, "json": {k: v for k, v in message().items() if k != "model"}}]),
    case("content_missing", {}, [{"status": 200, "json": {k: v for k, v in message().items() if k != "content"}}]),
    case("content_null", {}, [{"status": 200, "json": {**message(), "content": None}}]),
    case("tool_use_answer", {}, ok(content=[{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"c": "ls"}}], stop_reason="tool_use")),
    case("answer_empty_object", {}, [{"status": 200, "json": {}}]),
    case("answer_array", {}, [{"status": 200, "json": [1]}]),
    case("answer_error_object", {}, [{"status": 200, "json": {"type": "error", "error": {"type": "api_error", "message": "m"}}}]),
    case("answer_unknown_keys", {}, ok({"input_tokens": 1, "output_tokens": 1, "weird": {"a": 1}, "total_tokens": 9}, container=None, weird_top=1.50)),
    case("answer_text_type", {}, [{"status": 200, "headers": {"content-type": "text/plain"}, "json": message()}]),
    case("answer_201", {}, [{"status": 201, "json": message()}]),
    case("answer_bom", {}, [{"status": 200, "body": "\ufeff{\"id\":\"x\"}"}]),
    case("answer_cut", {}, [{"status": 200, "json": message(), "then": "cut"}]),
    case("answer_cut_chunked", {}, [{"status": 200, "chunked": True, "json": message(), "then": "cut"}]),
    case("answer_chunked", {}, [{"status": 200, "chunked": True, "json": message()}]),
    case("answer_bad_json", {}, [{"status": 200, "body": '{"id": "x", broken'}]),
    case("answer_bad_json_overloaded", {}, [{"status": 200, "body": 'Overloaded'}]),
    case("answer_html", {}, [{"status": 200, "headers": {"content-type": "text/html"}, "body": '<html>'}]),
    case("answer_empty", {}, [{"status": 200, "body": ''}]),
    case("reset", {}, [{"then": "reset"}]),
    case("refused", {"model": "dead"}, []),
    case("refused_stream", {"model": "dead", "stream": True}, []),
    case("timeout", {"model": "slow"}, [{"then": "hang", "hang_s": 2}]),
    case("timeout_stream_head", {"model": "slow", "stream": True}, [{"then": "hang", "hang_s": 2}]),
    case("timeout_stream_first", {"model": "slow", "stream": True}, sse([], then="stall", hang_s=2)),
    case("timeout_stream_mid", {"model": "slow", "stream": True}, sse(FRAMES[:4], then="stall", hang_s=2)),
    case("timeout_body", {"model": "slow"}, [{"status": 200, "chunked": True, "body": '{"id":', "then": "stall", "hang_s": 2}]),
    *[case(f"error_{s}", {}, error(s)) for s in (400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 418, 422, 424, 429, 499, 500, 501, 502, 503, 504, 505, 520, 529, 599)],
    *[case(f"error_stream_{s}", {"stream": True}, error(s)) for s in (400, 401, 404, 413, 418, 429, 500, 502, 503, 504, 529)],
    case("error_302", {}, [{"status": 302, "headers": {"location": "/v1/other"}, "body": "moved"}]),
    case("error_304", {}, [{"status": 304, "headers": {}, "body": ""}]),
    case("error_request_id", {}, error(400), {"x-request-id": "rq-1"}),
    case("error_call_id", {}, error(400), {"x-litellm-call-id": "my-call"}),
    case("error_html", {}, error(502, "<html>bad</html>")),
    case("error_empty", {}, error(500, "")),
    case("error_empty_400", {}, error(400, "")),
    case("error_text_json_message", {}, error(400, '{"message": "plain"}')),
    case("error_context", {}, error(400, '{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}')),
    case("error_context_500", {}, error(500, 'prompt is too long')),
    case("error_context_stream", {"stream": True}, error(400, '{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}')),
    case("error_exceeds_maximum", {}, error(400, 'input length and `max_tokens` exceed context limit: 199000 + 32000 > 200000, decrease input length')),
    case("error_overloaded_400", {}, error(400, '{"error":{"type":"overloaded_error"}}')),
    case("error_invalid_api_key", {}, error(400, 'Invalid API Key')),
    case("error_content_filter", {}, error(400, 'Output blocked by content filtering policy')),
    case("error_client_error_400", {}, error(422, "Client error '400 Bad Request'")),
    case("error_request_timed_out", {}, error(400, "Request timed out")),
    case("error_thinking_signature", {"messages": CODE["messages"], "thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4000}, error(400, '{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` in `thinking` block"}}') + ok()),
    case("error_thinking_signature_twice", {"messages": CODE["messages"]}, error(400, "messages.1.content.0: Invalid `signature` in `thinking` block") * 2),
    case("error_thinking_signature_stream", {"messages": CODE["messages"], "stream": True}, error(400, "messages.1.content.0: Invalid `signature` in `thinking` block") + sse()),
    case("error_key_in_text", {}, error(400, "your key sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789 is bad, Bearer abcdefghijklmnop, see /usr/lib/python3/site.py")),
    case("error_long", {}, error(400, "x" * 3000)),
    case("error_200_sse_for_json", {}, sse()),
    case("stream_json_answer", {"stream": True}, ok()),
    case("stream_empty", {"stream": True}, sse([])),
    case("stream_cut0", {"stream": True}, sse([], then="cut")),
    case("stream_cut1", {"stream": True}, sse(FRAMES[:1], then="cut")),
    case("stream_cut_mid", {"stream": True}, sse(FRAMES[:4], then="cut")),
    case("stream_cut_in_frame", {"stream": True}, sse(FRAMES[:4], tail='event: content_block_delta\ndata: {"ty', then="cut")),
    case("stream_cut_in_frame_newline", {"stream": True}, sse(FRAMES[:4], tail='event: content_block_delta\n', then="cut")),
    case("stream_cut_in_first_frame", {"stream": True}, sse([], tail='event: message_start\ndata: {"ty', then="cut")),
    case("stream_rst", {"stream": True}, sse(FRAMES[:4], then="rst")),
    case("stream_no_stop", {"stream": True}, sse(FRAMES[:5])),
    case("stream_tail", {"stream": True}, sse(FRAMES[:4], tail='event: content_block_delta\ndata: {"x"')),
    case("stream_only_tail", {"stream": True}, sse([], tail='event: message_start\ndata: {"type":"message_start","message":{"model":"z"}}')),
    case("stream_error_first", {"stream": True}, sse(['event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'])),
    case("stream_error_mid", {"stream": True}, sse(FRAMES[:4] + ['event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'])),
    case("stream_error_code_first", {"stream": True}, sse(['data: {"error":{"message":"no","code":429}}'])),
    case("stream_error_code_text_first", {"stream": True}, sse(['data: {"error":{"message":"no","type":"t","code":"503"}}'])),
    case("stream_error_code_event_first", {"stream": True}, sse(['event: error\ndata: {"error":{"message":"no","code":429}}'])),
    case("stream_ping_first", {"stream": True}, sse([FRAMES[2]] + FRAMES)),
    case("stream_start_later", {"stream": True}, sse([FRAMES[1], FRAMES[0]])),
    case("stream_crlf", {"stream": True}, sse([], tail="".join(f.replace("\n", "\r\n") + "\r\n\r\n" for f in FRAMES))),
    case("stream_unicode_start", {"stream": True}, sse([FRAMES[0].replace("msg_g1", "mśg \\u00e9 \\ud83d\\ude00 \u2028 /\\/")] + FRAMES[1:])),
    case("stream_number_start", {"stream": True}, sse(['event: message_start\ndata: {"type":"message_start","message":{"model":"m","usage":{"input_tokens":1e2,"x":1.50,"big":123456789012345678901234567890}},"a":"\\/"}'])),
    case("stream_same_model", {"stream": True}, sse(['event: message_start\ndata: {"type": "message_start", "message": {"model": "claude"}}'] + FRAMES[1:])),
    case("stream_bad_start", {"stream": True}, sse(['event: message_start\ndata: {"type": "message_start", "message": '] + FRAMES[1:])),
    case("stream_no_model", {"stream": True}, sse(['event: message_start\ndata: {"type": "message_start", "message": {"id":"x"}}'] + FRAMES[1:])),
    case("stream_message_start_in_text", {"stream": True}, sse(['data: {"type":"content_block_delta","x":"message_start"}'] + FRAMES)),
    case("stream_ping_gap", {"stream": True}, sse(FRAMES, gap_ms=[16500, 0, 0, 0, 0, 0, 0]), why="a ping 15 s after the previous frame"),
    case("stream_ping_before_first", {"stream": True}, sse(first_gap_ms=16500), why="the head came, the body not: the first frame is LiteLLM's own ping"),
    case("beta_query_other", {}, path="/v1/messages?beta=false"),
    case("thinking_empty_unsigned", {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": [{"type": "thinking", "thinking": ""}, {"type": "text", "text": " "}, {"type": "text", "text": "y"}]}, *HI]}),
    case("thinking_empty_signed", {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": "c2ln"}, {"type": "redacted_thinking", "data": "zz"}, {"type": "text", "text": "y"}]}, *HI]}),
    case("server_tool_history", {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": [{"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}}, {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result", "url": "u", "title": "t", "encrypted_content": "e"}]}, {"type": "text", "text": "y"}]}, *HI]}),
]
