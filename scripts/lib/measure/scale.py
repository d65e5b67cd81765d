"""The gateway with many upstreams and routes beside one with few: how long start and reload take, what it needs of memory, and what a request costs.

Times are those that an operator sees: from the command to the first answer, and from `gatewayctl reload` to its return, when the new generation
serves and nobody old accepts any more. Each is the best of several, as others may want the processor as well. Memory is what a process has of its own
(shared segments are mapped by all). Instructions are exact.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

from .cases import Case
from .counting import instructions
from .servers import TEN_BACKENDS, Recipe, Server, Settings, children, free_port, gateway_binary, stripped_binary

#: Upstreams of ten endpoints each, and routes.
SIZES = ((1, 10), (100, 1_000), (1_000, 10_000))
ENDPOINTS = 10
BODY = "Hello, world!\n"


def configuration(port: int, backend: int, upstreams: int, routes: int) -> dict[str, object]:
    """Nine routes of ten are forwarded; each has a parameter, and every tenth answers by itself."""
    return {
        "bind_host": "127.0.0.1", "bind_port": port, "workers": 1, "log": {"level": "error"}, "max_body_size": 0,
        "upstreams": [
            {"name": f"upstream-{number}", "endpoints": [{"host": f"127.0.0.{last + 1}", "port": backend} for last in range(ENDPOINTS)]}
            for number in range(upstreams)],
        "routes": [
            {"path": f"/service-{number}/:id", "respond": {"body": BODY}} if number % 10 == 9
            else {"path": f"/service-{number}/:id/*rest", "upstream": f"upstream-{number % upstreams}", "proxy": {"strip_prefix": True}}
            for number in range(routes)],
    }


def measure(directory: Path, *, rounds: int, counts: bool) -> None:
    print(f"Upstreams of {ENDPOINTS} endpoints, one worker; best of {rounds}")
    print(f"  {'upstreams':>9}{'routes':>8}{'check s':>9}{'start s':>9}{'reload s':>10}{'worker MiB':>12}{'master MiB':>12}"
          + (f"{'fixed answer':>14}{'proxied':>10}" if counts else ""))
    with Server(TEN_BACKENDS, Settings(directory / "backends", free_port(), 0)) as backends:
        for upstreams, routes in SIZES:
            row = f"  {upstreams:>9,}{routes:>8,}" + _times(directory, backends.port, upstreams, routes, rounds)
            print(row, end="", flush=True)
            if counts:
                print(_instructions(directory, backends.port, upstreams, routes), end="")
            print(flush=True)


def _times(directory: Path, backend: int, upstreams: int, routes: int, rounds: int) -> str:
    port = free_port()
    file, pid_file = directory / f"scale-{upstreams}.json", directory / f"scale-{upstreams}.pid"
    file.write_text(json.dumps(configuration(port, backend, upstreams, routes)))
    # The last of each kind: one that is found late shows what looking for it costs.
    path = f"/service-{routes - 2}/7/small"
    checks, starts, reloads, memory = [], [], [], (0.0, 0.0)
    for _ in range(rounds):
        start = time.monotonic()
        subprocess.run([gateway_binary(), "-t", "-c", file], check=True, capture_output=True)
        checks.append(time.monotonic() - start)
        start = time.monotonic()
        process = subprocess.Popen([gateway_binary(), "-c", file, "-P", pid_file], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            _answer(process, port, path)
            starts.append(time.monotonic() - start)
            old = children(process.pid)
            start = time.monotonic()
            subprocess.run([gateway_binary().with_name("gatewayctl"), "reload", "-P", pid_file], check=True, capture_output=True, timeout=60)
            reloads.append(time.monotonic() - start)
            deadline = time.monotonic() + 30
            while set(children(process.pid)) & set(old) and time.monotonic() < deadline:
                time.sleep(0.05)
            _answer(process, port, path)
            memory = _own(children(process.pid)[0]), _own(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    return f"{min(checks):>9.2f}{min(starts):>9.2f}{min(reloads):>10.2f}{memory[0]:>12.1f}{memory[1]:>12.1f}"


def _answer(process: "subprocess.Popen[bytes]", port: int, path: str) -> None:
    """Returns when a request has been answered, and that by a backend."""
    deadline = time.monotonic() + 120
    while True:
        if process.poll() is not None:
            raise RuntimeError("the gateway ended at once")
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                answer = b""
                while part := client.recv(65_536):
                    answer += part
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"answered {answer[:200]!r}")
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)


def _own(pid: int) -> float:
    """MiB that nobody else has."""
    usage = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"Private_(?:Clean|Dirty):\s+(\d+)", usage)) / 1024


def _instructions(directory: Path, backend: int, upstreams: int, routes: int) -> str:
    def command(settings: Settings) -> list[str]:
        file = settings.directory / "gateway.json"
        file.write_text(json.dumps(configuration(settings.port, backend, upstreams, routes)))
        return [str(stripped_binary(settings)), "-c", str(file), "--single-process"]

    recipe = Recipe(f"gateway-{upstreams}", command)
    fixed = Case("scale-local", "fixed answer", f"/service-{routes - 1}/7")
    proxied = Case("scale-proxied", "proxied", f"/service-{routes - 2}/7/small")
    found = [instructions(recipe, case, backend, directory).instructions for case in (fixed, proxied)]
    return f"{found[0]:>14,.0f}{found[1]:>10,.0f}"
