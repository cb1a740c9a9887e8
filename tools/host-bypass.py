#!/usr/bin/env python3
"""Shows what a LiteLLM and the edge before it make of a Host that is more than a host (CVE-2026-49468: the path that was
authorised came out of `Host`, so `Host: x/?` opened any route without a key).

    tools/host-bypass.py http://127.0.0.1:4001 http://127.0.0.1:4000      # LiteLLM itself, the edge

No key is sent. Exit 1: somebody got past authentication, or the edge passed such a Host on (anything but its own 400).
"""
import socket
import sys
from urllib.parse import urlsplit

HOSTS = ["edge", "a/?x=", "x/#", "x?", "a#b", "a\\b", "edge/health/liveliness?x=", "edge/public/model_hub?x=", "x@y",
         "http://edge", "", ":80", "a b", "a%2fb", "edge,b", "edge:", "edge:99999", "[::1", "[fe80::1%25eth0]"]
ROUTES = ["GET /key/list", "GET /model/info", "POST /mcp-rest/test/connection", "POST /config/update"]


def ask(base, line, host):
    parts = urlsplit(base)
    request = f"{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    answer = b""
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        connection.sendall(request.encode())
        try:
            while piece := connection.recv(65536):
                answer += piece
        except OSError:
            pass
    head = answer.split(b"\r\n\r\n")[0].decode("latin-1").lower()
    status = head.split(" ")[1] if " " in head else "closed"
    side = next((line.split(": ")[1] for line in head.split("\r\n") if line.startswith("x-litellm-edge: ")), "")
    return status, side


def main():
    python, edge = sys.argv[1:3]
    wrong = 0
    print(f"{'Host':28} {'route':32} LiteLLM  edge")
    for host in HOSTS:
        for route in ROUTES:
            (there, _), (here, side) = ask(python, route, host), ask(edge, route, host)
            # the honest one is passed on and refused by LiteLLM; the others do not reach it
            fine = here in ("401", "403") if host == "edge" else here == "400" and side != "python"
            fine = fine and there not in ("200", "closed")
            wrong += not fine
            print(f"{host!r:28} {route:32} {there:8} {here} {side}{'' if fine else '   <-- WRONG'}")
    print(f"{wrong} wrong of {len(HOSTS) * len(ROUTES)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
