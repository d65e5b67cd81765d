"""The units under systemd itself, installed as documented on a machine of their own: what the other files say of an emulated service manager holds."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import proc
from support.backend import Backend, hang, reply
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import stamped
from support.load import Load
from support.machine import Machine, Refused, Unit
from support.names import Dnsmasq, servers
from support.tls import Authority, Certificate, SecureClient, listener
from support.wait import until

LIMIT = {"enabled": True, "zones": [{"name": "all", "rate": 0.01, "capacity": 5, "key_type": "client_ip", "applies_to": ["/limited"]}]}
ROUTES = [respond("/"), respond("/limited")]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which the gateway has been installed; the tests are in its network."""
    try:
        machine = Machine(tmp_path_factory.mktemp("machine") / "root")
    except Refused as reason:
        pytest.skip(f"systemd cannot be started here: {reason}")
    try:
        machine.run("/srv/source/scripts/install", env={"GATEWAY_BIN_DIR": "/srv/programs"})
        machine.run("sh", "-c", "systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload")
        with machine.network():
            yield machine
    finally:
        machine.close()


@pytest.fixture
def unit(machine: Machine) -> Iterator[Unit]:
    """The service, stopped. Its journal is part of the report when the test fails."""
    unit = Unit(machine)
    yield unit
    try:
        print(unit.journal())
    finally:
        unit.reset()


def limited(unit: Unit) -> list[int]:
    return [unit.get("/limited").status for _ in range(6)]


def served(load: Load) -> None:
    """Waits until the clients have had more answers."""
    count = load.answered
    until(lambda: load.answered >= count + 10 or load.failures, 15, "answers")
    assert not load.failures


def asked(port: int) -> Client:
    """A connection with a request on it that nobody has read."""
    client = Client(port)
    client.send(request("GET", "/limited", "Connection: close"))
    return client


def test_as_installed(unit: Unit) -> None:
    unit.systemctl("enable", "--now", "gatewayd")
    assert unit.is_active and unit.show("SubState") == "running" and unit.show("UnitFileState") == "enabled"
    assert re.fullmatch("[0-9]+ workers, generation 1", unit.show("StatusText"))
    with Client(8080) as client:
        assert client.request("GET", "/health").status == 200
    account = int(unit.machine.run("id", "-u", "gateway").stdout)
    assert {proc.owner(pid)[0] for pid in unit.processes} == {account}
    assert "No entries" in unit.journal("-p", "warning")
    done = unit.machine.run("systemd-analyze", "verify", "gatewayd.service", "gatewayd.socket")
    assert not done.stderr, done.stderr
    level = re.search(r"Overall exposure level for .*: ([0-9.]+)", unit.machine.run("systemd-analyze", "security", "--no-pager", "gatewayd.service").stdout)
    assert level and float(level[1]) <= 1.6


