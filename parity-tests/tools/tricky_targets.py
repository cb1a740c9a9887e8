"""A sample of path tricks, raw, through the edge and straight at Python. Pure but for `run`."""
import gzip
import random

import both

TABLE = both.ROOT / "tests/golden/routing/paths.txt.gz"


def sample(count, seed):
    """(method, target): a few of every outcome of the golden table, and of every native path all tails and heads."""
    rows, natives = {}, []
    for line in gzip.decompress(TABLE.read_bytes()).split(b"\n"):
        number, tab, target = line.partition(b"\t")
        if tab and number.isdigit():
            rows.setdefault(number, []).append(target)
    dice = random.Random(seed)
    found = []
    for number in sorted(rows):
        found += dice.sample(rows[number], min(len(rows[number]), 3))
    for target in sorted(set(sum(rows.values(), []))):
        if any(word in target for word in (b"/v1/models", b"/health/liveliness", b"/v1/messages", b"chat/completions")) and len(target) < 60:
            natives.append(target)
    found = [target for target in found if safe(target)]
    natives = [target for target in dice.sample(natives, min(len(natives), 4 * count)) if safe(target)]
    half = count // 2
    chosen = dice.sample(found, min(len(found), half)) + natives[: count - half]
    methods = ["GET", "GET", "POST", "HEAD", "OPTIONS", "PUT", "get"]
    return [(dice.choice(methods), target) for target in chosen]


# what would reach out of the machine, wait, or change the gateway for those who come after
UNSAFE = (b"/health/", b"shutdown", b"drain", b"cache", b"delete", b"update", b"reset", b"reload", b"config", b"debug", b"openapi", b"/files", b"/batches",
          b"/videos", b"/containers", b"vector_stores", b"assembly", b"cohere", b"mistral", b"typesafe", b"openrouter", b"/health", b"/evals", b"mcp", b"sso",
          b"public", b"deprecations", b"memory", b"/test", b"settings", b"/spend", b"lens", b"/regenerate", b"/new", b"/generate", b"bedrock", b"gemini", b"vertex",
          b"anthropic/", b"cursor", b"deepgram", b"azure", b"gigachat", b"/ui", b"nvidia", b"transcribe", b"watsonx", b"langfuse", b"milvus", b"fal_ai", b"tinyfish")


def safe(target):
    lowered = target.lower()
    return b"/health/liveliness" in lowered or not any(word in lowered for word in UNSAFE)


async def run(stack, count, seed):
    """(requests, differences by request)"""
    bad = []
    rows = sample(count, seed)
    for method, target in rows:
        body = b"{}" if method in ("POST", "PUT") else None
        headers = [("authorization", f"Bearer {stack.key}")] + ([("content-type", "application/json")] if body else [])
        edge, found, _ = await both.compare(stack, both.request(method, target, headers, body), method)
        # a target that is none, by grammar, may be refused: 400 with the edge's mark
        if found and edge.status == 400 and edge.side() in ("edge", None):
            continue
        if found:
            bad.append((f"{method} {target.decode('latin-1')}", found))
    return len(rows), bad
