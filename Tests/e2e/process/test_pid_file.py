"""The PID file: locked while the master lives, and never followed to where it should not lead."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.configuration import respond
from support.gateway import Gateway, binaries, clean_environment, ctl


def launch_fails(gateway: Gateway, expected: str) -> None:
    done = subprocess.run([binaries() / "gatewayd", "-c", gateway.config_file, "-P", gateway.pid_file], capture_output=True, text=True,
                          timeout=10, env=clean_environment())
    assert done.returncode == 1, done.stdout + done.stderr
    assert expected in done.stdout + done.stderr


def test_holds_the_masters_id_and_a_lock(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    gateway.get("/")
    assert gateway.pid_file.read_text() == f"{gateway.pid}\n"
    with gateway.pid_file.open("r+") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_second_instance_is_refused(launch, tmp_path: Path) -> None:
    first: Gateway = launch(routes=[respond("/")])
    first.get("/")
    second = Gateway(tmp_path / "second", routes=[respond("/")])
    second.pid_file = first.pid_file
    launch_fails(second, str(first.pid))
    assert first.get("/").status == 200


def test_stale_file_is_used_again(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gateway", routes=[respond("/")])
    gateway.pid_file.write_text("999999\n")
    gateway.start()
    try:
        gateway.get("/")
        assert gateway.pid_file.read_text() == f"{gateway.pid}\n"
    finally:
        gateway.stop()


def test_is_left_behind_by_a_killed_master_and_means_nothing(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    gateway.get("/")
    gateway.signal(signal.SIGKILL)
    gateway.wait_exit()
    status = gateway.ctl("status")
    assert status.returncode == 1 and "not running" in status.stdout + status.stderr


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_must_be_a_regular_file(tmp_path: Path, kind: str) -> None:
    gateway = Gateway(tmp_path / "gateway", routes=[respond("/")])
    if kind == "symlink":
        (tmp_path / "target").write_text("precious\n")
        gateway.pid_file.symlink_to(tmp_path / "target")
    elif kind == "fifo":
        os.mkfifo(gateway.pid_file)
    else:
        gateway.pid_file.mkdir()
    launch_fails(gateway, str(gateway.pid_file))
    if kind == "symlink":
        assert (tmp_path / "target").read_text() == "precious\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file that belongs to another")
def test_must_be_our_own(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gateway", routes=[respond("/")])
    gateway.pid_file.write_text("")
    os.chown(gateway.pid_file, 65534, 65534)
    launch_fails(gateway, str(gateway.pid_file))


@pytest.mark.parametrize("content", ["", "abc\n", "-1\n", "0\n", "12 34\n", "99999999999\n", "1" * 40])
def test_garbage_in_it_is_no_process(tmp_path: Path, content: str) -> None:
    path = tmp_path / "gatewayd.pid"
    path.write_text(content)
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert ctl("status", "-P", str(path)).returncode == 1
        assert ctl("stop", "-P", str(path)).returncode == 1
