"""Checks of every kind, over TLS and behind headers of the PROXY protocol; and those of endpoints with several addresses."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from support.backend import Backend, Connection, reply
from support.gateway import Gateway, ctl
from support.names import AAAA, A, Scripted, a, aaaa, servers
from support.ports import free_port
from support.tls import Authority, Certificate
from support.wait import until

Json = dict[str, Any]

TIMES: Json = {"interval_ms": 100, "timeout_ms": 100, "unhealthy_threshold": 2, "healthy_threshold": 2}
#: For handshakes on a busy machine.
PATIENT: Json = {**TIMES, "interval_ms": 300, "timeout_ms": 300}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def site(authority: Authority) -> Certificate:
    return authority.issue("localhost")


def secured(authority: Authority, name: str = "localhost") -> Json:
    return {"enabled": True, "ca_file": str(authority.root.chain), "sni_hostname": name}


def standing(gateway: Gateway) -> list[Json]:
    done = gateway.ctl("upstreams", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["upstreams"][0]["endpoints"]


def becomes(gateway: Gateway, *healths: str) -> None:
    until(lambda: [one["health"] for one in standing(gateway)] == list(healths), 15, f"{healths}, not {standing(gateway)}")


def fleet(ports: list[int], **keys: Any) -> Json:
    return {"name": "fleet", "endpoints": [{"host": "127.0.0.1", "port": port} for port in ports], "proxy": {"route_prefix": "/"}, **keys}


# gRPC


class HealthService:
    """`grpc.health.v1.Health/Check`, with the status of each service."""

    def __init__(self, site: Certificate | None = None, implemented: bool = True) -> None:
        self.statuses = {"": 1}
        self.asked: list[str] = []
        self.server = grpc.server(ThreadPoolExecutor(8))
        if implemented:
            handlers = {"Check": grpc.unary_unary_rpc_method_handler(self.check)}
            self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
        if site is None:
            self.port: int = self.server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(site.key.read_bytes(), site.chain.read_bytes())]))
        self.server.start()

    def check(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        # Field 1, a text; a length from 128 on takes two bytes.
        start = 3 if message[1:2] >= b"\x80" else 2
        length = message[1] & 0x7F | message[2] << 7 if start == 3 else message[1] if message else 0
        assert not message or message[0] == 0x0A and length == len(message) - start
        name = message[start:].decode()
        self.asked.append(name)
        if name not in self.statuses:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        status = self.statuses[name]
        return bytes([0x08, status]) if status else b""

    def stop(self) -> None:
        self.server.stop(0).wait(5)


@pytest.fixture
def services() -> Iterator[Callable[..., HealthService]]:
    made: list[HealthService] = []

    def make(site: Certificate | None = None, **keys: Any) -> HealthService:
        made.append(HealthService(site, **keys))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.mark.parametrize("is_secure", [False, True])
def test_grpc(launch, services, authority: Authority, site: Certificate, is_secure: bool) -> None:
    two = [services(site if is_secure else None) for _ in range(2)]
    more: Json = {"tls": secured(authority), "http2": {"enabled": True}} if is_secure else {"http2": {"enabled": True, "prefer": "always"}}
    gateway: Gateway = launch(upstreams=[fleet([one.port for one in two], health={"check": {**PATIENT, "type": "grpc"}}, **more)])
    becomes(gateway, "healthy", "healthy")
    for status in (2, 0, 3):  # not serving; unknown, which is sent as nothing; and a number that means something else
        two[1].statuses[""] = status
        becomes(gateway, "healthy", "unhealthy")
        assert standing(gateway)[1]["used"] is False and "serv" in standing(gateway)[1]["reason"]
        two[1].statuses[""] = 1
        becomes(gateway, "healthy", "healthy")
    two[0].stop()
    becomes(gateway, "unhealthy", "healthy")
    assert set(two[1].asked) == {""}


def test_grpc_asks_about_a_service(launch, services) -> None:
    name = "shop.v1." + "x" * 180
    two = [services(), services()]
    two[0].statuses[name] = 1
    check = {**TIMES, "type": "grpc", "service": name}
    gateway: Gateway = launch(upstreams=[fleet([one.port for one in two], health={"check": check}, http2={"enabled": True, "prefer": "always"})])
    becomes(gateway, "healthy", "unhealthy")
    assert set(two[0].asked) == {name} == set(two[1].asked)


def test_grpc_without_the_method(launch, services) -> None:
    one = services(implemented=False)
    gateway: Gateway = launch(upstreams=[fleet([one.port], health={"check": {**TIMES, "type": "grpc"}}, http2={"enabled": True, "prefer": "always"})])
    becomes(gateway, "unhealthy")


def test_grpc_at_a_backend_that_speaks_http1(launch) -> None:
    backend = Backend(reply(body=b"what?"))
    try:
        gateway: Gateway = launch(upstreams=[fleet([backend.port], health={"check": {**TIMES, "type": "grpc"}}, http2={"enabled": True, "prefer": "always"})])
        becomes(gateway, "unhealthy")
    finally:
        backend.stop()


# TLS


class Secure(Backend):
    """A backend over TLS that answers the path /healthz; `agreed` has the protocol of each connection."""

    def __init__(self, site: Certificate, protocols: list[str] | None = None, starts: bytes = b"") -> None:
        self.agreed: list[str | None] = []
        self.status = 200
        self.starts = starts
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(site.chain, site.key)
        if protocols:
            self.context.set_alpn_protocols(protocols)
        super().__init__(lambda connection, request: reply(self.status if request.target == "/healthz" else 200, body=b"fine")(connection, request))

    def _serve(self, connection: Connection) -> None:
        try:
            connection.sock.settimeout(5)
            # No more than the header: what follows is TLS.
            start = b""
            while len(start) < len(self.starts) and (part := connection.sock.recv(len(self.starts) - len(start))):
                start += part
            assert start == self.starts
            secure = self.context.wrap_socket(connection.sock, server_side=True)
        except (OSError, AssertionError) as error:
            self.errors.append(error)
            connection.close()
            return
        self.agreed.append(secure.selected_alpn_protocol())
        inner = Connection(secure, connection.index)
        super()._serve(inner)


def test_http_over_tls(launch, authority: Authority, site: Certificate) -> None:
    two = [Secure(site), Secure(site)]
    try:
        gateway: Gateway = launch(
            upstreams=[fleet([one.port for one in two], tls=secured(authority), health={"check": {**PATIENT, "type": "http", "path": "/healthz"}})])
        becomes(gateway, "healthy", "healthy")
        assert two[0].requests[0].header("host") == f"localhost:{two[0].port}", "as in requests"
        two[1].status = 503
        becomes(gateway, "healthy", "unhealthy")
        assert gateway.get("/").body == b"fine"
        two[1].status = 200
        becomes(gateway, "healthy", "healthy")
    finally:
        for one in two:
            one.stop()


def test_a_check_speaks_http1_where_requests_would_not(launch, authority: Authority, site: Certificate) -> None:
    """The backend prefers HTTP/2 in the handshake: it is not offered for a check that is made over HTTP/1.1."""
    one = Secure(site, ["h2", "http/1.1"])
    try:
        check = {**PATIENT, "type": "http", "path": "/healthz"}
        gateway: Gateway = launch(upstreams=[fleet([one.port], tls=secured(authority), http2={"enabled": True}, health={"check": check})])
        becomes(gateway, "healthy")
        assert set(one.agreed) == {"http/1.1"}
    finally:
        one.stop()


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_a_certificate_for_another_name(launch, authority: Authority, site: Certificate, kind: str) -> None:
    one = Secure(site)
    try:
        gateway: Gateway = launch(upstreams=[fleet([one.port], tls=secured(authority, "other.test"), health={"check": {**PATIENT, "type": kind}})])
        becomes(gateway, "unhealthy")
        assert "TLS" in standing(gateway)[0]["reason"]
        gateway.reload(upstreams=[fleet([one.port], tls=secured(authority), health={"check": {**PATIENT, "type": kind, **({"path": "/healthz"} if kind == "http" else {})}})])
        becomes(gateway, "healthy")
    finally:
        one.stop()


def test_a_connection_is_checked_to_the_end_of_the_handshake(launch, authority: Authority) -> None:
    """Somebody accepts connections, but speaks no TLS."""
    backend = Backend()
    backend.on_connection = lambda connection: connection.wait_end()
    try:
        gateway: Gateway = launch(upstreams=[fleet([backend.port], tls=secured(authority), health={"check": {**TIMES, "type": "tcp"}})])
        becomes(gateway, "unhealthy")
    finally:
        backend.stop()


def test_grpc_needs_http2_in_tls(tmp_path) -> None:
    for http2, complaint in (({}, "needs http2.enabled"), ({"enabled": True, "prefer": "never"}, 'does not go with http2.prefer "never"')):
        path = tmp_path / "gateway.json"
        path.write_text(json.dumps(
            {"upstreams": [{"name": "a", "host": "127.0.0.1", "tls": {"enabled": True}, "http2": http2, "health": {"check": {"type": "grpc"}}}]}))
        done = ctl("validate", "-c", str(path))
        assert done.returncode != 0 and complaint in done.stdout + done.stderr, done.stdout + done.stderr


# The PROXY protocol

HEADERS = {"v1": b"PROXY UNKNOWN\r\n", "v2": b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"}


@pytest.mark.parametrize("version", HEADERS)
def test_a_check_says_that_it_is_the_gateway(launch, version: str) -> None:
    """An endpoint that closes whatever does not begin with a header passes its checks."""
    def strict(connection: Connection) -> None:
        start = connection.reader.exactly(8)
        if start[:6] == b"PROXY ":
            line = start + connection.reader.until(b"\r\n")
            seen.append(line)
        else:
            head = start + connection.reader.exactly(8)
            seen.append(head + connection.reader.exactly(int.from_bytes(head[14:16])))
            if head[:12] != HEADERS["v2"][:12]:
                return
        request = connection.read_head()
        reply(body=b"fine")(connection, request)

    seen: list[bytes] = []
    backend = Backend()
    backend.on_connection = strict
    try:
        gateway: Gateway = launch(upstreams=[fleet([backend.port], proxy_protocol=version, health={"check": {**TIMES, "type": "http"}})])
        becomes(gateway, "healthy")
        assert set(seen) == {HEADERS[version]}
        assert gateway.get("/").body == b"fine"
        until(lambda: any(header != HEADERS[version] for header in seen), 5, "a request's header, which says who asks")
        gateway.reload(upstreams=[fleet([backend.port], health={"check": {**TIMES, "type": "http"}})])
        becomes(gateway, "unhealthy")
    finally:
        backend.stop()


@pytest.mark.parametrize("version", HEADERS)
def test_the_header_comes_before_tls(launch, authority: Authority, site: Certificate, version: str) -> None:
    one = Secure(site, starts=HEADERS[version])
    try:
        check = {**PATIENT, "type": "http", "path": "/healthz"}
        gateway: Gateway = launch(upstreams=[fleet([one.port], proxy_protocol=version, tls=secured(authority), health={"check": check})])
        becomes(gateway, "healthy")
    finally:
        one.stop()


# Several addresses


class Silent:
    """An address where nobody answers an attempt to connect: the queue is full."""

    def __init__(self, host: str, port: int) -> None:
        self.listener = socket.create_server((host, port), backlog=0)
        self.fillers = [socket.socket() for _ in range(4)]
        for filler in self.fillers:
            filler.setblocking(False)
            filler.connect_ex((host, port))

    def stop(self) -> None:
        for sock in [*self.fillers, self.listener]:
            sock.close()


@pytest.mark.parametrize("first", ["refuses", "says nothing"])
def test_the_other_family_is_tried(launch, first: str) -> None:
    """Requests would be served by way of the second address: so a check is passed by way of it."""
    backend = Backend(reply(body=b"by v6"), host="::1")
    silent = Silent("127.0.0.1", backend.port) if first == "says nothing" else None
    names = Scripted({("app.test", A): [a("127.0.0.1", 60)], ("app.test", AAAA): [aaaa("::1", 60)]})
    try:
        upstream = {
            "name": "fleet", "host": "app.test", "port": backend.port, "proxy": {"route_prefix": "/"}, "pool": {"connection_attempt_delay_ms": 50},
            "health": {"check": {**PATIENT, "type": "http"}}}
        gateway: Gateway = launch(upstreams=[upstream], dns=servers(names.port))
        becomes(gateway, "healthy")
        until(lambda: standing(gateway)[0]["checks"] >= 4, 10)
        assert standing(gateway)[0]["failed_checks"] == 0
        assert gateway.get("/").body == b"by v6"
        # One check is one, however many attempts it took.
        before, after = len(backend.requests), standing(gateway)[0]["checks"]
        assert abs(before - after) <= 3, (before, after)
        backend.stop()
        becomes(gateway, "unhealthy")
    finally:
        backend.stop()
        names.stop()
        if silent:
            silent.stop()


def test_no_check_waits_for_those_that_nobody_answers(launch) -> None:
    """More endpoints than can be checked at once do not answer; the one that does is found all the same."""
    silent = [Silent("127.0.0.1", free_port()) for _ in range(70)]
    backend = Backend(reply(body=b"here"))
    ports = [one.listener.getsockname()[1] for one in silent] + [backend.port]
    try:
        gateway: Gateway = launch(upstreams=[fleet(ports, health={"check": {**TIMES, "type": "http"}})])
        until(lambda: standing(gateway)[-1]["health"] == "healthy" and all(one["health"] == "unhealthy" for one in standing(gateway)[:-1]), 20, "all verdicts")
        assert gateway.get("/").body == b"here"
    finally:
        backend.stop()
        for one in silent:
            one.stop()
