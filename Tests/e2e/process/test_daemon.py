"""gatewayctl start -d: returns when the gateway serves, or says why it does not."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import proc
from support.client import get
from support.configuration import configuration, respond
from support.gateway import ctl
from support.ports import free_port
from support.wait import until


class Daemon:
    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.config_file = directory / "gateway.json"
        self.pid_file = directory / "gatewayd.pid"
        self.log_file = directory / "log" / "gateway.log"
        self.write()

    def write(self, **keys: object) -> None:
        log = {"file": str(self.log_file), "max_files": 1}
        self.config_file.write_text(json.dumps(configuration(self.port, **{"log": log, "routes": [respond("/")], **keys})))

    def start(self, *arguments: str):
        return ctl("start", "-d", "-c", str(self.config_file), "-P", str(self.pid_file), *arguments)

    @property
    def pid(self) -> int | None:
        return int(self.pid_file.read_text()) if self.pid_file.exists() else None


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    yield daemon
    pid = daemon.pid
    if pid is not None and proc.alive(pid):
        os.kill(pid, signal.SIGTERM)
        until(lambda: not proc.alive(pid), 10, "the daemon to end")


def test_serves_when_start_returns(daemon: Daemon) -> None:
    started = daemon.start()
    assert started.returncode == 0, started.stderr
    assert get(daemon.port).status == 200
    assert ctl("status", "-P", str(daemon.pid_file)).returncode == 0
    assert ctl("stop", "-P", str(daemon.pid_file)).returncode == 0
    assert not daemon.pid_file.exists()


def test_is_detached(daemon: Daemon) -> None:
    assert daemon.start().returncode == 0
    pid = daemon.pid
    assert pid is not None
    assert os.getsid(pid) != os.getsid(0)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)] == ["/dev/null"] * 3
    assert int(Path(f"/proc/{pid}/status").read_text().split("Umask:")[1].split()[0], 8) == 0o027


def test_log_goes_to_the_file(daemon: Daemon) -> None:
    assert daemon.start().returncode == 0
    assert "gateway" in daemon.log_file.read_text()


def test_port_that_is_taken_is_reported(daemon: Daemon, tmp_path: Path) -> None:
    assert daemon.start().returncode == 0
    other = ctl("start", "-d", "-c", str(daemon.config_file), "-P", str(tmp_path / "other.pid"))
    assert other.returncode == 1
    until(lambda: not (tmp_path / "other.pid").exists(), 2, "the PID file to be removed")


def test_already_running_is_reported(daemon: Daemon) -> None:
    assert daemon.start().returncode == 0
    again = daemon.start()
    assert again.returncode == 1
    assert get(daemon.port).status == 200, "the first one still runs"


def test_needs_a_log_file(daemon: Daemon) -> None:
    daemon.write(log={"level": "info"})
    started = daemon.start()
    assert started.returncode == 1 and "log.file" in started.stderr


def test_needs_absolute_paths(daemon: Daemon) -> None:
    daemon.write(log={"file": "relative.log"})
    started = daemon.start()
    assert started.returncode == 1 and "absolute" in started.stderr


def test_broken_configuration_is_reported(daemon: Daemon) -> None:
    daemon.config_file.write_text('{"bind_port": ')
    started = daemon.start()
    assert started.returncode == 1 and str(daemon.config_file) in started.stderr


def test_relative_configuration_path_survives_the_change_of_directory(daemon: Daemon, tmp_path: Path) -> None:
    started = ctl("start", "-d", "-c", "gateway.json", "-P", str(daemon.pid_file), cwd=tmp_path)
    assert started.returncode == 0, started.stderr
    daemon.write(routes=[respond("/", "changed")])
    assert ctl("reload", "-P", str(daemon.pid_file)).returncode == 0
    assert get(daemon.port).text == "changed"


def test_a_reload_cannot_take_what_a_daemon_needs(daemon: Daemon) -> None:
    assert daemon.start().returncode == 0
    for log in ({"level": "info"}, {"file": "relative.log"}):
        daemon.write(log=log)
        done = ctl("reload", "-P", str(daemon.pid_file))
        assert done.returncode == 1 and "log.file" in done.stderr
    assert get(daemon.port).status == 200
