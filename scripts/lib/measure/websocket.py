"""WebSockets: a thousand connections that each send a message, wait until it has come back, and send it again."""

from __future__ import annotations

import os
import resource
import select
import socket
import statistics
import struct
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .servers import ECHO, Recipe, Server, Settings, free_port
from .speed import pinnings

CONNECTIONS = 1000
SIZES = {"64 B": 64, "4 KiB": 4096, "64 KiB": 65_536}


@dataclass
class Result:
    #: Messages per second, and microseconds of user and system time of the worker per message.
    rate: float
    user: float
    system: float


def _frame(size: int) -> bytes:
    """A masked binary message of zeros."""
    length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + struct.pack(">H", size) if size < 65_536 else bytes([0xFF]) + struct.pack(">Q", size)
    return b"\x82" + length + b"\x00\x00\x00\x00" + bytes(size)


def _open(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(b"GET /ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(4096)
    if not head.startswith(b"HTTP/1.1 101"):
        raise RuntimeError(f"no WebSocket: {head[:80]!r}")
    return sock


def _answer_length(sock: socket.socket, size: int) -> int:
    """Bytes of the frames in which a message comes back: a long one in several."""
    sock.sendall(_frame(size))
    data, position, final = b"", 0, False
    while not final:
        while len(data) < position + 10:
            if len(data) >= position + 2 and data[position + 1] < 126:
                break
            data += sock.recv(262_144)
        short = data[position + 1]
        head, length = (2, short) if short < 126 else (4, struct.unpack_from(">H", data, position + 2)[0]) if short == 126 else \
            (10, struct.unpack_from(">Q", data, position + 2)[0])
        final = data[position] & 0x80 != 0
        position += head + length
        while len(data) < position:
            data += sock.recv(262_144)
    return position


class Clients:
    """All connections to one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.before = server.resident()
        self.sockets = {sock.fileno(): sock for sock in (_open(server.port) for _ in range(CONNECTIONS))}
        self.poll = select.epoll()
        for number in self.sockets:
            self.poll.register(number, select.EPOLLIN)

    def memory(self) -> float:
        """Resident bytes per idle connection."""
        time.sleep(0.5)
        return (self.server.resident() - self.before) / CONNECTIONS

    def run(self, size: int, seconds: float) -> Result:
        frame = _frame(size)
        whole = _answer_length(next(iter(self.sockets.values())), size)
        missing = dict.fromkeys(self.sockets, whole)
        cpu, begun, count = self.server.cpu(), time.monotonic(), 0
        for sock in self.sockets.values():
            sock.sendall(frame)
        end = begun + seconds
        running = len(missing)
        while running:
            for number, _ in self.poll.poll():
                sock = self.sockets[number]
                missing[number] -= len(sock.recv(262_144))
                if missing[number] == 0:
                    count += 1
                    if time.monotonic() < end:
                        missing[number] = whole
                        sock.sendall(frame)
                    else:
                        running -= 1
        span, after = time.monotonic() - begun, self.server.cpu()
        return Result(count / span, *((b - a) * 1e6 / count for a, b in zip(cpu, after)))

    def close(self) -> None:
        for sock in self.sockets.values():
            sock.close()
        self.poll.close()


def measure(recipes: list[Recipe], directory: Path, *, rounds: int, seconds: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # All on one core: a server that is idle half of the time shows what waking up costs on this machine.
    place, other = pinnings()["1"]
    os.sched_setaffinity(0, {int(other)})
    print(f"{CONNECTIONS} WebSockets, each with one message on its way; medians of {rounds} alternating runs of {seconds} s. Server, load generator")
    print(f"and echo endpoint on one core. CPU is user + system time of the worker per message.")
    with ExitStack() as stack:
        backend = stack.enter_context(Server(ECHO, Settings(directory / "backend", free_port(), 0), cpus=other))
        servers = [stack.enter_context(Server(recipe, Settings(directory / recipe.name, free_port(), backend.port), cpus=place)) for recipe in recipes]
        servers.append(stack.enter_context(Server(ECHO, Settings(directory / "endpoint", free_port(), 0), cpus=place)))
        names = [*(recipe.name for recipe in recipes), "own endpoint"]
        clients = [Clients(server) for server in servers]
        for client in clients:
            stack.callback(client.close)
        print(f"{'':<12}" + "".join(f"{name + ' msg/s':>20} {'CPU us (user+sys)':>22}" for name in names) + "".join(f"{'CPU/' + name:>14}" for name in names[1:-1]))
        for title, size in SIZES.items():
            results: list[list[Result]] = [[] for _ in clients]
            for client in clients:
                client.run(size, 0.5)
            for _ in range(rounds):
                for index, client in enumerate(clients):
                    results[index].append(client.run(size, seconds))
            medians = [Result(*(statistics.median(getattr(result, key) for result in runs) for key in ("rate", "user", "system"))) for runs in results]
            cells = "".join(f"{result.rate:>20,.0f} {f'{result.user + result.system:.2f} ({result.user:.2f}+{result.system:.2f})':>22}" for result in medians)
            ours = medians[0].user + medians[0].system
            ratios = "".join(f"{ours / (result.user + result.system):>14.2f}" for result in medians[1:-1])
            print(f"{title:<12}{cells}{ratios}", flush=True)
        print("Memory per idle connection: " + ", ".join(f"{name} {client.memory():,.0f} B" for name, client in zip(names, clients)))
