#!/usr/bin/env python3
"""Throws generated requests at the edge and at the Python gateway and shows where a native answer differs.

Both gateways must run with a configuration whose providers point at the scripted provider this tool starts itself
(`--print-config` writes one for the chosen port). Every case is sent to the edge first; only where the edge served it
natively (`x-litellm-edge: native`) is it sent to Python as well, and then compared: status, headers, body tree or
event sequence, and what the provider was sent. Declined cases are only counted: Python answered them.

    fuzz_both.py --print-config --provider-port 9100 > config.yaml      # start both gateways with it, then
    fuzz_both.py --edge http://127.0.0.1:4000 --python http://127.0.0.1:4001 --key sk-... --provider-port 9100

Cases are fixed lists plus `--random N` combinations of them (`--seed`). Everything is bounded: cases by number, each
exchange by `--timeout`, nothing runs in parallel. Only the standard library is used. Exit 1 where anything differs.
"""
import argparse
import asyncio
import base64
import collections
import gzip
import json
import re
import sys
import time
import urllib.parse

import fuzz_cases

CONFIG = """model_list:
  - {{model_name: gpt-4o, litellm_params: {{model: openai/gpt-4o, api_base: "http://127.0.0.1:{port}/v1", api_key: sk-provider-fuzz}}, model_info: {{id: id-gpt-4o}}}}
  - {{model_name: my-model, litellm_params: {{model: openai/my-model, api_base: "http://127.0.0.1:{port}/v1", api_key: sk-provider-fuzz}}, model_info: {{id: id-my-model}}}}
  - {{model_name: gpt-defaults, litellm_params: {{model: openai/gpt-4o, api_base: "http://127.0.0.1:{port}/v1", api_key: sk-provider-fuzz, temperature: 0.25, max_tokens: 77, extra_headers: {{x-extra: from-config}}}}, model_info: {{id: id-gpt-defaults}}}}
  - {{model_name: claude, litellm_params: {{model: anthropic/claude-sonnet-4-5-20250929, api_base: "http://127.0.0.1:{port}", api_key: sk-provider-fuzz}}, model_info: {{id: id-claude}}}}
  - {{model_name: claude-opus, litellm_params: {{model: anthropic/claude-opus-4-1-20250805, api_base: "http://127.0.0.1:{port}", api_key: sk-provider-fuzz}}, model_info: {{id: id-claude-opus}}}}
  - {{model_name: claude-unknown, litellm_params: {{model: anthropic/claude-unknown, api_base: "http://127.0.0.1:{port}", api_key: sk-provider-fuzz}}, model_info: {{id: id-claude-unknown}}}}
litellm_settings: {{num_retries: 0, request_timeout: 10}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
general_settings: {{master_key: {key}}}
"""

MAX_BODY = 64 << 20
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TAKEN = re.compile(r"time taken=[0-9.]+")
ADDRESS = re.compile(r" object at 0x[0-9a-f]+")
# of answers: a clock, a hop, or checked otherwise
VOLATILE = {"date", "content-length", "connection", "transfer-encoding", "x-litellm-edge", "keep-alive"}
# of what the provider is sent: the hop's, and the cookies that LiteLLM's shared client replays (docs/differences.md)
HOP = {"host", "content-length", "connection", "cookie", "transfer-encoding"}


class Exchange(Exception):
    """An answer that could not be read."""