def test_everything_works_in_the_sandbox(unit: Unit, tmp_path: Path) -> None:
    """A system call that the unit does not allow, and that is refused otherwise, kills here."""
    unit.amend("SystemCallErrorNumber=kill")
    root = unit.machine.root
    authority = Authority(tmp_path / "ca")
    authority.issue("site.test").copy(root / "etc/gateway/tls")
    unit.machine.run("sh", "-c", "cd /etc/gateway/tls && chgrp gateway site.* && chmod 640 site.*")
    (root / "srv/site").mkdir()
    (root / "srv/site/page.html").write_text("page " * 10_000)
    backend, server = Backend(reply(body=b"by name"), host="127.0.0.2"), Dnsmasq(tmp_path / "dnsmasq", app=["127.0.0.2"])
    certificate = Certificate(Path("/etc/gateway/tls/site.pem"), Path("/etc/gateway/tls/site.key"))
    try:
        unit.start(
            bind_host=None, bind_port=None, listeners=[{"host": "localhost", "port": 80}, listener(443, certificate), {"unix": "/run/gateway/web.sock"}],
            routes=[*ROUTES, {"path": "/site/*file", "static": {"root": "/srv/site"}}], rate_limit=LIMIT, compression={"enabled": True},
            upstreams=[upstream(backend.port, host="app.test")], dns=servers(server.port),
            log={"file": "/var/log/gateway/error.log"}, access_log={"enabled": True, "file": "/var/log/gateway/access.log", "flush_interval_ms": 10})
        for pid in unit.processes:
            status = proc.status(pid)
            assert (status["NoNewPrivs"], status["Seccomp"], int(status["CapEff"], 16)) == ("1", "2", 1 << 10), "CAP_NET_BIND_SERVICE alone"
        mounts = [line.split() for line in Path(f"/proc/{unit.main}/mountinfo").read_text().splitlines()]
        assert all(fields[5].startswith("ro") for fields in mounts if fields[4] == "/")
        assert limited(unit) == [200] * 5 + [429]
        assert unit.get("/api").body == b"by name"
        assert unit.get("/site/page.html").text == "page " * 10_000
        with Client(80) as client:
            coded = client.request("GET", "/site/page.html", "Accept-Encoding: br")
            assert coded.status == 200 and len(coded.body) < 5_000
        with SecureClient(443, authority.context()) as client:
            assert client.request("GET", "/site/page.html").text == "page " * 10_000
        for order in ("reload", "reopen", "upgrade", "plan", "certs", "connections"):
            unit.machine.run("gatewayctl", order)
        os.kill(unit.workers[0], signal.SIGKILL)
        until(lambda: len(unit.workers) == 2, what="another worker")
        unit.systemctl("restart", "gatewayd")
        assert unit.get("/api").body == b"by name" and unit.get("/limited").status == 429
        until(lambda: "/site/page.html" in (root / "var/log/gateway/access.log").read_text(), what="the access log")
        unit.systemctl("stop", "gatewayd")
        assert unit.show("Result") == "success"
        assert "SIGSYS" not in unit.journal()
    finally:
        server.stop()
        backend.stop()


def test_reload(unit: Unit) -> None:
    unit.start(routes=[respond("/", "first")])
    with Load(80, pause=0.005) as load:
        for number in range(3):
            unit.reload(routes=[respond("/", f"reload {number}")])
            assert unit.get().text == f"reload {number}"
            served(load)
    assert not load.failures
    assert unit.is_active and unit.show("StatusText").startswith("2 workers, generation 4")


def test_a_reload_that_is_refused(unit: Unit) -> None:
    unit.start(routes=[respond("/", "first")])
    unit.configure(workers="many")
    done = unit.systemctl("reload", "gatewayd", check=False)
    assert done.returncode != 0 and "failed" in done.stderr
    reason = "workers must be a whole number"
    shown = unit.systemctl("status", "gatewayd").stdout
    assert "generation 1, the last reload failed: /etc/gateway/gateway.json:" in shown and reason in shown
    assert reason in unit.journal()
    assert unit.is_active and unit.get().text == "first"
    unit.reload(routes=[respond("/", "second")])
    assert unit.get().text == "second" and "failed" not in unit.show("StatusText")


def test_restart_loses_nothing(unit: Unit) -> None:
    unit.start(routes=ROUTES, rate_limit=LIMIT)
    assert limited(unit) == [200] * 5 + [429]
    before = unit.main
    with Load(80, pause=0.005) as load:
        for _ in range(2):
            served(load)
            unit.systemctl("restart", "gatewayd")
        served(load)
    assert not load.failures
    assert unit.main != before and unit.is_active
    assert unit.get("/limited").status == 429, "the bucket is as empty as before"
    assert int(unit.show("NFileDescriptorStore")) == 5, "two sockets, the counters, a table and the list"
    assert "taken over from version" in unit.journal()


