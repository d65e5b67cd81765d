"""Load from outside: wrk for speed, a plain client for exact numbers of requests."""

from __future__ import annotations

import os
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
    #: How much of the time the workers were busy, and the cores of the load generator; 0 where nobody has looked.
    server_busy: float = 0.0
    load_busy: float = 0.0

    @property
    def cpu(self) -> float:
        return self.user + self.system

    @property
    def is_load_bound(self) -> bool:
        """The load generator has no more to give while the server has: requests/s are then the generator's figure, not the server's."""
        return self.load_busy > 0.95 and self.server_busy < 0.97


def busy(cpus: str) -> tuple[float, float]:
    """Seconds that these processors have worked so far, and that have passed for them."""
    worked = passed = 0
    for cpu in cpus.split(","):
        fields = re.search(rf"(?m)^cpu{cpu} +(.*)$", Path("/proc/stat").read_text())[1].split()  # type: ignore[index]
        ticks = [int(field) for field in fields[:8]]
        passed += sum(ticks)
        worked += sum(ticks) - ticks[3] - ticks[4]  # idle, and waiting for a disk
    tick = os.sysconf("SC_CLK_TCK")
    return worked / tick, passed / tick


def wrk(server: Server, case: Case, connections: int, seconds: int, cpus: str) -> Result:
    """One run; fails when a request does."""
    command = ["taskset", "-c", cpus, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    for line in case.headers:
        command += ["-H", line]
    before, start = server.cpu(), busy(cpus)
    printed = subprocess.run([*command, server.address(case.tls) + case.path], capture_output=True, text=True, check=True).stdout
    after, end = server.cpu(), busy(cpus)
    count = int(re.search(r"(\d+) requests in", printed)[1])  # type: ignore[index]
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", printed)[1])  # type: ignore[index]
    if "Non-2xx" in printed or "Socket errors" in printed or count == 0:
        raise RuntimeError(f"{server.recipe.name}, {case.name}, {connections} connections: requests failed\n{printed}")
    passed = max(end[1] - start[1], 0.01)
    return Result(rate, (after[0] - before[0]) / count * 1e6, (after[1] - before[1]) / count * 1e6,
                  server_busy=(sum(after) - sum(before)) / passed, load_busy=(end[0] - start[0]) / passed)


def h2load(server: Server, case: Case, connections: int, streams: int, seconds: int, cpus: str) -> Result:
    """One run over HTTP/2; fails when a request does."""
    command = ["taskset", "-c", cpus, "h2load", f"-c{connections}", f"-m{streams}", f"-D{seconds}"]
    for line in case.headers:
        command += ["-H", line]
    before = server.cpu()
    printed = subprocess.run([*command, server.address(case.tls, case.h2) + case.path], capture_output=True, text=True, check=True).stdout
    after = server.cpu()
    count, failed = (int(re.search(rf"(\d+) {word}", printed)[1]) for word in ("2xx", "failed"))  # type: ignore[index]
    if failed or count == 0 or "Application protocol: h2" not in printed:
        raise RuntimeError(f"{server.recipe.name}, {case.name}: requests failed\n{printed}")
    return Result(count / seconds, (after[0] - before[0]) / count * 1e6, (after[1] - before[1]) / count * 1e6)


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
    command = ["h2load", *(["-c1", "-m100"] if case.h2 else ["--h1", "-c32"]), "-n", str(count)]
    for line in case.headers:
        command += ["-H", line]
    printed = subprocess.run([*command, server.address(case.tls, case.h2) + case.path], capture_output=True, text=True, check=True).stdout
    if f"{count} succeeded" not in printed or f"status codes: {count} 2xx" not in printed:
        raise RuntimeError(f"{case.name}: requests failed\n{printed}")


def connect(server: Server, case: Case, timeout: float = 60) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.settings.tls_port if case.tls else server.settings.h2_port if case.h2 else server.port), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not case.tls:
        return sock
    context = ssl.create_default_context(cafile=str(certificate()[0]))
    if case.h2:
        context.set_alpn_protocols(["h2"])
    return context.wrap_socket(sock, server_hostname="localhost")


def h2_request(case: Case) -> bytes:
    """All that a client has to say for one request: literals that use no table."""
    def text(value: str) -> bytes:
        return bytes([len(value)]) + value.encode()

    fields = {":method": "GET", ":scheme": "https" if case.tls else "http", ":path": case.path, ":authority": "localhost", "user-agent": "bench", "accept": "*/*"}
    block = b"".join(b"\0" + text(name) + text(value) for name, value in fields.items())
    # Preface, SETTINGS, its acknowledgement, HEADERS that end stream 1.
    return (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\4" + bytes(5) + bytes(3) + b"\4\1" + bytes(4)
            + len(block).to_bytes(3, "big") + b"\1\5" + (1).to_bytes(4, "big") + block)


def h2_ended(data: bytes) -> bool:
    """Whether stream 1 has come to its end in these frames."""
    position = 0
    while position + 9 <= len(data):
        length, kind, flags, stream = int.from_bytes(data[position:position + 3], "big"), data[position + 3], data[position + 4], data[position + 8]
        if kind <= 1 and stream == 1 and flags & 1 and position + 9 + length <= len(data):
            return True
        position += 9 + length
    return False


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