async def read_message(reader, head_only=False):
    """One HTTP/1.1 message: first line, headers as a list, body, `cut` (ended before it was complete)."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines if ":" in line]
    names = {name.lower(): value for name, value in headers}
    if head_only:
        return first, headers, b"", False
    body = bytearray()
    try:
        if "chunked" in names.get("transfer-encoding", "").lower():
            while True:
                size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
                data = await reader.readexactly(size + 2)
                body += data[:-2]
                if size == 0:
                    break
        elif first.split(" ")[1] in ("204", "304"):
            pass
        elif "content-length" in names:
            body += await reader.readexactly(min(int(names["content-length"]), MAX_BODY))
        elif first.startswith("HTTP/"):
            while len(body) < MAX_BODY and (part := await reader.read(65536)):
                body += part
    except (asyncio.IncompleteReadError, ConnectionError):
        return first, headers, bytes(body), True
    return first, headers, bytes(body), False


class Provider:
    """The scripted provider: hands out the current case's answers in order and keeps what it was sent."""

    def __init__(self):
        self.answers, self.requests = [], []

    def load(self, answers):
        self.answers, self.requests = list(answers), []

    async def serve(self, reader, writer):
        try:
            while True:
                first, headers, body, _ = await read_message(reader)
                method, path, _ = first.split(" ", 2)
                if path.endswith("/models"):  # Python looks for model lists by itself
                    await self.write(writer, {"json": {"data": []}})
                    continue
                self.requests.append((method, path, headers, body))
                answer = self.answers.pop(0) if self.answers else {"status": 599, "body": "no answer scripted"}
                if not await self.write(writer, answer):
                    break
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    async def write(self, writer, answer):
        """`json` | `body` | `body_base64` | `chunks`; `headers`: pairs; `framing`: length | chunked | close; `then`."""
        headers = list(answer.get("headers", []))
        if "json" in answer:
            parts = [json.dumps(answer["json"], ensure_ascii=False).encode("utf-8", "surrogatepass")]
            headers.append(("content-type", "application/json"))
        elif "chunks" in answer:
            parts = [part if isinstance(part, bytes) else part.encode() for part in answer["chunks"]]
        elif "body_base64" in answer:
            parts = [base64.b64decode(answer["body_base64"])]
        else:
            parts = [answer.get("body", "").encode()]
        if answer.get("gzip"):
            parts = [gzip.compress(b"".join(parts))]
            headers.append(("content-encoding", "gzip"))
        framing = answer.get("framing", "chunked" if "chunks" in answer else "length")
        if answer.get("status") in (204, 304):
            parts, framing = [], "none"
        if framing == "length":
            headers.append(("content-length", str(sum(map(len, parts)) + answer.get("missing", 0))))
        elif framing == "chunked":
            headers.append(("transfer-encoding", "chunked"))
        then = answer.get("then", "end")
        if then == "refuse":
            return False
        head = f"HTTP/1.1 {answer.get('status', 200)} {answer.get('reason', 'OK')}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
        writer.write(answer.get("before", "").encode() + head.encode("utf-8"))
        for part in parts:
            if part:
                writer.write(b"%x\r\n%s\r\n" % (len(part), part) if framing == "chunked" else part)
                await writer.drain()
                if len(parts) > 1:
                    await asyncio.sleep(answer.get("gap", 0.002))
        if framing == "chunked" and then == "end":
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return then == "end" and framing != "close"


async def send(base, case, key, timeout):
    """Sends the case's bytes; (status, headers, body, cut)."""
    url = urllib.parse.urlsplit(base)
    reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=1 << 20)
    try:
        body = case["body"]
        headers = [("host", "gateway"), *case["headers"], ("content-length", str(len(body))), ("connection", "close")]
        text = f"{case['method']} {case['path']} HTTP/1.1\r\n"
        text += "".join(f"{name}: {value.replace('$KEY', key)}\r\n" for name, value in headers)
        writer.write(text.encode("utf-8") + b"\r\n" + body)
        first, headers, body, cut = await asyncio.wait_for(read_message(reader), timeout)
        return int(first.split(" ")[1]), headers, body, cut
    finally:
        writer.close()


def scrub_text(text, known):
    text = UUID.sub(lambda m: m.group(0) if m.group(0) in known else "<uuid>", text)
    return ADDRESS.sub(" object at <address>", TAKEN.sub("time taken=<s>", text))


def scrub(tree, known):
    """What cannot be equal twice: made-up ids, the clock, measured times."""
    if isinstance(tree, dict):
        out = {}
        for name, value in tree.items():
            now = name == "created" and isinstance(value, (int, float)) and abs(value - time.time()) < 60
            out[name] = "<now>" if now else scrub(value, known)
        return out
    if isinstance(tree, list):
        return [scrub(value, known) for value in tree]
    return scrub_text(tree, known) if isinstance(tree, str) else tree


def differs(a, b, where=""):
    """The first differences of two trees, as texts."""
    if isinstance(a, bool) or isinstance(b, bool) or type(a) is not type(b):
        if isinstance(a, (int, float)) and isinstance(b, (int, float)) and not isinstance(a, bool) and a == b:
            return [f"{where}: number written differently: {a!r} / {b!r}"]
        return [] if a is b or (type(a) is type(b) and a == b) else [f"{where}: edge {a!r:.300} / python {b!r:.300}"]
    if isinstance(a, dict):
        found = [f"{where}/{name}: only edge: {a[name]!r:.200}" for name in a if name not in b]
        found += [f"{where}/{name}: only python: {b[name]!r:.200}" for name in b if name not in a]
        return found + [line for name in a if name in b for line in differs(a[name], b[name], f"{where}/{name}")]
    if isinstance(a, list):
        found = [] if len(a) == len(b) else [f"{where}: edge has {len(a)}, python {len(b)}"]
        return found + [line for i, (x, y) in enumerate(zip(a, b)) for line in differs(x, y, f"{where}[{i}]")]
    if isinstance(a, float) and isinstance(b, float) and abs(a - b) <= 1e-9 * max(1.0, abs(a)):
        return []
    return [] if a == b or (a != a and b != b) else [f"{where}: edge {a!r:.300} / python {b!r:.300}"]