def test_a_master_that_is_killed(unit: Unit) -> None:
    unit.start(routes=ROUTES, rate_limit=LIMIT)
    assert limited(unit) == [200] * 5 + [429]
    before = unit.processes
    unit.systemctl("kill", "--signal=KILL", "--kill-who=main", "gatewayd")
    until(lambda: not any(map(proc.alive, before)), what="systemd to end the workers")
    # Whether or not it runs again already: systemd's copies of the sockets take connections.
    for client in [asked(80) for _ in range(8)]:
        assert client.read().status == 429, "answered, and by the old bucket"
        client.close()
    until(lambda: unit.is_active, what="the service to be back")
    assert unit.show("NRestarts") == "1" and not set(unit.processes) & set(before)


def test_a_worker_that_is_killed(unit: Unit) -> None:
    unit.start()
    main, (first, second) = unit.main, unit.workers
    os.kill(first, signal.SIGKILL)
    until(lambda: len(unit.workers) == 2 and first not in unit.workers, what="another worker")
    assert unit.is_active and unit.main == main and second in unit.workers and unit.show("NRestarts") == "0"
    assert unit.get().status == 200
    assert "died: killed by SIGKILL" in unit.journal("-p", "warning")


def test_watchdog(unit: Unit) -> None:
    unit.amend("WatchdogSec=2")
    unit.start()
    main = unit.main
    time.sleep(2.5)
    assert unit.main == main, "it is fed"
    os.kill(main, signal.SIGSTOP)
    until(lambda: not proc.alive(main), 10, "the watchdog to run out")
    until(lambda: unit.is_active, what="the service to be back")
    assert unit.main != main and unit.show("NRestarts") == "1" and unit.get().status == 200
    assert "Watchdog timeout" in unit.journal()


def test_stop_drains_and_is_given_the_time(unit: Unit, backend: Backend) -> None:
    """Longer than `TimeoutStopSec=`, because it asks for more."""
    unit.amend("TimeoutStopSec=2")
    backend.answer = hang
    unit.start(upstreams=[upstream(backend.port)], shutdown_drain_timeout_sec=20)
    client = Client(80)
    client.send(request("GET", "/api"))
    backend.wait_requests(1)
    stop = threading.Thread(target=lambda: unit.systemctl("stop", "gatewayd"))
    stop.start()
    until(lambda: unit.show("StatusText") == "stopping, draining 1 connection of generation 1", what="the drain in the status")
    time.sleep(3.5)
    assert unit.show("ActiveState") == "deactivating"
    backend.connections[0].send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
    response = client.read()
    assert response.text == "done" and response.closes
    stop.join(10)
    assert unit.show("ActiveState") == "inactive" and unit.show("Result") == "success" and unit.show("ExecMainStatus") == "0"
    assert not unit.processes and unit.show("NFileDescriptorStore") == "0"
    with pytest.raises(ConnectionRefusedError):
        Client(80)


def test_stop_cuts_off_at_the_deadline(unit: Unit, backend: Backend) -> None:
    backend.answer = hang
    unit.start(upstreams=[upstream(backend.port)], shutdown_drain_timeout_sec=1)
    client = Client(80)
    client.send(request("GET", "/api"))
    backend.wait_requests(1)
    begun = time.monotonic()
    unit.systemctl("stop", "gatewayd")
    assert 0.9 < time.monotonic() - begun < 10
    assert client.read().status == 503
    assert unit.show("Result") == "success" and not unit.processes


def test_socket_unit(unit: Unit) -> None:
    """systemd binds the address; the first client starts the service, which needs no right for it."""
    unit.amend("AmbientCapabilities=", "CapabilityBoundingSet=")
    unit.configure(bind_host=None, bind_port=None, listeners=[{"name": "web", "host": "::", "port": 80}])
    unit.systemctl("start", "gatewayd.socket")
    assert unit.show("ActiveState") == "inactive"
    assert unit.get().status == 200
    until(lambda: unit.is_active, what="the service")
    assert int(proc.status(unit.main)["CapEff"], 16) == 0
    assert "[::]:80 (1 socket)" in unit.machine.run("gatewayctl", "status").stdout
    with Load(80, pause=0.005) as load:
        for verb in ("restart", "reload"):
            served(load)
            unit.systemctl(verb, "gatewayd")
        served(load)
    assert not load.failures
    unit.systemctl("stop", "gatewayd.service")
    assert unit.get().status == 200, "the next client starts it again"
    unit.systemctl("stop", "gatewayd.socket", "gatewayd.service")
    with pytest.raises(ConnectionRefusedError):
        Client(80)


