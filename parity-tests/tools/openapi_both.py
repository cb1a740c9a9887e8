"""Requests made out of LiteLLM's own OpenAPI document: for every operation valid and invalid ones (wrong types, missing
and unknown fields, boundary values, odd content types, broken JSON, no key), sent to Python and through the edge.

The same seed makes the same requests. What is not sent stands in EXCLUDED with its reason.
"""
import collections
import json
import random
import re
import urllib.parse

import both

# reason -> expressions over "METHOD path". Nothing else is left out.
EXCLUDED = {
    # the suite gives LiteLLM the scripted provider's address for the others (PROVIDERS in src/parity/managed.rs)
    "calls an address out of the machine that no setting of the suite leads elsewhere": [
        r" /(assemblyai|eu\.assemblyai|azure_ai|azure_speech|bedrock|bespoke|comprehendmedical|cursor|fal_ai|langfuse|laya|milvus|nvidia_nim|tinyfish|transcribe|vertex_ai|watsonx)/",
        r"^(POST|PUT) /(cloudzero|vantage)/", r"/latest_release_info$", r"/litellm_blog_posts$", r"/policy/templates", r"test_connection$", r"^POST /(mcp-rest|v1/a2a/discover)", r"^(POST|PUT) /v1/mcp/",
        r"^POST /(v1/)?(rag|ocr|search)\b", r"^POST /search_tools$", r"^GET /v1/mcp/(discover|openapi-registry)$", r"^POST /health/",
    ],
    "changes the gateway for every later request": [
        r"^(POST|PUT|PATCH|DELETE) /(config|cache|coordination_redis|credentials|config_overrides|global|update|upload|email|moyai|fallback|model_hub|model_group)\b", r"/allowed_ip$",
        r"^(POST|PUT|PATCH) /(guardrails|policies|model|v1/agents|claude-code)\b", r"^POST /v1/rust_control_plane", r"^POST /(v1/)?indexes$", r"^GET /health/drain$", r"encryption",
    ],
    "a page, or work of seconds": [r"^GET /$", r"/debug/", r"^GET /health$", r"/daily/activity", r"analytics$"],
    "says what the process is doing or has counted just now": [r"/spend\b", r"/usage\b", r"^GET /audit", r"/logs\b", r"/health/(backlog|history|latest|readiness|services|shared-status)"],
    "an MCP session: a stream without end, and ids of its own": [r"/mcp$", r"/mcp/proxy$"],
    "native: the suite and fuzz_both.py have these": [r" /(v1/)?chat/completions$", r" /v1/messages$", r"/\{model\}/(chat/)?(completions|embeddings)$"],
}
WORDS = ["", "a", "parity-x", "é\u202e", "0", "null", "x" * 300, "../..", "sk-parity-x", "2024-01-01", "1e400", "{}", "%00"]
ODD = [None, True, -1, 0, 1.5, 2**63, -(2**63) - 1, "", "text", [], {}, [None], {"a": {"b": []}}]
CONTENT_TYPES = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=x", "application/json; charset=utf-16", "APPLICATION/JSON", "application/xml", "", "application/json, text/plain"]
BROKEN = [b"", b"{", b"[]", b"null", b'"a"', b"\xff\xfe", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"{" * 2000, b'{"a": "\\ud800"}', b"a=b&c=d", b"--x\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nb\r\n--x--\r\n"]
KINDS = ["valid", "valid", "missing", "wrong_type", "extra", "boundary", "content_type", "broken", "no_key", "wrong_key", "query", "method"]


def excluded(method, path):
    line = f"{method} {path}"
    return next((reason for reason, patterns in EXCLUDED.items() if any(re.search(pattern, line) for pattern in patterns)), None)


