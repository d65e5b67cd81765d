"""A reload is all or nothing, and says why it failed."""

from __future__ import annotations

import re
import resource
import signal
import socket
import time

import pytest

from support import proc
from support.configuration import Json, respond
from support.gateway import Gateway
from support.ports import free_port


def refused(gateway: Gateway, workers: list[int]) -> str:
    """Reloads; what was printed."""
    done = gateway.ctl("reload")
    assert done.returncode == 1, done.stdout + done.stderr
    assert gateway.get("/").text == "old"
    assert gateway.workers == workers, "the old workers were replaced"
    return done.stdout + done.stderr


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
    assert "/proc/nowhere/access.log" in refused(gateway, workers)


def test_worker_that_cannot_start(gateway: Gateway) -> None:
    """The new generation has no memory to start with."""
    workers = gateway.workers
    bound = proc.memory(gateway.pid, "VmSize") + (4 << 20)
    resource.prlimit(gateway.pid, resource.RLIMIT_AS, (bound, resource.RLIM_INFINITY))
    gateway.write(routes=[respond("/", "new")])
    begun = time.monotonic()
    assert refused(gateway, workers)
    assert time.monotonic() - begun < 5
    resource.prlimit(gateway.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    gateway.reload()
    assert gateway.get("/").text == "new", "a later reload succeeds"


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
