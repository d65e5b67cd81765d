"""Connections to HTTP/2 backends: what is said on them, how many there are, and how long they live."""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from support.client import Client, request
from support.http2 import Http2
from support.misbehaving import BODY, Misbehaving, Peer, Peer2, Request2, Scenario
from support.tls import Authority
from support.wait import until

from .conftest import Behind, Setting

ALWAYS = {"enabled": True, "prefer": "always"}


class Watched:
    """A backend whose sessions can be looked at."""

    def __init__(self, settings: dict[int, int] | None = None) -> None:
        self.settings = settings
        self.sessions: list[Peer2] = []

    def __call__(self, peer: Peer) -> None:
        server = Peer2(peer, self.settings)
        self.sessions.append(server)
        server.serve()


def start(behind: Behind, *scenarios: Scenario, http2: dict[str, Any] | None = None, pool: dict[str, Any] | None = None, **more: Any) -> Setting:
    upstream: dict[str, Any] = {"http2": {**ALWAYS, **(http2 or {})}}
    if pool:
        upstream["pool"] = pool
    return behind(*scenarios, upstream=upstream, **more)


def sessions(setting: Setting) -> dict[str, int]:
    return setting.stats()["upstream_http2"]  # type: ignore[no-any-return]


# What is said


def test_settings_are_those_configured(behind: Behind) -> None:
    watched = Watched()
    setting = start(behind, watched, http2={"initial_window_size": 70_000, "max_frame_size": 20_000, "header_table_size": 10_000, "max_header_list_size": 5000,
                                            "max_concurrent_streams_pref": 7})
    assert setting.ask().status == 200
    assert list(watched.sessions[0].settings.items()) == [(4, 70_000), (5, 20_000), (1, 10_000), (6, 5000), (2, 0)]


def test_the_request_is_that_of_the_client(behind: Behind) -> None:
    seen: list[Request2] = []

    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        while True:
            seen.append(server.request())
            server.answer(seen[-1])

    setting = start(behind, scenario, proxy={"header_rewrite": {"rewrite_host": False}})
    assert setting.ask("PUT", "/api/a?b=c", "TE: gzip, trailers", "Connection: X-Gone, close", "X-Gone: 1", "X-Kept: 1", "Cookie: a=1; b=2", body=b"xyz").status == 200
    fields = [(name.decode(), value.decode()) for name, value in seen[0].fields]
    assert fields[:4] == [(":method", "PUT"), (":scheme", "http"), (":authority", "test"), (":path", "/api/a?b=c")]
    kept = dict(fields[4:])
    assert kept["te"] == "trailers" and kept["x-kept"] == "1" and kept["cookie"] == "a=1; b=2" and kept["content-length"] == "3"
    assert not {"host", "connection", "x-gone", "transfer-encoding", "upgrade", "keep-alive"} & kept.keys()
    assert seen[0].body == b"xyz"


def test_chunks_are_taken_apart_and_trailers_follow(behind: Behind) -> None:
    seen: list[Request2] = []

    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        seen.append(server.request())
        server.answer(seen[0])
        server.drain()

    setting = start(behind, scenario)
    with Client(setting.gateway.port) as client:
        client.send(request("POST", "/api", "Transfer-Encoding: chunked", "Trailer: X-Sum") + b"3\r\nabc\r\n")
        until(lambda: setting.backend.connections)
        client.send(b"2\r\nde\r\n0\r\nX-Sum: 5\r\nContent-Length: 9\r\n\r\n")
        assert client.read().status == 200
    assert seen[0].body == b"abcde" and seen[0].trailers == [(b"x-sum", b"5")]
    assert seen[0].header("transfer-encoding") is None and seen[0].header("content-length") is None


@pytest.mark.parametrize("mode", ["streaming", "buffered"])
def test_no_body_is_no_data(behind: Behind, mode: str) -> None:
    """END_STREAM stands on the request's own frame."""
    ended: list[bool] = []

    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        while True:
            asked = server.head()
            ended.append(asked.ended)
            server.answer(asked)

    setting = behind(scenario, upstream={"http2": ALWAYS, "request_mode": mode})
    assert setting.ask().status == 200
    assert setting.ask("POST", "/api", "Content-Length: 0").status == 200
    assert ended == [True, True]


