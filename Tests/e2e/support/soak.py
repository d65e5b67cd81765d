"""A long day in a few minutes: traffic of all kinds at once, and everything that an operator, or bad luck, may do to a gateway meanwhile.

Nothing is repeated by a client. A failure is excused only if a worker was killed at that moment: within a second of it, and no more of them than
there are clients, each of which has one request in flight.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import proc
from .backend import Backend, reply
from .client import Client, request
from .configuration import respond
from .gateway import Gateway, binaries
from .http2 import Http2
from .ports import free_port
from .tls import Authority, SecureClient
from .websocket import CLOSE, TEXT, WebSocket, frame

EXCUSE = 1.0


@dataclass
class Traffic:
    """Clients of one kind; `turn` does one request on a connection that `connect` has made, and says whether it may be used again."""

    kind: str
    connect: Callable[[], Any]
    turn: Callable[[Any], bool]
    answered: int = 0
    failures: list[tuple[float, str]] = field(default_factory=list)

    def run(self, ended: threading.Event) -> None:
        connection: Any = None
        while not ended.is_set():
            try:
                if connection is None:
                    connection = self.connect()
                reusable = self.turn(connection)
                self.answered += 1
                if not reusable:
                    self._close(connection)
                    connection = None
            except Exception as error:
                self.failures.append((time.monotonic(), f"{self.kind}: {error!r}"))
                self._close(connection)
                connection = None
            time.sleep(0.005)
        self._close(connection)

    @staticmethod
    def _close(connection: Any) -> None:
        target = getattr(connection, "client", None) or connection
        try:
            target.close() if target else None
        except Exception:
            pass


def one(path: str, keep: bool) -> Callable[[Client], bool]:
    asked = request("GET", path, *(() if keep else ("Connection: close",)))

    def turn(client: Client) -> bool:
        client.send(asked)
        response = client.read()
        assert response.status == 200, f"status {response.status}"
        return keep and not response.closes

    return turn


def two(path: str) -> Callable[[Http2], bool]:
    def turn(connection: Http2) -> bool:
        stream = connection.request("GET", path)
        answer = connection.answer(stream)
        assert answer.reset is None and answer.status == 200, f"status {answer.fields and answer.status}, reset {answer.reset}"
        del connection.answers[stream]
        # Told that this connection ends, a client goes to another one. (A library that calls everything off at the first GOAWAY would see failures.)
        return not connection.goaways and not connection.closed

    return turn


def socket_turn(connection: WebSocket) -> bool:
    connection.send(frame(TEXT, "hello"))
    opcode, payload = connection.message()
    if opcode == CLOSE:
        # Draining: "going away", as agreed; the message before it was too late to be taken.
        assert payload[:2] in (b"\x03\xe9", b"\x03\xe8"), payload
        return False
    assert payload == b"hello"
    time.sleep(0.05)
    return True


class Soak:
    """What is common to the gateway and others: clients, backends, certificates, and the tally."""

    def __init__(self, directory: Path, duration: float, web_sockets: bool) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.duration = directory, duration
        self.port, self.secure_port = free_port(), free_port()
        authority = Authority(directory / "ca")
        self.certificates = [authority.issue("localhost", "site.test", file=f"site{number}") for number in range(2)]
        self.chain, self.key = directory / "chain.pem", directory / "key.pem"
        self.rotate(0)
        plain, h2 = authority.context(), authority.context()
        h2.set_alpn_protocols(["h2"])
        self.backends = [Backend(reply(body=b"from a backend")) for _ in range(2)]
        self.ended = threading.Event()
        self.kills: list[float] = []
        self.done: Counter[str] = Counter()
        self.problems: list[str] = []
        secure: Callable[[], Any] = lambda: SecureClient(self.secure_port, plain, "localhost", timeout=20)
        self.traffic = [
            Traffic("HTTP/1.1 kept", lambda: Client(self.port, timeout=20), one("/", True)),
            Traffic("HTTP/1.1 new", lambda: Client(self.port, timeout=20), one("/", False)),
            Traffic("HTTP/1.1 proxied", lambda: Client(self.port, timeout=20), one("/api/x", True)),
            Traffic("HTTP/1.1 proxied, new", lambda: Client(self.port, timeout=20), one("/api/x", False)),
            Traffic("HTTP/1.1 over TLS", secure, one("/", True)),
            Traffic("HTTP/1.1 over TLS, new", secure, one("/api/x", False)),
            Traffic("HTTP/2 over TLS", lambda: Http2(self.secure_port, tls=h2, timeout=20), two("/")),
            Traffic("HTTP/2 over TLS, proxied", lambda: Http2(self.secure_port, tls=h2, timeout=20), two("/api/x")),
        ]
        if web_sockets:
            self.traffic.append(Traffic("WebSocket", lambda: WebSocket(self.port, "/ws", timeout=20), socket_turn))

    def rotate(self, number: int) -> None:
        """Puts the other certificate in place, as a tool that renews does it: the key, then the chain, each at once."""
        made = self.certificates[number % len(self.certificates)]
        for target, source in ((self.key, made.key), (self.chain, made.chain)):
            new = target.with_suffix(".new")
            new.write_bytes(source.read_bytes())
            os.replace(new, target)

    def restart_backend(self, number: int) -> None:
        """One of the two refuses connections for a moment, closes those that it has, and comes back."""
        place = number % len(self.backends)
        old = self.backends[place]
        old.stop()
        time.sleep(0.2)
        self.backends[place] = Backend(reply(body=b"from a backend"), port=old.port)
        self.done["backends restarted"] += 1

    def every(self, seconds: float, action: Callable[[int], None]) -> threading.Thread:
        def run() -> None:
            for number in itertools.count(1):
                if self.ended.wait(seconds):
                    return
                try:
                    action(number)
                except Exception as error:
                    self.problems.append(f"{action.__name__}: {error!r}")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def run(self, actions: list[tuple[float, Callable[[int], None]]]) -> None:
        threads = [threading.Thread(target=entry.run, args=(self.ended,), daemon=True) for entry in self.traffic]
        for thread in threads:
            thread.start()
        threads += [self.every(seconds, action) for seconds, action in actions]
        time.sleep(self.duration)
        self.ended.set()
        for thread in threads:
            thread.join(40)
        for backend in self.backends:
            backend.stop()

    @property
    def failures(self) -> list[str]:
        """Those that no killed worker excuses."""
        excused: Counter[float] = Counter()
        rest = []
        for moment, text in sorted(itertools.chain(*(entry.failures for entry in self.traffic))):
            kill = next((kill for kill in self.kills if 0 <= moment - kill < EXCUSE), None)
            if kill is not None and excused[kill] < len(self.traffic):
                excused[kill] += 1
            else:
                rest.append(text)
        self.excused = sum(excused.values())
        return rest

    def table(self, name: str) -> str:
        failures = self.failures
        lines = [f"{name}: {self.duration:.0f} s; " + ", ".join(f"{count} {what}" for what, count in sorted(self.done.items()))]
        for entry in self.traffic:
            lines.append(f"  {entry.kind:28} {entry.answered:8} answered  {len(entry.failures):5} failed")
        lines.append(f"  {'not excused by a killed worker':28} {len(failures):8}   ({self.excused} excused)")
        return "\n".join(lines + [f"    {text}" for text, _ in Counter(failures).most_common(12)] + [f"  problem: {text}" for text in self.problems[:12]])


class GatewaySoak(Soak):
    def __init__(self, directory: Path, duration: float) -> None:
        super().__init__(directory, duration, web_sockets=True)
        self.samples: list[tuple[float, int, int, int]] = []
        self.binaries = [self._stamped("1.0.1"), self._stamped("1.0.2")]
        self.gateway = Gateway(
            directory / "gateway", bind_port=self.port, access_log=True, workers=2, max_draining_generations=4, shutdown_drain_timeout_sec=5,
            log={"file": str(directory / "error.log"), "max_files": 1},
            rate_limit={"enabled": True, "zones": [{"name": "all", "rate": 100_000, "capacity": 100_000, "key_type": "client_ip"}]},
            upstreams=[{
                "name": "app", "host": "127.0.0.1", "endpoints": [{"host": "127.0.0.1", "port": backend.port} for backend in self.backends],
                "proxy": {"route_prefix": "/api", "retry": {"max_retries": 3}},
            }],
            routes=[respond("/"), {"path": "/ws", "echo": {}}])
        self.gateway.write(bind_host=None, bind_port=None, listeners=[
            {"host": "127.0.0.1", "port": self.port},
            {"host": "127.0.0.1", "port": self.secure_port, "tls": {"certificates": [{"cert_file": str(self.chain), "key_file": str(self.key)}]}},
        ])

    def _stamped(self, version: str) -> Path:
        path = self.directory / f"gatewayd-{version}"
        path.write_bytes((binaries() / "gatewayd").read_bytes().replace(b"gateway version 1.0.0", b"gateway version " + version.encode()))
        path.chmod(0o755)
        return path

    def _ctl(self, *words: str) -> None:
        done = self.gateway.ctl(*words, timeout=60)
        if done.returncode != 0 and "before it was ready: killed by SIGKILL" in done.stderr:
            # One of the workers that were killed had not begun to serve: the new generation is given up, and the old one goes on.
            self.done[f"{words[0]} given up with a killed worker"] += 1
            return
        if done.returncode != 0:
            self.problems.append(f"{words[0]}: {done.stderr.strip()[-300:]}")
        self.done[words[0]] += 1

    def reload(self, number: int) -> None:
        self.gateway.write(workers=[2, 3, 1, 4][number % 4])
        self._ctl("reload")

    def kill(self, number: int) -> None:
        workers = self.gateway.workers
        if workers:
            os.kill(random.choice(workers), signal.SIGKILL)
            self.kills.append(time.monotonic())
            self.done["workers killed"] += 1

    def certificates_rotated(self, number: int) -> None:
        self.rotate(number)
        self.done["certificates rotated"] += 1

    def upgrade(self, number: int) -> None:
        self._ctl("upgrade", "--binary", str(self.binaries[number % 2]))

    def logs_rotated(self, number: int) -> None:
        self.gateway.access_file.rename(self.gateway.access_file.with_suffix(f".{number}"))
        self._ctl("reopen")

    def sample(self, number: int) -> None:
        status = self.gateway.ctl("status", "--json", timeout=60)
        generations = len(json.loads(status.stdout)["generations"]) if status.returncode == 0 else 0
        self.samples.append((time.monotonic(), proc.memory(self.gateway.pid), proc.descriptors(self.gateway.pid), generations))

    def go(self) -> None:
        self.gateway.start()
        try:
            self.run([(1, self.reload), (3.1, self.kill), (4.3, self.certificates_rotated), (7.7, self.upgrade), (5.9, self.logs_rotated),
                      (2.3, self.restart_backend), (0.5, self.sample)])
            self.gateway.write(workers=2)
            self._ctl("reload")
            self.settle()
        finally:
            self.gateway.stop()

    def settle(self) -> None:
        """What is left when all is over: the old generations end, and with them what they had."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            self.sample(0)
            if self.samples[-1][3] == 1:
                break
            time.sleep(0.2)
        else:
            self.problems.append("old generations are still there after 20 s")

    def growth(self) -> list[str]:
        """What has grown from the first third to the last: medians, so that a moment's peak is none."""
        count = len(self.samples) // 3
        problems = []
        if count < 3:
            return problems
        middle = lambda rows, column: sorted(row[column] for row in rows)[len(rows) // 2]
        first, last = self.samples[:count], self.samples[-count:]
        for column, name, slack in ((1, "the master's memory", 8 << 20), (2, "the master's descriptors", 24)):
            before, after = middle(first, column), middle(last, column)
            self.done[f"{name}: {before} to {after};"] = 1
            if after > before * 1.25 + slack:
                problems.append(f"{name} has grown from {before} to {after}")
        most = max(row[3] for row in self.samples)
        # The one that serves, the one that starts, those that drain, and hurried ones, each of which has a second.
        if most > 2 + 4 + 3:
            problems.append(f"there were {most} generations at one time")
        return problems


class NginxSoak(Soak):
    def __init__(self, directory: Path, duration: float) -> None:
        super().__init__(directory, duration, web_sockets=False)
        self.process: subprocess.Popen[bytes] | None = None
        self.write(2)

    def write(self, workers: int) -> None:
        servers = "".join(f"server 127.0.0.1:{backend.port} max_fails=0;" for backend in self.backends)
        (self.directory / "nginx.conf").write_text(f"""
{"user root;" if os.geteuid() == 0 else ""}
pid {self.directory}/nginx.pid; error_log {self.directory}/error.log; worker_processes {workers}; daemon off; worker_shutdown_timeout 5s;
events {{ worker_connections 1024; }}
http {{
  client_body_temp_path {self.directory}/body; proxy_temp_path {self.directory}/proxy; fastcgi_temp_path {self.directory}/fastcgi;
  uwsgi_temp_path {self.directory}/uwsgi; scgi_temp_path {self.directory}/scgi;
  access_log {self.directory}/access.log; keepalive_requests 100000;
  upstream app {{ {servers} keepalive 16; }}
  server {{
    listen 127.0.0.1:{self.port} reuseport;
    listen 127.0.0.1:{self.secure_port} ssl http2 reuseport;
    ssl_certificate {self.chain}; ssl_certificate_key {self.key};
    location / {{ return 200 ok; }}
    location /api {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_next_upstream error timeout non_idempotent; }}
  }}
}}
""")

    @property
    def workers(self) -> list[int]:
        assert self.process is not None
        return proc.children(self.process.pid)

    def _signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def reload(self, number: int) -> None:
        self.write([2, 3, 1, 4][number % 4])
        self._signal(signal.SIGHUP)
        self.done["reload"] += 1

    def kill(self, number: int) -> None:
        if workers := self.workers:
            os.kill(random.choice(workers), signal.SIGKILL)
            self.kills.append(time.monotonic())
            self.done["workers killed"] += 1

    def certificates_rotated(self, number: int) -> None:
        self.rotate(number)
        self.done["certificates rotated"] += 1

    def logs_rotated(self, number: int) -> None:
        (self.directory / "access.log").rename(self.directory / f"access.{number}")
        self._signal(signal.SIGUSR1)
        self.done["reopen"] += 1

    def go(self) -> None:
        command = ["nginx", "-e", "stderr", "-p", str(self.directory), "-c", str(self.directory / "nginx.conf")]
        with (self.directory / "output.log").open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and not self.workers:
                time.sleep(0.05)
            time.sleep(0.5)
            self.run([(1, self.reload), (3.1, self.kill), (4.3, self.certificates_rotated), (5.9, self.logs_rotated), (2.3, self.restart_backend)])
        finally:
            workers = self.workers
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            for worker in workers:
                if proc.alive(worker):
                    os.kill(worker, signal.SIGKILL)
