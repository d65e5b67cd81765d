"""gRPC: the status of a call counts, not that of HTTP."""

from __future__ import annotations

import grpc

from support.configuration import Json, upstream
from support.gateway import Gateway
from support.rpc import Service, Stub, connect


def guarded(port: int) -> Json:
    entry = upstream(port, "/", methods=["POST"])
    return {**entry, "http2": {"enabled": True, "prefer": "always"}, "circuit_breaker": {"enabled": True, "consecutive_failure_threshold": 3}}


def outcome(stub: Stub, call: str, message: bytes) -> grpc.StatusCode:
    try:
        getattr(stub, call)(message, timeout=5)
        return grpc.StatusCode.OK
    except grpc.RpcError as error:
        return error.code()


def test_the_status_of_calls_counts(launch) -> None:
    service = Service()
    try:
        gateway: Gateway = launch(upstreams=[guarded(service.port)])
        with connect(gateway.port) as channel:
            stub = Stub(channel)
            # What says that the backend works, whatever it thinks of the call.
            for _ in range(4):
                assert outcome(stub, "fail", b"") is grpc.StatusCode.FAILED_PRECONDITION
            assert outcome(stub, "unknown", b"") is grpc.StatusCode.UNIMPLEMENTED
            for _ in range(3):
                try:
                    list(stub.fail_late(b"", timeout=5))
                except grpc.RpcError as error:
                    assert error.code() is grpc.StatusCode.DATA_LOSS
            calls = service.calls
            assert outcome(stub, "unary", b"x") is grpc.StatusCode.UNAVAILABLE
            assert service.calls == calls and "circuit breaker is open" in gateway.log
    finally:
        service.stop()