# How many


def test_requests_share_a_connection(behind: Behind) -> None:
    """Those that come while it is being opened wait for it."""
    go = threading.Event()

    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        asked = [server.request() for _ in range(30)]
        go.set()
        for one in reversed(asked):
            server.answer(one)
        server.serve()

    setting = start(behind, scenario)
    clients = [Client(setting.gateway.port) for _ in range(30)]
    for client in clients:
        client.send(request("GET", "/api"))
    assert [client.read().body for client in clients] == [BODY] * 30
    assert go.is_set() and len(setting.backend.connections) == 1
    found = sessions(setting)
    assert (found["connections_active"], found["connections"], found["streams"], found["streams_active"]) == (1, 1, 30, 0)
    for client in clients:
        client.close()


def test_more_than_a_connection_takes(behind: Behind) -> None:
    """Others are opened as far as the pool allows; beyond it requests wait."""
    full = threading.Barrier(3, timeout=10)

    def scenario(peer: Peer) -> None:
        server = Peer2(peer, windows=False)
        asked = [server.request(), server.request()]
        full.wait()
        # The rest waits for these.
        assert len(server.order) == 2
        for one in asked:
            server.answer(one)
        server.serve()

    setting = start(behind, scenario, http2={"max_concurrent_streams_pref": 2}, pool={"max_connections": 3, "max_idle_connections": 3})
    clients = [Client(setting.gateway.port) for _ in range(12)]
    for client in clients:
        client.send(request("GET", "/api"))
    assert [client.read().status for client in clients] == [200] * 12
    assert len(setting.backend.connections) == 3
    for client in clients:
        client.close()


class Holding:
    """A backend that keeps its answers back until it is told to give them; counts the requests of each connection."""

    def __init__(self, streams: int) -> None:
        self.streams = streams
        self.held: list[list[Request2]] = []
        self.servers: list[Peer2] = []

    def __call__(self, peer: Peer) -> None:
        server = Peer2(peer, {3: self.streams})
        mine: list[Request2] = []
        self.held.append(mine)
        self.servers.append(server)
        while True:
            mine.append(server.request())

    def answer(self) -> None:
        for server, requests in zip(self.servers, self.held):
            for one in requests:
                server.answer(one)


def held(setting: Setting, holding: Holding, count: int, clients: list[Client]) -> list[int]:
    """One request more at a time, `count` in all; how many each connection has then."""
    for _ in range(count):
        clients.append(Client(setting.gateway.port))
        clients[-1].send(request("GET", "/api"))
        until(lambda: sum(map(len, holding.held)) == len(clients), what="the requests")
    return [len(one) for one in holding.held]


def release(holding: Holding, clients: list[Client]) -> None:
    holding.answer()
    assert [client.read().status for client in clients] == [200] * len(clients)
    for client in clients:
        client.close()


def test_a_nearly_full_connection_gets_company(behind: Behind) -> None:
    """At the saturation another connection is opened, while the request that found none emptier does not wait for it."""
    holding = Holding(10)
    setting = start(behind, holding, http2={"saturation_open_pct": 50}, pool={"max_connections": 2, "max_idle_connections": 2}, proxy={"response_timeout_ms": 20_000})
    clients: list[Client] = []
    assert held(setting, holding, 5, clients) == [5]
    assert len(setting.backend.connections) == 1
    # The sixth finds the one connection half full: it goes there, and those that follow go to the second.
    held(setting, holding, 1, clients)
    until(lambda: sessions(setting)["connections_active"] == 2, what="the second connection")
    assert held(setting, holding, 5, clients) == [6, 5]
    # Both are half full, and there may be no third: what is left is filled up.
    assert sum(held(setting, holding, 9, clients)) == 20 and max(map(len, holding.held)) == 10
    assert len(setting.backend.connections) == 2
    release(holding, clients)