class Maker:
    def __init__(self, document, seed):
        self.document, self.seed = document, seed

    def resolve(self, schema):
        for _ in range(20):
            if "$ref" not in schema:
                return schema
            schema = self.document["components"]["schemas"].get(schema["$ref"].rsplit("/", 1)[-1], {})
        return {}

    def value(self, schema, dice, odd=False, depth=0):
        """A value of the schema; `odd`: at its borders."""
        schema = self.resolve(schema if isinstance(schema, dict) else {})
        for word in ("anyOf", "oneOf", "allOf"):
            if schema.get(word):
                return self.value(dice.choice(schema[word]), dice, odd, depth + 1)
        if "enum" in schema:
            return dice.choice(schema["enum"])
        if "const" in schema:
            return schema["const"]
        kind = schema.get("type")
        if kind == "object" or "properties" in schema:
            return self.fields(schema, dice, odd, depth)
        if kind == "array":
            count = dice.choice([0, 1, 50] if odd else [0, 1, 2])
            return [self.value(schema.get("items", {}), dice, odd, depth + 1) for _ in range(count if depth < 3 else 0)]
        if kind == "integer":
            return dice.choice([0, -1, 2**31, 2**63, 10**30]) if odd else dice.randint(1, 100)
        if kind == "number":
            return dice.choice([0, -0.0, 1e308, -1e-308, 10**30]) if odd else dice.choice([0.5, 1, 10.25])
        if kind == "boolean":
            return dice.random() < 0.5
        if kind == "null":
            return None
        return dice.choice(WORDS) if odd else dice.choice(["a", "parity-x", "gpt-4o", "30d"])

    def fields(self, schema, dice, odd, depth):
        required, properties = set(schema.get("required", [])), schema.get("properties", {})
        chance = 0.3 if depth == 0 else 0.15
        chosen = [name for name in properties if name in required or (depth < 4 and dice.random() < chance)]
        return {name: self.value(properties[name], dice, odd, depth + 1) for name in chosen}

    def requests(self, rounds):
        """(name, method, bytes) in a fixed order: kind after kind, so that a bounded run sees many operations."""
        operations = [
            (method.upper(), path, operation)
            for path, item in sorted(self.document["paths"].items())
            for method, operation in sorted(item.items())
            if not excluded(method.upper(), path)
        ]
        for turn in range(rounds):
            order = list(operations)
            random.Random(f"{self.seed} {turn}").shuffle(order)
            for method, path, operation in order:
                dice = random.Random(f"{self.seed} {turn} {method} {path}")
                kind = dice.choice(KINDS)
                yield f"{kind} {method} {path}", *self.request(kind, method, path, operation, dice)

    def request(self, kind, method, path, operation, dice):
        headers = [] if kind == "no_key" else [("authorization", "Bearer " + ("sk-parity-wrong" if kind == "wrong_key" else "sk-parity-master"))]
        query = []
        for parameter in map(self.resolve, operation.get("parameters", [])):
            schema = parameter.get("schema", {})
            if parameter["in"] == "path":
                value = dice.choice(WORDS) if kind == "boundary" else "parity-x"
                path = path.replace("{" + parameter["name"] + "}", urllib.parse.quote(str(value) or "x", safe=""))
            elif parameter["in"] == "query" and (parameter.get("required") and kind != "missing" or dice.random() < 0.4):
                value = dice.choice(ODD) if kind == "wrong_type" else self.value(schema, dice, kind == "boundary")
                query.append((parameter["name"], value if isinstance(value, str) else json.dumps(value)))
        path = re.sub(r"\{[^}]*\}", "parity-x", path)
        if kind == "query":
            query += [(dice.choice(["a", "limit", "page", "", "é"]), dice.choice(WORDS)), ("a", "b"), ("a", "c")]
        if query:
            path += "?" + urllib.parse.urlencode(query)
        body = self.body(kind, operation, dice, headers)
        if kind == "method":
            method = dice.choice(["OPTIONS", "HEAD", "PUT", "PATCH", "TRACE"])
        return method, both.request(method, path, headers, body)

    def body(self, kind, operation, dice, headers):
        content = operation.get("requestBody", {}).get("content", {})
        if not content:
            return None if kind not in ("extra", "broken") else dice.choice(BROKEN)
        name = sorted(content)[0]
        schema = self.resolve(content[name].get("schema", {}))
        fields = self.value(schema, dice, kind == "boundary")
        if isinstance(fields, dict):
            names = sorted(fields)
            if kind == "missing" and names:
                fields.pop(dice.choice(sorted(set(schema.get("required", [])) & set(names)) or names))
            if kind == "wrong_type" and names:
                fields[dice.choice(names)] = dice.choice(ODD)
            if kind == "extra":
                fields[dice.choice(["unknown_field", "user_config", "__proto__", "é", ""])] = dice.choice(ODD)
        if kind == "broken":
            headers.append(("content-type", name))
            return dice.choice(BROKEN)
        if name == "multipart/form-data":
            headers.append(("content-type", dice.choice(CONTENT_TYPES) if kind == "content_type" else "multipart/form-data; boundary=x"))
            parts = [f'--x\r\ncontent-disposition: form-data; name="{key}"{"; filename=f.txt" if key in ("file", "image") else ""}\r\n\r\n{value}\r\n' for key, value in (fields.items() if isinstance(fields, dict) else [])]
            return ("".join(parts) + "--x--\r\n").encode()
        if name == "application/x-www-form-urlencoded":
            headers.append(("content-type", name))
            return urllib.parse.urlencode(fields if isinstance(fields, dict) else {}).encode()
        headers.append(("content-type", dice.choice(CONTENT_TYPES) if kind == "content_type" else "application/json"))
        return json.dumps(fields).encode()


async def document(stack):
    answer = await both.exchange(stack.python, both.request("GET", "/openapi.json", [("authorization", f"Bearer {stack.key}")]), 180.0)
    if answer.status != 200:
        raise SystemExit(f"/openapi.json: {answer.status} {answer.how}")
    return json.loads(answer.body)


async def run(stack, most, seed, say=lambda line: None):
    """(requests, differences by request, answers by status, how often Python differed from itself)"""
    maker = Maker(await document(stack), seed)
    bad, statuses, moving, asked = [], collections.Counter(), 0, 0
    for name, method, data in maker.requests(rounds=20):
        if asked >= most:
            break
        asked += 1
        edge, found, moved = await both.compare(stack, data, method)
        statuses[edge.status] += 1
        moving += moved
        say(f"{edge.status} {name}")
        if found:
            bad.append((name, found))
    return asked, bad, statuses, moving
