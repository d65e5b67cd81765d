"""Processor time per request where one side or both speak HTTP/2 or TLS: through each server that can do it to the same backends.

Backends are one nginx, on four ports, and nghttpd for gRPC, which can answer with trailers. Clients over HTTP/2 are h2load's, those
over HTTP/1.1 wrk's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .cases import Case
from .counting import Profile
from .load import Result, wrk
from .servers import _NGINX_COMMON, ANSWER, FILES, Recipe, Server, Settings, certificate, free_port, gateway_binary, stripped_binary
from .speed import median, pinnings

#: How the backends are spoken to: the first part of the path, HTTP/2, TLS.
BACKENDS = {"h1": (False, False), "h2": (True, False), "h1s": (False, True), "h2s": (True, True), "grpc": (True, False)}


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    #: Whether clients speak HTTP/2.
    http2: bool
    backend: str
    file: str = "small"
    #: A file is posted.
    grpc: bool = False

    @property
    def path(self) -> str:
        return f"/{self.backend}/{self.file}"


ROWS = [
    Row("h2-h1", "HTTP/2 to HTTP/1.1", True, "h1"),
    Row("h2-h1-64k", "HTTP/2 to HTTP/1.1, 64 KiB", True, "h1", "64k"),
    Row("h1-h2", "HTTP/1.1 to HTTP/2", False, "h2"),
    Row("h1-h2-64k", "HTTP/1.1 to HTTP/2, 64 KiB", False, "h2", "64k"),
    Row("h2-h2", "HTTP/2 to HTTP/2", True, "h2"),
    Row("h2-h2-64k", "HTTP/2 to HTTP/2, 64 KiB", True, "h2", "64k"),
    Row("grpc", "gRPC, unary", True, "grpc", "call.unary", True),
    Row("h1-tls", "HTTP/1.1 to HTTP/1.1 over TLS", False, "h1s"),
    Row("h1-tls-64k", "HTTP/1.1 to HTTP/1.1 over TLS, 64 KiB", False, "h1s", "64k"),
    Row("h2-h2s", "HTTP/2 to HTTP/2 over TLS", True, "h2s"),
]

#: Ports of the backends, by kind.
Ports = dict[str, int]


def _gateway(ports: Ports) -> Callable[[Settings], list[str]]:
    def command(settings: Settings) -> list[str]:
        upstreams = []
        for kind, port in ports.items():
            http2, tls = BACKENDS[kind]
            entry = {"name": kind, "host": "127.0.0.1", "port": port, "pool": {"max_connections": 1024, "max_idle_connections": 1024},
                     "proxy": {"route_prefix": f"/{kind}"}}
            if tls:
                entry["tls"] = {"enabled": True, "ca_file": str(certificate()[0]), "sni_hostname": "localhost"}
            if http2:
                entry["http2"] = {"enabled": True, "prefer": "always"}
            upstreams.append(entry)
        file = settings.directory / "gateway.json"
        file.write_text(json.dumps({
            "listeners": [{"host": "127.0.0.1", "port": port} for port in (settings.port, settings.tls_port)],
            "workers": 1, "max_connections": 20_000, "max_body_size": 0, "log": {"level": "error"}, "upstreams": upstreams}))
        if settings.single:
            return [str(stripped_binary(settings)), "-c", str(file), "--single-process"]
        return [str(gateway_binary()), "-c", str(file), "-P", str(settings.directory / "gatewayd.pid")]

    return command


_PLACE = """
    location /{kind}/ {{
      proxy_pass {scheme}://{kind};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header Via "1.1 gateway";
      proxy_ssl_verify on; proxy_ssl_trusted_certificate {chain}; proxy_ssl_name localhost; proxy_ssl_server_name on;
      proxy_buffers 8 64k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0;
    }}
"""
_GRPC = """
    location /grpc/ {{
      grpc_pass grpc://grpc;
      grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      grpc_set_header X-Forwarded-Proto $scheme;
      grpc_set_header X-Forwarded-Host $http_host;
      grpc_set_header Via "1.1 gateway";
    }}
