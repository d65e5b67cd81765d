"""Resident memory: an idle worker, and what an idle keep-alive connection adds."""

from __future__ import annotations

import resource
import time
from pathlib import Path

from .cases import Case
from .load import connect, sequence
from .servers import Recipe, Server, Settings, free_port

COUNT = 5000


def measure(recipe: Recipe, case: Case, backend: int, directory: Path) -> tuple[int, float]:
    """Bytes of an idle worker, and bytes per idle connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Server(recipe, Settings(directory / f"{recipe.name}-memory-{case.name}", free_port(), backend)) as server:
        sequence(server, case, 1000)
        time.sleep(0.2)
        idle = server.resident()
        request, kept = case.request(server.port), []
        for _ in range(COUNT):
            sock = connect(server, case, 10)
            sock.sendall(request)
            if not sock.recv(65_536).startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{recipe.name} did not answer")
            kept.append(sock)
        time.sleep(0.5)
        grown = server.resident() - idle
        for sock in kept:
            sock.close()
    return idle, grown / COUNT
