#!/usr/bin/env python3
"""Writes tests/golden/messages/*.json: what LiteLLM itself does with POST /v1/messages for provider anthropic.

Each case of `golden_messages_cases.py` is sent to a LiteLLM proxy that this script starts (no database) with a scripted
provider behind it; the pair (client request, provider requests, provider answer, LiteLLM's answer) is kept.

    python3 golden_messages.py --litellm /path/to/litellm [--port 25001] [--only NAME]
"""
import argparse, json, os, pathlib, socket, subprocess, sys, tempfile, threading, time, urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from golden_messages_cases import CASES, CONFIG  # noqa: E402

KEY = "sk-golden-master"
OUT = HERE.parent.parent / "tests" / "golden" / "messages"


class Provider:
    """One scripted answer per call; records what it was sent."""

    def __init__(self, port):
        self.seen, self.script = [], []
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            pending = b""
            while True:
                while b"\r\n\r\n" not in pending:
                    data = connection.recv(65536)
                    if not data:
                        return
                    pending += data
                head, pending = pending.split(b"\r\n\r\n", 1)
                lines = head.decode("latin-1").split("\r\n")
                method, target, _ = lines[0].split(" ")
                headers = [line.split(": ", 1) if ": " in line else [line.rstrip(":"), ""] for line in lines[1:]]
                length = int(dict((k.lower(), v) for k, v in headers).get("content-length", 0))
                while len(pending) < length:
                    pending += connection.recv(65536)
                body, pending = pending[:length], pending[length:]
                if method == "GET":  # LiteLLM's own polling
                    connection.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                    continue
                self.seen.append({"method": method, "target": target, "headers": headers, "body": body.decode()})
                model = json.loads(body).get("model", "")
                if not self.answer(connection, self.script.pop(0) if self.script else {"then": "reset"}, model):
                    return
        except OSError:
            pass
        finally:
            connection.close()

    def answer(self, connection, spec, model):
        then = spec.get("then", "end")
        time.sleep(spec.get("delay_ms", 0) / 1000)
        if then == "hang":
            time.sleep(spec.get("hang_s", 5))
            return False
        if then in ("reset", "refuse"):
            return False
        chunked = "sse" in spec or spec.get("chunked")
        headers = dict(spec.get("headers", {}))
        if "sse" in spec:
            headers.setdefault("content-type", "text/event-stream; charset=utf-8")
            pieces = [(frame + "\n\n").encode() for frame in spec["sse"]] + ([spec["tail"].encode()] if "tail" in spec else [])
        else:
            headers.setdefault("content-type", "application/json")
            body = spec["body"] if "body" in spec else json.dumps(spec["json"])
            pieces = [body.encode()]
        pieces = [piece.replace(b"$MODEL", model.encode()) for piece in pieces]
        out = f"HTTP/1.1 {spec.get('status', 200)} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        if chunked:
            out += "transfer-encoding: chunked\r\n\r\n"
        else:
            out += f"content-length: {len(pieces[0]) + (50 if then == 'cut' else 0)}\r\n\r\n"
        connection.sendall(out.encode())
        time.sleep(spec.get("first_gap_ms", 0) / 1000)
        for at, piece in enumerate(pieces):
            if piece:
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            time.sleep(spec.get("gap_ms", [0] * 99)[at] / 1000 if "gap_ms" in spec else 0.02)
        if then == "stall":
            time.sleep(spec.get("hang_s", 5))
            return False
        if then == "cut":
            return False
        if then == "rst":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            return False
        if chunked:
            connection.sendall(b"0\r\n\r\n")
        return True


def ask(port, case):
    """Sends the client's request on a raw socket; returns status, headers and body (de-chunked)."""
    request = case["request"]
    body = request["body"].encode() if "body" in request else json.dumps(request["json"]).encode()
    headers = {"host": "localhost", "authorization": f"Bearer {KEY}", "content-type": "application/json"}
    headers.update(request.get("headers", {}))
    headers.update({"content-length": str(len(body)), "connection": "close"})
    head = f"POST {request.get('path', '/v1/messages')} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    with socket.create_connection(("127.0.0.1", port), timeout=90) as connection:
        connection.sendall(head.encode() + b"\r\n" + body)
        raw = b""
        while data := connection.recv(65536):
            raw += data
    head, _, rest = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = [line.split(": ", 1) for line in lines[1:]]
    if any(k.lower() == "transfer-encoding" for k, _ in headers):
        out = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            size = int(size, 16)
            if not size:
                break
            out, rest = out + rest[:size], rest[size + 2:]
        rest = out
    return {"status": int(lines[0].split(" ")[1]), "headers": headers, "body": rest.decode()}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--litellm", required=True)
    arguments.add_argument("--port", type=int, default=25001)
    arguments.add_argument("--only")
    arguments.add_argument("--running", action="store_true", help="a proxy of an earlier run (--keep) is on --port")
    arguments.add_argument("--keep", action="store_true", help="leave the proxy running")
    options = arguments.parse_args()
    provider_port = options.port + 1
    provider = Provider(provider_port)
    proxy = None
    if not options.running:
        folder = tempfile.mkdtemp()
        config = pathlib.Path(folder) / "config.yaml"
        config.write_text(CONFIG.replace("$PROVIDER", f"http://127.0.0.1:{provider_port}").replace("$DEAD", f"http://127.0.0.1:{options.port + 2}"))
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("ANTHROPIC_", "DATABASE_", "LITELLM_", "REDIS_"))}
        environment.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MASTER_KEY=KEY)
        proxy = subprocess.Popen(
            [options.litellm, "--config", str(config), "--host", "127.0.0.1", "--port", str(options.port), "--telemetry", "False"],
            cwd=folder, env=environment, stdout=open(pathlib.Path(folder) / "log", "w"), stderr=subprocess.STDOUT)
        print("proxy", proxy.pid, folder, flush=True)
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{options.port}/health/liveliness", timeout=2)
                break
            except OSError:
                time.sleep(0.5)
    OUT.mkdir(parents=True, exist_ok=True)
    try:
        for case in CASES:
            if options.only and options.only not in case["name"]:
                continue
            provider.seen.clear()
            provider.script[:] = list(case.get("provider", []))
            answer = ask(options.port, case)
            record = {
                "name": case["name"], "why": case.get("why", ""), "request": case["request"], "provider": case.get("provider", []),
                "sent": json.loads(json.dumps(provider.seen)), "answer": answer,
            }
            text = json.dumps(record, indent=1, ensure_ascii=False)
            for port, name in ((provider_port, "$PROVIDER"), (options.port + 2, "$DEAD")):
                text = text.replace(f"http://127.0.0.1:{port}", name).replace(f"127.0.0.1:{port}", name + "_HOST")
            (OUT / f"{case['name']}.json").write_text(text + "\n")
            print(case["name"], answer["status"], len(provider.seen), answer["body"][:150].replace("\n", "\\n"), flush=True)
    finally:
        if proxy and not options.keep:
            proxy.terminate()
            proxy.wait(20)


if __name__ == "__main__":
    main()