def test_upgrade(unit: Unit) -> None:
    """As docs/operating.md has it; to systemd it is the same process."""
    unit.start(routes=ROUTES, rate_limit=LIMIT)
    assert limited(unit) == [200] * 5 + [429]
    main, invocation = unit.main, unit.show("InvocationID")
    program = unit.machine.root / "usr/sbin"
    os.link(program / "gatewayd", program / "gatewayd.old")
    os.rename(stamped(program / "gatewayd.tmp", "1.0.1"), program / "gatewayd")
    try:
        with Load(80, pause=0.005) as load:
            served(load)
            done = unit.machine.run("gatewayctl", "upgrade")
            unit.systemctl("kill", "--signal=USR2", "--kill-who=main", "gatewayd")
            until(lambda: "upgraded from version 1.0.1 to 1.0.1" in unit.journal(), 15, "the second upgrade")
            served(load)
        assert "upgraded from version 1.0.0 to 1.0.1" in done.stdout
        assert not load.failures
        assert unit.is_active and unit.main == main and unit.show("InvocationID") == invocation and unit.show("NRestarts") == "0"
        assert json.loads(unit.machine.run("gatewayctl", "status", "--json").stdout)["version"] == "1.0.1"
        # Ports below 1024 still, and what systemd keeps is still known.
        unit.reload(routes=ROUTES, rate_limit=LIMIT, bind_port=81)
        unit.reload(routes=ROUTES, rate_limit=LIMIT)
        unit.systemctl("restart", "gatewayd")
        assert unit.get("/limited").status == 429 and int(unit.show("NFileDescriptorStore")) == 5
    finally:
        os.rename(program / "gatewayd.old", program / "gatewayd")


def test_a_start_that_fails_says_why(unit: Unit) -> None:
    with socket.create_server(("127.0.0.1", 80)):
        unit.configure()
        done = unit.systemctl("start", "gatewayd", check=False)
        assert done.returncode != 0
        assert "Address already in use" in unit.show("StatusText") and unit.show("StatusErrno") == "98"
    until(lambda: unit.is_active, what="another try, for which there is room")


def test_journal(unit: Unit) -> None:
    unit.start(routes=ROUTES, rate_limit=LIMIT)
    limited(unit)

    def entries(*matches: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in unit.journal("-o", "json", f"_SYSTEMD_INVOCATION_ID={unit.show('InvocationID')}", *matches).splitlines() if line[0] == "{"]

    refused = [entry for entry in entries() if entry["MESSAGE"].startswith("rate limit all:")]
    assert refused and refused[0]["GATEWAY_WORKER"] in "01" and refused[0]["GATEWAY_GENERATION"] == "1"
    serving = next(entry for entry in entries() if "generation 1 serves" in entry["MESSAGE"])
    assert serving["PRIORITY"] == "6" and serving["SYSLOG_IDENTIFIER"] == "gatewayd" and "GATEWAY_WORKER" not in serving
    # A journal that has been started anew is found again, by the master and the workers.
    unit.systemctl("restart", "systemd-journald")
    unit.reload(routes=ROUTES, rate_limit=LIMIT)
    until(lambda: any("generation 2 serves" in entry["MESSAGE"] for entry in entries()), what="the master's word")
    unit.get("/limited")
    until(lambda: entries("GATEWAY_GENERATION=2"), what="a worker's word")
