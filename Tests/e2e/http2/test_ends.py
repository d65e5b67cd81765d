"""How streams and connections end: aborts, timeouts, failures of the backend, stop and reload."""

from __future__ import annotations

import json
import signal
import threading
import time

import pytest

from support.backend import Backend, Connection, Request, hang, head, reply
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.http2 import CANCEL, INTERNAL_ERROR, NO_ERROR, Http2
from support.wait import until


@pytest.fixture
def gateway(launch, backend: Backend) -> Gateway:  # type: ignore[no-untyped-def]
    return launch(routes=[respond("/local")], access_log=True, upstreams=[upstream(backend.port)], request_timeout_sec="500ms", idle_timeout_sec="700ms")


def test_a_reset_cancels_the_backend(gateway: Gateway, backend: Backend) -> None:
    backend.answer = hang
    with Http2(gateway.port) as client:
        stream = client.request("GET", "/api")
        connection = backend.wait_requests().connection
        other = client.request("GET", "/local")
        client.reset(stream)
        assert connection.ended.wait(5)
        assert client.answer(other).status == 200
        assert json.loads(client.get("/stats").body)["requests"]["client_aborts"] == 1
    entry = next(entry for entry in gateway.access_entries(3) if entry.get("url.path") == "/api")
    assert entry["http.response.status_code"] == 499 and entry["error.type"] == "client_aborted"


def test_a_lost_connection_cancels_all_its_streams(gateway: Gateway, backend: Backend) -> None:
    backend.answer = hang
    with Http2(gateway.port) as client:
        for _ in range(3):
            client.request("GET", "/api")
        backend.wait_requests(3)
    for request in backend.requests:
        assert request.connection.ended.wait(5)
    with Http2(gateway.port) as client:
        stats = json.loads(client.get("/stats").body)
        assert stats["http2"]["streams_active"] == 1 and stats["requests"]["active"] == 0


def test_a_request_that_does_not_end_is_cancelled(gateway: Gateway, backend: Backend) -> None:
    with Http2(gateway.port) as client:
        stream = client.request("POST", "/api", ("content-length", "5"), end=False)
        client.data(stream, b"12", end=False)
        answer = client.answer(stream)
        assert answer.fields is None and answer.reset == CANCEL
        assert client.get("/local").status == 200
    assert any(entry.get("error.type") == "http_request_timeout" for entry in gateway.access_entries(2))


def test_a_header_section_that_does_not_end(gateway: Gateway) -> None:
    with Http2(gateway.port) as client:
        client.ping()
        client.frame(1, 0, 1, b"\x82")
        client.until_closed()
        assert client.goaways


def test_an_idle_connection_is_closed(gateway: Gateway) -> None:
    with Http2(gateway.port) as client:
        assert client.get("/local").status == 200
        began = time.monotonic()
        client.until_closed()
        assert time.monotonic() - began > 0.5
        assert client.goaways == [(1, NO_ERROR)] and not client.was_reset


def test_a_connection_with_a_stream_is_not_idle(gateway: Gateway, backend: Backend) -> None:
    def answer(connection: Connection, request: Request) -> None:
        time.sleep(1.2)
        reply(body=b"late")(connection, request)

    backend.answer = answer
    with Http2(gateway.port) as client:
        assert client.get("/api").body == b"late"


def test_a_backend_that_fails(gateway: Gateway, backend: Backend) -> None:
    backend.answer = lambda connection, request: connection.close()
    with Http2(gateway.port) as client:
        answer = client.get("/api")
        assert answer.status == 502

        def cut(connection: Connection, request: Request) -> None:
            connection.send(head(200, "Content-Length: 1000000") + b"x" * 1000)
            time.sleep(0.1)
            connection.close()

        backend.answer = cut
        answer = client.get("/api")
        assert answer.status == 200 and not answer.ended and answer.reset == INTERNAL_ERROR
        assert client.get("/local").status == 200


def test_a_response_before_the_request_has_ended(gateway: Gateway, backend: Backend) -> None:
    def early(connection: Connection, request: Request) -> None:
        connection.send(head(403, "Content-Length: 2", reason="Forbidden") + b"no")
        connection.close()

    backend.answer = early
    with Http2(gateway.port) as client:
        stream = client.request("POST", "/api", end=False)
        client.data(stream, b"x" * 1000, end=False)
        answer = client.answer(stream)
        assert answer.status == 403 and answer.body == b"no"
        client.until(lambda: answer.reset is not None, "the reset")
        assert answer.reset == NO_ERROR


