"""The cases of fuzz_both.py: lists of request and answer shapes, one thing odd at a time, and random mixes of them.

A case is {name, method, path, headers: [(name, value)], body: bytes, answers: [provider answer]}; `$KEY` in a header
stands for the master key. What a provider answer may hold is told by fuzz_both.Provider.write.
"""
import copy
import json
import random

from fuzz_lists import *  # noqa: F403

USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
CLAUDE_USAGE = {"input_tokens": 9, "output_tokens": 12}


def chat_answer(**change):
    message = {"role": "assistant", "content": "Hello"}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": "gpt-4o-2024-08-06",
              "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": dict(USAGE)}
    return {**answer, **change}


def claude_answer(**change):
    answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929",
              "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn", "stop_sequence": None,
              "usage": dict(CLAUDE_USAGE)}
    return {**answer, **change}


def without(tree, *names):
    return {name: value for name, value in tree.items() if name not in names}


def chunk(delta, finish=None, **more):
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "gpt-4o-2024-08-06",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def usage_chunk(**usage):
    return {**chunk({}), "choices": [], "usage": {**USAGE, **usage}}


def sse(*events, done=True, end="\n\n"):
    text = [f"data: {event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)}{end}" for event in events]
    return text + ([f"data: [DONE]{end}"] if done else [])


def stream(parts, **more):
    return {"chunks": parts, "headers": [("content-type", "text/event-stream")], **more}


CHUNKS = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop"), usage_chunk()]
CLAUDE_EVENTS = [
    {"type": "message_start", "message": claude_answer(content=[], stop_reason=None, usage={"input_tokens": 9, "output_tokens": 1})},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}, {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hé\"llo"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 12}},
    {"type": "message_stop"}]


def claude_sse(events, end="\n", spaced=True):
    gap = " " if spaced else ""
    return [f"event:{gap}{event['type']}{end}data:{gap}{json.dumps(event)}{end}{end}" for event in events]


