"""Resident memory: an idle worker, and what an idle keep-alive connection adds."""

from __future__ import annotations

import resource
import socket
import time
from pathlib import Path

from .cases import Case
from .load import connect, h2_ended, h2_request, sequence
from .servers import Recipe, Server, Settings, free_port

COUNT = 5000


def measure(recipe: Recipe, case: Case, backend: int, directory: Path) -> tuple[int, float]:
    """Bytes of an idle worker, and bytes per idle connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Server(recipe, Settings(directory / f"{recipe.name}-memory-{case.name}", free_port(), backend)) as server:
        if case.h2:
            warm = [_h2(server, case) for _ in range(50)]
        else:
            sequence(server, case, 1000)
        # The gateway puts HTTP/2 sessions aside after a second.
        time.sleep(3 if case.h2 else 0.2)
        idle = server.resident()
        request, kept = case.request(server.port), []
        for _ in range(COUNT):
            if case.h2:
                kept.append(_h2(server, case))
                continue
            sock = connect(server, case, 10)
            sock.sendall(request)
            if not sock.recv(65_536).startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{recipe.name} did not answer")
            kept.append(sock)
        time.sleep(3 if case.h2 else 0.5)
        grown = server.resident() - idle
        for sock in kept + warm if case.h2 else kept:
            sock.close()
    return idle, grown / COUNT


def _h2(server: Server, case: Case) -> socket.socket:
    """A connection that has made one request."""
    sock = connect(server, case, 10)
    sock.sendall(h2_request(case))
    data = b""
    while not h2_ended(data):
        more = sock.recv(65_536)
        if not more:
            raise RuntimeError(f"{server.recipe.name} closed the connection")
        data += more
    return sock
