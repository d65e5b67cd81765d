"""A disk without room: lines are lost and counted, requests and the gateway are not."""

from __future__ import annotations

import json
import os
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


def test_a_full_disk_stops_nothing(launch, disk: Path) -> None:
    routes = [respond("/*")]
    gateway: Gateway = launch(
        workers=2, routes=routes, log={"file": str(disk / "error.log"), "max_files": 1},
        access_log={"file": str(disk / "access.log"), "buffer_size": 4096, "flush_interval_ms": 20, "format": "$path $status"})
    filler = disk / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, b"x" * 1024)
    except OSError:
        pass
    os.close(descriptor)
    lost = "/" + "y" * 500
    with Client(gateway.port) as client:
        for _ in range(400):
            assert client.request("GET", lost).status == 200
    until(lambda: json.loads(gateway.get("/stats").body)["log_lines_dropped"] > 0)
    # Not even what writes to the logs itself is stopped.
    gateway.reload(routes=[respond("/*", "new")])
    assert gateway.get("/x").body == b"new"
    assert gateway.ctl("reopen").returncode == 0
    filler.unlink()
    gateway.get("/found-again")
    until(lambda: "/found-again 200\n" in (disk / "access.log").read_text())
    # No line was cut for good: each is whole, and those that went before the disk was full are there.
    for line in (disk / "access.log").read_text().splitlines():
        assert line.endswith(" 200") or not line or lost.startswith(line.split(" ")[0]), line


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
