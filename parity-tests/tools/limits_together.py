#!/usr/bin/env python3
"""Two edges and Python gateways on one Redis and one Postgres hold one limit together: real processes, real sockets.

    limits_together.py --binary BINARY --state DIR [--pythons 4]

DIR is the state folder of a reference that `parity run --keep --state DIR` left; one more Python gateway is started on it (two with
`--pythons 3`, ...). The same load is sent to Python gateways alone, and to two edges and two Python gateways; what is let through is
counted at the provider and compared with the limit: requests a minute, calls at a time, a budget. Fails where the total
of edges and Python is off by more than Python's own. Only the standard library.
"""
import argparse
import collections
import concurrent.futures
import http.client
import http.server
import json
import os
import pathlib
import secrets
import socket
import subprocess
import sys
import threading
import time

import both

HOLD = 0.25  # seconds that the provider takes for a call
PROMPT, ANSWER = 8, 300  # tokens that it reports
ALLOWED = 500  # output tokens that the caller allows: what is held back while a call runs
COST = PROMPT * 2.5e-06 + ANSWER * 1e-05  # of gpt-4o, US dollars


class Provider(http.server.ThreadingHTTPServer):
    """Answers every chat; knows how many were at it at the same time."""

    daemon_threads, request_queue_size, allow_reuse_address = True, 256, True

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), Chat)
        self.lock, self.now, self.most, self.calls = threading.Lock(), 0, 0, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def reset(self):
        with self.lock:
            self.most = self.calls = 0


class Chat(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer({"object": "list", "data": []})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        server = self.server
        with server.lock:
            server.now += 1
            server.calls += 1
            server.most = max(server.most, server.now)
        time.sleep(HOLD)
        with server.lock:
            server.now -= 1
        self.answer({
            "id": f"chatcmpl-{secrets.token_hex(8)}", "object": "chat.completion", "created": 1700000000, "model": "gpt-4o-2024-08-06",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}],
            "usage": {"prompt_tokens": PROMPT, "completion_tokens": ANSWER, "total_tokens": PROMPT + ANSWER}})

    def answer(self, tree):
        body = json.dumps(tree).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def ask(address, path, key, tree, timeout=60):
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request("POST", path, json.dumps(tree), headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("x-litellm-edge"), answer.read()
    finally:
        connection.close()


def chat(address, key, words="hello"):
    body = {"model": "gpt-4o", "max_tokens": ALLOWED, "messages": [{"role": "user", "content": words}]}
    return ask(address, "/v1/chat/completions", key, body)


def start_python(state, ports, venv):
    """One more gateway on the kept reference's Postgres and Redis, with the environment of the one that is there."""
    pid = int((pathlib.Path(state) / "proxy.pid").read_text())
    pairs = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    env = dict(pair.decode().split("=", 1) for pair in pairs if b"=" in pair)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(pathlib.Path(venv) / "bin/litellm"), "--config", str(both.CONFIG), "--host", "127.0.0.1", "--port", str(port),
               "--num_workers", "1", "--telemetry", "False"]
    log = open(pathlib.Path(state) / f"together-{port}.log", "wb")
    return subprocess.Popen(command, env=env, cwd=state, stdout=log, stderr=log), ("127.0.0.1", port)


def wait_for(child, address):
    for _ in range(1200):
        if child.poll() is not None:
            raise SystemExit("a Python gateway stopped by itself")
        try:
            connection = http.client.HTTPConnection(*address, timeout=5)
            connection.request("GET", "/health/liveliness")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("a Python gateway does not come up")


