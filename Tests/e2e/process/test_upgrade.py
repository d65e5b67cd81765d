"""Another program takes the place of the running one: same process, no request lost, and back again when it cannot serve."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

from support import proc
from support.backend import Backend, hang, reply
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway, binaries, stamped
from support.load import Load
from support.names import Dnsmasq, servers
from support.wait import until

LIMIT = {"enabled": True, "zones": [{"name": "all", "rate": 0.01, "capacity": 5, "key_type": "client_ip", "applies_to": ["/limited"]}]}


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The same program, stamped with another version."""
    return stamped(tmp_path / "gatewayd-1.0.1", "1.0.1")


def script(path: Path, text: str) -> Path:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def status(gateway: Gateway) -> dict:
    return json.loads(gateway.ctl("status", "--json").stdout)


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_under_load_nothing_fails_and_everything_is_kept(launch, newer: Path, tmp_path: Path) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/"), respond("/limited")], rate_limit=LIMIT)
    assert [gateway.get("/limited").status for _ in range(6)] == [200] * 5 + [429]
    before = status(gateway)
    with Load(gateway.port, keep_alive=3, fresh=3) as load:
        time.sleep(0.5)
        for binary in (newer, stamped(tmp_path / "gatewayd-1.0.2", "1.0.2"), newer):
            done = gateway.ctl("upgrade", "--binary", str(binary))
            assert done.returncode == 0, done.stderr + gateway.log
        time.sleep(0.5)
    assert not load.failures and load.answered > 100
    assert "upgraded from version 1.0.2 to 1.0.1: generation 4 serves" in done.stdout
    after = status(gateway)
    assert after["version"] == "1.0.1" and after["master"]["binary"] == str(newer)
    assert after["master"]["pid"] == before["master"]["pid"] == gateway.pid == int(gateway.pid_file.read_text())
    assert after["master"]["started_at"] == before["master"]["started_at"]
    assert gateway.get("/limited").status == 429, "the bucket is as empty as before"
    assert after["totals"]["requests"] >= load.answered
    until(lambda: len(status(gateway)["generations"]) == 1, 15, "the old generations to end")
    assert len(gateway.workers) == 2 and all("gatewayd-1.0.1" in os.readlink(f"/proc/{pid}/exe") for pid in gateway.workers)
    assert gateway.ctl("stop").returncode == 0
    assert gateway.wait_exit() == 0


def test_a_request_in_flight_is_finished_by_its_old_worker(launch, backend: Backend, newer: Path) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    backend.answer = hang
    client = Client(gateway.port)
    client.send(request("GET", "/api"))
    backend.wait_requests(1)
    assert gateway.ctl("upgrade", "--binary", str(newer)).returncode == 0
    assert [generation["state"] for generation in status(gateway)["generations"]] == ["draining", "serving"]
    backend.connections[0].send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert client.read().body == b"ok"
    until(lambda: len(gateway.workers) == 1, what="the old worker to end")
    # The new master is told of the end of a worker that the old one has started.
    until(lambda: len(status(gateway)["generations"]) == 1, what="the old generation to end")


def test_no_descriptor_is_left_behind(launch, newer: Path) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/")], rate_limit=LIMIT)
    assert gateway.ctl("upgrade", "--binary", str(newer)).returncode == 0
    until(lambda: len(gateway.workers) == 2, what="the old workers to end")
    first = until(lambda: descriptors(gateway.pid))
    for _ in range(4):
        assert gateway.ctl("upgrade", "--binary", str(newer)).returncode == 0
        until(lambda: len(gateway.workers) == 2, what="the old workers to end")
    until(lambda: descriptors(gateway.pid) <= first, what=f"no more than {first} descriptors")


def test_by_signal_and_with_the_file_replaced(launch, tmp_path: Path) -> None:
    program = tmp_path / "gatewayd"
    shutil.copy2(binaries() / "gatewayd", program)
    gateway: Gateway = launch(program=program, routes=[respond("/")])
    # As a package does it: another file under the same name.
    os.rename(stamped(tmp_path / "gatewayd.new", "1.0.1"), program)
    gateway.signal(signal.SIGUSR2)
    until(lambda: "upgraded from version 1.0.0 to 1.0.1" in gateway.log, 30, "the upgrade")
    assert status(gateway)["version"] == "1.0.1" and gateway.get("/").status == 200


