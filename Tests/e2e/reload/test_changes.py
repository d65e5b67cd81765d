"""Every setting takes effect by a reload."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from support import proc
from support.backend import Backend
from support.client import Client
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.ports import free_port
from support.wait import until


def test_routes(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/", "old")])
    assert gateway.get("/").text == "old"
    gateway.reload(routes=[respond("/", "new"), respond("/more", "more")])
    assert (gateway.get("/").text, gateway.get("/more").text) == ("new", "more")


def test_limits(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/*")])
    assert gateway.get("/" + "a" * 2000).status == 200
    gateway.reload(max_header_size=1000)
    assert gateway.get("/" + "a" * 2000).status == 414


def test_upstreams(launch, backend: Backend) -> None:
    other = Backend()
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    assert gateway.get("/api").status == 200
    gateway.reload(upstreams=[upstream(other.port), upstream(backend.port, "/second", "second")])
    assert gateway.get("/api").status == gateway.get("/second").status == 200
    assert len(other.requests) == 1 and len(backend.requests) == 2
    other.stop()


def test_a_listener_more_and_one_less(launch) -> None:
    first, second = free_port(), free_port()
    gateway: Gateway = launch(bind_port=first, routes=[respond("/")])
    gateway.reload(listeners=[{"host": "127.0.0.1", "port": first}, {"host": "127.0.0.1", "port": second}])
    for port in (first, second):
        with Client(port) as client:
            assert client.request().status == 200
    gateway.reload(listeners=[{"host": "127.0.0.1", "port": second}])
    with Client(second) as client:
        assert client.request().status == 200

    def refused() -> bool:
        try:
            Client(first, timeout=1).close()
            return False
        except OSError:
            return True

    until(refused, what="the old address to be given up")


def test_number_of_workers(launch) -> None:
    gateway: Gateway = launch(workers=1, routes=[respond("/")])
    for count in (3, 1):
        gateway.reload(workers=count)
        until(lambda: len(gateway.workers) == count, what=f"{count} workers")


def test_log_level(launch) -> None:
    gateway: Gateway = launch(log={"level": "error"}, routes=[respond("/")])
    gateway.reload()
    assert "[info] generation 2" not in gateway.log
    gateway.reload(log={"level": "info"})
    gateway.reload()
    assert "[info] generation 4" in gateway.log


def test_hup_does_the_same(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/", "old")])
    gateway.get("/")
    gateway.write(routes=[respond("/", "new")])
    gateway.signal(signal.SIGHUP)
    until(lambda: gateway.get("/").text == "new", what="the new configuration")


def test_master_stays_the_same_and_workers_are_new(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    old = gateway.worker
    gateway.reload()
    assert gateway.process is not None and gateway.process.poll() is None
    until(lambda: gateway.workers and old not in gateway.workers, what="the old worker to go")


def test_nothing_leaks(launch) -> None:
    gateway: Gateway = launch(workers=2, access_log=True, routes=[respond("/")])
    for _ in range(5):
        gateway.reload()
    until(lambda: len(gateway.workers) == 2)
    before = proc.descriptors(gateway.pid), proc.memory(gateway.pid)
    for _ in range(30):
        gateway.reload()
    until(lambda: len(gateway.workers) == 2)
    until(lambda: proc.descriptors(gateway.pid) <= before[0], what="descriptors to be given back")
    assert proc.memory(gateway.pid) - before[1] < 2 << 20


def test_files_of_an_earlier_configuration_are_let_go(launch, tmp_path: Path) -> None:
    gateway: Gateway = launch(log={"file": str(tmp_path / "first.log"), "max_files": 1}, routes=[respond("/")])
    gateway.reload(log={"file": str(tmp_path / "second.log"), "max_files": 1})

    def open_files() -> set[str]:
        return {os.readlink(entry) for entry in Path(f"/proc/{gateway.pid}/fd").iterdir() if entry.is_symlink()}

    until(lambda: str(tmp_path / "first.log") not in open_files(), what="the first file to be closed")
    assert str(tmp_path / "second.log") in open_files()


def test_whoever_connects_after_the_reload_meets_the_new_generation(launch) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/", "0")])
    for number in range(1, 41):
        gateway.reload(routes=[respond("/", str(number))])
        assert [gateway.get("/").text for _ in range(4)] == [str(number)] * 4


def test_environment_still_wins(launch) -> None:
    gateway: Gateway = launch(env={"GATEWAY_WORKERS": "2"}, routes=[respond("/")])
    until(lambda: len(gateway.workers) == 2)
    gateway.reload(workers=3)
    until(lambda: len(gateway.workers) == 2, what="the number of the environment")


def test_a_worker_that_dies_later_comes_back_with_the_new_configuration(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/", "old")])
    gateway.reload(routes=[respond("/", "new")])
    worker = until(lambda: gateway.workers[0] if len(gateway.workers) == 1 else None)
    os.kill(worker, signal.SIGKILL)
    until(lambda: gateway.workers and gateway.workers != [worker])
    assert gateway.get("/").text == "new"
