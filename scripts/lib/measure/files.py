"""Files, plain and compressed, beside nginx with sendfile: what of each costs how much."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path

from .cases import Case
from .load import wrk
from .servers import Recipe, Server, Settings, certificate, free_port, gateway_binary
from .speed import _header, _row, median, pinnings

SIZES = {"1k": 1 << 10, "100k": 100 << 10, "10m": 10 << 20}
#: gzip at the same level for both.
LEVEL = 5

CASES = [
    *(Case(f"file-{name}", f"file of {name}", f"/files/{name}.bin", size=size) for name, size in SIZES.items()),
    *(Case(f"tls-file-{name}", f"TLS, file of {name}", f"/files/{name}.bin", size=size, tls=True) for name, size in SIZES.items()),
    *(Case(f"gzip-{name}", f"gzip level {LEVEL}, text of {name}", f"/gzip/{name}.txt", ("Accept-Encoding: gzip",), size=size)
      for name, size in (("100k", 100 << 10), ("1m", 1 << 20))),
]

_WORDS = ("the request response header upstream gateway worker connection stream buffer timeout of and to a in for is on with that by this be are from at as "
          "or an will must not when which its has been").split()


def text(size: int) -> bytes:
    """The same text every time, that compresses about as well as a page does."""
    words, state, length = [], 1, 0
    while length < size:
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        word = _WORDS[(state >> 33) % len(_WORDS)] + ("\n" if state >> 60 == 0 else f"{(state >> 40) % 1000}" if state >> 61 == 1 else "")
        words.append(word)
        length += len(word) + 1
    return " ".join(words).encode()[:size]


def _fill(directory: Path) -> Path:
    root = directory / "files"
    root.mkdir(exist_ok=True)
    for name, size in SIZES.items():
        (root / f"{name}.bin").write_bytes(os.urandom(size))
    for name, size in (("100k", 100 << 10), ("1m", 1 << 20)):
        (root / f"{name}.txt").write_bytes(text(size))
    return root


def _gateway(settings: Settings) -> list[str]:
    root = str(_fill(settings.directory))
    configuration = {
        "listeners": [{"host": "127.0.0.1", "port": settings.port},
                      {"host": "127.0.0.1", "port": settings.tls_port, "tls": {
                          "certificates": [{"cert_file": str(certificate()[0]), "key_file": str(certificate()[1])}]}}],
        "workers": 1, "log": {"level": "error"}, "compression": {"algorithms": ["gzip"], "gzip_level": LEVEL},
        "routes": [{"path": "/files/*file", "static": {"root": root}}, {"path": "/gzip/*file", "static": {"root": root}, "compression": "on"}],
    }
    file = settings.directory / "gateway.json"
    file.write_text(json.dumps(configuration))
    return [str(gateway_binary()), "-c", str(file), "-P", str(settings.directory / "gatewayd.pid")]


_NGINX = """
{user}
pid {directory}/nginx.pid;
error_log {directory}/error.log error;
worker_processes 1;
daemon off;
events {{ worker_connections 4000; }}
http {{
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  types {{ text/plain txt; }}
  keepalive_requests 1000000000;
  sendfile on;
  tcp_nopush on;
  access_log off;
  gzip_comp_level {level};
  gzip_types text/plain;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    listen 127.0.0.1:{tls_port} ssl backlog=4096;
    ssl_certificate {chain};
    ssl_certificate_key {key};
    location /files/ {{ alias {root}/; }}
    location /gzip/ {{ alias {root}/; gzip on; }}
  }}
}}
"""


def _nginx(settings: Settings) -> list[str]:
    root = _fill(settings.directory)
    file = settings.directory / "nginx.conf"
    file.write_text(_NGINX.format(
        directory=settings.directory, port=settings.port, tls_port=settings.tls_port, root=root, level=LEVEL, chain=certificate()[0], key=certificate()[1],
        user="user root;" if os.geteuid() == 0 else ""))
    return ["nginx", "-e", str(settings.directory / "error.log"), "-p", str(settings.directory), "-c", str(file)]


RECIPES = [Recipe("gateway", _gateway), Recipe("nginx", _nginx)]


def measure(names: list[str], directory: Path, *, connections: int, rounds: int, seconds: int) -> None:
    cases = [case for case in CASES if not names or case.name in names]
    print(f"Medians of {rounds} alternating runs of {seconds} s with {connections} connections, one for compression; one worker each, files in the page cache.")
    print("CPU is user + system time of the worker per request; for text the last column is per MB of it.")
    for cores, (place, other) in pinnings().items():
        print(f"\nServer on core {place}, load generator on core {other}")
        print(_header(RECIPES) + f" {'gateway ms/MB':>14} {'nginx ms/MB':>12}")
        with ExitStack() as stack:
            servers = [stack.enter_context(Server(recipe, Settings(directory / f"files-{recipe.name}-{cores}", free_port(), 0), cpus=place)) for recipe in RECIPES]
            for case in cases:
                # What is under way at the end of a run is not counted: of long work it has to be little.
                count = 1 if case.name.startswith("gzip") else connections
                results = [[wrk(server, case, count, seconds, other) for server in servers] for _ in range(rounds + 1)][1:]
                medians = [median([round_[index] for round_ in results]) for index in range(len(servers))]
                each = "".join(f" {result.cpu / 1000 / (case.size / 1e6):>13.2f}" for result in medians) if case.name.startswith("gzip") else ""
                print(_row(case.title, medians, place != other) + each, flush=True)
