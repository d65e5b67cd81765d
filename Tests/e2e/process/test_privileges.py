"""Workers give up root's rights when `user` says so."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from support import proc
from support.client import Client
from support.configuration import respond
from support.gateway import Gateway
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
