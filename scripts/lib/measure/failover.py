"""Backends that go and come back, and keys that stay: what clients see of it, behind each server.

A backend is killed under load and started again: failed requests (each is one that a client would have to send again), and the time until the backend gets
requests again. Then many keys are hashed to four backends, and to three of them: how unevenly they lie, and how many have moved that need not have.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from .balancing import Contender, _stop, _wait
from .servers import free_port, gateway_binary

CONNECTIONS = 16
KEYS = 4_000


def _serve(port: int, name: str, count: "Synchronized[int]") -> None:
    """One backend, which says who it is and takes 2 ms."""
    response = f"HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\n\r\n{name}".encode()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"GET /check"):
                    await asyncio.sleep(0.002)
                    with count.get_lock():
                        count.value += 1
                writer.write(response)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        async with await asyncio.start_server(handle, "127.0.0.1", port, reuse_address=True) as server:
            await server.serve_forever()

    asyncio.run(main())


@dataclass
class Backends:
    ports: list[int]
    counts: list[Any]
    processes: list[multiprocessing.Process]

    @classmethod
    def start(cls, number: int = 4) -> "Backends":
        ports = [free_port() for _ in range(number)]
        backends = cls(ports, [multiprocessing.Value("q", 0) for _ in ports], [])
        for index in range(number):
            backends.processes.append(backends._begin(index))
        return backends

    def _begin(self, index: int) -> multiprocessing.Process:
        process = multiprocessing.Process(target=_serve, args=(self.ports[index], str(index), self.counts[index]), daemon=True)
        process.start()
        _wait(self.ports[index])
        return process

    def kill(self, index: int) -> None:
        self.processes[index].kill()
        self.processes[index].join()

    def revive(self, index: int) -> None:
        self.counts[index].value = 0
        self.processes[index] = self._begin(index)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


def _gateway(directory: Path, name: str, ports: list[int], balance: dict[str, Any]) -> Contender:
    port, path = free_port(), directory / f"gateway-{name}.json"
    path.write_text(json.dumps({
        "bind_host": "127.0.0.1", "bind_port": port, "workers": 2, "log": {"level": "critical"},
        "upstreams": [{
            "name": "all", "endpoints": [{"host": "127.0.0.1", "port": one} for one in ports], "balance": balance,
            "health": {"check": {"type": "http", "path": "/check", "interval_ms": 500, "timeout_ms": 400, "healthy_threshold": 2},
                       "outlier_detection": {"enabled": True, "consecutive_failures": 3, "base_ejection_ms": 1000}},
            "pool": {"max_connections": 256, "max_idle_connections": 256}, "proxy": {"route_prefix": "/", "retry": {"max_retries": 2}}}]}))
    return Contender("gateway", name, [str(gateway_binary()), "-c", str(path), "--pid-file", str(directory / f"{name}.pid")], port)


def _nginx(directory: Path, name: str, ports: list[int], directive: str) -> Contender:
    port, home = free_port(), directory / f"nginx-{name}"
    home.mkdir()
    servers = "".join(f"server 127.0.0.1:{one} max_fails=3 fail_timeout=1s;" for one in ports)
    (home / "nginx.conf").write_text(f"""daemon off; worker_processes 2; pid {home}/pid; error_log {home}/error.log crit;
