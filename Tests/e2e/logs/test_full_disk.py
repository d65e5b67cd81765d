"""A disk without room: lines are lost and counted, requests and the gateway are not."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.client import Client
from support.configuration import respond
from support.gateway import Gateway
from support.wait import until


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0777", "none", place], capture_output=True).returncode:
        pytest.skip("no right to mount here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path) -> Path:
    """Leaves no byte; what it returns is to be removed."""
    filler = disk / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, b"x" * 1024)
    except OSError:
        pass
    os.close(descriptor)
    return filler


def test_a_full_disk_stops_nothing(launch, disk: Path) -> None:
    routes = [respond("/*")]
    gateway: Gateway = launch(
        workers=2, routes=routes, log={"file": str(disk / "error.log"), "max_files": 1},
        access_log={"file": str(disk / "access.log"), "buffer_size": 4096, "flush_interval_ms": 20, "format": "$path $status"})
    filler = fill(disk)
    lost = "/" + "y" * 500
    with Client(gateway.port) as client:
        for _ in range(400):
            assert client.request("GET", lost).status == 200
    until(lambda: json.loads(gateway.get("/stats").body)["log_lines_dropped"] > 0)
    # Not even what writes to the logs itself is stopped.
    gateway.reload(routes=[respond("/*", "new")])
    with Client(gateway.port) as client:
        for _ in range(20):
            assert client.request("GET", lost).body == b"new"
    for _ in range(80):
        assert gateway.ctl("reopen").returncode == 0
    filler.unlink()
    # Both logs say that something is missing.
    until(lambda: re.search(r"the access log is written again; |\d+ lines of the access log were dropped", (disk / "error.log").read_text()), what="the end of it to be told")
    gateway.reload()
    until(lambda: re.search(r"\[warning\] \d+ lines? of this log could not be written a moment ago", (disk / "error.log").read_text()), what="lost lines to be told of")
    assert "log lines lost" in gateway.ctl("status").stdout
    gateway.get("/found-again")
    until(lambda: "/found-again 200\n" in (disk / "access.log").read_text())
    # No line was cut for good: each is whole, and those that went before the disk was full are there.
    for line in (disk / "access.log").read_text().splitlines():
        assert line.endswith(" 200") or not line or lost.startswith(line.split(" ")[0]), line


def test_lines_that_go_with_their_worker_are_counted(launch, disk: Path) -> None:
    gateway: Gateway = launch(routes=[respond("/*")], access_log={"file": str(disk / "access.log"), "flush_interval_ms": 20})
    gateway.get("/")
    until(lambda: (disk / "access.log").read_text(), what="a line")
    filler = fill(disk)
    before = len((disk / "access.log").read_bytes())
    for number in range(40):
        assert gateway.get(f"/{number}").status == 200
    until(lambda: "the access log cannot be written: No space left on device" in gateway.log, what="the reason")
    written = sum(1 for line in (disk / "access.log").read_bytes()[before:].splitlines(keepends=True) if line.startswith(b"{") and line.endswith(b"}\n"))
    gateway.reload(routes=[respond("/*", "new")])
    until(lambda: json.loads(gateway.get("/stats").body)["log_lines_dropped"] >= 40 - written, what="the lines to be counted")
    assert f"{40 - written} lines of the access log could not be written, and are lost" in gateway.log
    filler.unlink()


def test_a_limit_on_the_size_of_files_stops_nothing(launch, tmp_path: Path) -> None:
    """Beyond RLIMIT_FSIZE writing raises a signal that would end the process."""
    gateway: Gateway = launch(routes=[respond("/*")], access_log={"buffer_size": 4096, "flush_interval_ms": 20})
    for pid in [gateway.pid, *gateway.workers]:
        subprocess.run(["prlimit", "--pid", str(pid), "--fsize=8192"], check=True)
    workers = gateway.workers
    with Client(gateway.port) as client:
        for _ in range(100):
            assert client.request("GET", "/" + "y" * 500).status == 200
    until(lambda: json.loads(gateway.get("/stats").body)["log_lines_dropped"] > 0)
    assert gateway.workers == workers
