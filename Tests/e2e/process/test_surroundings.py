"""What the gateway is started with does not change how it supervises."""

from __future__ import annotations

import os
import signal
import subprocess

from support.backend import Backend, head
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway, binaries, clean_environment
from support.wait import until


def test_a_launcher_that_ignores_signals(launch) -> None:
    """nohup ignores HUP, some ignore CHLD; both are inherited."""
    gateway: Gateway = launch(wait=False, routes=[respond("/", "old")])
    gateway.signal(signal.SIGKILL)
    gateway.wait_exit()

    def ignore() -> None:
        for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    with gateway.output_file.open("ab") as output:
        gateway.process = subprocess.Popen([binaries() / "gatewayd", "-c", gateway.config_file, "-P", gateway.pid_file], stdout=output,
                                           stderr=output, env=clean_environment(), preexec_fn=ignore)
    gateway.wait_ready()
    worker = gateway.worker
    os.kill(worker, signal.SIGKILL)
    until(lambda: gateway.workers and gateway.workers != [worker], what="the worker to be replaced")
    gateway.write(routes=[respond("/", "new")])
    gateway.signal(signal.SIGHUP)
    until(lambda: gateway.get("/").text == "new", what="the reload")
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit(3) == 0


def test_children_of_others_are_no_concern(launch) -> None:
    """A shell that becomes the gateway leaves it children it does not know."""
    gateway: Gateway = launch(wait=False, routes=[respond("/")])
    gateway.signal(signal.SIGKILL)
    gateway.wait_exit()
    command = f"sleep 0.2 & exec {binaries()}/gatewayd -c {gateway.config_file} -P {gateway.pid_file}"
    with gateway.output_file.open("ab") as output:
        gateway.process = subprocess.Popen(["sh", "-c", command], stdout=output, stderr=output, env=clean_environment())
    gateway.wait_ready()
    until(lambda: len(gateway.workers) == 1, what="the stranger to end")
    assert "died" not in gateway.log
    assert gateway.get("/").status == 200


def test_a_signal_to_the_whole_group_is_still_gentle(launch, backend: Backend) -> None:
    """As service managers send it: to master and workers alike."""
    for _ in range(5):
        gateway: Gateway = launch(workers=2, upstreams=[upstream(backend.port)])
        backend.requests.clear()
        asked: list[Client] = [Client(gateway.port) for _ in range(6)]
        answers = []
        backend.answer = lambda connection, _: answers.append(connection)
        for client in asked:
            client.send(request("GET", "/api"))
        until(lambda: len(answers) == len(asked), what="all requests at the backend")
        assert gateway.process is not None
        os.killpg(os.getpgid(gateway.pid), signal.SIGTERM)
        until(lambda: "stopping" in gateway.log)
        for connection in answers:
            connection.send(head(200, "Content-Length: 4") + b"done")
        for client in asked:
            assert client.read().text == "done"
        assert gateway.wait_exit(5) == 0