def test_without_saturation_a_connection_is_filled_first(behind: Behind) -> None:
    holding = Holding(4)
    setting = start(behind, holding, pool={"max_connections": 2, "max_idle_connections": 2}, proxy={"response_timeout_ms": 20_000})
    clients: list[Client] = []
    assert held(setting, holding, 4, clients) == [4] and len(setting.backend.connections) == 1
    assert held(setting, holding, 2, clients) == [4, 2]
    assert sessions(setting)["preconnects"] == 0
    release(holding, clients)


def test_a_connection_is_warmed_up_before_it_is_needed(behind: Behind) -> None:
    """From the watermark on there is a second connection, on which nothing has been sent yet."""
    holding = Holding(10)
    setting = start(behind, holding, http2={"saturation_open_pct": 80, "preconnect_watermark_pct": 30}, pool={"max_connections": 2, "max_idle_connections": 2},
                    proxy={"response_timeout_ms": 20_000})
    clients: list[Client] = []
    held(setting, holding, 2, clients)
    assert len(setting.backend.connections) == 1 and sessions(setting)["preconnects"] == 0
    held(setting, holding, 1, clients)
    until(lambda: sessions(setting)["connections_active"] == 2, what="the second connection")
    assert sessions(setting)["preconnects"] == 1 and sorted(map(len, holding.held)) == [0, 3]
    # Both pass the watermark in the end; there is no room for a third.
    held(setting, holding, 9, clients)
    until(lambda: sessions(setting)["preconnects_skipped"] > 0, what="a connection that was not opened")
    assert len(setting.backend.connections) == 2 and sessions(setting)["preconnects"] == 1
    release(holding, clients)


def test_warming_up_that_fails_harms_nobody(behind: Behind) -> None:
    """The backend takes one connection and ends the others before they are of use."""
    holding = Holding(10)
    failed = threading.Event()

    def ends(peer: Peer) -> None:
        failed.set()

    setting = start(behind, holding, ends, http2={"saturation_open_pct": 80, "preconnect_watermark_pct": 30}, pool={"max_connections": 2, "max_idle_connections": 2},
                    proxy={"response_timeout_ms": 20_000})
    clients: list[Client] = []
    held(setting, holding, 4, clients)
    assert failed.wait(5)
    release(holding, clients)
    assert setting.stats()["faults"] == {}


def test_sessions_are_in_the_status(behind: Behind) -> None:
    holding = Holding(10)
    setting = start(behind, holding, proxy={"response_timeout_ms": 20_000})
    clients: list[Client] = []
    held(setting, holding, 3, clients)

    def workers() -> list[dict[str, Any]]:
        return [worker for generation in json.loads(setting.gateway.ctl("status", "--json").stdout)["generations"] for worker in generation["workers"]]

    until(lambda: [(one["upstream_connections"], one["upstream_http2_sessions"], one["upstream_http2_streams"]) for one in workers()] == [(1, 1, 3)],
          what="the session in the status")
    text = setting.gateway.ctl("status").stdout
    assert re.search(r"backends +1 connection, 0 idle; 1 of them HTTP/2 with 3 streams", text), text
    release(holding, clients)


def test_trailers_follow_a_body_of_known_length(behind: Behind) -> None:
    """From stream to stream: nothing in HTTP/2 speaks against it, and gRPC servers may do so."""
    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        while True:
            asked = server.request()
            server.headers(asked.stream, [(":status", "200"), ("content-type", "application/grpc"), ("content-length", "5")])
            server.data(asked.stream, b"hello", end=False)
            server.headers(asked.stream, [("grpc-status", "0"), ("x-sum", "1")], end=True)

    setting = start(behind, scenario, proxy={"forward_trailers": True})
    with Http2(setting.gateway.port) as client:
        call = client.answer(client.request("POST", "/api", ("content-type", "application/grpc"), ("te", "trailers"), body=b"\0\0\0\0\0"))
        plain = client.get("/api")
    for answer in (call, plain):
        assert answer.status == 200 and answer.body == b"hello" and (b"grpc-status", b"0") in answer.trailers, answer
    # HTTP/1.1 has no place for them behind a length.
    outcome = setting.ask()
    assert outcome.response is not None and outcome.response.body == b"hello" and outcome.token == "-"


