"""gatewayctl status."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from support.configuration import respond
from support.gateway import Gateway, ctl
from support.wait import until


def test_running(launch) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    gateway.get("/")
    status = gateway.ctl("status")
    assert status.returncode == 0
    for text in (str(gateway.pid), str(gateway.port), *map(str, gateway.workers)):
        assert text in status.stdout


def test_for_machines(launch) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    gateway.get("/")
    status = gateway.ctl("status", "--json")
    assert status.returncode == 0
    text = json.dumps(json.loads(status.stdout))
    for number in (gateway.pid, *gateway.workers):
        assert str(number) in text


def test_not_running(tmp_path: Path) -> None:
    status = ctl("status", "-P", str(tmp_path / "gatewayd.pid"))
    assert status.returncode == 1
    assert "not running" in status.stdout + status.stderr


def test_shows_restarts_and_their_reason(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    worker = gateway.worker
    os.kill(worker, signal.SIGKILL)
    until(lambda: gateway.workers and gateway.workers != [worker])
    time.sleep(0.1)
    shown = gateway.ctl("status").stdout
    assert "SIGKILL" in shown or "signal 9" in shown


def test_shows_the_last_reload(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    before = gateway.ctl("status").stdout
    gateway.reload()
    after = gateway.ctl("status").stdout
    assert "reload" in after.lower() and after != before


def test_a_worker_that_hangs_is_seen(launch) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    worker = until(lambda: gateway.workers[1] if len(gateway.workers) == 2 else None)
    os.kill(worker, signal.SIGSTOP)
    try:
        line = until(lambda: next((line for line in gateway.ctl("status").stdout.splitlines() if "silent for" in line), None), 10, "the silence", 0.2)
        assert str(worker) in line
        shown = json.loads(gateway.ctl("status", "--json").stdout)["generations"][0]["workers"]
        ages = {entry["pid"]: entry["heartbeat_age_ms"] for entry in shown}
        assert ages.pop(worker) >= 5000 and max(ages.values()) < 5000
    finally:
        os.kill(worker, signal.SIGCONT)
    until(lambda: "silent for" not in gateway.ctl("status").stdout, 5, "it to turn again", 0.2)