def test_a_daemon(tmp_path: Path, launch, newer: Path) -> None:
    log = tmp_path / "error.log"
    gateway: Gateway = launch(wait=False, arguments=("-d",), log={"file": str(log), "max_files": 1}, routes=[respond("/")])
    assert gateway.wait_exit(20) == 0
    pid = int(gateway.pid_file.read_text())
    try:
        assert gateway.ctl("upgrade", "--binary", str(newer)).returncode == 0, log.read_text()
        assert status(gateway)["version"] == "1.0.1" and int(gateway.pid_file.read_text()) == pid
        assert gateway.get("/").status == 200
        assert "upgraded from version 1.0.0 to 1.0.1" in log.read_text()
        assert gateway.ctl("upgrade").returncode == 0
    finally:
        assert gateway.ctl("stop").returncode == 0
    until(lambda: not proc.alive(pid), what="the daemon to end")


FAILING = {
    "missing": (lambda path: path, "No such file or directory"),
    "not executable": (lambda path: path.write_text("#!/bin/sh\n") and path, "Permission denied"),
    "another program": (lambda path: script(path, "exit 0\n"), "is no gatewayd that can take over"),
    "a program that fails": (lambda path: script(path, "echo something is missing >&2; exit 3\n"), "something is missing"),
}


@pytest.mark.parametrize("kind", FAILING)
def test_a_program_that_fails_its_check_changes_nothing(launch, tmp_path: Path, kind: str) -> None:
    make, expected = FAILING[kind]
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    workers = gateway.workers
    with Load(gateway.port, keep_alive=2, fresh=2) as load:
        done = gateway.ctl("upgrade", "--binary", str(make(tmp_path / "other")))
    assert done.returncode == 1 and expected in done.stderr and "version 1.0.0 goes on" in done.stderr, done.stderr
    assert not load.failures and gateway.workers == workers
    assert gateway.ctl("reload").returncode == 0


def test_a_check_that_hangs_is_ended_and_told_of(launch, newer: Path, tmp_path: Path) -> None:
    """Whoever asks for a reload meanwhile hears what it waits for."""
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    workers = gateway.workers
    hanging = script(tmp_path / "hanging", "exec sleep 60\n")
    upgrading = gateway.ctl_start("upgrade", "--binary", str(hanging), "--timeout", "5", "--json")
    until(lambda: "upgrade: checking" in gateway.log, what="the check")
    with Load(gateway.port, keep_alive=2, fresh=2) as load:
        reload = gateway.ctl("reload", "--json")
        told, complaints = upgrading.communicate(timeout=20)
    reason = f"the check of {hanging} had not ended after 5 s, and was killed"
    assert upgrading.returncode == 1 and reason in complaints
    assert json.loads(told) == {"outcome": "failed", "messages": [reason, "upgrade failed; version 1.0.0 goes on"]}
    assert reload.returncode == 0 and "an upgrade is under way: this reload waits for it" in reload.stderr
    assert json.loads(reload.stdout) == {"outcome": "ok", "messages": ["generation 2 serves"]}
    assert not load.failures and len(workers) == 2
    until(lambda: not set(workers) & set(gateway.workers), what="the old workers to end")
    assert gateway.ctl("upgrade", "--binary", str(newer)).returncode == 0
    for wrong in ("0", "3601", "x"):
        assert gateway.ctl("upgrade", "--timeout", wrong).returncode == 2


def test_a_configuration_that_is_bad_fails_the_check(launch, newer: Path) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    gateway.write(workers="many")
    done = gateway.ctl("upgrade", "--binary", str(newer))
    assert done.returncode == 1 and "gateway.json:" in done.stderr and "workers" in done.stderr
    assert gateway.get("/").status == 200 and status(gateway)["version"] == "1.0.0"


def test_an_exec_that_fails(launch, newer: Path, tmp_path: Path) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    # It passes its check, and is gone when it is to take over.
    going = script(tmp_path / "going", f'rm "$0"; exec {newer} "$@"\n')
    workers = gateway.workers
    with Load(gateway.port, keep_alive=2, fresh=2) as load:
        done = gateway.ctl("upgrade", "--binary", str(going))
    assert done.returncode == 1 and f"cannot become {going}: No such file or directory" in done.stderr
    assert not load.failures and gateway.workers == workers
    assert gateway.ctl("reload").returncode == 0 and gateway.ctl("upgrade", "--binary", str(newer)).returncode == 0


