"""Logs as datagrams: a local syslog daemon, one over UDP, and the journal."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.configuration import configuration, respond
from support.gateway import Gateway, binaries, clean_environment
from support.ports import free_port
from support.wait import until


class Daemon:
    """Takes datagrams."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.open()

    def open(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX if self.path else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(str(self.path) if self.path else ("127.0.0.1", 0))
        self.sock.settimeout(5)

    def close(self) -> None:
        self.sock.close()
        if self.path:
            self.path.unlink()

    @property
    def server(self) -> str:
        return f"unix:{self.path}" if self.path else f"udp:127.0.0.1:{self.sock.getsockname()[1]}"

    def find(self, pattern: str) -> str:
        """The first datagram from here on in which the pattern occurs."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            text = self.sock.recv(65_536).decode()
            if re.search(pattern, text):
                return text
        raise AssertionError(f"nothing like {pattern} has come")


@pytest.fixture(params=["local", "udp"])
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "log" if request.param == "local" else None)
    yield daemon
    daemon.sock.close()


def test_both_logs(launch, daemon: Daemon) -> None:
    gateway: Gateway = launch(
        log={"syslog": {"server": daemon.server, "tag": "edge"}}, routes=[respond("/*")],
        access_log={"file": "", "syslog": {"server": daemon.server, "facility": "local7"}, "format": "combined"})
    start = daemon.find("generation 1 serves")
    # daemon (3) and info (6); local7 (23) and info.
    assert start.startswith("<30>")
    gateway.get("/x")
    line = daemon.find("GET /x ")
    assert line.startswith("<190>")
    if daemon.path:
        assert re.fullmatch(r'<190>\w{3} [ \d]\d \d\d:\d\d:\d\d gatewayd\[\d+\]: 127\.0\.0\.1 - - \[[^]]+\] "GET /x HTTP/1\.1" 200 2 "-" "-"', line), line
    else:
        assert re.fullmatch(rf'<190>1 \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}Z {re.escape(socket.gethostname())} gatewayd \d+ access - 127\.0\.0\.1 .*', line), line
    assert re.search(rf" edge {gateway.pid} event - | edge\[{gateway.pid}\]: ", start)


def test_a_daemon_that_is_away_costs_no_request(launch, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "log")
    gateway: Gateway = launch(routes=[respond("/*")], access_log={"file": "", "syslog": {"server": daemon.server}, "buffer_size": 4096, "flush_interval_ms": 50})
    gateway.get("/one")
    daemon.find("/one")
    daemon.close()
    for _ in range(200):
        assert gateway.get("/lost").status == 200
    until(lambda: json.loads(gateway.get("/stats").body)["log_lines_dropped"] > 0)
    daemon.open()
    # As long as the buffer is full, lines are lost.
    daemon.find("/lost")
    gateway.get("/back")
    daemon.find("/back")
    daemon.close()


def test_a_daemon_that_reads_nothing_costs_no_request(launch, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "log")
    gateway: Gateway = launch(routes=[respond("/*")], access_log={"file": "", "syslog": {"server": daemon.server}, "buffer_size": 4096, "flush_interval_ms": 20})
    began = time.monotonic()
    for _ in range(600):
        assert gateway.get("/x").status == 200
    assert time.monotonic() - began < 20
    daemon.close()


def test_the_journal_gets_fields(tmp_path: Path) -> None:
    """Standard output that is the journal's: entries instead of lines. The journal itself is replaced in a mount namespace."""
    probe = subprocess.run(["unshare", "-m", "sh", "-c", "mkdir -p /run/systemd/journal && mount -t tmpfs none /run/systemd/journal"], capture_output=True)
    if probe.returncode:
        pytest.skip("no mount namespace here")
    config = tmp_path / "gateway.json"
    config.write_text(json.dumps(configuration(free_port(), routes=[respond("/")])))
    reading, writing = os.pipe()
    status = os.fstat(writing)
    script = ("import os,socket,sys\n"
              "s=socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
              "s.bind('/run/systemd/journal/socket')\n"
              "s.settimeout(10)\n"
              "pid=os.fork()\n"
              "if pid==0:\n"
              "  s.close(); os.dup2(int(sys.argv[1]),1); os.execv(sys.argv[2],[sys.argv[2],'-c',sys.argv[3]])\n"
              "out=[]\n"
              "while not any(b'serves with' in e for e in out): out.append(s.recv(65536))\n"
              "os.kill(pid,15); os.waitpid(pid,0)\n"
              "sys.stderr.buffer.write(b'\\n---\\n'.join(out))\n")
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run/systemd/journal && exec python3 -c "$@"', "sh", script, str(writing), str(binaries() / "gatewayd"), str(config)],
        capture_output=True, text=True, timeout=30, pass_fds=[writing], env=clean_environment({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}))
    os.close(writing)
    with os.fdopen(reading) as stream:
        printed = stream.read()
    assert result.returncode == 0, result.stderr + printed
    entry = next(entry for entry in result.stderr.split("\n---\n") if "serves with" in entry)
    fields = dict(line.split("=", 1) for line in entry.splitlines())
    assert fields["SYSLOG_IDENTIFIER"] == "gatewayd" and fields["PRIORITY"] == "6" and fields["MESSAGE"].startswith("generation 1 serves with")
    assert "serves with" not in printed