class Load:
    """The same load for one set of gateways."""

    def __init__(self, name, gateways, edges, admin, provider):
        self.name, self.gateways, self.edges, self.admin, self.provider = name, gateways, edges, admin, provider

    def key(self, **limits):
        status, _, body = ask(self.admin, "/key/generate", "sk-parity-master", limits)
        if status != 200:
            raise SystemExit(f"no key: {status} {body[:200]}")
        return json.loads(body)["key"]

    def drop(self, key):
        ask(self.admin, "/key/delete", "sk-parity-master", {"keys": [key]})

    def send(self, key, each, lanes):
        """`each` requests to every gateway, `lanes` at a time for each."""
        self.provider.reset()
        answers = collections.Counter()
        with concurrent.futures.ThreadPoolExecutor(lanes * len(self.gateways)) as pool:
            jobs = [(gateway, pool.submit(chat, gateway, key)) for _ in range(each) for gateway in self.gateways]
            for gateway, job in jobs:
                status, side, body = job.result()
                if gateway in self.edges and side != "native":
                    raise SystemExit(f"{self.name}: the edge passed a request on: {status} {body[:200]}")
                if status not in (200, 422, 429):
                    raise SystemExit(f"{self.name}: {status} {body[:300]}")
                answers[status] += 1
        if answers[200] != self.provider.calls:
            raise SystemExit(f"{self.name}: {answers[200]} answers and {self.provider.calls} calls of the provider")
        return answers

    def requests(self, limit=40, each=25):
        key = self.key(rpm_limit=limit)
        try:
            return self.send(key, each, 6)[200] - limit
        finally:
            self.drop(key)

    def at_a_time(self, limit=6, each=20):
        key = self.key(max_parallel_requests=limit)
        try:
            self.send(key, each, 6)
            most = self.provider.most
            time.sleep(0.5)
            for gateway in self.gateways:  # every slot is free again
                status, _, body = chat(gateway, key)
                if status != 200:
                    raise SystemExit(f"{self.name}: a slot was lost: {status} {body[:200]}")
            return most - limit
        finally:
            self.drop(key)

    def budget(self, calls=12):
        """Calls beyond the budget, one after the other on all gateways in turn."""
        key = self.key(max_budget=(calls - 0.5) * COST)
        try:
            admitted = 0
            for at in range(2 * calls):
                status, _, body = chat(self.gateways[at % len(self.gateways)], key)
                if status not in (200, 422):
                    raise SystemExit(f"{self.name}: {status} {body[:300]}")
                admitted += status == 200
            return admitted - calls
        finally:
            self.drop(key)

    def budget_at_once(self, calls=12, each=12):
        """The same with many calls in flight. What a call holds back is no more than what is left of the budget, in LiteLLM
        too: each call in flight may then be one too many."""
        key = self.key(max_budget=(calls - 0.5) * COST)
        try:
            return self.send(key, each, LANES)[200] - calls
        finally:
            self.drop(key)


LANES = 3  # of each gateway, for the last measure
# name, measure, what it may be off by whatever Python's own is
MEASURES = (("requests a minute", Load.requests, 0), ("calls at a time", Load.at_a_time, 0), ("calls of a budget", Load.budget, 0),
            ("calls of a budget, many at once", Load.budget_at_once, 4 * LANES))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="the edge")
    parser.add_argument("--state", required=True, help="the kept reference's state folder")
    parser.add_argument("--venv", default=os.environ.get("REFERENCE_VENV"), help="LiteLLM's Python environment")
    parser.add_argument("--pythons", type=int, default=2, help="Python gateways that are measured alone")
    args = parser.parse_args()
    started, children = time.monotonic(), []
    provider = None
    try:
        with both.Stack(args.binary, args.state) as first, both.Stack(args.binary, args.state) as second:
            provider = Provider(first.provider_port)
            pythons = [first.python]
            for _ in range(max(args.pythons, 2) - 1):
                child, address = start_python(args.state, first.ports, args.venv)
                children.append(child)
                pythons.append(address)
            for child, address in zip(children, pythons[1:]):
                wait_for(child, address)
            print(f"{len(pythons)} Python gateways after {time.monotonic() - started:.0f} s", flush=True)
            edges = [first.edge, second.edge]
            lanes = [pythons[i % len(pythons)] for i in range(4)]
            alone = Load("python alone", lanes, [], first.python, provider)
            together = Load("two edges and two python", edges + pythons[:2], edges, first.python, provider)
            worse = 0
            for name, measure, allowed in MEASURES:
                theirs, ours = measure(alone), measure(together)
                print(f"{name}: Python alone is off by {theirs:+d}, two edges and two Python gateways by {ours:+d}", flush=True)
                worse += ours > max(0, theirs, allowed)
            print(f"{time.monotonic() - started:.0f} s")
            return 1 if worse else 0
    finally:
        for child in children:
            child.terminate()
        for child in children:
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
        if provider:
            provider.shutdown()


if __name__ == "__main__":
    sys.exit(main())
