"""What the service manager keeps: a restart, or a crash, loses neither a connection that waits nor a bucket."""

from __future__ import annotations

import json
import os
import signal
import socket

import pytest

from support import proc
from support.backend import Backend, reply
from support.client import request
from support.configuration import respond
from support.names import Dnsmasq, servers
from support.service import Service, ServiceManager
from support.wait import until

LIMIT = {"enabled": True, "zones": [{"name": "all", "rate": 0.01, "capacity": 5, "key_type": "client_ip"}]}


def totals(gateway: Service) -> dict:
    return json.loads(gateway.ctl("status", "--json").stdout)["totals"]


def ended(gateway: Service) -> None:
    """The processes are gone; a killed master's workers see to that themselves."""
    gateway.wait_exit()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_queue_buckets_and_totals(service, manager: ServiceManager, number: int) -> None:
    gateway: Service = service(workers=2, routes=[respond("/")], rate_limit=LIMIT, shutdown_drain_timeout_sec=1)
    assert [gateway.get("/").status for _ in range(7)] == [200] * 5 + [429] * 2
    before = totals(gateway)["requests"]
    workers = gateway.workers
    gateway.signal(number)
    ended(gateway)
    until(lambda: not any(proc.alive(worker) for worker in workers), 10, "the workers to end")
    # Nobody runs; the service manager's copies of the sockets still take connections.
    waiting = [socket.create_connection(("127.0.0.1", gateway.port), 5) for _ in range(8)]
    for client in waiting:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    gateway.start()
    for client in waiting:
        client.settimeout(10)
        assert client.recv(200).startswith(b"HTTP/1.1 429 "), "answered, and by the old bucket"
        client.close()
    assert totals(gateway)["requests"] >= before + 8
    assert "taken over from version" in gateway.log
    status = json.loads(gateway.ctl("status", "--json").stdout)
    assert status["generation"] == 2 and status["listeners"][0]["sockets"] == 2


def test_workers_whose_master_is_gone_leave_the_queue(service, manager: ServiceManager) -> None:
    """The service manager may kill them any moment, and those who wait are better off with the next master."""
    gateway: Service = service(workers=1, routes=[respond("/", "old")])
    worker = gateway.worker
    os.kill(worker, signal.SIGSTOP)
    waiting = [gateway.connect() for _ in range(300)]
    for client in waiting:
        client.send(request("GET", "/", "Connection: close"))
    gateway.signal(signal.SIGKILL)
    ended(gateway)
    os.kill(worker, signal.SIGCONT)
    until(lambda: not proc.alive(worker), 10, "the worker to end")
    gateway.write(routes=[respond("/", "new")])
    gateway.start()
    answers = [client.read().text for client in waiting]
    # What the worker had accepted before it noticed is its own.
    assert set(answers) <= {"old", "new"} and answers.count("new") > 100
    for client in waiting:
        client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_names(service, manager: ServiceManager, tmp_path, number: int) -> None:
    """A gateway that comes back while no DNS server answers knows what its names stand for."""
    server = Dnsmasq(tmp_path / "dnsmasq", 3600, app=["127.0.0.2"])
    backend = Backend(reply(body=b"by name"), host="127.0.0.2")
    try:
        gateway: Service = service(
            upstreams=[{"name": "app", "host": "app.test", "port": backend.port, "proxy": {"route_prefix": "/"}}], dns=servers(server.port),
            shutdown_drain_timeout_sec=1)
        assert gateway.get("/").body == b"by name"
        server.stop()
        workers = gateway.workers
        gateway.signal(number)
        ended(gateway)
        until(lambda: not any(proc.alive(worker) for worker in workers), 10, "the workers to end")
        gateway.start()
        assert gateway.get("/").body == b"by name"
        assert "the table of names" in gateway.log
        # Another name is not mistaken for it.
        gateway.reload(upstreams=[{"name": "app", "host": "other.test", "port": backend.port, "proxy": {"route_prefix": "/"}}])
        assert gateway.get("/").status == 503
    finally:
        server.stop()
        backend.stop()


def test_what_is_kept_follows_the_configuration(service, manager: ServiceManager) -> None:
    gateway: Service = service(workers=1, routes=[respond("/")])
    kept = lambda: len(manager.stored)
    until(lambda: kept() == 3, what="a socket, the counters and the list")
    gateway.reload(workers=3)
    until(lambda: kept() == 5, what="two sockets more")
    gateway.reload(rate_limit=LIMIT)
    until(lambda: kept() == 6, what="a table more")
    gateway.reload(rate_limit=None)
    until(lambda: kept() == 5, what="a table less")
    names = set(manager.stored)
    gateway.reload(routes=[respond("/", body="other")])
    assert gateway.get("/").body == b"other"
    assert set(manager.stored) == names, "nothing that stays is sent again"


def test_a_listener_that_is_gone_is_given_up(service, manager: ServiceManager) -> None:
    gateway: Service = service(workers=1, routes=[respond("/")])
    old = gateway.port
    gateway.signal(signal.SIGTERM)
    ended(gateway)
    from support.ports import free_port

    gateway.port = free_port()
    gateway.write(bind_port=gateway.port)
    gateway.start()
    assert gateway.get("/").status == 200
    assert f"the socket at 127.0.0.1:{old} that was kept from before is not in the configuration" in gateway.log
    until(lambda: len(manager.stored) == 3, what="the old socket to be dropped")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", old), 2)


def test_a_unix_socket_is_kept_with_its_file(service, manager: ServiceManager, tmp_path) -> None:
    path = str(tmp_path / "web.sock")
    gateway: Service = service(begin=False, routes=[respond("/")])
    gateway.write(bind_host=None, bind_port=None, listeners=[{"unix": path}])
    gateway.start()
    gateway.signal(signal.SIGTERM)
    ended(gateway)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        gateway.start()
        client.settimeout(10)
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_rubbish_in_the_store_is_dropped(service, manager: ServiceManager) -> None:
    gateway: Service = service(begin=False, routes=[respond("/")])
    import os

    reading, writing = os.pipe()
    memory = os.memfd_create("rubbish", os.MFD_CLOEXEC)
    manager.stored = {"gateway-1": reading, "gateway-list-2": memory, "gateway-3": writing}
    gateway.start()
    assert gateway.get("/").status == 200
    assert "cannot be read: it is dropped" in gateway.log
    until(lambda: not {"gateway-1", "gateway-list-2", "gateway-3"} & set(manager.stored), what="it to be removed")