"""


def _common(settings: Settings) -> str:
    return _NGINX_COMMON.format(directory=settings.directory, user="user root;" if os.geteuid() == 0 else "", master="on")


def _nginx_command(settings: Settings, text: str) -> list[str]:
    file = settings.directory / "nginx.conf"
    file.write_text(text)
    return ["nginx", "-e", str(settings.directory / "error.log"), "-p", str(settings.directory), "-c", str(file)]


def _nginx(ports: Ports) -> Callable[[Settings], list[str]]:
    """HTTP/1.1 on the port, HTTP/2 on the other one: this nginx cannot tell them apart without TLS."""

    def command(settings: Settings) -> list[str]:
        upstreams = "".join(f"  upstream {kind} {{ server 127.0.0.1:{port}; keepalive 512; keepalive_requests 1000000000; }}\n" for kind, port in ports.items())
        places = "".join(_PLACE.format(kind=kind, scheme="https" if BACKENDS[kind][1] else "http", chain=certificate()[0])
                         for kind in ports if not BACKENDS[kind][0])
        places += _GRPC.format() if "grpc" in ports else ""
        return _nginx_command(settings, _common(settings) + f"  access_log off;\n{upstreams}\n  server {{\n    listen 127.0.0.1:{settings.port} backlog=4096;\n"
                              f"    listen 127.0.0.1:{settings.tls_port} http2 backlog=4096;\n{places}  }}\n}}\n")

    return command


def _haproxy(ports: Ports) -> Callable[[Settings], list[str]]:
    def command(settings: Settings) -> list[str]:
        uses = "".join(f"  use_backend {kind} if {{ path_beg /{kind}/ }}\n" for kind in ports)
        backends = ""
        for kind, port in ports.items():
            http2, tls = BACKENDS[kind]
            secure = f" ssl verify required ca-file {certificate()[0]} verifyhost localhost sni str(localhost)" if tls else ""
            version = (" alpn h2" if tls else " proto h2") if http2 else ""
            backends += f"""
backend {kind}
  http-reuse always
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request add-header Via "1.1 gateway"
  http-response add-header Via "1.1 gateway"
  server one 127.0.0.1:{port} pool-max-conn 1024 maxconn 1024{secure}{version}
"""
        file = settings.directory / "haproxy.cfg"
        file.write_text(f"""
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-request 30s
  timeout http-keep-alive 300s
