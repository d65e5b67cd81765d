"""The watchdog is fed while all workers turn; one that does not is killed and replaced before it runs out."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from support import proc
from support.configuration import respond
from support.gateway import Gateway
from support.service import Service, ServiceManager
from support.wait import until


def test_it_is_fed_and_a_stuck_worker_is_replaced(tmp_path: Path) -> None:
    manager = ServiceManager(tmp_path, watchdog_sec=8)
    gateway = Service(tmp_path / "service", manager, workers=2, routes=[respond("/")])
    try:
        gateway.start()
        after, _ = manager.wait("WATCHDOG", "1")
        manager.wait("WATCHDOG", "1", after)
        stuck = gateway.workers[0]
        os.kill(stuck, signal.SIGSTOP)
        stopped = time.monotonic()
        until(lambda: not proc.alive(stuck), 15, "the stuck worker to be killed")
        until(lambda: len(gateway.workers) == 2, 10, "it to be replaced")
        after = len(manager.messages)
        manager.wait("WATCHDOG", "1", after)
        # From one meal to the next less than the watchdog's time has passed, or it would have run out.
        assert time.monotonic() - stopped < 60
        assert "has shown no sign of life for" in gateway.log
        death = gateway.ctl("status", "--json").stdout
        assert "no sign of life" in death
        assert gateway.get("/").status == 200
    finally:
        gateway.stop()
        manager.close()


def test_it_is_not_fed_while_a_worker_is_silent(tmp_path: Path) -> None:
    # So long a patience that the worker is not killed before the test looks: half of the watchdog's time.
    manager = ServiceManager(tmp_path, watchdog_sec=40)
    gateway = Service(tmp_path / "service", manager, workers=2, worker_heartbeat_timeout_sec=3600, routes=[respond("/")])
    try:
        gateway.start()
        manager.wait("WATCHDOG", "1")
        os.kill(gateway.workers[0], signal.SIGSTOP)
        until(lambda: not proc.alive(gateway.pid) or "has shown no sign of life for" in gateway.log, 40, "the worker to be noticed")
        until(lambda: len(gateway.workers) == 2, 10, "it to be replaced")
        assert gateway.get("/").status == 200
    finally:
        gateway.stop()
        manager.close()


def test_without_a_service_manager_too(launch) -> None:
    gateway: Gateway = launch(workers=2, worker_heartbeat_timeout_sec=3, routes=[respond("/")])
    stuck = gateway.workers[1]
    time.sleep(1.2)  # its first heartbeat
    os.kill(stuck, signal.SIGSTOP)
    until(lambda: not proc.alive(stuck), 15, "the stuck worker to be killed")
    until(lambda: len(gateway.workers) == 2, 10, "it to be replaced")
    for _ in range(8):
        assert gateway.get("/").status == 200


def test_one_that_only_waits_is_not_stuck(launch) -> None:
    gateway: Gateway = launch(workers=2, worker_heartbeat_timeout_sec=3, routes=[respond("/")])
    workers = gateway.workers
    time.sleep(5)
    assert gateway.workers == workers