def test_stop_comes_in_two_steps(launch, backend: Backend) -> None:  # type: ignore[no-untyped-def]
    gateway = launch(routes=[respond("/local")], upstreams=[upstream(backend.port)], shutdown_drain_timeout_sec=10)
    released = threading.Event()

    def answer(connection: Connection, request: Request) -> None:
        released.wait(10)
        reply(body=b"done")(connection, request)

    backend.answer = answer
    with Http2(gateway.port) as client:
        stream = client.request("GET", "/api")
        backend.wait_requests()
        gateway.signal(signal.SIGTERM)
        client.until(lambda: client.goaways, "the announcement")
        assert client.goaways == [(2**31 - 1, NO_ERROR)]
        # What was under way is still taken.
        late = client.get("/local")
        assert late.status == 200
        client.until(lambda: len(client.goaways) == 2, "the last stream's number")
        assert client.goaways[1] == (late.stream, NO_ERROR)
        refused = client.request("GET", "/local")
        released.set()
        assert client.answer(stream).body == b"done"
        client.until_closed()
        assert client.answers[refused].fields is None and not client.was_reset
    assert gateway.wait_exit() == 0


def test_an_idle_connection_does_not_hold_up_a_stop(launch) -> None:  # type: ignore[no-untyped-def]
    gateway = launch(routes=[respond("/local")], shutdown_drain_timeout_sec=20)
    with Http2(gateway.port) as client:
        assert client.get("/local").status == 200
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        client.until_closed()
        assert gateway.wait_exit() == 0 and time.monotonic() - began < 8
        assert [code for _, code in client.goaways] == [NO_ERROR] * len(client.goaways) and client.goaways


def test_the_deadline_cuts_off(launch, backend: Backend) -> None:  # type: ignore[no-untyped-def]
    gateway = launch(upstreams=[upstream(backend.port)], shutdown_drain_timeout_sec=1)
    backend.answer = hang
    with Http2(gateway.port) as client:
        stream = client.request("GET", "/api")
        backend.wait_requests()
        gateway.signal(signal.SIGTERM)
        answer = client.answer(stream)
        assert answer.status == 503
        client.until_closed()
    assert gateway.wait_exit() == 0


def test_reload_under_load(launch, backend: Backend) -> None:  # type: ignore[no-untyped-def]
    """Every request that a generation has taken is answered; what it has not taken may be sent again."""
    gateway = launch(routes=[respond("/local")], upstreams=[upstream(backend.port)], workers=2)
    failures: list[str] = []
    answered = 0
    over = threading.Event()

    def load(path: str) -> None:
        nonlocal answered
        client: Http2 | None = None
        while not over.is_set():
            if client is None or client.closed or client.goaways:
                if client is not None:
                    client.close()
                client = Http2(gateway.port)
            streams = [client.request("GET", path) for _ in range(8)]
            try:
                for stream in streams:
                    client.until(lambda: client.answers[stream].ended or client.closed
                                 or any(last < stream for last, _ in client.goaways), "an answer")  # noqa: B023
                    if client.answers[stream].ended:
                        answered += 1
                        if client.answers[stream].status != 200:
                            failures.append(f"{path}: {client.answers[stream].status}")
                    elif not any(last < stream for last, _ in client.goaways):
                        failures.append(f"{path}: stream {stream} was left without a word")
            except (AssertionError, OSError) as error:
                failures.append(f"{path}: {error!r}")
                client = None

    threads = [threading.Thread(target=load, args=(path,)) for path in ("/local", "/api", "/api")]
    for thread in threads:
        thread.start()
    for number in range(4):
        time.sleep(0.4)
        gateway.reload(routes=[respond("/local", body=f"generation {number}")])
    over.set()
    for thread in threads:
        thread.join(20)
    assert not failures, failures[:5]
    assert answered > 100


def test_frames_are_answered_with_the_right_error(gateway: Gateway) -> None:
    with Http2(gateway.port) as client:
        client.ping()
        client.frame(0, 0, 0, b"x")
        client.until_closed()
        assert client.goaways[-1][1] == 1
    until(lambda: "http2_connection_error" in gateway.log and "protocolError" in gateway.log, what="the fault in the log")
