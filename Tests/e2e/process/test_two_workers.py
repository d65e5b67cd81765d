"""Several workers share the work."""

from __future__ import annotations

import json
import os
import time

from support import proc
from support.configuration import respond
from support.gateway import Gateway
from support.load import Load
from support.wait import until


def test_as_many_as_configured(launch) -> None:
    for count in (1, 2, 5):
        gateway: Gateway = launch(workers=count, routes=[respond("/")])
        until(lambda: len(gateway.workers) == count, what=f"{count} workers")


def test_zero_means_one_for_each_processor(launch) -> None:
    gateway: Gateway = launch(workers=0, routes=[respond("/")])
    until(lambda: len(gateway.workers) == len(os.sched_getaffinity(0)), what="a worker for each processor")


def test_all_of_them_serve(launch) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    seen = {json.loads(gateway.get("/health").body)["pid"] for _ in range(64)}
    workers = set(gateway.workers)
    if seen <= workers:  # /health may also name the master
        assert seen == workers


def test_both_use_processor_time(launch) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/", "x" * 1000)])
    with Load(gateway.port, keep_alive=8, fresh=8) as load:
        time.sleep(2)
    assert not load.failures
    times = [proc.cpu_seconds(worker) for worker in gateway.workers]
    assert min(times) > 0.1 * max(times), times