@pytest.mark.parametrize("ends_with_data", [False, True])
def test_trailers_follow_a_body_of_length_zero(behind: Behind, ends_with_data: bool) -> None:
    """…or none do, and the stream is over all the same."""
    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        while True:
            asked = server.request()
            server.headers(asked.stream, [(":status", "200"), ("content-type", "application/grpc"), ("content-length", "0")])
            if ends_with_data:
                server.data(asked.stream, b"", end=True)
            else:
                server.headers(asked.stream, [("grpc-status", "5"), ("x-sum", "0")], end=True)

    setting = start(behind, scenario, proxy={"forward_trailers": True})
    with Http2(setting.gateway.port) as client:
        call = client.answer(client.request("POST", "/api", ("content-type", "application/grpc"), ("te", "trailers"), body=b"\0\0\0\0\0"))
        plain = client.get("/api")
    for answer in (call, plain):
        assert answer.status == 200 and answer.body == b"" and (b"content-length", b"0") in answer.fields, answer
        assert answer.trailers == ([] if ends_with_data else [(b"grpc-status", b"5"), (b"x-sum", b"0")]), answer
    outcome = setting.ask()
    assert outcome.response is not None and outcome.response.body == b"" and outcome.token == "-"


def test_idle_connections_are_closed(behind: Behind) -> None:
    watched = Watched()
    setting = start(behind, watched, pool={"idle_timeout_sec": "300ms"})
    assert setting.ask().status == 200
    assert setting.backend.connections[0].ended.wait(5)
    assert watched.sessions[0].goaways == [(0, 0)]
    assert sessions(setting)["connections_active"] == 0
    assert setting.ask().status == 200 and len(setting.backend.connections) == 2


def test_used_connections_are_replaced(behind: Behind) -> None:
    watched = Watched()
    setting = start(behind, watched, pool={"max_requests_per_conn": 3})
    for _ in range(7):
        assert setting.ask("POST", body=b"x").status == 200
    assert [len(one.order) for one in watched.sessions] == [3, 3, 1]
    until(lambda: [one.goaways for one in watched.sessions[:2]] == [[(0, 0)]] * 2)


def test_old_connections_are_replaced(behind: Behind) -> None:
    """A request that is under way is not cut off."""
    go = threading.Event()

    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        asked = server.request()
        go.wait(5)
        server.answer(asked)
        server.drain()

    watched = Watched()
    setting = start(behind, scenario, watched, pool={"max_lifetime_sec": "200ms"}, proxy={"response_timeout_ms": 10_000})
    with Client(setting.gateway.port) as client:
        client.send(request("GET", "/api"))
        time.sleep(0.4)
        assert setting.ask().status == 200
        go.set()
        assert client.read().status == 200
    assert len(setting.backend.connections) == 2
    assert setting.backend.connections[0].ended.wait(5)


def test_goaway_limits_how_long_requests_go_on(behind: Behind) -> None:
    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        server.goaway(server.request().stream)
        server.drain()

    setting = start(behind, scenario, http2={"goaway_drain_timeout_sec": "200ms"}, proxy={"response_timeout_ms": 10_000})
    outcome = setting.ask("POST", body=b"x")
    assert (outcome.status, outcome.token) == (502, "http2_goaway_timeout")
    assert sessions(setting)["goaways"] == 1


def test_ping_timeout_fails_what_is_under_way(behind: Behind) -> None:
    def scenario(peer: Peer) -> None:
        Peer2(peer).request()
        while peer.reader.some(65_536):
            pass

    setting = start(behind, scenario, http2={"ping_idle_sec": "100ms", "ping_timeout_sec": "100ms"}, proxy={"response_timeout_ms": 10_000})
    outcome = setting.ask("POST", body=b"x")
    assert (outcome.status, outcome.token) == (502, "http2_ping_timeout")
    assert sessions(setting)["ping_timeouts"] == 1


def test_pings_keep_a_slow_answer(behind: Behind) -> None:
    watched: list[Peer2] = []

    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        watched.append(server)
        asked = server.request()
        while server.pings < 3:
            server.step()
        server.answer(asked)
        server.drain()

    setting = start(behind, scenario, http2={"ping_idle_sec": "50ms", "ping_timeout_sec": "5s"}, proxy={"response_timeout_ms": 10_000})
    assert setting.ask().status == 200 and watched[0].pings >= 3


