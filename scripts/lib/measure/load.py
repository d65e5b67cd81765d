"""Load from outside: wrk for speed, a plain client for exact numbers of requests."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .cases import Case
from .servers import Server, certificate


@dataclass
class Result:
    requests_per_second: float
    #: Microseconds of the workers per request.
    user: float
    system: float

    @property
    def cpu(self) -> float:
        return self.user + self.system


def wrk(server: Server, case: Case, connections: int, seconds: int, cpus: str) -> Result:
    """One run; fails when a request does."""
    command = ["taskset", "-c", cpus, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    for line in case.headers:
        command += ["-H", line]
    before = server.cpu()
    printed = subprocess.run([*command, server.address(case.tls) + case.path], capture_output=True, text=True, check=True).stdout
    after = server.cpu()
    count = int(re.search(r"(\d+) requests in", printed)[1])  # type: ignore[index]
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", printed)[1])  # type: ignore[index]
    if "Non-2xx" in printed or "Socket errors" in printed or count == 0:
        raise RuntimeError(f"{server.recipe.name}, {case.name}, {connections} connections: requests failed\n{printed}")
    return Result(rate, (after[0] - before[0]) / count * 1e6, (after[1] - before[1]) / count * 1e6)


def handshakes(server: Server, case: Case, count: int, cpus: str) -> Result:
    """`count` connections one after the other, each with one request, resuming a session where the case says so."""
    script = Path(__file__).with_name("handshakes.py")
    before, start = server.cpu(), time.monotonic()
    done = subprocess.run(
        ["taskset", "-c", cpus, sys.executable, str(script), str(server.settings.tls_port), str(certificate()[0]), case.path, case.handshake, str(count)],
        capture_output=True, text=True, check=False)
    taken, after = time.monotonic() - start, server.cpu()
    if done.returncode != 0:
        raise RuntimeError(f"{server.recipe.name}, {case.name}: {done.stderr}")
    return Result(count / taken, (after[0] - before[0]) / count * 1e6, (after[1] - before[1]) / count * 1e6)


def together(server: Server, case: Case, count: int) -> None:
    """`count` requests over 32 connections at once: turns of the event loop are shared, as they are under load."""
    command = ["h2load", "--h1", "-c32", "-n", str(count)]
    for line in case.headers:
        command += ["-H", line]
    printed = subprocess.run([*command, server.address(case.tls) + case.path], capture_output=True, text=True, check=True).stdout
    if f"{count} succeeded" not in printed or f"status codes: {count} 2xx" not in printed:
        raise RuntimeError(f"{case.name}: requests failed\n{printed}")


def connect(server: Server, case: Case, timeout: float = 60) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.settings.tls_port if case.tls else server.port), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not case.tls:
        return sock
    context = ssl.create_default_context(cafile=str(certificate()[0]))
    return context.wrap_socket(sock, server_hostname="localhost")


def sequence(server: Server, case: Case, count: int) -> None:
    """`count` requests one after the other on one connection."""
    request = case.request(server.port)
    with connect(server, case) as sock:
        length: int | None = None
        for _ in range(count):
            sock.sendall(request)
            data = sock.recv(65_536)
            if length is None:
                length = _whole(sock, data)
                continue
            got = len(data)
            while got < length:
                data = sock.recv(65_536)
                if not data:
                    raise RuntimeError("the server closed the connection")
                got += len(data)


def _whole(sock: socket.socket, data: bytes) -> int:
    """Reads the rest of the first response; all have the same length."""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65_536)
        if not more:
            raise RuntimeError(f"the server closed the connection after {data!r}")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"not a 200: {head[:200]!r}")
    length = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)[1])  # type: ignore[index]
    while len(body) < length:
        body += sock.recv(65_536)
    return len(head) + 4 + length
