#!/usr/bin/env python3
"""The main job on real input: the real LiteLLM with its Postgres and Redis, a provider, and the edge in front.

Sends chat, messages, streams, key management and an unmigrated route through the edge with the public openai and
anthropic SDKs; shows who served each request, that both sides answered alike, and what each path costs.
Stops everything it started.   python3 demo/demo.py --binary target/release/litellm-rust
"""
import argparse
import gzip
import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "parity-tests" / "reference"
CACHE = Path(os.environ.get("LITELLM_RUST_CACHE", Path.home() / ".cache" / "litellm-rust"))
# not below a home: Postgres runs as nobody where root starts it, and must be able to enter
STATE = Path(tempfile.gettempdir()) / f"litellm-rust-demo-{os.getuid()}"
MASTER = "sk-demo-master-5d1f0c"
# differs from call to call on any LiteLLM: ids, clocks and measured times
VOLATILE = re.compile(r"^(date|x-litellm-call-id|x-litellm-(response|overhead|callback)-duration-ms|x-litellm-edge|"
                      r"llm_provider-date|content-length|connection|transfer-encoding|keep-alive|.*request-id)$")


def say(text=""):
    print(text, flush=True)


def free_port(wanted=0):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Stack:
    """Everything that runs; `stop` ends all of it, whatever happened."""

    def __init__(self, binary, port):
        self.binary, self.port, self.edge = binary, port, None
        self.env = dict(os.environ, REFERENCE_STATE=str(STATE), REFERENCE_CONFIG=str(ROOT / "demo" / "config.yaml"),
                        LITELLM_MASTER_KEY=MASTER, PROXY_PORT=str(free_port()), PG_PORT=str(free_port()),
                        REDIS_PORT=str(free_port()), UPSTREAM_PORT=str(free_port()))
        self.env.setdefault("REFERENCE_VENV", str(CACHE / "reference-venv"))

    def start(self):
        STATE.mkdir(parents=True, exist_ok=True)
        subprocess.run([REFERENCE / "down.sh"], env=self.env, check=True)  # what a killed run may have left
        started = time.monotonic()
        up = subprocess.run([REFERENCE / "up.sh"], env=self.env, check=True, stdout=subprocess.PIPE, text=True)
        for line in up.stdout.splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            self.env[name] = value
        say(f"Python gateway (LiteLLM, Postgres, Redis, provider) ready after {time.monotonic() - started:.1f} s")

        routes = (ROOT / "routes.toml").read_text()
        routes = routes.replace('evidence = "parity-tests/evidence"', f'evidence = "{ROOT}/parity-tests/evidence"')
        (STATE / "routes.toml").write_text(routes)
        started = time.monotonic()
        self.log = open(STATE / "edge.log", "w")
        self.edge = subprocess.Popen(
            [self.binary, "--config", ROOT / "demo" / "config.yaml", "--routes", STATE / "routes.toml", "--host", "127.0.0.1",
             "--port", str(self.port), "--python", self.env["REFERENCE_URL"]], env=self.env, stdout=self.log, stderr=self.log)
        self.wait_for_edge()
        say(f"edge ready after {1000 * (time.monotonic() - started):.0f} ms on port {self.port}\n")

    def wait_for_edge(self):
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/edge/ready", timeout=1) as answer:
                    if json.load(answer).get("python", {}).get("state", "up") == "up":
                        return
            except OSError:
                pass
            if self.edge.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the edge did not start:\n{(STATE / 'edge.log').read_text()[-3000:]}")
            time.sleep(0.005)

    def stop(self):
        if self.edge and self.edge.poll() is None:
            self.edge.send_signal(signal.SIGTERM)
            try:
                self.edge.wait(15)
            except subprocess.TimeoutExpired:
                self.edge.kill()
        subprocess.run([REFERENCE / "down.sh"], env=self.env)