events {{ worker_connections 1024; }}
http {{ access_log off; client_body_temp_path {home}/a; proxy_temp_path {home}/b; fastcgi_temp_path {home}/c; uwsgi_temp_path {home}/d; scgi_temp_path {home}/e;
upstream all {{ zone all 256k; {directive} {servers} keepalive 64; }}
server {{ listen 127.0.0.1:{port} reuseport; location / {{ proxy_pass http://all; proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}
""")
    return Contender("nginx", name, ["nginx", "-e", str(home / "error.log"), "-p", str(home), "-c", str(home / "nginx.conf")], port)


def _haproxy(directory: Path, name: str, ports: list[int], balance: str) -> Contender:
    port, path = free_port(), directory / f"haproxy-{name}.cfg"
    servers = "\n".join(f"  server s{index} 127.0.0.1:{one} check inter 500ms fall 2 rise 2" for index, one in enumerate(ports))
    path.write_text(f"""global
  nbthread 2
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout check 2s
  http-reuse always
  option redispatch 1
  option httpchk GET /check
  retries 2
  retry-on conn-failure empty-response
listen all
  bind 127.0.0.1:{port}
  balance {balance}
{servers}
""")
    return Contender("haproxy", name, ["haproxy", "-db", "-f", str(path)], port)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> tuple[int, bytes]:
    writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    return int(head.split(" ", 2)[1]), await reader.readexactly(int(fields["content-length"]))


async def _load(port: int, over: asyncio.Event, outcomes: Counter[str]) -> None:
    """One connection's worth of load, opened again when it breaks."""
    while not over.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while not over.is_set():
                    status, _ = await asyncio.wait_for(_ask(reader, writer, "/"), 10)
                    outcomes["fine" if status == 200 else "failed"] += 1
            finally:
                writer.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, ValueError, KeyError):
            outcomes["failed"] += 1


async def _interrupt(port: int, backends: Backends) -> tuple[Counter[str], float | None]:
    """Load, a backend killed after a second and back after three: outcomes, and seconds until it has been asked again."""
    over, outcomes = asyncio.Event(), Counter()
    load = [asyncio.create_task(_load(port, over, outcomes)) for _ in range(CONNECTIONS)]
    await asyncio.sleep(1)
    await asyncio.to_thread(backends.kill, 0)
    await asyncio.sleep(2)
    await asyncio.to_thread(backends.revive, 0)
    begun, used = time.monotonic(), None
    while used is None and time.monotonic() - begun < 20:
        await asyncio.sleep(0.01)
        if backends.counts[0].value > 0:
            used = time.monotonic() - begun
    await asyncio.sleep(0.5)
    over.set()
    await asyncio.gather(*load)
    return outcomes, used


async def _places(port: int) -> list[bytes]:
    """Where each key goes."""
    found: list[bytes] = []
    while len(found) < KEYS:
        # Some close a connection after a thousand requests.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for key in range(len(found), min(KEYS, len(found) + 500)):
            status, body = await asyncio.wait_for(_ask(reader, writer, f"/key/{key}"), 10)
            found.append(body if status == 200 else b"?")
        writer.close()
    return found


def _with(contender: Contender, work: Any) -> Any:
    process = subprocess.Popen(contender.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(contender.port)
        # Checks have had their say.
        time.sleep(1.5)
        return asyncio.run(work(contender.port))
    finally:
        _stop(process)


def measure(directory: Path, *, rounds: int) -> None:
    backends = Backends.start()
    try:
        print(f"\nA backend of four is killed under the load of {CONNECTIONS} connections and back two seconds later; {rounds} runs.")
        print(f"  {'':<10}{'requests':>10}{'failed':>9}{'in use again after, s':>24}")
        contenders = [_gateway(directory, "failover", backends.ports, {"policy": "power_of_two"}), _nginx(directory, "failover", backends.ports, "least_conn;"),
                      _haproxy(directory, "failover", backends.ports, "leastconn")]
        for contender in contenders:
            total: Counter[str] = Counter()
            times = []
            for _ in range(rounds):
                outcomes, used = _with(contender, lambda port: _interrupt(port, backends))
                total += outcomes
                times.append(used)
            times_text = "never" if None in times else " ".join(f"{used:.2f}" for used in times)  # type: ignore[str-format]
            print(f"  {contender.name:<10}{sum(total.values()):>10,}{total['failed']:>9,}{times_text:>24}", flush=True)

        print(f"\n{KEYS:,} keys hashed to four backends, and to three of them. (Of four, the keys of the one that has gone have to move.)")
        print(f"  {'':<10}{'largest share':>15}{'smallest':>10}{'moved':>9}{'of them needlessly':>20}")
        for name, make in (("gateway", lambda name, ports: _gateway(directory, name, ports, {"policy": "hash", "hash": {"key": "path"}})),
                           ("nginx", lambda name, ports: _nginx(directory, name, ports, "hash $uri consistent;")),
                           ("haproxy", lambda name, ports: _haproxy(directory, name, ports, "uri\n  hash-type consistent"))):
            before, after = (_with(make(f"hash-{len(ports)}", ports), _places) for ports in (backends.ports, backends.ports[:-1]))
            shares = [100 * count / KEYS for count in Counter(before).values()]
            moved = [one for one, other in zip(before, after) if one != other]
            print(f"  {name:<10}{max(shares):>13.1f} %{min(shares):>8.1f} %{len(moved):>9,}{sum(one != b'3' for one in moved):>20,}", flush=True)
    finally:
        backends.stop()
