"""A reload is all or nothing, and says why it failed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from support.configuration import Json, respond
from support.gateway import Gateway, binaries, clean_environment
from support.ports import free_port
from support.wait import until


def refused(gateway: Gateway, workers: list[int]) -> str:
    """Reloads; what was printed."""
    done = gateway.ctl("reload")
    assert done.returncode == 1, done.stdout + done.stderr
    assert gateway.get("/").text == "old"
    assert gateway.workers == workers, "the old workers were replaced"
    return done.stdout + done.stderr


def command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.fixture
def gateway(launch) -> Gateway:
    gateway: Gateway = launch(workers=2, worker_start_timeout_sec=1, routes=[respond("/", "old")])
    gateway.get("/")
    return gateway


def test_broken_file_is_named_with_its_position(gateway: Gateway) -> None:
    workers = gateway.workers
    gateway.config_file.write_text('{\n  "workers": 2,\n  "routes": [\n    {"path": "/", "respond": {"body": }\n}\n')
    printed = refused(gateway, workers)
    assert re.search(re.escape(str(gateway.config_file)) + r":\d+:\d+: ", printed), printed


@pytest.mark.parametrize("change", [{"max_header_size": -1}, {"unknown_key": 1}, {"routes": [{"path": "/", "upstream": "nobody"}]}, {"tls": {"enabled": True}}])
def test_invalid_configuration(gateway: Gateway, change: Json) -> None:
    workers = gateway.workers
    gateway.write(**change)
    assert next(iter(change)) in refused(gateway, workers) or "nobody" in gateway.ctl("validate", "-c", str(gateway.config_file)).stderr


def test_missing_file(gateway: Gateway) -> None:
    workers = gateway.workers
    gateway.config_file.unlink()
    assert str(gateway.config_file) in refused(gateway, workers)


def test_address_that_is_taken(gateway: Gateway) -> None:
    workers = gateway.workers
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        gateway.write(listeners=[{"host": "127.0.0.1", "port": gateway.port}, {"host": "127.0.0.1", "port": free_port()}, {"host": "127.0.0.1", "port": taken}])
        assert str(taken) in refused(gateway, workers)


def test_log_that_cannot_be_opened(gateway: Gateway) -> None:
    workers = gateway.workers
    gateway.write(access_log={"enabled": True, "file": "/proc/nowhere/access.log"})
    assert "/proc/nowhere" in refused(gateway, workers)


def test_worker_that_cannot_start(gateway: Gateway) -> None:
    """A worker of the new generation is stopped before it can report that it is ready."""
    for _ in range(20):
        workers = until(lambda: gateway.workers if len(gateway.workers) == 2 else None)
        begun = time.monotonic()
        with subprocess.Popen([binaries() / "gatewayctl", "reload", "-P", gateway.pid_file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, env=clean_environment()) as reload:
            stopped: int | None = None
            while reload.poll() is None:
                # Not before it has been executed: until then the master waits for it without a deadline.
                if new := [pid for pid in gateway.workers if pid not in workers and command(pid) != command(gateway.pid)]:
                    stopped = new[-1]
                    os.kill(stopped, signal.SIGSTOP)
                    break
            try:
                printed, _ = reload.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                reload.kill()
                raise
        if reload.returncode == 1:
            break
        if stopped is not None:  # it was ready before it was stopped, and serves
            os.kill(stopped, signal.SIGCONT)
    else:
        pytest.skip("no worker was slow enough to be stopped")
    assert 0.8 < time.monotonic() - begun < 5
    assert "worker" in printed
    assert gateway.get("/").text == "old"
    until(lambda: gateway.workers == workers, what="the new generation to be gone")
    gateway.reload(routes=[respond("/", "new")])
    until(lambda: gateway.get("/").text == "new", what="a later reload to succeed")


def test_failure_is_logged_and_shown(gateway: Gateway) -> None:
    gateway.write(unknown_key=1)
    gateway.ctl("reload")
    assert "unknown_key" in gateway.log
    assert "fail" in gateway.ctl("status").stdout.lower()


def test_by_signal_too(gateway: Gateway) -> None:
    workers = gateway.workers
    gateway.config_file.write_text("{")
    gateway.signal(signal.SIGHUP)
    time.sleep(0.5)
    assert gateway.get("/").text == "old"
    assert gateway.workers == workers
    assert str(gateway.config_file) in gateway.log


def test_reload_of_what_does_not_run(gateway: Gateway) -> None:
    assert gateway.ctl("stop").returncode == 0
    done = gateway.ctl("reload")
    assert done.returncode == 1 and "not running" in done.stdout + done.stderr
