"""gRPC's own clients and servers through the gateway, in all four shapes, in the clear and over TLS on either side."""

from __future__ import annotations

import itertools
import json
import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from support.backend import unused_endpoint
from support.configuration import Json
from support.gateway import Gateway
from support.kinds import speaking
from support.ports import free_port
from support.rpc import Service, Stub, connect
from support.tls import Authority, Certificate, listener
from support.wait import until


@dataclass
class Line:
    """A client, the gateway and a service."""

    gateway: Gateway
    service: Service
    stub: Stub

    def entry(self, path: str, number: int = 1) -> Json:
        """The line of the access log for the n-th call of a method."""
        def mine() -> list[Json]:
            return [one for one in self.gateway.access_entries(1) if one["url.path"] == path]

        return until(lambda: mine() if len(mine()) >= number else None, what=f"the line of {path}")[number - 1]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def site(authority: Authority) -> Certificate:
    return authority.issue("localhost")


def start(launch, authority: Authority, site: Certificate, upstream: Json, **keys: Any) -> tuple[Gateway, int]:  # type: ignore[no-untyped-def]
    port, secure = free_port(), free_port()
    gateway = launch(wait=False, bind_port=port, access_log=True, upstreams=[upstream], max_body_size=0, **keys)
    gateway.stop()
    gateway.config = {key: value for key, value in gateway.config.items() if key not in ("bind_host", "bind_port")}
    gateway.write(listeners=[{"host": "127.0.0.1", "port": port}, listener(secure, site)])
    gateway.start()
    return gateway, secure


@pytest.fixture(params=list(itertools.product(["h2c", "h2s"], ["h2c", "h2s"])), ids=lambda pair: f"{pair[0]}-{pair[1]}")
def line(request: pytest.FixtureRequest, launch, authority: Authority, site: Certificate) -> Iterator[Line]:  # type: ignore[no-untyped-def]
    client, backend = request.param
    entry = speaking(backend, 1, str(authority.root.chain), "/test.Echo")
    entry["proxy"].pop("forward_trailers")
    service = Service(site if backend == "h2s" else None)
    entry["port"] = service.port
    gateway, secure = start(launch, authority, site, entry)
    channel = connect(secure, authority.root.chain.read_bytes()) if client == "h2s" else connect(gateway.port)
    yield Line(gateway, service, Stub(channel))
    channel.close()
    service.stop()


def test_unary(line: Line) -> None:
    for size in (0, 1, 100, 70_000, 5_000_000):
        message = b"u" * size
        answer, call = line.stub.unary.with_call(message, timeout=10, metadata=(("x-sent", "yes"), ("x-sent-bin", b"\0\1")))
        assert answer == message
        assert dict(call.initial_metadata())["x-initial"] == "one" and dict(call.initial_metadata())["x-initial-bin"] == b"\0\xff"
        trailing = dict(call.trailing_metadata())
        assert trailing["x-trailing"] == "two" and trailing["x-trailing-bin"] == b"\xfe\1"
        assert line.service.metadata[-1]["x-sent"] == "yes" and line.service.metadata[-1]["x-sent-bin"] == b"\0\1"
    assert line.service.calls == 5


def test_client_streaming(line: Line) -> None:
    pieces = [bytes([number % 256]) * 20_000 for number in range(200)]
    assert line.stub.gather(iter(pieces), timeout=10) == b"".join(pieces)


def test_server_streaming(line: Line) -> None:
    got = list(line.stub.count(b"300 10000", timeout=10))
    assert got == [b"%d " % index + b"x" * 10_000 for index in range(300)]


def test_talking(line: Line) -> None:
    """Each message is answered before the next one is sent."""
    sent: queue.Queue[bytes | None] = queue.Queue()
    answers = line.stub.talk(iter(sent.get, None), timeout=10)
    for index in range(50):
        sent.put(b"%d" % index)
        assert next(answers) == b"re: %d" % index
    sent.put(None)
    assert list(answers) == [] and answers.code() == grpc.StatusCode.OK


def test_compressed(line: Line) -> None:
    message = b"compressible " * 10_000
    assert line.stub.unary(message, timeout=10, compression=grpc.Compression.Gzip) == message


def test_many_at_the_same_time(line: Line) -> None:
    calls = [line.stub.unary.future(b"%d" % index, timeout=20) for index in range(300)]
    assert [call.result() for call in calls] == [b"%d" % index for index in range(300)]


def test_failure(line: Line) -> None:
    """A response of trailers only."""
    with pytest.raises(grpc.RpcError) as failed:
        line.stub.fail(b"", timeout=10)
    assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert failed.value.details() == "not yet: 100% of ü\n"
    assert dict(failed.value.trailing_metadata())["x-why"] == "because"
    entry = line.entry("/test.Echo/Fail")
    assert entry["http.response.status_code"] == 200 and entry["rpc.grpc.status_code"] == 9


def test_failure_after_messages(line: Line) -> None:
    stream = line.stub.fail_late(b"", timeout=10)
    assert next(stream) == b"first"
    with pytest.raises(grpc.RpcError) as failed:
        next(stream)
    assert failed.value.code() == grpc.StatusCode.DATA_LOSS and failed.value.details() == "lost"
    assert line.entry("/test.Echo/FailLate")["rpc.grpc.status_code"] == 15


