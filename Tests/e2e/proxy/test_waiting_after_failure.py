"""Those who wait for a connection get their turn when somebody else's could not be made."""

from __future__ import annotations

import socket
import threading
import time

from support.client import Client
from support.configuration import upstream
from support.gateway import Gateway


def test_waiters_are_served_after_a_failed_connect(launch) -> None:
    """One connection is allowed. Its backend takes a while to be refused; all who wait are told, long before the queue's limit."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    gateway: Gateway = launch(upstreams=[upstream(port, pool={"max_connections": 1, "connect_timeout_ms": 4000})])

    def reset_all() -> None:
        listener.settimeout(5)
        first, _ = listener.accept()
        time.sleep(0.5)
        listener.close()  # from here on connects are refused
        first.close()

    resetting = threading.Thread(target=reset_all)
    resetting.start()
    started = time.monotonic()
    statuses: list[int] = []

    def ask() -> None:
        with Client(gateway.port) as client:
            statuses.append(client.request("POST", "/api", "Content-Length: 0").status)

    askers = [threading.Thread(target=ask) for _ in range(6)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(10)
    resetting.join(10)
    assert statuses == [502] * 6
    assert time.monotonic() - started < 3
