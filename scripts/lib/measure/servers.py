"""The servers under measurement and their common backend, each with a generated configuration in a temporary directory.

All do the same work: a fixed answer at /local, and everything else proxied over kept connections with the same forwarding
headers and a request id. One worker each, equal pools of idle connections, timeouts on. Each listens on a second port with TLS, with the same
certificate (P-256), cipher suites and groups, and offers HTTP/2 there; HTTP/2 in the clear has a port of its own where it cannot
share one with HTTP/1.1.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ANSWER = "Hello, world!\\n"
SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
RULES = {
    "response_headers": {"set": {"Strict-Transport-Security": "max-age=31536000", "Server-Timing": "up;dur={upstream_header_time}"}, "default": {"Cache-Control": "no-store"}},
    "request_headers": {"remove": ["Cookie"], "set": {"X-Real-IP": "{client_ip}", "X-Path": "{path}", "X-Agent": "{header:User-Agent}"}},
}
FILES = {"64k": 64 << 10, "10m": 10 << 20}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@cache
def certificate() -> tuple[Path, Path]:
    """The files of a certificate for localhost, and of its key; they go with the process."""
    directory = Path(_scratch.name)
    chain, key = directory / "chain.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(chain)], check=True, capture_output=True)
    # HAProxy wants both in one file.
    (directory / "both.pem").write_bytes(chain.read_bytes() + key.read_bytes())
    return chain, key


_scratch = tempfile.TemporaryDirectory()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@dataclass
class Settings:
    directory: Path
    port: int
    backend: int
    access_log: bool = False
    #: Zones of rate limits that apply to every request, by the client's address; and whether the upstream has a circuit breaker.
    zones: int = 0
    guarded: bool = False
    #: Which header rules its route has; see RULES.
    rules: str = ""
    #: One process in the foreground, for valgrind.
    single: bool = False
    tls_port: int = field(default_factory=free_port)
    h2_port: int = field(default_factory=free_port)


@dataclass
class Recipe:
    """How to run one of the servers."""

    name: str
    command: Callable[[Settings], list[str]]
    #: Whether the work is done by children of the process that is started.
    has_master: bool = True
    only_proxies: bool = False


# The gateway


def gateway_binary() -> Path:
    return Path(os.environ.get("GATEWAY_BIN_DIR", ROOT / ".build" / "release")) / "gatewayd"


def stripped_binary(settings: Settings) -> Path:
    """The program without its debug information: Debian's valgrind cannot read that of Swift's runtime. The symbols stay."""
    binary = settings.directory / "gatewayd"
    subprocess.run(["objcopy", "--strip-debug", gateway_binary(), binary], check=True)
    return binary


def _gateway(settings: Settings) -> list[str]:
    pool = {"max_connections": 1024, "max_idle_connections": 1024}
    configuration = {
        "listeners": [
            {"host": "127.0.0.1", "port": settings.port},
            {"host": "127.0.0.1", "port": settings.h2_port},
            {"host": "127.0.0.1", "port": settings.tls_port, "tls": {
                "certificates": [{"cert_file": str(certificate()[0]), "key_file": str(certificate()[1])}]}},
        ],
        "workers": 1, "max_connections": 20_000, "max_body_size": 0,
        "log": {"level": "error"},
        "access_log": {"enabled": settings.access_log, "file": str(settings.directory / "access.log"), "format": "combined"},
        "upstreams": [{"name": "backend", "host": "127.0.0.1", "port": settings.backend, "pool": pool, "proxy": {"route_prefix": "/"}}],
        "routes": [{"path": "/local", "respond": {"body": "Hello, world!\n", "headers": {"Content-Type": "text/plain"}}}],
    }
    if settings.zones:
        configuration["rate_limit"] = {"enabled": True, "include_headers": False, "zones": [
            {"name": f"zone{number}", "rate": 1_000_000_000, "capacity": 1_000_000_000, "key_type": "client_ip"} for number in range(settings.zones)]}
    if settings.guarded:
        configuration["upstreams"][0]["circuit_breaker"] = {"enabled": True}
    if settings.rules:
        configuration["upstreams"][0]["proxy"][settings.rules] = RULES[settings.rules]
    file = settings.directory / "gateway.json"
    file.write_text(json.dumps(configuration))
    binary = stripped_binary(settings) if settings.single else gateway_binary()
    command = [str(binary), "-c", str(file)]
    return [*command, "--single-process"] if settings.single else [*command, "-P", str(settings.directory / "gatewayd.pid")]


def _echo(settings: Settings) -> list[str]:
    configuration = {
        "bind_host": "127.0.0.1", "bind_port": settings.port, "workers": 1, "log": {"level": "error"},
        "routes": [{"path": "/ws", "echo": {"compression": False}}],
    }
    file = settings.directory / "echo.json"
    file.write_text(json.dumps(configuration))
    return [str(gateway_binary()), "-c", str(file), "-P", str(settings.directory / "gatewayd.pid")]


# nginx

_NGINX_COMMON = """
{user}
pid {directory}/nginx.pid;
error_log {directory}/error.log error;
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
master_process {master};
events {{ worker_connections 16000; }}
http {{
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  default_type text/plain;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  sendfile on;
  tcp_nodelay on;
"""

_NGINX = _NGINX_COMMON + """
  access_log {access_log};
  {zones}
  upstream backend {{
    server 127.0.0.1:{backend};
    keepalive 512;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    listen 127.0.0.1:{h2_port} http2 backlog=4096;
    listen 127.0.0.1:{tls_port} ssl http2 backlog=4096;
    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_conf_command Ciphersuites {suites};
    ssl_ecdh_curve X25519:P-256:P-384;
    location = /local {{
      add_header X-Request-Id $request_id;
      return 200 "{answer}";
    }}
    location /ws {{
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_read_timeout 300s;
      proxy_send_timeout 300s;
    }}
    location / {{
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header Via "1.1 gateway";
      proxy_set_header X-Request-Id $request_id;
      proxy_buffers 8 64k;
      proxy_busy_buffers_size 128k;
      proxy_max_temp_file_size 0;
    }}
  }}
}}
"""

_NGINX_BACKEND = _NGINX_COMMON + """
  access_log off;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {directory}/files;
    location = /small {{ return 200 "{answer}"; }}
  }}
}}
"""


def _write_nginx(template: str, settings: Settings, name: str) -> list[str]:
    file = settings.directory / f"{name}.conf"
    if settings.zones:
        # What `return` answers, limit_req is never asked about.
        template = template.replace('return 200 "{answer}";', "empty_gif;", 1)
    file.write_text(template.format(
        directory=settings.directory, port=settings.port, tls_port=settings.tls_port, h2_port=settings.h2_port, chain=certificate()[0], key=certificate()[1], suites=SUITES,
        backend=settings.backend, answer=ANSWER,
        zones=" ".join(
            f"limit_req_zone $binary_remote_addr zone=zone{number}:10m rate=1000000r/s; limit_req zone=zone{number} burst=1000000 nodelay;"
            for number in range(settings.zones)),
        user="user root;" if os.geteuid() == 0 else "", master="off" if settings.single else "on",
        access_log=f"{settings.directory}/access.log combined buffer=64k flush=1s" if settings.access_log else "off"))
    return ["nginx", "-e", str(settings.directory / "error.log"), "-p", str(settings.directory), "-c", str(file)]


def _nginx(settings: Settings) -> list[str]:
    return _write_nginx(_NGINX, settings, "nginx")


def _nginx_backend(settings: Settings) -> list[str]:
    files = settings.directory / "files"
    files.mkdir(exist_ok=True)
    for name, size in FILES.items():
        (files / name).write_bytes(b"x" * size)
    return _write_nginx(_NGINX_BACKEND, settings, "backend")


def _nginx_backends(settings: Settings) -> list[str]:
    own = "listen 127.0.0.1:{port} backlog=4096;"
    return _write_nginx(_NGINX_BACKEND.replace(own, "\n    ".join(own.replace(".1:", f".{last}:") for last in range(1, 11))), settings, "backend")


# HAProxy

_HAPROXY = """
global
  nbthread 1
  maxconn 8000
  {log_target}
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-request 30s
  timeout http-keep-alive 300s
  timeout tunnel 300s
  {log}
