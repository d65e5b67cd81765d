"""A gateway with nothing to do does nothing."""

from __future__ import annotations

import time

from support import proc
from support.configuration import respond
from support.gateway import Gateway


def test_no_processor_time(launch) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    gateway.get("/")
    time.sleep(0.3)
    processes = [gateway.pid, *gateway.workers]
    before = sum(map(proc.cpu_seconds, processes))
    time.sleep(2)
    assert sum(map(proc.cpu_seconds, processes)) - before <= 0.03


def test_memory_of_an_idle_worker(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    gateway.get("/")
    assert proc.memory(gateway.worker) < 16 << 20


def test_no_descriptor_is_lost(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    gateway.get("/")
    before = proc.descriptors(gateway.worker)
    for _ in range(200):
        gateway.get("/")
        gateway.connect().reset()
    time.sleep(0.2)
    assert proc.descriptors(gateway.worker) <= before