def body_tree(headers, body, known):
    kind = next((value for name, value in headers if name.lower() == "content-type"), "")
    if any(name.lower() == "content-encoding" and value == "gzip" for name, value in headers):
        body = gzip.decompress(body)
    if kind.startswith("text/event-stream"):
        frames = []
        for frame in body.decode("utf-8", "backslashreplace").split("\n\n"):
            lines = []
            for line in frame.split("\n"):
                try:
                    data = json.loads(line[5:]) if line.startswith("data:") else None
                except ValueError:
                    data = None
                lines.append(line if data is None else {"data": data})
            frames.append(lines)
        return scrub(frames, known)
    try:
        return scrub(json.loads(body), known)
    except ValueError:
        return scrub_text(body.decode("utf-8", "backslashreplace"), known)


def header_map(headers, known, without):
    out = collections.defaultdict(list)
    for name, value in headers:
        name = name.lower()
        if name.endswith("-duration-ms") and re.fullmatch(r"[0-9.e-]+", value):
            value = "<ms>"
        if name not in without:
            out[name].append(scrub_text(value, known))
    return {name: sorted(values) for name, values in out.items()}


def request_tree(request, known):
    method, path, headers, body = request
    try:
        tree = json.loads(body)
    except ValueError:
        tree = body.decode("utf-8", "backslashreplace")
    return {"line": f"{method} {path}", "header": header_map(headers, known, HOP), "body": tree}


async def run_case(case, args, provider):
    """(served natively, differences)"""
    known = case["body"].decode("utf-8", "replace") + repr(case["headers"]) + repr(case["answers"])
    provider.load(case["answers"])
    edge = await send(args.edge, case, args.key, args.timeout)
    side = next((value for name, value in edge[1] if name.lower() == "x-litellm-edge"), "none")
    await asyncio.sleep(0)
    if side != "native":
        return side, []
    edge_requests = [request_tree(request, known) for request in provider.requests]
    found = []
    provider.load(case["answers"])
    python = await send(args.python, case, args.key, args.timeout)
    python_requests = [request_tree(request, known) for request in provider.requests]
    if edge[0] != python[0]:
        found.append(f"status: edge {edge[0]} / python {python[0]}")
    if edge[3] != python[3]:
        found.append(f"cut: edge {edge[3]} / python {python[3]}")
    found += differs(header_map(edge[1], known, VOLATILE), header_map(python[1], known, VOLATILE), "header")
    found += differs(body_tree(edge[1], edge[2], known), body_tree(python[1], python[2], known), "body")
    if len(edge_requests) > len(python_requests):
        found.append(f"provider called {len(edge_requests)} times, by Python {len(python_requests)}")
    found += differs(edge_requests, python_requests, "provider")
    return side, found


async def run(args):
    provider = Provider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", args.provider_port, limit=1 << 26)
    cases = [case for case in fuzz_cases.cases(args.seed, args.random) if args.only in case["name"]]
    sides, bad = collections.Counter(), 0
    report = open(args.report, "w", encoding="utf-8") if args.report else None
    async with server:
        for case in cases[: args.most]:
            try:
                side, found = await run_case(case, args, provider)
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, ValueError, UnicodeError) as error:
                side, found = "failed", [f"no answer: {type(error).__name__}: {error}"]
            sides[side] += 1
            if args.verbose and not found:
                print(f"{side:7} {case['name']}")
            if found:
                bad += 1
                print(f"DIFF    {case['name']}")
                for line in found[: args.lines]:
                    print(f"        {line}")
                sys.stdout.flush()
            if report:
                report.write(json.dumps({"case": case["name"], "side": side, "found": found}) + "\n")
    print(f"{sum(sides.values())} cases: {dict(sides)}; {bad} with differences")
    return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edge", default="http://127.0.0.1:4000")
    parser.add_argument("--python", default="http://127.0.0.1:4001")
    parser.add_argument("--key", default="sk-fuzz-master-key", help="the master key of both")
    parser.add_argument("--provider-port", type=int, default=9100, help="where the scripted provider listens")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--random", type=int, default=200, help="how many random combinations")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--most", type=int, default=10000, help="at most so many cases")
    parser.add_argument("--lines", type=int, default=8, help="differences shown of a case")
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds one exchange may take")
    parser.add_argument("--report", help="a JSON line for every case goes there")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--print-config", action="store_true", help="a config.yaml for both gateways, then exit")
    args = parser.parse_args()
    if args.print_config:
        print(CONFIG.format(port=args.provider_port, key=args.key), end="")
        return 0
    return asyncio.run(run(args))


if __name__ == "__main__":
    sys.exit(main())