def test_success_is_logged(line: Line) -> None:
    line.stub.unary(b"x", timeout=10)
    entry = line.entry("/test.Echo/Unary")
    assert entry["rpc.grpc.status_code"] == 0 and "error.type" not in entry


def test_cancelling(line: Line) -> None:
    call = line.stub.wait.future(b"")
    assert line.service.begun.wait(5)
    call.cancel()
    assert line.service.cancelled.wait(5), "the service was not told"
    line.service.release.set()
    assert line.stub.unary(b"x", timeout=10) == b"x"


def test_deadline(line: Line) -> None:
    """The client's deadline is the gateway's and the service's too."""
    with pytest.raises(grpc.RpcError) as failed:
        line.stub.wait(b"", timeout=0.4)
    assert failed.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert line.service.remaining[0] is not None and line.service.remaining[0] < 0.5
    assert line.service.cancelled.wait(5), "the service was not told"


def test_unknown_method_of_the_service(line: Line) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        line.stub.channel.unary_unary("/test.Echo/Nothing")(b"", timeout=10)
    assert failed.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_no_route(line: Line) -> None:
    """gRPC's mapping of 404."""
    with pytest.raises(grpc.RpcError) as failed:
        line.stub.unknown(b"", timeout=10)
    assert failed.value.code() == grpc.StatusCode.UNIMPLEMENTED and line.service.calls == 0
    assert "route" in failed.value.details() or "Not Found" in failed.value.details()


def test_connections_of_limited_age(launch, authority: Authority, site: Certificate) -> None:  # type: ignore[no-untyped-def]
    """A service that ends its connections in good order (GOAWAY) again and again is not noticed."""
    service = Service(options=(("grpc.max_connection_age_ms", 200), ("grpc.max_connection_age_grace_ms", 2000)))
    entry = speaking("h2c", service.port, "", "/test.Echo")
    entry["proxy"] = {"route_prefix": "/test.Echo", "retry": {"max_retries": 2}}
    gateway, _ = start(launch, authority, site, entry)
    with connect(gateway.port) as channel:
        stub, count = Stub(channel), 0
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            calls = [stub.unary.future(b"%d" % index, timeout=10) for index in range(10)]
            assert [call.result() for call in calls] == [b"%d" % index for index in range(10)]
            count += 10
    assert service.calls == count
    assert json.loads(gateway.get("/stats").body)["upstream_connections"]["connects"] > 3, "no connection was ended"
    service.stop()


@pytest.mark.parametrize("client", ["h2c", "h2s"])
def test_no_service(launch, authority: Authority, site: Certificate, client: str) -> None:  # type: ignore[no-untyped-def]
    """The gateway's own refusals are gRPC's: a status and a sentence, in a response of trailers only."""
    kept, port = unused_endpoint()
    entry = speaking("h2c", port, "", "/test.Echo")
    gateway, secure = start(launch, authority, site, entry)
    with connect(secure, authority.root.chain.read_bytes()) if client == "h2s" else connect(gateway.port) as channel:
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as failed:
                Stub(channel).unary(b"", timeout=10)
            assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
            assert failed.value.details() == "The backend refused the connection."
    entry = until(lambda: gateway.access_entries(2))[0]
    assert entry["error.type"] == "connection_refused" and entry["rpc.grpc.status_code"] == 14
    kept.close()


def test_rules_of_routes(launch, authority: Authority, site: Certificate) -> None:  # type: ignore[no-untyped-def]
    """Header rules, a split and a mirror: calls of all lengths are what they were, trailers and statuses included."""
    services = [Service(), Service()]
    entry = speaking("h2c", services[0].port, "", "/none")
    other = {**entry, "name": "other", "port": services[1].port}
    for one in (entry, other):
        one["proxy"] = {}
    gateway, _ = start(launch, authority, site, entry)
    gateway.reload(upstreams=[entry, other], routes=[
        {"path": "/test.Echo/:call", "split": [{"upstream": "h2c"}, {"upstream": "other", "weight": 0, "when": {"header:x-canary": "1"}}],
         "mirror": {"upstream": "other", "non_idempotent": True, "max_body_size": 1000},
         "request_headers": {"set": {"x-call": "{call}"}}, "response_headers": {"set": {"x-up": "{upstream}"}}}])
    try:
        stub = Stub(connect(gateway.port))
        message, call = stub.unary.with_call(b"hello", metadata=(("x-mine", "1"),))
        assert message == b"hello" and dict(call.initial_metadata())["x-up"] == "h2c" and dict(call.trailing_metadata())["x-trailing"] == "two"
        assert services[0].metadata[-1]["x-call"] == "Unary" and "x-gateway-mirror" not in services[0].metadata[-1]
        until(lambda: services[1].calls == 1, what="the copy")
        assert services[1].metadata[-1]["x-gateway-mirror"] == "1" and services[1].metadata[-1]["x-mine"] == "1"
        message, call = stub.unary.with_call(b"hello", metadata=(("x-canary", "1"),))
        assert message == b"hello" and dict(call.initial_metadata())["x-up"] == "other"
        assert list(stub.talk(iter([b"a", b"b", b"c"]))) == [b"re: a", b"re: b", b"re: c"]
        assert len(list(stub.count(b"100 1000"))) == 100
    finally:
        for service in services:
            service.stop()