frontend front
  bind 127.0.0.1:{settings.port} backlog 4096
  bind 127.0.0.1:{settings.tls_port} backlog 4096 proto h2
{uses}{backends}""")
        return ["haproxy", "-db", "-f", str(file)]

    return command


def _nghttpx(ports: Ports) -> Callable[[Settings], list[str]]:
    def command(settings: Settings) -> list[str]:
        command = ["nghttpx", "--conf=/dev/null", f"--frontend=127.0.0.1,{settings.port};no-tls", f"--frontend=127.0.0.1,{settings.tls_port};no-tls",
                   "--workers=1", "--single-process", f"--cacert={certificate()[0]}", "--add-x-forwarded-for", "--backend-keep-alive-timeout=300s",
                   "--log-level=ERROR", "--backlog=4096", f"--pid-file={settings.directory}/nghttpx.pid"]
        for index, (kind, port) in enumerate(ports.items()):
            http2, tls = BACKENDS[kind]
            more = f"proto={'h2' if http2 else 'http/1.1'}{';tls;sni=localhost' if tls else ''}"
            command.append(f"--backend=127.0.0.1,{port};/{kind}/;{more}")
            if index == 0:
                command.append(f"--backend=127.0.0.1,{port};/;{more}")
        return command

    return command


def _answering(settings: Settings, ports: Ports) -> list[str]:
    """The backend on four ports."""
    for kind in BACKENDS:
        for name, size in FILES.items():
            place = settings.directory / "files" / kind
            place.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(b"x" * size)
    listens = "".join(f"    listen 127.0.0.1:{ports[kind]}{' ssl' if tls else ''}{' http2' if http2 else ''} backlog=4096;\n"
                      for kind, (http2, tls) in BACKENDS.items() if kind in ports and kind != "grpc")
    return _nginx_command(settings, _common(settings) + f"""
  access_log off;
  server {{
    listen 127.0.0.1:{settings.port};
{listens}
    ssl_certificate {certificate()[0]};
    ssl_certificate_key {certificate()[1]};
    http2_max_concurrent_streams 512;
    root {settings.directory}/files;
    location ~ /small$ {{ return 200 "{ANSWER}"; }}
  }}
}}
""")


def _calling(settings: Settings) -> list[str]:
    """The backend for gRPC: a message and `grpc-status` as a trailer."""
    place = settings.directory / "files" / "grpc"
    place.mkdir(parents=True, exist_ok=True)
    (place / "call.unary").write_bytes(b"\0\0\0\0\x0c" + b"answer......")
    types = settings.directory / "types"
    types.write_text("application/grpc unary\n")
    return ["nghttpd", "--no-tls", "--address=127.0.0.1", f"--htdocs={settings.directory / 'files'}", f"--mime-types-file={types}",
            "--trailer=grpc-status: 0", str(settings.port)]


def recipes(ports: Ports) -> list[Recipe]:
    return [Recipe("gateway", _gateway(ports)), Recipe("nginx", _nginx(ports)), Recipe("haproxy", _haproxy(ports), has_master=False),
            Recipe("nghttpx", _nghttpx(ports), has_master=False)]


def able(recipe: Recipe, row: Row) -> bool:
    """nginx speaks HTTP/2 to backends for gRPC alone."""
    return recipe.name != "nginx" or row.grpc or not BACKENDS[row.backend][0]


def h2load(server: Server, row: Row, connections: int, seconds: int, cpus: str, message: Path) -> Result:
    """One run of eight streams on each connection; fails when a request does."""
    base = f"http://127.0.0.1:{server.settings.tls_port}{row.path}"
    command = ["taskset", "-c", cpus, "h2load", "-t1", f"-c{connections}", "-m8", f"-D{seconds}"]
    if row.grpc:
        command += ["-d", str(message), "-H", "content-type: application/grpc", "-H", "te: trailers"]
    before = server.cpu()
    printed = subprocess.run([*command, base], capture_output=True, text=True, check=True).stdout
    after = server.cpu()
    found = re.search(r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored", printed)
    count = int(found[1]) if found else 0
    # Responses whose end came too late are among the status codes.
    if not found or count == 0 or found[2] + found[3] != "00" or "2xx, 0 3xx, 0 4xx, 0 5xx" not in printed:
        raise RuntimeError(f"{server.recipe.name}, {row.name}: requests failed\n{printed}")
    return Result(count / seconds, (after[0] - before[0]) / count * 1e6, (after[1] - before[1]) / count * 1e6)


def check(server: Server, row: Row, message: Path) -> None:
    """The answer is whole: for gRPC, with its trailers."""
    if row.grpc:
        printed = subprocess.run(["nghttp", "-v", "-n", "-d", str(message), "-H", "content-type: application/grpc", "-H", "te: trailers",
                                  f"http://127.0.0.1:{server.settings.tls_port}{row.path}"], capture_output=True, text=True, check=True).stdout
        if "grpc-status: 0" not in printed:
            raise RuntimeError(f"{server.recipe.name}: no trailers\n{printed}")


def measure(names: list[str], only: list[str], directory: Path, *, connections: int, rounds: int, seconds: int) -> None:
    if unknown := set(names) - {row.name for row in ROWS}:
        raise SystemExit(f"unknown case: {', '.join(sorted(unknown))} (known: {', '.join(row.name for row in ROWS)})")
    rows = [row for row in ROWS if not names or row.name in names]
    kinds = list(dict.fromkeys(row.backend for row in rows))
    # Beside an idle core, how often a server has to wake up would decide.
    place, other = pinnings()["1"]
    print(f"Medians of {rounds} alternating runs of {seconds} s; one worker each, on one core with load generator and backends;")
    print(f"{connections * 8} requests at the same time. CPU is user + system time of the worker per request; CPU/best is the gateway's over the best other's.")
    message = directory / "message"
    message.write_bytes(b"\0\0\0\0\x64" + b"question".ljust(100, b"."))
    with ExitStack() as stack:
        def start(recipe: Recipe, cpus: str) -> Server:
            settings = Settings(directory / recipe.name, free_port(), 0)
            return stack.enter_context(Server(recipe, settings, cpus=cpus))

        ports = {kind: free_port() for kind in kinds}
        start(Recipe("backend", lambda settings: _answering(settings, ports)), other)
        if "grpc" in kinds:
            ports["grpc"] = start(Recipe("calls", _calling, has_master=False), other).port
        servers = [start(recipe, place) for recipe in recipes(ports) if not only or recipe.name in only]
        print(f"{'':<40}" + "".join(f" {server.recipe.name + ' req/s':>14} {'CPU us (user+sys)':>22}" for server in servers) + f" {'CPU/best':>9}")
        for row in rows:
            results: dict[str, list[Result]] = {server.recipe.name: [] for server in servers if able(server.recipe, row)}
            for turn in range(rounds + 1):
                for server in servers:
                    if server.recipe.name not in results:
                        continue
                    if turn == 0:
                        check(server, row, message)
                    span = 1 if turn == 0 else seconds  # the first one warms up
                    if row.http2:
                        result = h2load(server, row, connections, span, other, message)
                    else:
                        result = wrk(server, Case(row.name, row.title, row.path), connections * 8, span, other)
                    if turn:
                        results[server.recipe.name].append(result)
            print(_line(row, servers, {name: median(found) for name, found in results.items()}), flush=True)


# Whose instructions they are

#: Requests of the two runs.
SHORT, LONG = 1000, 5000
#: What code is loaded from, by the beginning of its file's name; what stands in no row is the C library's and the loader's.
OWNERS = {"gatewayd": "ours", "libnghttp2": "nghttp2", "libssl": "TLS", "libcrypto": "TLS", "libc.": "libc"}


def _load(server: Server, row: Row, count: int, message: Path) -> None:
    """`count` requests: 32 at the same time, over HTTP/2 on four connections."""
    port = server.settings.tls_port if row.http2 else server.settings.port
    command = ["h2load", f"-n{count}", *(["-c4", "-m8"] if row.http2 else ["--h1", "-c32"])]
    if row.grpc:
        command += ["-d", str(message), "-H", "content-type: application/grpc", "-H", "te: trailers"]
    printed = subprocess.run([*command, f"http://127.0.0.1:{port}{row.path}"], capture_output=True, text=True, check=True).stdout
    if f"{count} succeeded, 0 failed, 0 errored" not in printed or f"{count} 2xx" not in printed:
        raise RuntimeError(f"{server.recipe.name}, {row.name}: requests failed\n{printed}")


def profile(names: list[str], directory: Path, functions: int) -> None:
    """User-mode instructions per request of the gateway, by whose they are; with the dearest functions."""
    rows = [row for row in ROWS if (row.name in names if names else not row.name.endswith("64k"))]
    kinds = list(dict.fromkeys(row.backend for row in rows))
    message = directory / "message"
    message.write_bytes(b"\0\0\0\0\x64" + b"question".ljust(100, b"."))
    columns = list(dict.fromkeys(OWNERS.values())) + ["others"]
    print(f"User-mode instructions per request (slope between {SHORT} and {LONG} requests)")
    print(f"{'':<40}{'all':>10}" + "".join(f"{column:>10}" for column in columns))
    with ExitStack() as stack:
        ports = {kind: free_port() for kind in kinds}
        stack.enter_context(Server(Recipe("backend", lambda settings: _answering(settings, ports)), Settings(directory / "backend", free_port(), 0)))
        if "grpc" in kinds:
            calls = stack.enter_context(Server(Recipe("calls", _calling, has_master=False), Settings(directory / "calls", free_port(), 0)))
            ports["grpc"] = calls.port
        for row in rows:
            found = []
            for count in (SHORT, LONG):
                file = directory / f"callgrind-{row.name}-{count}"
                settings = Settings(directory / f"gateway-{row.name}-{count}", free_port(), 0, single=True)
                with Server(Recipe("gateway", _gateway(ports)), settings, wrapper=["valgrind", "--tool=callgrind", f"--callgrind-out-file={file}", "-q"]) as server:
                    _load(server, row, count, message)
                found.append(Profile.read(file))
            short, long = found
            shares = dict.fromkeys(columns, 0.0)
            for name, count in long.objects.items():
                owner = next((owner for start, owner in OWNERS.items() if name.startswith(start)), "others")
                shares[owner] += (count - short.objects.get(name, 0)) / (LONG - SHORT)
            total = (long.total - short.total) / (LONG - SHORT)
            print(f"{row.title:<40}{total:>10,.0f}" + "".join(f"{shares[column]:>10,.0f}" for column in columns), flush=True)
            if functions:
                each = {name: (count - short.own.get(name, 0)) / (LONG - SHORT) for name, count in long.own.items()}
                for name in sorted(each, key=lambda name: -each[name])[:functions]:
                    print(f"    {each[name]:>8,.0f}  {name}", flush=True)


def _line(row: Row, servers: list[Server], results: dict[str, Result]) -> str:
    text = f"{row.title:<40}"
    for server in servers:
        result = results.get(server.recipe.name)
        text += f" {result.requests_per_second:>14,.0f} {f'{result.cpu:.2f} ({result.user:.2f}+{result.system:.2f})':>22}" if result else f" {'-':>14} {'-':>22}"
    others = [result.cpu for name, result in results.items() if name != "gateway"]
    return text + (f" {results['gateway'].cpu / min(others):>9.2f}" if others and "gateway" in results else "")
