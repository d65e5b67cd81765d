"""A gRPC service without generated code: messages are bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from .tls import Certificate

SERVICE = "test.Echo"


class Service:
    """What the backend does, and what it has seen."""

    def __init__(self, site: Certificate | None = None, options: tuple[tuple[str, int], ...] = ()) -> None:
        self.calls = 0
        self.metadata: list[dict[str, Any]] = []
        self.remaining: list[float | None] = []
        self.cancelled = threading.Event()
        self.begun = threading.Event()
        self.release = threading.Event()
        self.server = grpc.server(ThreadPoolExecutor(32), options=[("grpc.max_receive_message_length", 64 << 20), *options])
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Gather": grpc.stream_unary_rpc_method_handler(self.gather),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Talk": grpc.stream_stream_rpc_method_handler(self.talk),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "FailLate": grpc.unary_stream_rpc_method_handler(self.fail_late),
            "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
        }
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        if site is None:
            self.port: int = self.server.add_insecure_port("127.0.0.1:0")
        else:
            credentials = grpc.ssl_server_credentials([(site.key.read_bytes(), site.chain.read_bytes())])
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        self.server.start()

    def stop(self) -> None:
        self.release.set()
        self.server.stop(0).wait(5)

    def _seen(self, context: grpc.ServicerContext) -> None:
        self.calls += 1
        self.metadata.append(dict(context.invocation_metadata()))
        self.remaining.append(context.time_remaining())

    def unary(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        self._seen(context)
        context.send_initial_metadata((("x-initial", "one"), ("x-initial-bin", b"\0\xff")))
        context.set_trailing_metadata((("x-trailing", "two"), ("x-trailing-bin", b"\xfe\1")))
        return message

    def gather(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        self._seen(context)
        return b"".join(messages)

    def count(self, message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self._seen(context)
        count, size = (int(part) for part in message.split(b" "))
        for index in range(count):
            yield b"%d " % index + b"x" * size

    def talk(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        self._seen(context)
        for message in messages:
            yield b"re: " + message

    def fail(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        self._seen(context)
        context.set_trailing_metadata((("x-why", "because"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not yet: 100% of ü\n")
        raise AssertionError

    def fail_late(self, message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self._seen(context)
        yield b"first"
        context.abort(grpc.StatusCode.DATA_LOSS, "lost")

    def wait(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        self._seen(context)
        context.add_callback(lambda: self.release.is_set() or self.cancelled.set())
        self.begun.set()
        self.release.wait(10)
        return message


class Stub:
    """The client's side."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.unary = channel.unary_unary(f"/{SERVICE}/Unary")
        self.gather = channel.stream_unary(f"/{SERVICE}/Gather")
        self.count = channel.unary_stream(f"/{SERVICE}/Count")
        self.talk = channel.stream_stream(f"/{SERVICE}/Talk")
        self.fail = channel.unary_unary(f"/{SERVICE}/Fail")
        self.fail_late = channel.unary_stream(f"/{SERVICE}/FailLate")
        self.wait = channel.unary_unary(f"/{SERVICE}/Wait")
        self.unknown = channel.unary_unary("/other.Service/Unary")


def connect(port: int, authority: bytes | None = None) -> grpc.Channel:
    """A channel of its own connection, that waits for nothing."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 << 20), ("grpc.enable_retries", 0),
               ("grpc.enable_http_proxy", 0)]
    if authority is None:
        return grpc.insecure_channel(f"127.0.0.1:{port}", options)
    return grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(authority),
                               [*options, ("grpc.ssl_target_name_override", "localhost")])
