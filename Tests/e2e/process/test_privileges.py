"""Workers give up root's rights when `user` says so."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import socket
from pathlib import Path

import pytest

from support import proc
from support.client import Client
from support.configuration import respond
from support.gateway import Gateway
from support.message import Reader, read_response
from support.wait import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user")


def test_workers_run_as_configured(launch) -> None:
    gateway: Gateway = launch(user="nobody", group="nogroup", routes=[respond("/")])
    assert gateway.get("/").status == 200
    assert proc.owner(gateway.worker) == (pwd.getpwnam("nobody").pw_uid, grp.getgrnam("nogroup").gr_gid)
    assert proc.owner(gateway.pid) == (0, 0)
    status = Path(f"/proc/{gateway.worker}/status").read_text()
    assert set(status.split("Groups:")[1].splitlines()[0].split()) <= {str(grp.getgrnam("nogroup").gr_gid)}
    assert int(status.split("CapEff:")[1].split()[0], 16) == 0


def test_group_is_the_users_own_when_not_given(launch) -> None:
    gateway: Gateway = launch(user="nobody", routes=[respond("/")])
    assert gateway.get("/").status == 200
    assert proc.owner(gateway.worker)[1] == pwd.getpwnam("nobody").pw_gid


def test_logs_are_written_all_the_same(launch) -> None:
    gateway: Gateway = launch(user="nobody", access_log=True, routes=[respond("/")])
    gateway.get("/")
    assert gateway.access_entries()[0]["url.path"] == "/"


def test_privileged_ports_still_work(launch) -> None:
    gateway: Gateway = launch(user="nobody", routes=[respond("/")], listeners=[{"host": "127.0.0.78", "port": 81}], wait=False)

    def answered() -> bool:
        try:
            with Client(81, host="127.0.0.78") as client:
                return client.request().status == 200
        except ConnectionRefusedError:
            return False

    until(answered)
    assert proc.owner(gateway.worker)[0] != 0


def test_logs_in_a_directory_of_root_alone_survive_reopening_and_reload(launch, tmp_path: Path) -> None:
    directory = tmp_path / "log"
    directory.mkdir(mode=0o700)
    access, error = directory / "access.log", directory / "error.log"
    gateway: Gateway = launch(user="nobody", access_log={"file": str(access)}, log={"file": str(error), "max_files": 1}, routes=[respond("/")])
    for number in range(3):
        gateway.get("/")
        until(lambda: access.exists() and len(access.read_text().splitlines()) == 1, what="the line")
        access.rename(directory / f"access.{number}")
        if number == 0:
            gateway.signal(signal.SIGUSR1)
            until(access.exists)
        else:
            gateway.reload()
    assert "generation 3" in error.read_text()
    assert access.stat().st_uid == 0


def test_unix_sockets_still_work(launch, tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    gateway: Gateway = launch(user="nobody", workers=2, routes=[respond("/")], wait=False, listeners=[{"unix": str(path), "mode": "0666"}])

    def ask() -> int:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(path))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            return read_response(Reader(sock)).status

    until(lambda: gateway.ctl("status").returncode == 0 and "serves with" in gateway.log)
    assert ask() == 200
    gateway.reload()
    assert ask() == 200
    assert all(proc.owner(worker)[0] != 0 for worker in gateway.workers)


def test_replaced_workers_are_no_more_than_the_others(launch) -> None:
    gateway: Gateway = launch(user="nobody", routes=[respond("/")])
    worker = gateway.worker
    os.kill(worker, signal.SIGKILL)
    until(lambda: gateway.workers and gateway.workers != [worker])
    assert gateway.get("/").status == 200
    assert proc.owner(gateway.worker)[0] == pwd.getpwnam("nobody").pw_uid


def test_a_user_that_does_not_exist_is_refused(launch) -> None:
    gateway: Gateway = launch(user="nobody", routes=[respond("/")])
    gateway.write(user="no-such-account")
    done = gateway.ctl("reload")
    assert done.returncode == 1 and "no-such-account" in done.stderr
    assert gateway.get("/").status == 200


def test_a_single_process_changes_too(launch) -> None:
    gateway: Gateway = launch(user="nobody", arguments=("--single-process",), routes=[respond("/")])
    assert gateway.get("/").status == 200
    assert proc.owner(gateway.pid)[0] == pwd.getpwnam("nobody").pw_uid