def test_a_client_that_goes_cancels_its_stream(behind: Behind) -> None:
    """…and no other."""
    watched = Watched()
    arrived = threading.Event()

    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        first = server.request()
        arrived.set()
        while first.reset is None:
            server.step()
        codes.append(first.reset)
        server.serve()

    codes: list[int] = []
    setting = start(behind, scenario, watched, proxy={"response_timeout_ms": 10_000})
    with Client(setting.gateway.port) as client:
        client.send(request("GET", "/api"))
        assert arrived.wait(5)
        client.reset()
    until(lambda: codes, what="the reset")
    assert codes == [8] and setting.ask().status == 200 and len(setting.backend.connections) == 1


@pytest.mark.parametrize("leaving", ["connection", "HTTP/2 connection", "HTTP/2 stream"])
@pytest.mark.parametrize(("missing", "token"), [(0, "-"), (1, "client_aborted")])
def test_a_client_that_has_all_may_go(behind: Behind, missing: int, token: str, leaving: str) -> None:
    """A body of known length is over with its last byte, whether or not the backend has ended its stream."""
    resets: list[int] = []

    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        asked = server.request()
        server.headers(asked.stream, [(":status", "200"), ("content-length", str(5 + missing))])
        server.data(asked.stream, b"hello", end=False)
        while asked.reset is None:
            server.step()
        resets.append(asked.reset)
        server.drain()

    setting = start(behind, scenario, proxy={"buffering": "never"})
    if leaving == "connection":
        with Client(setting.gateway.port) as client:
            client.send(request("GET", "/api", "X-Request-Id: whole"))
            received = b""
            while not received.endswith(b"hello"):
                received += client.sock.recv(65536)
            client.reset()
    else:
        with Http2(setting.gateway.port) as session:
            stream = session.request("GET", "/api", ("x-request-id", "whole"))
            session.until(lambda: session.answers[stream].body == b"hello", "the body")
            if leaving == "HTTP/2 stream":
                session.reset(stream)
                assert session.get("/health").status == 200
    entry = setting.entry("whole")
    assert entry.get("error.type", "-") == token and entry["http.response.status_code"] == 200
    until(lambda: resets, what="the reset of the stream")
    assert resets == [8] and setting.stats()["faults"] == ({token: 1} if missing else {})


def test_a_stop_says_goodbye(behind: Behind) -> None:
    watched = Watched()
    setting = start(behind, watched)
    assert setting.ask().status == 200
    setting.gateway.stop()
    assert setting.backend.connections[0].ended.wait(5)
    assert watched.sessions[0].goaways == [(0, 0)]


# What they speak


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


Speaking = Callable[[list[str]], ssl.SSLContext]


