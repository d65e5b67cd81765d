"""Free ports, taken from below the kernel's ephemeral range so that no outgoing connection of a test sits on one."""

from __future__ import annotations

import os
import random
import socket

_candidates = random.Random(os.getpid())
_given: set[int] = set()


def free_port() -> int:
    """A TCP port of the loopback addresses that nobody listens on and that this run has not used before."""
    for _ in range(1000):
        port = _candidates.randrange(18_000, 32_000)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port found")