def raw(url, method, path, key, body=None, headers=None):
    """One request without an SDK: status, headers, body."""
    where = urllib.parse.urlparse(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    payload = json.dumps(body) if body is not None else None
    connection.request(method, path, payload, {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **(headers or {})})
    answer = connection.getresponse()
    received = answer.read()
    if answer.getheader("content-encoding") == "gzip":
        received = gzip.decompress(received)
    connection.close()
    return answer.status, [(k.lower(), v) for k, v in answer.getheaders()], received.decode()


def tree(body):
    """A JSON body, or the events of a stream, as values: the order of keys is nothing a client may rely on."""
    def parsed(text):
        try:
            return json.loads(text)
        except ValueError:
            return text
    if "data: " in body:
        return [[line if not line.startswith("data: ") else parsed(line[6:]) for line in event.split("\n")]
                for event in body.split("\n\n")]
    return parsed(body)


def masked(answer):
    status, headers, body = answer
    body = re.sub(r'"created": ?\d+', '"created":0', body)
    body = re.sub(r'(chatcmpl|msg|resp|sk)[-_][A-Za-z0-9_=-]+', r"\1-id", body)
    kept = sorted((k, v) for k, v in headers if not VOLATILE.match(k))
    return status, kept, tree(body)


def compare(stack, what, method, path, body=None, headers=None):
    """The same request to both gateways: who served it on the edge, and whether the answers are alike."""
    python = raw(stack.env["REFERENCE_URL"], method, path, MASTER, body, headers)
    edge = raw(f"http://127.0.0.1:{stack.port}", method, path, MASTER, body, headers)
    side = dict(edge[1]).get("x-litellm-edge", "?")
    a, b = masked(python), masked(edge)
    differing = [name for name, left, right in zip(("status", "headers", "body"), a, b) if left != right]
    say(f"  {what:<44} {edge[0]}  served by {side:<7} {'same answer' if not differing else 'DIFFERENT: ' + ', '.join(differing)}")
    for name, left, right in zip(("status", "headers", "body"), a, b):
        if left != right:
            only = set(left) ^ set(right) if name == "headers" else (left, right)
            say(f"      {name}: {str(only)[:600]}")
    return side, not differing


def with_sdks(stack):
    import anthropic
    import openai
    base = f"http://127.0.0.1:{stack.port}"
    served = []

    def show(what, side, text):
        served.append(side)
        say(f"  {what:<44} served by {side:<7} {text}")

    def clients(key):
        return (openai.OpenAI(base_url=base + "/v1", api_key=key, max_retries=0),
                anthropic.Anthropic(base_url=base, auth_token=key, max_retries=0))

    ask = [{"role": "user", "content": "say hello"}]
    oa, an = clients(MASTER)
    got = oa.chat.completions.with_raw_response.create(model="gpt-4o", messages=ask)
    show("openai SDK: chat completion", got.headers["x-litellm-edge"], repr(got.parse().choices[0].message.content))
    with oa.chat.completions.with_streaming_response.create(model="gpt-4o", messages=ask, stream=True) as got:
        text = "".join(c.choices[0].delta.content or "" for c in got.parse() if c.choices)
        show("openai SDK: chat stream", got.headers["x-litellm-edge"], repr(text))
    got = an.messages.with_raw_response.create(model="claude-sonnet", max_tokens=64, messages=ask)
    show("anthropic SDK: message", got.headers["x-litellm-edge"], repr(got.parse().content[0].text))
    with an.messages.with_streaming_response.create(model="claude-sonnet", max_tokens=64, messages=ask, stream=True) as got:
        text = "".join(e.delta.text for e in got.parse() if e.type == "content_block_delta")
        show("anthropic SDK: message stream", got.headers["x-litellm-edge"], repr(text))
    got = oa.models.with_raw_response.list()
    show("openai SDK: models", got.headers["x-litellm-edge"], ", ".join(m.id for m in got.parse().data))
    got = oa.embeddings.with_raw_response.create(model="text-embedding-3-small", input="hello", encoding_format="float")
    show("openai SDK: embeddings (not migrated)", got.headers["x-litellm-edge"], f"{len(got.parse().data[0].embedding)} numbers")

    status, headers, body = raw(base, "POST", "/key/generate", MASTER, {"models": ["gpt-4o"], "max_budget": 1})
    show("key management: /key/generate", dict(headers)["x-litellm-edge"], f"{status}, a virtual key")
    oa, _ = clients(json.loads(body)["key"])
    got = oa.chat.completions.with_raw_response.create(model="gpt-4o", messages=ask)
    show("chat with that virtual key (declined)", got.headers["x-litellm-edge"], repr(got.parse().choices[0].message.content))
    return served


def sample(url, path, key, body, count):
    """Sequential requests on one kept connection: milliseconds each."""
    where = urllib.parse.urlparse(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    payload, times = json.dumps(body).encode(), []
    for _ in range(count):
        started = time.perf_counter()
        connection.request("POST", path, payload, {"Authorization": f"Bearer {key}", "Content-Type": "application/json",
                                                   "anthropic-version": "2023-06-01"})
        connection.getresponse().read()
        times.append(1000 * (time.perf_counter() - started))
    connection.close()
    return times


def timings(stack):
    ask = [{"role": "user", "content": "say hello"}]
    edge, python = f"http://127.0.0.1:{stack.port}", stack.env["REFERENCE_URL"]
    provider = "http://127.0.0.1:" + stack.env["UPSTREAM_PORT"]
    status, _, body = raw(edge, "POST", "/key/generate", MASTER, {})
    virtual = json.loads(body)["key"]
    say(f"  {'':<58} {'p50':>9} {'p90':>9} {'added p50':>10}   ms, one connection")
    for path, model, upstream in (("/v1/chat/completions", "gpt-4o", "gpt-4o"), ("/v1/messages", "claude-sonnet", "claude-sonnet-4-5-20250929")):
        call = {"model": model, "messages": ask, "max_tokens": 64}
        rows = [("provider itself", provider, MASTER, dict(call, model=upstream), 400), ("edge, native", edge, MASTER, call, 400),
                ("Python gateway", python, MASTER, call, 20), ("edge, passed through (virtual key)", edge, virtual, call, 20),
                ("Python gateway (virtual key)", python, virtual, call, 20)]
        base = None
        for name, url, key, body, count in rows:
            sample(url, path, key, body, 5)
            times = sorted(sample(url, path, key, body, count))
            p50, p90 = statistics.median(times), times[int(len(times) * 0.9)]
            base = p50 if base is None else base
            say(f"  {path + ', ' + name:<58} {p50:9.3f} {p90:9.3f} {p50 - base:10.3f}" if url != provider else
                f"  {path + ', ' + name:<58} {p50:9.3f} {p90:9.3f} {'':>10}")


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--binary", required=True)
    options.add_argument("--port", type=int, default=4000)
    options = options.parse_args()
    port = free_port(options.port)
    stack = Stack(options.binary, port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        stack.start()
        say("Through the edge, with the public SDKs:")
        served = with_sdks(stack)
        say("\nThe same request to both gateways (ids, clocks and measured times masked):")
        ask = [{"role": "user", "content": "say hello"}]
        checks = [
            compare(stack, "GET /v1/models", "GET", "/v1/models"),
            compare(stack, "GET /health/liveliness", "GET", "/health/liveliness"),
            compare(stack, "GET /health/readiness", "GET", "/health/readiness"),
            compare(stack, "POST /v1/chat/completions", "POST", "/v1/chat/completions", {"model": "gpt-4o", "messages": ask}),
            compare(stack, "POST /v1/chat/completions, gzip", "POST", "/v1/chat/completions", {"model": "gpt-4o", "messages": ask},
                    {"Accept-Encoding": "gzip, deflate"}),
            compare(stack, "POST /v1/messages, gzip", "POST", "/v1/messages",
                    {"model": "claude-sonnet", "max_tokens": 64, "messages": [{"role": "user", "content": "say hello"}]},
                    {"Accept-Encoding": "gzip, deflate"}),
            compare(stack, "GET /v1/models, gzip", "GET", "/v1/models", headers={"Accept-Encoding": "gzip"}),
            compare(stack, "POST /v1/chat/completions, stream", "POST", "/v1/chat/completions", {"model": "gpt-4o", "messages": ask, "stream": True}),
            compare(stack, "POST /v1/messages", "POST", "/v1/messages", {"model": "claude-sonnet", "max_tokens": 64, "messages": ask}),
            compare(stack, "POST /v1/messages, stream", "POST", "/v1/messages", {"model": "claude-sonnet", "max_tokens": 64, "messages": ask, "stream": True}),
            compare(stack, "POST /v1/chat/completions, unknown model", "POST", "/v1/chat/completions", {"model": "nope", "messages": ask}),
            compare(stack, "GET /key/list (not migrated)", "GET", "/key/list"),
            compare(stack, "GET /no/such/route", "GET", "/no/such/route"),
        ]
        say("\nWhat each path costs:")
        timings(stack)
        natives = served.count("native") + sum(side == "native" for side, _ in checks)
        say(f"\n{natives} requests served natively, {len(served) + len(checks) - natives} by Python; "
            f"{sum(same for _, same in checks)} of {len(checks)} compared answers alike")
        if natives == 0:
            say("No route ran natively; `litellm-rust routes status` says why (evidence is renewed by `make evidence`).")
        return 0 if natives and all(same for _, same in checks) else 1
    finally:
        stack.stop()


if __name__ == "__main__":
    sys.exit(main())