def odd_chat_answers():
    """Whole answers of provider openai."""
    base = chat_answer()
    for name in base:
        yield f"no-{name}", {"json": without(base, name)}
        for value in ODD:
            yield f"{name}={value!r:.30}", {"json": {**base, name: value}}
    for name in ["index", "message", "finish_reason"]:
        choice = base["choices"][0]
        yield f"choice-no-{name}", {"json": chat_answer(choices=[without(choice, name)])}
        for value in ODD + ["length", "end_turn", "tool_calls", "content_filter", "weird", "eos"]:
            yield f"choice-{name}={value!r:.30}", {"json": chat_answer(choices=[{**choice, name: value}])}
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}
    for message in [
        {}, {"role": "assistant"}, {"role": "assistant", "content": None}, {"role": "user", "content": "x"}, {"content": "x"},
        {"role": None, "content": "x"}, {"role": "assistant", "content": ["a"]}, {"role": "assistant", "content": 5},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}]}, {"role": "assistant", "content": {}},
        {"role": "assistant", "content": "x", "refusal": None, "annotations": [], "audio": None},
        {"role": "assistant", "content": "x", "refusal": "no", "annotations": [{"type": "url_citation", "url_citation": {}}]},
        {"role": "assistant", "content": "x", "reasoning_content": "r"}, {"role": "assistant", "content": "x", "reasoning": "r"},
        {"role": "assistant", "content": "x", "reasoning_content": None, "reasoning": None},
        {"role": "assistant", "content": "<think>hidden</think>shown"}, {"role": "assistant", "content": "x", "reasoning": {"a": 1}},
        {"role": "assistant", "content": "x", "reasoning_content": ""}, {"role": "assistant", "content": "x", "reasoning_content": 5},
        {"role": "assistant", "content": "x", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "assistant", "content": "x", "function_call": None}, {"role": "assistant", "content": "x", "function_call": {}},
        {"role": "assistant", "content": "x", "audio": {"id": "a", "data": "d", "transcript": "t", "expires_at": 1}},
        {"role": "assistant", "content": "x", "images": [{"type": "image_url", "image_url": {"url": PIXEL}, "index": 0}]},
        {"role": "assistant", "content": "x", "tool_calls": None}, {"role": "assistant", "content": "x", "tool_calls": []},
        {"role": "assistant", "content": "x", "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "s"}]},
        {"role": "assistant", "content": "x", "thinking_blocks": None}, {"role": "assistant", "content": "x", "foo": {"b": None}},
        {"role": "assistant", "content": "x", "provider_specific_fields": {"a": 1}}, {"role": "assistant", "content": "x", "name": "n"},
        *[{"role": "assistant", "content": None, "tool_calls": calls} for calls in [
            [call], [call, {**call, "id": "call_2"}], [without(call, "id")], [without(call, "type")], [without(call, "function")],
            [{**call, "id": None}], [{**call, "type": None}], [{**call, "function": None}], [{**call, "index": 3}], [{}], [None], ["x"],
            "x", {}, [{**call, "function": {"name": None, "arguments": None}}], [{**call, "function": {"name": "f"}}],
            [{**call, "function": {"name": "f", "arguments": {"a": 1}}}], [{**call, "function": {"name": "f", "arguments": "not json"}}],
            [{**call, "function": {"name": "f", "arguments": "", "foo": 1}}], [{**call, "function": {"name": 5, "arguments": 5}}],
            [{**call, "function": {"name": "f", "arguments": []}}], [{"id": "c", "type": "custom", "custom": {"name": "c", "input": "i"}}],
            [{**call, "extra": None, "foo": {"a": None}}], [{**call, "id": ""}], [{**call, "id": 5}], [{**call, "type": "weird"}],
            [{**call, "function": {"name": "multi_tool_use.parallel", "arguments": json.dumps({"tool_uses": [
                {"recipient_name": "functions.a", "parameters": {"x": 1.0}}, {"recipient_name": "b", "parameters": {}}]})}}],
            [{**call, "function": {"name": "multi_tool_use.parallel", "arguments": "{}"}}],
            [{**call, "provider_specific_fields": {"thought_signature": "x"}}]]],
    ]:
        yield f"message-{json.dumps(message):.90}", {"json": chat_answer(choices=[{"index": 0, "message": message, "finish_reason": "stop"}])}
        yield f"message2-{json.dumps(message):.90}", {"json": chat_answer(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])}
    choice = base["choices"][0]
    for more in [{"logprobs": None}, {"logprobs": {"content": []}}, {"logprobs": {"content": None, "refusal": None}}, {"foo": 1}, {"foo": None},
                 {"logprobs": {"content": [{"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}]}}, {"logprobs": 5}, {"logprobs": {}},
                 {"provider_specific_fields": {"a": 1}}, {"stop_reason": None}, {"content_filter_results": {}}, {"enhancements": {}},
                 {"native_finish_reason": "x"}, {"delta": {}}, {"text": "x"}]:
        yield f"choice+{json.dumps(more)}", {"json": chat_answer(choices=[{**choice, **more}])}
    yield "two-choices", {"json": chat_answer(choices=[choice, {**choice, "index": 1}])}
    yield "two-same-index", {"json": chat_answer(choices=[choice, choice])}
    yield "choices-reversed", {"json": chat_answer(choices=[{**choice, "index": 1}, choice])}
    for more in [{"service_tier": "default"}, {"service_tier": None}, {"service_tier": "flex"}, {"service_tier": "priority"}, {"service_tier": 5}, {"system_fingerprint": None},
                 {"system_fingerprint": "fp"}, {"foo": None}, {"foo": {"a": None}}, {"citations": ["x"]}, {"provider": "p"}, {"error": None},
                 {"error": {}}, {"error": {"message": "m", "code": 400}}, {"error": "text"}, {"error": {"message": "m"}}, {"error": {"code": "x"}}, {"prompt_logprobs": None},
                 {"kv_transfer_params": None}, {"_hidden": 1}, {"response_ms": 5}, {"stream": True}, {"search_results": []}, {"x_groq": {"id": 1}},
                 {"_response_headers": {"a": "b"}}, {"_hidden_params": {"x": 1}}, {"hidden_params": {"x": 1}}, {"provider_specific_fields": {"a": 1}}]:
        yield f"top+{json.dumps(more)}", {"json": chat_answer(**more)}
    for usage in [{}, {"prompt_tokens": 5}, {"completion_tokens": 5}, {"total_tokens": 5}, {**USAGE, "prompt_tokens": None}, {**USAGE, "foo": 1},
                  {**USAGE, "completion_tokens": None}, {**USAGE, "total_tokens": None}, {**USAGE, "total_tokens": 0}, {**USAGE, "cost": 0.5},
                  {**USAGE, "prompt_tokens_details": None, "completion_tokens_details": None}, {**USAGE, "prompt_tokens_details": {}},
                  {**USAGE, "prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 0}}, {**USAGE, "prompt_tokens_details": {"cached_tokens": None}},
                  {**USAGE, "prompt_tokens_details": {"cached_tokens": 50}}, {**USAGE, "completion_tokens_details": {"reasoning_tokens": 5}},
                  {**USAGE, "completion_tokens_details": {"reasoning_tokens": 50, "audio_tokens": 3, "text_tokens": 4, "accepted_prediction_tokens": 1, "rejected_prediction_tokens": 1}},
                  {**USAGE, "prompt_tokens_details": {"cached_tokens": 2, "foo": 1, "text_tokens": 7, "image_tokens": 1}}, {**USAGE, "reasoning_tokens": 4},
                  {**USAGE, "cache_read_input_tokens": 3}, {**USAGE, "cache_creation_input_tokens": 3}, {**USAGE, "prompt_cache_hit_tokens": 3},
                  {**USAGE, "prompt_tokens": -5}, {**USAGE, "prompt_tokens": 9.0}, {**USAGE, "prompt_tokens": 9.5}, {**USAGE, "prompt_tokens": "9"},
                  {**USAGE, "prompt_tokens": 10**20}, {**USAGE, "prompt_tokens": True}, {**USAGE, "prompt_tokens_details": 5}, {**USAGE, "inference_geo": "us"},
                  {**USAGE, "prompt_tokens_details": {"cached_tokens": "5"}}, {**USAGE, "prompt_tokens_details": []}, {**USAGE, "server_tool_use": None},
                  {**USAGE, "completion_tokens_details": {"image_tokens": 3}}, {**USAGE, "prompt_tokens_details": {"audio_tokens": 4}}, {**USAGE, "num_sources_used": 1},
                  {**USAGE, "prompt_tokens_details": {"cache_write_tokens": 4}}, {**USAGE, "cost_details": {"a": None}}, {**USAGE, "queue_time": 0.1}, {**USAGE, "is_byok": False}]:
        yield f"usage={json.dumps(usage):.100}", {"json": chat_answer(usage=usage)}
    for model in ["gpt-4o-mini", "gpt-4o", "o3", "unknown", "openai/gpt-4o", "claude-3-5-haiku-20241022", "", "gpt-4.1", "gpt-4o-audio-preview", "ft:gpt-4o:x"]:
        yield f"model={model}", {"json": chat_answer(model=model)}
    for body in ["", "null", "[]", "5", "\"text\"", "{", "{}", "not json", "<html>", "true", "[{}]", "{\"choices\":[]}", " ", "\ufeff{}", "NaN",
                 json.dumps(base) + "x", "\n" + json.dumps(base) + "\n", json.dumps(base).replace("Hello", "\\ud800"), "{\"choices\":[{}]}"]:
        for kind in ["application/json", "text/plain", "text/html; charset=utf-8", "application/json; charset=latin-1", "text/event-stream", None]:
            headers = [("content-type", kind)] if kind else []
            yield f"body={body[:30]!r}-{kind}", {"body": body, "headers": headers}


def odd_chat_streams():
    """Streamed answers of provider openai."""
    good = sse(*CHUNKS)
    text = "".join(good)
    yield "plain", stream(good)
    yield "one-write", stream([text])
    yield "bytes", stream([text[i:i + 7] for i in range(0, len(text), 7)], gap=0)
    yield "crlf", stream(sse(*CHUNKS, end="\r\n\r\n"))
    yield "cr", stream(sse(*CHUNKS, end="\r\r"))
    yield "comments", stream([": hello\n\n", *[part for pair in zip(good, [": keep-alive\n\n"] * len(good)) for part in pair]])
    yield "no-space", stream([part.replace("data: ", "data:") for part in good])
    yield "named", stream(["event: message\n" + part for part in good])
    yield "ids", stream(["id: 5\nretry: 100\n" + part for part in good])
    yield "no-done", stream(sse(*CHUNKS, done=False))
    yield "no-done-no-finish", stream(sse(*CHUNKS[:3], done=False))
    yield "no-last-newline", stream([*good[:-1], "data: [DONE]"])
    yield "done-only", stream(["data: [DONE]\n\n"])
    yield "nothing", stream([])
    yield "comment-only", stream([": x\n\n"])
    yield "after-done", stream([*good, *sse(chunk({"content": "late"}))])
    yield "usage-first", stream(sse(CHUNKS[4], *CHUNKS[:4]))
    yield "usage-twice", stream(sse(*CHUNKS, usage_chunk(completion_tokens=99)))
    yield "usage-in-finish", stream(sse(*CHUNKS[:3], {**CHUNKS[3], "usage": USAGE}))
    yield "usage-everywhere", stream(sse(*[{**one, "usage": {**USAGE, "completion_tokens": i}} for i, one in enumerate(CHUNKS)]))
    yield "usage-null-everywhere", stream(sse(*[{**one, "usage": None} for one in CHUNKS[:4]], CHUNKS[4]))
    yield "no-usage", stream(sse(*CHUNKS[:4]))
    yield "split-data", stream(["data: {\"id\":\"x\",\ndata: \"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n", *good[3:]])
    yield "gzip", {"body": text, "gzip": True, "headers": [("content-type", "text/event-stream")]}
    yield "length", {"body": text, "headers": [("content-type", "text/event-stream")]}
    yield "close", stream(good, framing="close")
    yield "json-kind", {**stream(good), "headers": [("content-type", "application/json")]}
    yield "no-kind", {**stream(good), "headers": []}
    yield "whole-answer", {"json": chat_answer()}
    for where in range(6):
        yield f"cut-{where}", stream(good[:where], then="cut")
        yield f"cut-length-{where}", {**stream(good[:where], then="cut"), "framing": "length", "missing": 100}
        yield f"end-{where}", stream(good[:where])
        for bad in ["not json", "{", "[]", "null", "5", "\"x\"", "{}", "", " ", "{\"error\":{\"message\":\"m\",\"type\":\"t\",\"code\":\"c\",\"param\":\"p\"}}",
                    "{\"error\":\"text\"}", "{\"error\":null}", "{\"error\":{\"message\":\"m\",\"code\":429}}", "{\"choices\":null}", "{\"choices\":[null]}", "{\"choices\":[{}]}",
                    "{\"detail\":\"x\"}", "{\"error\":{}}", "{\"error\":{\"code\":500}}", "{\"error\":[]}", "[DONE]x", " [DONE]"]:
            if where in (0, 2):
                yield f"bad-{where}-{bad[:60]}", stream([*good[:where], f"data: {bad}\n\n", *good[where:]])
                yield f"event-error-{where}-{bad[:40]}", stream([*good[:where], f"event: error\ndata: {bad}\n\n", *good[where:]])
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
    deltas = [
        {}, {"content": None}, {"content": "x", "role": "assistant"}, {"role": None, "content": "x"}, {"content": ""}, {"role": "user", "content": "x"}, {"content": "x", "refusal": None},
        {"refusal": "no"}, {"content": "x", "function_call": None, "tool_calls": None}, {"reasoning_content": "r"}, {"reasoning": "r"}, {"reasoning": "r", "content": ""}, {"reasoning_content": "r", "content": None},
        {"reasoning_content": "", "content": "x"}, {"reasoning_details": [{"a": 1}], "content": ""}, {"thinking_blocks": [{"type": "thinking", "thinking": "x"}]}, {"content": "x", "foo": 1},
        {"content": 5}, {"content": ["a"]}, {"content": {}}, {"audio": {"id": "x"}}, {"images": [{"type": "image_url", "image_url": {"url": PIXEL}}]}, {"content": "x", "annotations": []},
        {"content": "x", "provider_specific_fields": {"a": 1}}, {"function_call": {"name": "f", "arguments": "{}"}}, {"function_call": {"arguments": "{}"}}, {"content": "<think>x</think>y"},
        {"content": "x", "tool_calls": []}, *[{"tool_calls": calls} for calls in [
            [call], [without(call, "index")], [without(call, "id")], [without(call, "type")], [without(call, "function")], [{**call, "function": {"arguments": "{\"a\""}}],
            [{**call, "id": None}], [{**call, "type": None}], [{**call, "function": None}], [{**call, "function": {"name": None, "arguments": None}}], [call, {**call, "index": 1, "id": "call_2"}],
            [{**call, "function": {"name": "f", "arguments": {"a": 1}}}], [{}], [None], ["x"], "x", {}, [{**call, "foo": 1}], [{**call, "index": "0"}], [{**call, "type": "custom"}], [{"index": 0, "id": "c", "type": "custom", "custom": {"name": "c", "input": "i"}}]]]]
    for delta in deltas:
        yield f"delta-{json.dumps(delta):.80}", stream(sse(CHUNKS[0], chunk(delta), chunk(delta), *CHUNKS[3:]))
        yield f"delta0-{json.dumps(delta):.80}", stream(sse(chunk(delta), *CHUNKS[2:]))
        yield f"delta-last-{json.dumps(delta):.80}", stream(sse(*CHUNKS[:2], chunk(delta, "stop"), CHUNKS[4]))
    for finish in ["length", "tool_calls", "weird", "", 5, "end_turn", "content_filter", "function_call"]:
        yield f"finish={finish}", stream(sse(*CHUNKS[:3], chunk({}, finish), CHUNKS[4]))
    yield "finish-twice", stream(sse(*CHUNKS[:4], chunk({}, "length"), CHUNKS[4]))
    yield "content-after-finish", stream(sse(*CHUNKS[:4], chunk({"content": "z"}), CHUNKS[4]))
    for change in [{"id": None}, {"id": ""}, {"id": 5}, {"model": None}, {"model": ""}, {"model": "other"}, {"created": None}, {"created": 1}, {"object": None}, {"object": "x"}, {"foo": 1}, {"foo": None},
                   {"system_fingerprint": "fp"}, {"system_fingerprint": None}, {"service_tier": "default"}, {"service_tier": None}, {"obfuscation": "abc"}, {"citations": ["x"]}, {"provider": "p"},
                   {"choices": []}, {"choices": None}, {"usage": {}}, {"usage": 5}, {"usage": {"prompt_tokens": 1}}, {"x_groq": {"usage": USAGE}}, {"error": None}, {"provider_specific_fields": {"a": 1}}]:
        yield f"chunk+{json.dumps(change)}", stream(sse(*[{**one, **change} for one in CHUNKS]))
        yield f"chunk2+{json.dumps(change)}", stream(sse(*CHUNKS[:2], {**CHUNKS[2], **change}, *CHUNKS[3:]))
    for more in [{"logprobs": None}, {"logprobs": {"content": []}}, {"foo": 1}, {"index": 1}, {"index": None}, {"native_finish_reason": "x"}, {"stop_reason": None}, {"content_filter_results": {}}]:
        one = copy.deepcopy(CHUNKS[2])
        one["choices"][0].update(more)
        yield f"choice+{json.dumps(more)}", stream(sse(*CHUNKS[:2], one, *CHUNKS[3:]))
    yield "two-choices", stream(sse(*[{**one, "choices": [*one["choices"], *({**c, "index": 1} for c in one["choices"])]} for one in CHUNKS]))
    for name in CHUNKS[0]:
        yield f"chunk-no-{name}", stream(sse(*[without(one, name) for one in CHUNKS]))
    for usage in [{}, None, {"prompt_tokens": 5}, {"prompt_tokens": None}, {"foo": 1}, {"prompt_tokens_details": {"cached_tokens": 5}}, {"prompt_tokens_details": None}, {"cost": 1}, {"total_tokens": 0},
                  {"completion_tokens_details": {"reasoning_tokens": 3}}, {"completion_tokens": 0, "prompt_tokens": 0, "total_tokens": 0}, {"prompt_tokens": "9"}]:
        value = None if usage is None else {**USAGE, **usage} if usage else {}
        yield f"usage={json.dumps(usage)}", stream(sse(*CHUNKS[:4], {**CHUNKS[4], "usage": value}))


def odd_claude_answers():
    base = claude_answer()
    for name in base:
        yield f"no-{name}", {"json": without(base, name)}
        for value in ODD:
            yield f"{name}={value!r:.30}", {"json": {**base, name: value}}
    for content in [[], [{"type": "thinking", "thinking": "t", "signature": "s"}], [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": None}}], [{"type": "odd"}], [None],
                    [{"type": "text", "text": "a", "citations": None}], [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}], [{"type": "redacted_thinking", "data": "d"}],
                    [{"type": "compaction", "content": "c"}], [{"type": "text", "text": "\u0000é😀\u2028"}]]:
        yield f"content={json.dumps(content):.80}", {"json": claude_answer(content=content)}
    for more in [{"foo": None}, {"foo": {"a": None}}, {"container": None}, {"container": {"id": "c"}}, {"context_management": {"applied_edits": []}}, {"error": None}, {"stop_details": None}, {"_hidden_params": {}}]:
        yield f"top+{json.dumps(more)}", {"json": claude_answer(**more)}
    for usage in [{}, {"input_tokens": 5}, {"output_tokens": 5}, {**CLAUDE_USAGE, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 7}, {**CLAUDE_USAGE, "input_tokens": None}, {**CLAUDE_USAGE, "service_tier": "standard"},
                  {**CLAUDE_USAGE, "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}, "cache_creation_input_tokens": 7}, {**CLAUDE_USAGE, "cache_creation": None}, {**CLAUDE_USAGE, "service_tier": "priority"},
                  {**CLAUDE_USAGE, "cache_creation": {"ephemeral_1h_input_tokens": 4}, "cache_creation_input_tokens": 4}, {**CLAUDE_USAGE, "server_tool_use": {"web_search_requests": 2}}, {**CLAUDE_USAGE, "server_tool_use": None}, {**CLAUDE_USAGE, "inference_geo": "us"},
                  {**CLAUDE_USAGE, "speed": "fast"}, {**CLAUDE_USAGE, "foo": 1}, {**CLAUDE_USAGE, "input_tokens": "9"}, {**CLAUDE_USAGE, "input_tokens": 9.5}, {**CLAUDE_USAGE, "input_tokens": 250000}, {**CLAUDE_USAGE, "iterations": []},
                  {**CLAUDE_USAGE, "output_tokens_details": {"thinking_tokens": 4}}, {**CLAUDE_USAGE, "cache_read_input_tokens": None}, {**CLAUDE_USAGE, "input_tokens": -3}, {**CLAUDE_USAGE, "cache_creation_input_tokens": "5"},
                  {**CLAUDE_USAGE, "iterations": [{"type": "compaction", "input_tokens": 5, "output_tokens": 6}, {"type": "message", **CLAUDE_USAGE}]}, {**CLAUDE_USAGE, "inference_geo": "global"}]:
        yield f"usage={json.dumps(usage):.100}", {"json": claude_answer(usage=usage)}
    for model in ["claude-3-haiku-20240307", "unknown", "gpt-4o", "", "claude-opus-4-1-20250805", "anthropic/claude-3-haiku-20240307"]:
        yield f"model={model}", {"json": claude_answer(model=model)}
    for body in ["", "null", "[]", "5", "\"text\"", "{", "{}", "not json", "<html>", "true", " ", "\ufeff{}", "NaN", json.dumps(base) + "x", "\n" + json.dumps(base), json.dumps(base).replace("Hello", "\\ud800"),
                 "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"m\"}}", "{\"a\":1e400}", "{\"usage\":{\"input_tokens\":1,\"input_tokens\":2}}", "{\"a\":12345678901234567890123}", "{\"a\":1.10}"]:
        for kind in ["application/json", "text/plain", "application/json; charset=latin-1", None]:
            yield f"body={body[:30]!r}-{kind}", {"body": body, "headers": [("content-type", kind)] if kind else []}


def odd_claude_streams():
    good = claude_sse(CLAUDE_EVENTS)
    text = "".join(good)
    yield "plain", stream(good)
    yield "one-write", stream([text])
    yield "bytes", stream([text[i:i + 7] for i in range(0, len(text), 7)], gap=0)
    yield "crlf", stream(claude_sse(CLAUDE_EVENTS, end="\r\n"))
    yield "no-space", stream(claude_sse(CLAUDE_EVENTS, spaced=False))
    yield "comments", stream([": hello\n\n", *good])
    yield "data-only", stream([part.split("\n", 1)[1] for part in good])
    yield "compact", stream([part.replace("\": ", "\":").replace(", \"", ",\"") for part in good])
    yield "gzip", {"body": text, "gzip": True, "headers": [("content-type", "text/event-stream")]}
    yield "length", {"body": text, "headers": [("content-type", "text/event-stream")]}
    yield "close", stream(good, framing="close")
    yield "json-kind", {**stream(good), "headers": [("content-type", "application/json")]}
    yield "whole-answer", {"json": claude_answer()}
    yield "nothing", stream([])
    yield "start-twice", stream([good[0], *good])
    yield "start-late", stream([good[2], good[1], *good])
    yield "two-in-one", stream([good[0] + good[1], *good[2:]])
    yield "split-start", stream([good[0][:40], good[0][40:90], good[0][90:], *good[1:]], gap=0.02)
    yield "split-name", stream(["event: mess", "age_start\n", good[0].split("\n", 1)[1], *good[1:]], gap=0.02)
    for where in range(8):
        yield f"end-{where}", stream(good[:where])
        yield f"cut-{where}", stream(good[:where], then="cut")
        yield f"cut-half-{where}", stream([*good[:where], "event: content_block_delta\ndata: {\"ty"], then="cut")
        yield f"end-half-{where}", stream([*good[:where], "event: content_block_delta\ndata: {\"ty"])
        for bad in ["data: not json\n\n", "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n", "data: [DONE]\n\n", "data: null\n\n", "event: x\n\n",
                    "\n\n\n", "data: {\"type\":\"message_start\"}\n\n", "data: {\"type\":\"message_start\",\"message\":null}\n\n", "data: {\"type\":\"message_start\",\"message\":{\"model\":5}}\n\n", "data: []\n\n"]:
            if where in (0, 1, 3):
                yield f"bad-{where}-{bad[:60]!r}", stream([*good[:where], bad, *good[where:]])
    for change in [{"model": None}, {"model": ""}, {"model": "other"}, {"model": "é\"x"}, {"usage": None}, {"usage": {}}, {"foo": {"model": "x"}}, {"id": None}, {"content": [{"type": "text", "text": "\"model\":\"x\""}]}]:
        start = {"type": "message_start", "message": {**CLAUDE_EVENTS[0]["message"], **change}}
        yield f"start+{json.dumps(change)}", stream(claude_sse([start, *CLAUDE_EVENTS[1:]]))
    yield "start-no-model", stream(claude_sse([{"type": "message_start", "message": without(CLAUDE_EVENTS[0]["message"], "model")}, *CLAUDE_EVENTS[1:]]))
    yield "start-big", stream(claude_sse([{"type": "message_start", "message": {**CLAUDE_EVENTS[0]["message"], "pad": "x" * 200000}}, *CLAUDE_EVENTS[1:]]))
    yield "invalid-utf8", stream([good[0], b"event: content_block_delta\ndata: {\"a\":\"\xff\xfe\"}\n\n", *good[1:]])


def case(route, name, body, answers, headers=(), path=None, auth=AUTHS[0], kind="application/json", raw=None):
    path = path or ("/v1/chat/completions" if route == "chat" else "/v1/messages")
    data = raw if raw is not None else json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    pairs = [auth, *([("content-type", kind)] if kind else []), *headers]
    return {"name": f"{route}/{name}", "method": "POST", "path": path, "headers": pairs, "body": data, "answers": answers}


CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
CLAUDE = {"model": "claude", "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}


def fixed():
    for route, base, params, valid, shapes in [("chat", CHAT, CHAT_PARAMS, VALID_CHAT, CHAT_MESSAGES), ("messages", CLAUDE, MESSAGES_PARAMS, VALID_MESSAGES, CLAUDE_MESSAGES)]:
        whole = {"json": chat_answer() if route == "chat" else claude_answer()}
        live = stream(sse(*CHUNKS)) if route == "chat" else stream(claude_sse(CLAUDE_EVENTS))
        models = ["gpt-4o", "my-model"] if route == "chat" else ["claude", "claude-opus"]
        for name in params:
            for value in valid.get(name, []) + ODD:
                for model in models[: 2 if value in valid.get(name, []) else 1]:
                    yield case(route, f"param/{model}/{name}={value!r:.60}", {**base, "model": model, name: value}, [whole])
        for name in base:
            yield case(route, f"param/without-{name}", without(base, name), [whole])
        for i, shape in enumerate(shapes):
            for model in models:
                yield case(route, f"message/{model}/{i}-{json.dumps(shape):.90}", {**base, "model": model, "messages": shape}, [whole])
        for live_too in (False, True):
            body = {**base, "stream": True} if live_too else base
            mode = "stream" if live_too else "json"
            answer = live if live_too else whole
            for headers in REQUEST_HEADERS:
                yield case(route, f"header/{mode}/{headers!r:.80}", body, [answer], headers)
            for headers in ANSWER_HEADERS:
                yield case(route, f"answer-header/{mode}/{headers!r:.80}", body, [{**answer, "headers": [*answer.get("headers", []), *headers]}])
                error = {"status": 429, "body": ERROR_BODIES[15], "headers": [("content-type", "application/json"), *headers]}
                yield case(route, f"error-header/{mode}/{headers!r:.80}", body, [error])
            for status in STATUSES:
                for text in [ERROR_BODIES[15], "plain"] + ([""] if status < 400 else []):
                    kinds = [("content-type", "application/json" if text[:1] == "{" else "text/plain")]
                    yield case(route, f"status/{mode}/{status}-{text[:10]}", body, [{"status": status, "body": text, "headers": kinds}])
            for status in (400, 401, 404, 429, 500, 503):
                for text in ERROR_BODIES:
                    reply = {"status": status, "body": text.encode("utf-8", "replace").decode(), "headers": [("content-type", "application/json")]}
                    yield case(route, f"error/{mode}/{status}-{text[:70]}", body, [reply])
            for then in ({"then": "refuse"}, {"then": "cut", "json": {}, "missing": 50}, {"body": "{\"a\":", "framing": "chunked", "then": "cut"}, {"status": 500, "body": "{", "missing": 9, "then": "cut"}):
                yield case(route, f"broken/{mode}/{then!r:.60}", body, [{**then}, {**then}])
        for auth in AUTHS:
            yield case(route, f"auth/{auth}", base, [whole], auth=auth)
        for kind in KINDS:
            yield case(route, f"kind/{kind}", base, [whole], kind=kind)
        for query in QUERIES:
            path = "/v1/chat/completions" if route == "chat" else "/v1/messages"
            yield case(route, f"query/{query}", base, [whole], path=path + query)
        for raw in RAW_BODIES:
            yield case(route, f"raw/{raw[:30]!r}", None, [whole], raw=raw)
        text = json.dumps(base)
        for name, raw in [("duplicate-model", text[:-1] + ', "model": "x"}'), ("duplicate-message-key", text.replace('"role": "user"', '"role": "system", "role": "user"')), ("escaped-name", text.replace('"model"', '"mod\\u0065l"')), ("surrogate", text.replace("Hi", "\\ud83d")),
                          ("pair", text.replace("Hi", "\\ud83d\\ude00")), ("control", text.replace("Hi", "a\tb")), ("white", text.replace(",", " \n\t, ")), ("huge", text.replace("Hi", "é" * 600000)), ("numbers", text[:-1] + ', "temperature": 1E-1, "seed": 1.0, "top_p": 0.30}'), ("big-number", text[:-1] + ', "top_k": 1e400}'),
                          ("slash", text.replace("Hi", "\\/\\b\\f")), ("nul", text.replace("Hi", "\\u0000")), ("deep", text[:-1] + ', "foo": ' + "[" * 400 + "]" * 400 + "}"), ("empty-name", text[:-1] + ', "": 1}'), ("unicode-name", text[:-1] + ', "é": 1}'), ("minus-zero", text[:-1] + ', "temperature": -0}')]:
            yield case(route, f"raw/{name}", None, [whole], raw=raw.encode())
    for path in ["/chat/completions", "/engines/gpt-4o/chat/completions", "/openai/deployments/gpt-4o/chat/completions", "/openai/deployments/my-model/chat/completions", "/engines/gpt%2D4o/chat/completions", "/engines/unknown/chat/completions", "/v1/chat/completions/", "/v1//chat/completions",
                 "/V1/chat/completions", "/openai/deployments/a/b/chat/completions", "/engines//chat/completions", "/v1/chat/completions;x", "/v1/%63hat/completions", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-06-01"]:
        for live_too in (False, True):
            answer = stream(sse(*CHUNKS)) if live_too else {"json": chat_answer()}
            yield case("chat", f"path/{live_too}/{path}", {**CHAT, "stream": live_too}, [answer], path=path)
            yield case("chat", f"path-no-model/{live_too}/{path}", {**without(CHAT, "model"), "stream": live_too}, [answer], path=path)
    for name, answer in odd_chat_answers():
        for model in ("gpt-4o", "my-model"):
            yield case("chat", f"answer/{model}/{name}", {**CHAT, "model": model}, [answer])
    for name, answer in odd_chat_streams():
        yield case("chat", f"stream/{name}", {**CHAT, "stream": True}, [answer])
        yield case("chat", f"stream-usage/{name}", {**CHAT, "stream": True, "stream_options": {"include_usage": True}}, [answer])
    for name, answer in odd_claude_answers():
        yield case("messages", f"answer/{name}", CLAUDE, [answer])
    for name, answer in odd_claude_streams():
        yield case("messages", f"stream/{name}", {**CLAUDE, "stream": True}, [answer])


def mixed(rng, i):
    """A request with several things odd at once, answered by a random answer."""
    route = rng.choice(["chat", "messages"])
    chat = route == "chat"
    base, valid = (CHAT, VALID_CHAT) if chat else (CLAUDE, VALID_MESSAGES)
    body = copy.deepcopy(base)
    body["model"] = rng.choice(["gpt-4o", "my-model", "gpt-defaults"] if chat else ["claude", "claude-opus", "claude-unknown"])
    for name in rng.sample(sorted(valid), rng.randint(1, 5)):
        if name not in ("model", "stream"):
            body[name] = rng.choice([*valid[name], None])
    shapes = [shape for shape in (CHAT_MESSAGES if chat else CLAUDE_MESSAGES) if isinstance(shape, list)]
    body["messages"] = [message for shape in rng.sample(shapes, rng.randint(1, 3)) for message in shape][:40]
    body["stream"] = rng.choice([True, False])
    pool = (odd_chat_streams if chat else odd_claude_streams) if body["stream"] else (odd_chat_answers if chat else odd_claude_answers)
    name, answer = rng.choice(list(pool()))
    answer = {**answer, "headers": [*answer.get("headers", []), *rng.choice(ANSWER_HEADERS)]}
    return case(route, f"mixed/{i}-{name}", body, [answer], rng.choice(REQUEST_HEADERS))


def cases(seed, count):
    yield from fixed()
    rng = random.Random(seed)
    for i in range(count):
        yield mixed(rng, i)