@pytest.fixture
def secure(authority: Authority) -> Speaking:
    """TLS of a backend that speaks these protocols."""

    def make(protocols: list[str]) -> ssl.SSLContext:
        site = authority.issue("localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(site.chain, site.key)
        if protocols:
            context.set_alpn_protocols(protocols)
        return context

    return make


def either(peer: Peer) -> None:
    """Speaks what was agreed on."""
    if peer.sock.selected_alpn_protocol() == "h2":  # type: ignore[attr-defined]
        Peer2(peer).serve()
    else:
        peer.serve()


def over_tls(behind: Behind, authority: Authority, context: Any, prefer: str, scenario: Scenario = either, **proxy: Any) -> Setting:
    return behind(scenario, context=context, proxy=proxy,
                  upstream={"tls": {"enabled": True, "ca_file": str(authority.root.chain), "sni_hostname": "localhost"},
                            "http2": {"enabled": True, "prefer": prefer}})


@pytest.mark.parametrize("protocols,spoken", [(["h2", "http/1.1"], "h2"), (["h2"], "h2"), (["http/1.1"], "http/1.1"), ([], None)])
def test_auto_takes_what_the_backend_chooses(behind: Behind, authority: Authority, secure: Speaking, protocols: list[str], spoken: str | None) -> None:
    setting = over_tls(behind, authority, secure(protocols), "auto")
    for _ in range(5):
        assert setting.ask("POST", body=b"x").status == 200
    assert {peer.sock.selected_alpn_protocol() for peer in setting.backend.connections} == {spoken}  # type: ignore[attr-defined]
    assert sessions(setting)["streams"] == (5 if spoken == "h2" else 0)
    assert len(setting.backend.connections) == 1


def test_auto_does_not_queue_where_http1_is_spoken(behind: Behind, authority: Authority, secure: Speaking) -> None:
    """All who waited for the first handshake go on by themselves, and nobody waits again."""
    setting = over_tls(behind, authority, secure(["http/1.1"]), "auto")
    for _ in range(2):
        clients = [Client(setting.gateway.port) for _ in range(10)]
        for client in clients:
            client.send(request("GET", "/api"))
        assert [client.read().status for client in clients] == [200] * 10
        for client in clients:
            client.close()
    assert 1 < len(setting.backend.connections) <= 10


@pytest.mark.parametrize("protocols", [["http/1.1"], []])
def test_always_insists(behind: Behind, authority: Authority, secure: Speaking, protocols: list[str]) -> None:
    setting = over_tls(behind, authority, secure(protocols), "always")
    outcome = setting.ask()
    assert (outcome.status, outcome.token) == (502, "http2_not_negotiated")
    assert outcome.response is not None and outcome.response.header("x-h2-limitation") == "alpn-not-h2"
    assert len(setting.lines("http2_not_negotiated")) == 1


def test_never_does_not_offer_it(behind: Behind, authority: Authority, secure: Speaking) -> None:
    setting = over_tls(behind, authority, secure(["h2", "http/1.1"]), "never")
    assert setting.ask().status == 200
    assert setting.backend.connections[0].sock.selected_alpn_protocol() in (None, "http/1.1")  # type: ignore[attr-defined]


def test_http11_required_is_heeded(behind: Behind, authority: Authority, secure: Speaking) -> None:
    """The request is sent again over HTTP/1.1, and those that follow are not sent over HTTP/2 at all."""
    seen: list[str | None] = []

    def scenario(peer: Peer) -> None:
        seen.append(peer.sock.selected_alpn_protocol())  # type: ignore[attr-defined]
        if seen[-1] == "h2":
            server = Peer2(peer)
            server.reset(server.request().stream, 13)
            server.drain()
        else:
            peer.serve()

    setting = over_tls(behind, authority, secure(["h2", "http/1.1"]), "auto", scenario)
    for _ in range(3):
        assert setting.ask("POST", body=b"x").status == 200
    assert seen == ["h2", "http/1.1"]


UPGRADE = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]


def test_websockets_get_http1(behind: Behind, authority: Authority, secure: Speaking) -> None:
    seen: list[str | None] = []

    def scenario(peer: Peer) -> None:
        seen.append(peer.sock.selected_alpn_protocol())  # type: ignore[attr-defined]
        if seen[-1] == "h2":
            return Peer2(peer).serve()
        peer.request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
        peer.wait_end(5)
        return None

    setting = over_tls(behind, authority, secure(["h2", "http/1.1"]), "auto", scenario)
    assert setting.ask().status == 200
    with Client(setting.gateway.port) as client:
        client.send(request("GET", "/api", *UPGRADE))
        assert client.read_head().status == 101
    assert setting.ask().status == 200
    assert seen == ["h2", "http/1.1"]


def test_websockets_need_http1(behind: Behind) -> None:
    setting = start(behind, Watched())
    outcome = setting.ask("GET", "/api", *UPGRADE)
    assert (outcome.status, outcome.token) == (502, "http2_upgrade_unsupported")
    assert outcome.response is not None and outcome.response.header("x-h2-limitation") == "connect-not-supported"


def test_stopped_backend_is_reported_once_per_request(behind: Behind) -> None:
    setting = start(behind, Watched())
    assert setting.ask().status == 200
    setting.backend.stop()
    outcome = setting.ask("POST", body=b"x")
    assert outcome.status == 502 and len(setting.lines(outcome.token)) == 1
    assert isinstance(setting.backend, Misbehaving)
