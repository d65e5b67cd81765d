"""Logs are reopened without losing or splitting a line."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from support.configuration import respond
from support.gateway import Gateway
from support.load import Load
from support.wait import until


@pytest.mark.parametrize("how", ["USR1", "HUP", "reopen", "reload"])
def test_no_line_is_lost(launch, how: str) -> None:
    gateway: Gateway = launch(workers=2, access_log={"flush_interval_ms": 20}, routes=[respond("/")])
    rounds = 8
    with Load(gateway.port, keep_alive=3, fresh=2) as load:
        for number in range(rounds):
            time.sleep(0.15)
            gateway.access_file.rename(gateway.directory / f"access.log.{number}")
            if how in ("USR1", "HUP"):
                gateway.signal(getattr(signal, f"SIG{how}"))
            else:
                assert gateway.ctl(how).returncode == 0
            until(gateway.access_file.exists, what="the new file")
    assert load.failures == []

    def lines() -> int:
        files = [gateway.access_file, *(gateway.directory / f"access.log.{number}" for number in range(rounds))]
        count = 0
        for file in files:
            for line in file.read_text().splitlines():
                json.loads(line)
                count += 1
        return count

    until(lambda: lines() == load.answered, 5, f"{load.answered} lines (found {lines()})")


def test_old_file_is_let_go(launch) -> None:
    gateway: Gateway = launch(access_log=True, routes=[respond("/")])
    gateway.get("/")
    gateway.access_entries()
    moved = gateway.directory / "moved.log"
    gateway.access_file.rename(moved)
    gateway.signal(signal.SIGUSR1)
    until(gateway.access_file.exists)
    size = moved.stat().st_size
    gateway.get("/")
    assert len(gateway.access_entries()) == 1
    assert moved.stat().st_size == size


def test_failure_to_reopen_keeps_the_old_file(launch) -> None:
    gateway: Gateway = launch(access_log=True, routes=[respond("/")])
    gateway.get("/")
    gateway.access_entries()
    moved = gateway.directory / "moved.log"
    gateway.access_file.rename(moved)
    gateway.access_file.mkdir()
    done = gateway.ctl("reopen")
    assert done.returncode == 1
    gateway.get("/")
    until(lambda: len(moved.read_text().splitlines()) == 2, what="the line in the old file")
    gateway.access_file.rmdir()


def test_a_reload_says_that_a_log_could_not_be_reopened(launch) -> None:
    gateway: Gateway = launch(access_log=True, routes=[respond("/")])
    gateway.access_file.rename(gateway.directory / "moved.log")
    gateway.access_file.mkdir()
    done = gateway.ctl("reload")
    assert done.returncode == 0 and str(gateway.access_file) in done.stdout
    assert str(gateway.access_file) in gateway.ctl("status").stdout
    gateway.access_file.rmdir()


def test_deleted_files_are_made_again(launch, tmp_path: Path) -> None:
    error = tmp_path / "error.log"
    gateway: Gateway = launch(access_log=True, log={"file": str(error), "max_files": 1}, routes=[respond("/")])
    gateway.access_file.unlink()
    error.unlink()
    until(lambda: gateway.access_file.exists() and error.exists(), 5, "the files")
    gateway.get("/")
    gateway.access_entries()