frontend front
  unique-id-format %[uuid()]
  unique-id-header X-Request-Id
  bind 127.0.0.1:{port} backlog 4096
  bind 127.0.0.1:{h2_port} backlog 4096 proto h2
  bind 127.0.0.1:{tls_port} backlog 4096 ssl crt {both} alpn h2,http/1.1 ssl-min-ver TLSv1.2 ciphersuites {suites} curves X25519:P-256:P-384
  http-request return status 200 content-type text/plain string "{answer}" hdr X-Request-Id %[unique-id] if {{ path /local }}
  default_backend back
backend back
  http-reuse always
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request add-header Via "1.1 gateway"
  http-response add-header Via "1.1 gateway"
  server one 127.0.0.1:{backend} pool-max-conn 1024 maxconn 1024
"""


def _haproxy(settings: Settings) -> list[str]:
    file = settings.directory / "haproxy.cfg"
    file.write_text(_HAPROXY.format(
        port=settings.port, tls_port=settings.tls_port, h2_port=settings.h2_port, both=certificate()[0].with_name("both.pem"), suites=SUITES, backend=settings.backend,
        answer=ANSWER, log_target="log stdout format raw local0" if settings.access_log else "",
        log="log global\n  option httplog" if settings.access_log else ""))
    return ["haproxy", "-db", "-f", str(file)]


# h2o and nghttpx, for HTTP/2

def _h2o(settings: Settings) -> list[str]:
    (settings.directory / "local.txt").write_text(ANSWER.replace("\\n", "\n"))
    tls = {"certificate-file": str(certificate()[0]), "key-file": str(certificate()[1]), "minimum-version": "TLSv1.2"}
    paths = {"/local": {"file.file": str(settings.directory / "local.txt")}, "/": {"proxy.reverse.url": f"http://127.0.0.1:{settings.backend}/"}}
    # One key comes several times.
    configuration = [
        ("num-threads", 1), ("max-connections", 16_000), ("http2-idle-timeout", 300), ("pid-file", str(settings.directory / "h2o.pid")),
        ("error-log", str(settings.directory / "error.log")), ("listen", {"host": "127.0.0.1", "port": settings.port}),
        ("listen", {"host": "127.0.0.1", "port": settings.h2_port}), ("listen", {"host": "127.0.0.1", "port": settings.tls_port, "ssl": tls}),
        ("hosts", {"default": {"paths": paths}}), *([("user", "root")] if os.geteuid() == 0 else []),
    ]
    file = settings.directory / "h2o.yaml"
    file.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in configuration))
    return ["h2o", "-m", "worker", "-c", str(file)]


def _nghttpx(settings: Settings) -> list[str]:
    return ["nghttpx", f"--frontend=127.0.0.1,{settings.port};no-tls", f"--frontend=127.0.0.1,{settings.h2_port};no-tls",
            f"--frontend=127.0.0.1,{settings.tls_port}", f"--backend=127.0.0.1,{settings.backend}", "--workers=1", "--no-ocsp", "--single-process",
            "--accesslog-file=/dev/null", "--errorlog-file=/dev/null", f"--tls13-ciphers={SUITES}", "--ecdh-curves=X25519:P-256:P-384",
            str(certificate()[1]), str(certificate()[0])]


GATEWAY = Recipe("gateway", _gateway)
ECHO = Recipe("echo", _echo)
NGINX = Recipe("nginx", _nginx)
HAPROXY = Recipe("haproxy", _haproxy, has_master=False)
#: h2o's file handler answers /local; it has no fixed answer but in a script.
H2O = Recipe("h2o", _h2o, has_master=False)
#: Has no answers of its own.
NGHTTPX = Recipe("nghttpx", _nghttpx, has_master=False, only_proxies=True)
BACKEND = Recipe("backend", _nginx_backend)
#: At ten addresses, 127.0.0.1 to 127.0.0.10.
TEN_BACKENDS = Recipe("backend", _nginx_backends)


class Server:
    """A running server. Use as a context."""

    def __init__(self, recipe: Recipe, settings: Settings, *, cpus: str | None = None, wrapper: list[str] | None = None) -> None:
        self.recipe, self.settings = recipe, settings
        settings.directory.mkdir(parents=True, exist_ok=True)
        command = [*(wrapper or []), *recipe.command(settings)]
        if cpus is not None:
            command = ["taskset", "-c", cpus, *command]
        self.output = settings.directory / f"{recipe.name}.out"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)

    def __enter__(self) -> "Server":
        self.wait(self.settings.port)
        return self

    def wait(self, port: int) -> None:
        """Returns once it listens on `port`."""
        deadline = time.monotonic() + 180
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.recipe.name} ended at once:\n{self.output.read_text(errors='replace')}")
            try:
                return socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                if time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"{self.recipe.name} does not listen") from None
                time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        return self.settings.port

    def address(self, tls: bool, h2: bool = False) -> str:
        if h2 and not tls:
            return f"http://127.0.0.1:{self.settings.h2_port}"
        return f"https://localhost:{self.settings.tls_port}" if tls else f"http://127.0.0.1:{self.settings.port}"

    def stop(self) -> None:
        for _ in range(10):
            if self.process.poll() is not None:
                return
            # Again and again: nginx forgets a signal that comes just before it goes to sleep.
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                pass
        self.process.kill()
        self.process.wait()

    @property
    def workers(self) -> list[int]:
        """The processes that do the work."""
        pid = self.process.pid
        return children(pid) if self.recipe.has_master and not self.settings.single else [pid]

    def cpu(self) -> tuple[float, float]:
        """User and system seconds of the workers so far."""
        user = system = 0
        for pid in self.workers:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            user, system = user + int(fields[11]), system + int(fields[12])
        ticks = os.sysconf("SC_CLK_TCK")
        return user / ticks, system / ticks

    def resident(self) -> int:
        """Resident bytes of the workers."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.workers) * os.sysconf("SC_PAGE_SIZE")