def test_a_new_generation_that_cannot_serve_is_handed_back(launch, newer: Path) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/"), respond("/limited")], rate_limit=LIMIT)
    assert gateway.get("/limited").status == 200
    workers, before = gateway.workers, descriptors(gateway.pid)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        gateway.write(bind_port=None, bind_host=None, listeners=[{"host": "127.0.0.1", "port": gateway.port}, {"host": "127.0.0.1", "port": port}])
        with Load(gateway.port, keep_alive=2, fresh=2) as load:
            done = gateway.ctl("upgrade", "--binary", str(newer))
    assert done.returncode == 1 and f"cannot bind 127.0.0.1:{port}: Address already in use" in done.stderr and "version 1.0.0 goes on" in done.stderr
    assert "version 1.0.1 hands back to version 1.0.0" in gateway.log
    assert not load.failures and gateway.workers == workers
    now = status(gateway)
    assert now["version"] == "1.0.0" and now["master"]["pid"] == gateway.pid
    assert gateway.get("/limited").status == 200
    until(lambda: descriptors(gateway.pid) <= before, what="no descriptor to be left behind")
    # It goes on as if nothing had been: workers are replaced, reloads and upgrades work.
    os.kill(workers[0], signal.SIGKILL)
    until(lambda: len(gateway.workers) == 2 and workers[0] not in gateway.workers, what="a worker to be replaced")
    assert gateway.ctl("reload").returncode == 0
    assert gateway.ctl("upgrade", "--binary", str(newer)).returncode == 0 and status(gateway)["version"] == "1.0.1"


def test_a_reload_that_waits_for_an_upgrade_is_not_lost_with_it(launch, newer: Path, tmp_path: Path) -> None:
    """The new program hands back: whoever asked for a reload meanwhile gets one."""
    gateway: Gateway = launch(workers=2, routes=[respond("/", body="old")])
    # Its check takes until there is a reload; then its own reload is refused, and what stands in the file afterwards is good.
    slow = script(tmp_path / "slow", f"""
case "$*" in
*--preflight*) until [ -e {tmp_path}/asked ]; do sleep 0.05; done;;
*--resume*) echo "{{" > {gateway.config_file};;
esac
exec {newer} "$@"
""")
    upgrading = gateway.ctl_start("upgrade", "--binary", str(slow))
    until(lambda: "upgrade: checking" in gateway.log, what="the check")
    reloading = gateway.ctl_start("reload")
    assert "an upgrade is under way" in (reloading.stderr.readline() if reloading.stderr else "")
    (tmp_path / "asked").touch()
    told, complaints = upgrading.communicate(timeout=20)
    assert upgrading.returncode == 1 and "version 1.0.0 goes on" in complaints, told
    _, complaints = reloading.communicate(timeout=20)
    # The file was still the bad one: that is what its own reload says.
    assert reloading.returncode == 1 and "the running configuration (generation 1) is unchanged" in complaints and "upgrade failed" not in complaints, complaints
    gateway.write(routes=[respond("/", body="new")])
    assert gateway.ctl("reload").returncode == 0 and gateway.get("/").body == b"new"


def test_a_reload_asked_of_a_program_that_hands_back_is_not_lost(launch, newer: Path) -> None:
    """HUP while the new program's own generation waits for a name that nobody will resolve."""
    gateway: Gateway = launch(workers=1, routes=[respond("/", body="old")])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        gateway.write(routes=[respond("/", body="new")], upstreams=[{"name": "app", "host": "app.test"}],
                      dns=servers(silent.getsockname()[1], required=True, resolve_timeout_ms=500, overall_timeout_ms=4000))
        upgrading = gateway.ctl_start("upgrade", "--binary", str(newer))
        until(lambda: "version 1.0.1 has taken over" in gateway.log, 20, what="the new program")
        os.kill(gateway.pid, signal.SIGHUP)
        time.sleep(0.3)
        # What the old program's reload finds is good.
        gateway.write(upstreams=[], dns={})
        assert "version 1.0.0 goes on" in upgrading.communicate(timeout=30)[1]
        until(lambda: gateway.get("/").body == b"new", 20, what="the reload")
    assert status(gateway)["version"] == "1.0.0"


