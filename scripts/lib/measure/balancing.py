"""Four backends, one of them ten times slower, behind each server with each of its policies: latency, and the share that the slow one got.

Each backend serves eight requests at a time, 2 ms each, the slow one 20 ms: what comes beyond that waits, as with a real one. The load is closed: 32
connections that ask again when they are answered.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from .servers import free_port, gateway_binary

DELAYS = (0.02, 0.002, 0.002, 0.002)
AT_A_TIME = 8
CONNECTIONS = 32


def _serve(ports: list[int], counts: list["Synchronized[int]"]) -> None:
    async def main() -> None:
        for port, delay, count in zip(ports, DELAYS, counts):
            await _backend(port, delay, count)
        await asyncio.Event().wait()

    asyncio.run(main())


async def _backend(port: int, delay: float, count: "Synchronized[int]") -> None:
    places = asyncio.Semaphore(AT_A_TIME)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                async with places:
                    await asyncio.sleep(delay)
                count.value += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    await asyncio.start_server(handle, "127.0.0.1", port)


@dataclass
class Contender:
    name: str
    policy: str
    command: list[str]
    port: int


def _gateway(directory: Path, policy: str, ports: list[int]) -> Contender:
    port = free_port()
    path = directory / f"gateway-{policy}.json"
    path.write_text(json.dumps({
        "bind_host": "127.0.0.1", "bind_port": port, "workers": 2, "log": {"level": "error"},
        "upstreams": [{
            "name": "four", "endpoints": [{"host": "127.0.0.1", "port": one} for one in ports], "balance": {"policy": policy},
            "pool": {"max_connections": 256, "max_idle_connections": 256}, "proxy": {"route_prefix": "/"}}]}))
    return Contender("gateway", policy, [str(gateway_binary()), "-c", str(path), "--pid-file", str(directory / f"{policy}.pid")], port)


def _nginx(directory: Path, policy: str, directive: str, ports: list[int]) -> Contender:
    port = free_port()
    home = directory / f"nginx-{policy.replace(' ', '-')}"
    home.mkdir()
    path = home / "nginx.conf"
    servers = "".join(f"server 127.0.0.1:{one};" for one in ports)
    path.write_text(f"""daemon off; worker_processes 2; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; client_body_temp_path {home}/a; proxy_temp_path {home}/b; fastcgi_temp_path {home}/c; uwsgi_temp_path {home}/d; scgi_temp_path {home}/e;
upstream four {{ zone four 256k; {directive} {servers} keepalive 64; }}
server {{ listen 127.0.0.1:{port} reuseport; location / {{ proxy_pass http://four; proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}
""")
    return Contender("nginx", policy, ["nginx", "-p", str(home), "-c", str(path)], port)


def _haproxy(directory: Path, policy: str, ports: list[int]) -> Contender:
    port = free_port()
    path = directory / f"haproxy-{re.sub('[^a-z]', '', policy)}.cfg"
    servers = "\n".join(f"  server s{index} 127.0.0.1:{one}" for index, one in enumerate(ports))
    path.write_text(f"""global
  nbthread 2
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  http-reuse always
listen four
  bind 127.0.0.1:{port}
  balance {policy}
{servers}
""")
    return Contender("haproxy", policy, ["haproxy", "-db", "-f", str(path)], port)


def _wait(port: int, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([0-9.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def measure(directory: Path, *, rounds: int, seconds: int) -> None:
    ports = [free_port() for _ in DELAYS]
    counts: list[Any] = [multiprocessing.Value("q", 0) for _ in DELAYS]
    backends = multiprocessing.Process(target=_serve, args=(ports, counts), daemon=True)
    backends.start()
    for port in ports:
        _wait(port)
    contenders = [
        *(_gateway(directory, policy, ports) for policy in ("power_of_two", "least_requests", "round_robin")),
        _nginx(directory, "round robin", "", ports), _nginx(directory, "least_conn", "least_conn;", ports),
        _nginx(directory, "random two", "random two least_conn;", ports),
        *(_haproxy(directory, policy, ports) for policy in ("roundrobin", "leastconn", "random(2)"))]
    print(f"Four backends, one ten times slower; {CONNECTIONS} connections, two workers; medians of {rounds} alternating runs of {seconds} s.")
    print(f"  {'':<10}{'policy':<16}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'share of the slow one':>24}")
    runs: dict[int, list[tuple[float, float, float, float]]] = {index: [] for index in range(len(contenders))}
    for _ in range(rounds):
        for index, contender in enumerate(contenders):
            process = subprocess.Popen(contender.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                _wait(contender.port)
                for count in counts:
                    count.value = 0
                text = subprocess.run(
                    ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{contender.port}/"],
                    check=True, capture_output=True, text=True).stdout
            finally:
                _stop(process)
            p50, p99 = (_milliseconds(re.search(rf"(?m)^\s+{percent}%\s+(\S+)$", text)[1]) for percent in ("50", "99"))  # type: ignore[index]
            rate = float(re.search(r"Requests/sec:\s+([0-9.]+)", text)[1])  # type: ignore[index]
            total = sum(count.value for count in counts)
            runs[index].append((rate, p50, p99, 100 * counts[0].value / max(1, total)))
    for index, contender in enumerate(contenders):
        rate, p50, p99, share = (sorted(run[column] for run in runs[index])[len(runs[index]) // 2] for column in range(4))
        print(f"  {contender.name:<10}{contender.policy:<16}{rate:>9,.0f}{p50:>9.1f}{p99:>9.1f}{share:>22.1f} %", flush=True)
    backends.terminate()
