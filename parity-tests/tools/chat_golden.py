#!/usr/bin/env python3
"""Records what the real Python gateway makes of provider answers on /v1/chat/completions.

    chat_golden.py --gateway http://127.0.0.1:24000 --key sk-... --upstream-port 24001 --out tests/golden/chat [NAME...]

Start the gateway first with chat_golden_config.yaml (its api_base is the upstream port). This script is the upstream:
it gives the scripted answer of each shape in chat_golden_shapes.py and writes, one file a category, a list of
{name, request, provider, sent, reply}: what the client sent, what the provider answered, what the provider was sent,
what the client got. The Rust tests hold the native transforms against these files.
"""
import argparse, gzip, http.client, http.server, json, os, sys, threading, time, urllib.parse, zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from chat_golden_shapes import SHAPES

STATE = {"answer": None, "sent": []}


class Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.send_response(404)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        answer = STATE["answer"]
        STATE["sent"].append({"target": self.path, "headers": [[k.lower(), v] for k, v in self.headers.items()], "body": body.decode()})
        if answer.get("then") == "reset":
            self.close_connection = True
            self.connection.close()
            return
        if answer.get("then") == "hang":
            time.sleep(answer.get("hang", 3))
            self.close_connection = True
            return
        self.send_response_only(answer.get("status", 200))
        headers = answer.get("headers", {})
        for name, value in headers.items():
            self.send_header(name, value)
        if "sse" in answer:
            self.send_header("content-type", "text/event-stream; charset=utf-8")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for frame in answer["sse"]:
                data = (frame if answer.get("raw") else frame + "\n\n").encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()
                time.sleep(answer.get("delay", 0.02))
            if answer.get("then") == "cut":
                self.close_connection = True
                self.connection.close()
                return
            if answer.get("then") == "stall":
                time.sleep(answer.get("hang", 3))
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(b"0\r\n\r\n")
            return
        body = answer["body"].encode() if "body" in answer else json.dumps(answer["json"], ensure_ascii=False).encode()
        if headers.get("content-encoding") == "gzip":
            body = gzip.compress(body)
        elif headers.get("content-encoding") == "deflate":
            body = zlib.compress(body)
        if "content-type" not in headers:
            self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body) + (10 if answer.get("then") == "cut" else 0)))
        self.end_headers()
        self.wfile.write(body)
        if answer.get("then") == "cut":
            self.close_connection = True
            self.connection.close()


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--gateway", required=True)
    args.add_argument("--key", required=True)
    args.add_argument("--upstream-port", type=int, required=True)
    args.add_argument("--out", required=True)
    args.add_argument("--category", action="append")
    args.add_argument("names", nargs="*")
    args = args.parse_args()
    http.server.ThreadingHTTPServer.daemon_threads = True
    server = http.server.ThreadingHTTPServer(("127.0.0.1", args.upstream_port), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    gateway = urllib.parse.urlparse(args.gateway)
    for category, shapes in SHAPES.items():
        if args.category and category not in args.category:
            continue
        out = []
        for name, (request, answer) in shapes.items():
            if args.names and name not in args.names:
                continue
            STATE["answer"], STATE["sent"] = answer, []
            request = dict(request)
            path = request.pop("_path", "/v1/chat/completions")
            headers = {"content-type": "application/json", "authorization": "Bearer " + args.key, **request.pop("_headers", {})}
            connection = http.client.HTTPConnection(gateway.hostname, gateway.port, timeout=30)
            connection.request("POST", path, json.dumps(request), headers)
            response = connection.getresponse()
            body = response.read().decode()
            out.append({
                "name": name, "path": path, "request": request, "provider": answer, "sent": STATE["sent"],
                "reply": {"status": response.status, "headers": [[k.lower(), v] for k, v in response.getheaders()], "body": body},
            })
            if args.names:
                print(json.dumps(out[-1], indent=1, ensure_ascii=False))
        if not args.names:
            with open(os.path.join(args.out, category + ".json"), "w") as file:
                file.write("[\n" + ",\n".join(json.dumps(o, ensure_ascii=False) for o in out) + "\n]\n")
            print(category, len(out))


main()