def test_a_stop_ends_a_check_that_hangs(launch, tmp_path: Path) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    # What the check has begun itself ends with it.
    hanging = script(tmp_path / "hanging", f"sleep 60 & echo $! > {tmp_path}/pid; wait\n")
    upgrading = gateway.ctl_start("upgrade", "--binary", str(hanging))
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), what="the check")
    pid = int((tmp_path / "pid").read_text())
    assert gateway.ctl("stop").returncode == 0
    assert "the gateway is stopping" in upgrading.communicate(timeout=20)[1] and upgrading.returncode == 1

    def hasEnded() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    until(hasEnded, what="the check to be ended")


def test_a_configuration_that_goes_bad_after_the_check_is_handed_back(launch, newer: Path, tmp_path: Path) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    workers = gateway.workers
    breaking = script(tmp_path / "breaking", f'case "$*" in *--resume*) echo "{{" > {gateway.config_file};; esac; exec {newer} "$@"\n')
    with Load(gateway.port, keep_alive=2, fresh=2) as load:
        done = gateway.ctl("upgrade", "--binary", str(breaking))
    assert done.returncode == 1 and "gateway.json:" in done.stderr, done.stderr + gateway.log
    assert not load.failures and gateway.workers == workers and status(gateway)["version"] == "1.0.0"
    # The configuration is still bad; that is no reason to be anything but here.
    assert gateway.get("/").status == 200 and gateway.ctl("reload").returncode == 1
    gateway.write()
    assert gateway.ctl("reload").returncode == 0


def test_reloads_meanwhile_are_answered(launch, newer: Path) -> None:
    import threading

    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(gateway.ctl("reload").returncode)) for _ in range(4)]
    upgrade = threading.Thread(target=lambda: codes.append(gateway.ctl("upgrade", "--binary", str(newer)).returncode))
    threads[0].start()
    upgrade.start()
    for thread in threads[1:]:
        thread.start()
    for thread in [*threads, upgrade]:
        thread.join(30)
    assert codes == [0] * 5, gateway.log
    assert status(gateway)["version"] == "1.0.1"


def test_a_relative_path_is_seen_from_the_caller(launch, newer: Path, tmp_path: Path) -> None:
    from support.gateway import ctl

    gateway: Gateway = launch(routes=[respond("/")])
    done = ctl("upgrade", "--binary", newer.name, "-P", str(gateway.pid_file), cwd=newer.parent)
    assert done.returncode == 0, done.stderr


def test_what_names_stand_for_is_kept(launch, newer: Path, tmp_path: Path) -> None:
    """No DNS server answers any more: the new program serves from its first moment with what is known."""
    server = Dnsmasq(tmp_path / "dnsmasq", 3600, app=["127.0.0.2"])
    backend = Backend(reply(body=b"by name"), host="127.0.0.2")
    try:
        settings = {
            "upstreams": [{"name": "app", "host": "app.test", "port": backend.port, "proxy": {"route_prefix": "/"}}], "dns": servers(server.port)}
        gateway: Gateway = launch(workers=2, **settings)
        assert gateway.get("/").body == b"by name"
        before = status(gateway)["names"][0]
        server.stop()
        with Load(gateway.port, path="/x") as load:
            for binary in (newer, stamped(tmp_path / "gatewayd-1.0.2", "1.0.2")):
                done = gateway.ctl("upgrade", "--binary", str(binary))
                assert done.returncode == 0, done.stderr + gateway.log
                assert gateway.get("/").body == b"by name"
        assert not load.failures and load.answered > 10, load.failures[:5]
        after = status(gateway)["names"][0]
        assert after["addresses"] == before["addresses"] == ["127.0.0.2"] and after["error"] is None
        assert after["age_ms"] >= before["age_ms"] and after["ttl_left_ms"] < before["ttl_left_ms"], "it is the same answer"
        assert "the table of names" in gateway.log
        # Other rules come with another program's configuration: what is known is used, and asked for.
        gateway.write(**{**settings, "dns": servers(server.port, resolve_timeout_ms=300)})
        assert gateway.ctl("upgrade", "--binary", str(newer)).returncode == 0
        assert gateway.get("/").body == b"by name"
        until(lambda: status(gateway)["names"][0]["error"] is not None, 10, "a lookup")
        assert gateway.get("/").body == b"by name"
    finally:
        server.stop()
        backend.stop()
