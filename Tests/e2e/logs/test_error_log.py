"""The error log: format, levels, rotation."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

from support.backend import unused_endpoint
from support.client import Client
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.wait import until

LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\] \[gateway\] \[(trace|debug|info|warning|error|critical)\] .+")


def test_format(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    gateway.get("/")
    assert gateway.ctl("stop").returncode == 0
    lines = gateway.log.splitlines()
    assert lines and all(LINE.fullmatch(line) for line in lines), [line for line in lines if not LINE.fullmatch(line)]
    assert "SERVER START" in gateway.log and "SERVER STOP" in gateway.log


def test_failures_of_backends_are_errors(launch) -> None:
    kept, port = unused_endpoint()
    gateway: Gateway = launch(upstreams=[upstream(port)])
    gateway.get("/api?secret=1")
    line = until(lambda: next((line for line in gateway.log.splitlines() if "connection_refused" in line), None), what="the line")
    assert "[error]" in line and "backend" in line
    assert "secret" not in gateway.log, "queries are not logged"
    kept.close()


def test_level(launch) -> None:
    gateway: Gateway = launch(log={"level": "critical"}, routes=[respond("/")])
    gateway.get("/")
    assert "[info]" not in "".join(line for line in gateway.log.splitlines() if "SERVER" not in line and "===" not in line)


def test_control_characters_are_replaced(launch) -> None:
    gateway: Gateway = launch(log={"level": "trace"}, routes=[respond("/")])
    with Client(gateway.port) as client:
        client.send(b"GET /a%0ab HTTP/1.1\r\nHost: \x1b[31m\r\n\r\n")
        client.read()
    time.sleep(0.1)
    assert "\x1b" not in gateway.log
    assert all(LINE.fullmatch(line) for line in gateway.log.splitlines())


def test_file(launch, tmp_path: Path) -> None:
    file = tmp_path / "log" / "gateway.log"
    gateway: Gateway = launch(log={"file": str(file), "max_files": 1}, routes=[respond("/")])
    gateway.get("/")
    assert "SERVER START" in file.read_text()
    file.rename(tmp_path / "moved.log")
    gateway.signal(signal.SIGUSR1)
    until(file.exists, what="the new file")


def test_rotation_by_size(launch, tmp_path: Path) -> None:
    directory = tmp_path / "log"
    directory.mkdir()
    (directory / "foreign.log").write_text("mine")
    gateway: Gateway = launch(log={"file": str(directory / "gateway.log"), "max_file_size": 1024, "max_files": 3}, routes=[respond("/")])
    for _ in range(30):
        gateway.reload()
    files = sorted(path.name for path in directory.iterdir())
    assert "foreign.log" in files
    ours = [name for name in files if name.startswith("gateway-")]
    assert len(ours) == 3 and all(re.fullmatch(r"gateway-\d{4}-\d\d-\d\d(-\d+)?\.log", name) for name in ours), files
    assert max((directory / name).stat().st_size for name in ours) < 1024 + 512
