"""Many streams on one connection to a backend: a slow client costs a bounded amount of memory and holds up nobody else."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import proc
from support.client import Client, request
from support.gateway import Gateway
from support.kinds import speaking
from support.message import pieces
from support.polyglot import Polyglot
from support.stream import digest
from support.tls import Authority
from support.wait import until

MIB = 1 << 20
SLOW = 20


@pytest.fixture(scope="module", params=["h2c", "h2s"])
def setting(request: pytest.FixtureRequest, launch_shared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Polyglot]]:  # type: ignore[no-untyped-def]
    directory: Path = tmp_path_factory.mktemp("flow")
    authority = Authority(directory / "authority")
    site = authority.issue("localhost")
    entry = speaking(request.param, 1, str(authority.root.chain), "/api")
    backend = Polyglot(site.chain, site.key)
    entry["port"] = backend.ports[request.param]
    entry["pool"] = {"max_connections": 1}
    yield launch_shared(access_log=True, max_body_size=0, upstreams=[entry]), backend
    assert backend.errors() == []
    backend.stop()


def download(gateway: Gateway, size: int) -> str:
    sha = hashlib.sha256()
    with Client(gateway.port, timeout=20) as client:
        client.send(request("GET", f"/api/down?size={size}"))
        for piece in pieces(client.reader, client.read_head().fields, []):
            sha.update(piece)
    return sha.hexdigest()


def test_slow_clients(setting: tuple[Gateway, Polyglot]) -> None:
    """Each of them is worth its relay buffer and its window, not more; others get all of their answers meanwhile."""
    gateway, backend = setting
    assert download(gateway, 1000) == digest(1000)
    proc.reset_peak(gateway.worker)
    before = proc.memory(gateway.worker)
    slow = [Client(gateway.port, receive_buffer=4096) for _ in range(SLOW)]
    for number, client in enumerate(slow):
        client.send(request("GET", f"/api/down?size={64 * MIB}", f"X-Request-Id: slow-{number}"))

    def sent() -> int:
        return sum(int(backend.record(f"slow-{number}")["sent"]) for number in range(SLOW))

    last = -1
    deadline = time.monotonic() + 15
    while (now := sent()) != last and time.monotonic() < deadline:
        last = now
        time.sleep(0.3)
    assert last > 0
    for _ in range(3):
        assert download(gateway, 8 * MIB) == digest(8 * MIB)
    # Relay buffer and window of each, and one for those who were quick; the kernel's buffers are not the worker's.
    assert proc.memory(gateway.worker, "VmHWM") - before < (SLOW * 2 + 8) * MIB
    for client in slow:
        client.close()
    until(lambda: all(backend.record(f"slow-{number}")["cut"] == 8 for number in range(SLOW)), what="the resets")
    assert download(gateway, MIB) == digest(MIB)


def test_slow_uploads(setting: tuple[Gateway, Polyglot]) -> None:
    """A stream whose window is closed does not hold up others."""
    gateway, backend = setting
    assert download(gateway, 1000) == digest(1000)
    proc.reset_peak(gateway.worker)
    before = proc.memory(gateway.worker)
    stuck = [Client(gateway.port) for _ in range(8)]

    def write(client: Client) -> None:
        try:
            while True:
                client.send(b"x" * 100_000)
        except OSError:
            pass

    threads = []
    for number, client in enumerate(stuck):
        client.send(request("POST", "/api/slow", f"X-Request-Id: stuck-{number}", f"Content-Length: {1 << 40}"))
        client.sock.settimeout(1)
        threads.append(threading.Thread(target=write, args=(client,), daemon=True))
        threads[-1].start()
    for thread in threads:
        thread.join(20)
    with Client(gateway.port) as client:
        for size in (10, 100_000, 3 * MIB):
            assert client.request("POST", "/api/small", body=b"y" * size).status == 200
    assert proc.memory(gateway.worker, "VmHWM") - before < (8 + 6) * MIB
    for client in stuck:
        client.reset()
    assert download(gateway, MIB) == digest(MIB)
