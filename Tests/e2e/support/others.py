"""Backends that others wrote: nginx, HAProxy, nghttpd, aiohttp and Hypercorn, each in the kinds that it speaks (see `kinds.KINDS`).

All answer `/api/small`, `/api/large` and, where they can, send back what is posted to `/api/echo`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .kinds import KINDS
from .ports import free_port
from .stream import blocks
from .tls import Certificate

SMALL = b"hello from the others\n"
LARGE = 5 << 20


def nginx(kind: str, port: int, directory: Path, site: Certificate, behind: int) -> list[str]:
    http2, tls = KINDS[kind]
    (directory / "nginx.conf").write_text(f"""
{"user root;" if os.geteuid() == 0 else ""}
pid {directory}/nginx.pid; error_log stderr error; worker_processes 1; daemon off;
events {{ worker_connections 512; }}
http {{
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  access_log off; default_type text/plain; client_max_body_size 0; keepalive_requests 100;
  server {{
    listen 127.0.0.1:{port}{" ssl" if tls else ""}{" http2" if http2 else ""};
    ssl_certificate {site.chain}; ssl_certificate_key {site.key};
    root {directory}/files;
    location /api/echo {{ proxy_pass http://127.0.0.1:{behind}; proxy_request_buffering off; proxy_http_version 1.1; }}
  }}
}}
""")
    return ["nginx", "-e", "stderr", "-p", str(directory), "-c", str(directory / "nginx.conf")]


def haproxy(kind: str, port: int, directory: Path, site: Certificate, behind: int) -> list[str]:
    http2, tls = KINDS[kind]
    both = directory / "both.pem"
    both.write_bytes(site.chain.read_bytes() + site.key.read_bytes())
    options = f" ssl crt {both} alpn {'h2' if http2 else 'http/1.1'}" if tls else " proto h2" if http2 else ""
    (directory / "haproxy.cfg").write_text(f"""
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:{port}{options}
  http-request return status 200 content-type text/plain file {directory}/files/api/small if {{ path /api/small }}
  default_backend back
backend back
  server one 127.0.0.1:{behind}
""")
    return ["haproxy", "-db", "-f", str(directory / "haproxy.cfg")]


def nghttpd(kind: str, port: int, directory: Path, site: Certificate, behind: int) -> list[str]:
    _, tls = KINDS[kind]
    files = ["--address=127.0.0.1", f"--htdocs={directory}/files", "--echo-upload"]
    return ["nghttpd", *files, *([str(port), str(site.key), str(site.chain)] if tls else ["--no-tls", str(port)])]


def aiohttp(kind: str, port: int, directory: Path, site: Certificate, behind: int) -> list[str]:
    _, tls = KINDS[kind]
    (directory / "program.py").write_text(f"""
import ssl
from aiohttp import web
async def echo(request):
    response = web.StreamResponse()
    await response.prepare(request)
    async for piece in request.content.iter_any():
        await response.write(piece)
    return response
app = web.Application(client_max_size=0)
app.router.add_static("/", {str(directory / 'files')!r})
app.router.add_post("/api/echo", echo)
context = None
if {tls}:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain({str(site.chain)!r}, {str(site.key)!r})
web.run_app(app, host="127.0.0.1", port={port}, ssl_context=context, print=None, access_log=None)
""")
    return [sys.executable, str(directory / "program.py")]


def hypercorn(kind: str, port: int, directory: Path, site: Certificate, behind: int) -> list[str]:
    http2, tls = KINDS[kind]
    (directory / "program.py").write_text(f"""
from pathlib import Path
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    start = lambda *headers: send({{"type": "http.response.start", "status": 200, "headers": list(headers)}})
    if scope["path"] == "/api/echo":
        await start()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            more = message.get("more_body", False)
            await send({{"type": "http.response.body", "body": message["body"], "more_body": more}})
    else:
        body = Path({str(directory / 'files')!r} + scope["path"]).read_bytes()
        await start((b"content-length", b"%d" % len(body)))
        await send({{"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""}})
""")
    (directory / "hypercorn.toml").write_text(
        f'bind = ["127.0.0.1:{port}"]\nalpn_protocols = ["{"h2" if http2 else "http/1.1"}"]\ngraceful_timeout = 0.2\nloglevel = "ERROR"\n'
        + (f'certfile = "{site.chain}"\nkeyfile = "{site.key}"\n' if tls else ""))
    return [sys.executable, "-m", "hypercorn", "-c", str(directory / "hypercorn.toml"), "program:app"]


Command = Callable[[str, int, Path, Certificate, int], list[str]]
#: Who speaks what.
SPEAKS: dict[str, tuple[Command, list[str]]] = {
    "nginx": (nginx, ["h1", "h1s", "h2c", "h2s"]),
    "haproxy": (haproxy, ["h1", "h1s", "h2c", "h2s"]),
    "nghttpd": (nghttpd, ["h2c", "h2s"]),
    "aiohttp": (aiohttp, ["h1", "h1s"]),
    "hypercorn": (hypercorn, ["h1", "h1s", "h2c", "h2s"]),
}


class Other:
    """One of them, running on a free port. What needs a backend of its own has the one at `behind`."""

    def __init__(self, name: str, kind: str, directory: Path, site: Certificate, behind: int) -> None:
        self.name, self.kind, self.port = name, kind, free_port()
        files = directory / "files" / "api"
        files.mkdir(parents=True)
        (files / "small").write_bytes(SMALL)
        (files / "large").write_bytes(b"".join(blocks(LARGE)))
        self.output = directory / "output.log"
        command = SPEAKS[name][0](kind, self.port, directory, site, behind)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        deadline = time.monotonic() + 15
        while True:
            assert self.process.poll() is None, f"{name} ended at once:\n{self.output.read_text()}"
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, f"{name} does not listen"
                time.sleep(0.02)

    def stop(self) -> None:
        for _ in range(5):
            self.process.terminate()
            try:
                self.process.wait(2)
                return
            except subprocess.TimeoutExpired:
                pass
        self.process.kill()
        self.process.wait()
