"""200 reloads while clients never pause: no request fails, no connection is reset."""

from __future__ import annotations

import time

import pytest

from support.backend import Backend
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.load import Load
from support.wait import until


@pytest.mark.timeout(180)
def test_two_hundred(launch) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/", "generation 0")])
    with Load(gateway.port, keep_alive=3, fresh=3) as load:
        begun = time.monotonic()
        for number in range(1, 201):
            gateway.reload(routes=[respond("/", f"generation {number}")])
        taken = time.monotonic() - begun
    assert load.failures == []
    assert load.answered > 200
    assert taken < 100, f"a reload takes {taken / 200:.3f} s"
    until(lambda: len(gateway.workers) == 2, 10, "the old generations to go")


def test_with_changing_numbers_of_workers(launch) -> None:
    gateway: Gateway = launch(workers=3, routes=[respond("/")])
    with Load(gateway.port, keep_alive=2, fresh=4) as load:
        for count in (1, 4, 2, 1, 3, 1):
            gateway.reload(workers=count)
            time.sleep(0.2)
    assert load.failures == []
    until(lambda: len(gateway.workers) == 1, 10, "one worker")
    for _ in range(50):
        assert gateway.get("/").status == 200, "a connection was left in the queue of a slot without a worker"


def test_with_a_backend(launch, backend: Backend) -> None:
    gateway: Gateway = launch(workers=2, upstreams=[upstream(backend.port)])
    with Load(gateway.port, path="/api", keep_alive=3, fresh=3) as load:
        for _ in range(20):
            gateway.reload()
    assert load.failures == []
