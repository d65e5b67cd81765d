"""Sockets that a service manager has made: by name, by address, shared or one for each worker."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess

import pytest

from support.client import get
from support.configuration import respond
from support.gateway import clean_environment
from support.ports import free_port
from support.service import Service
from support.wait import until


def listening(port: int = 0, reuse: bool = False, queue: int = 64) -> socket.socket:
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    own.bind(("127.0.0.1", port))
    own.listen(queue)
    return own


def listener(name: str, port: int) -> dict:
    return {"name": name, "host": "127.0.0.1", "port": port}


def test_by_name_and_shared_by_all_workers(service) -> None:
    own = listening()
    port = own.getsockname()[1]
    gateway: Service = service(begin=False, workers=3, bind_host=None, bind_port=port, listeners=[listener("web", port)], routes=[respond("/")])
    gateway.write(bind_port=None)
    gateway.sockets = [("web", own)]
    gateway.start()
    for _ in range(20):
        assert gateway.get("/").status == 200
    status = gateway.ctl("status").stdout
    assert f"127.0.0.1:{port} (1 socket)" in status, status
    gateway.reload(routes=[respond("/", body="new")])
    assert gateway.get("/").body == b"new"
    # A worker that dies takes no connection of the queue with it.
    os.kill(gateway.workers[0], signal.SIGKILL)
    for _ in range(20):
        assert gateway.get("/").status == 200
    gateway.stop()
    # It is not ours to close: the service manager's copy still takes connections.
    socket.create_connection(("127.0.0.1", port), 2).close()
    own.close()


def test_by_address_where_no_listener_has_the_name(service) -> None:
    own = listening()
    gateway: Service = service(begin=False, workers=2, bind_port=own.getsockname()[1], routes=[respond("/")])
    gateway.sockets = [("gatewayd.socket", own)]
    gateway.start()
    assert gateway.get("/").status == 200
    own.close()


def test_one_for_each_worker(service) -> None:
    first = listening(reuse=True)
    port = first.getsockname()[1]
    gateway: Service = service(begin=False, workers=2, bind_port=port, listeners=[listener("web", port)], routes=[respond("/")])
    gateway.write(bind_port=None, bind_host=None)
    second = listening(port, reuse=True)
    gateway.sockets = [("web", first), ("web", second)]
    gateway.start()
    for _ in range(20):
        assert gateway.get("/").status == 200
    assert "(2 sockets)" in gateway.ctl("status").stdout
    first.close(), second.close()


def test_a_name_that_is_not_configured_is_a_warning(service) -> None:
    own, other = listening(), listening()
    port = own.getsockname()[1]
    gateway: Service = service(begin=False, bind_port=port, listeners=[listener("web", port)], routes=[respond("/")])
    gateway.write(bind_port=None, bind_host=None)
    gateway.sockets = [("web", own), ("admin", other)]
    gateway.start()
    assert gateway.get("/").status == 200
    assert f'the socket "admin" (127.0.0.1:{other.getsockname()[1]}), which is no listener of the configuration' in gateway.log
    own.close(), other.close()


def test_a_unix_socket(service, tmp_path) -> None:
    path = tmp_path / "web.sock"
    own = socket.socket(socket.AF_UNIX)
    own.bind(str(path))
    own.listen(16)
    gateway: Service = service(begin=False, workers=2, routes=[respond("/")])
    gateway.write(bind_host=None, bind_port=None, listeners=[{"name": "local", "unix": str(path)}])
    gateway.sockets = [("local", own)]
    gateway.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    gateway.stop()
    assert path.exists(), "the file is the service manager's"
    own.close()


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="systemd-socket-activate is not installed (package systemd)")
def test_with_systemds_own_tool(tmp_path) -> None:
    port = free_port()
    gateway = Service(tmp_path / "service", bind_port=port, workers=2, listeners=[listener("web", port)], routes=[respond("/", body="activated")])
    gateway.write(bind_port=None, bind_host=None)
    command = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "--fdname=web", str(gateway.program), "-c", str(gateway.config_file), "-P", str(gateway.pid_file)]
    with gateway.output_file.open("ab") as output:
        gateway.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=clean_environment(), cwd=gateway.directory)
    try:
        until(lambda: "Listening on" in gateway.log, what="the tool to listen")
        # The first connection starts the gateway, and is answered by it.
        assert get(port, "/").body == b"activated"
        assert gateway.ctl("reload").returncode == 0
        assert get(port, "/").body == b"activated"
    finally:
        gateway.stop()
