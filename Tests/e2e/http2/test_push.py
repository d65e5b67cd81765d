"""Server push: what Link fields ask to be preloaded, where it is switched on and the client takes it."""

from __future__ import annotations

import json

import pytest

from support.backend import Backend, Connection, Request, hang, reply
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.http2 import CANCEL, RST_STREAM, Http2
from support.wait import until

ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 2, 3


@pytest.fixture
def gateway(launch, backend: Backend) -> Gateway:  # type: ignore[no-untyped-def]
    return launch(
        access_log=True, http2={"enable_push": True}, upstreams=[upstream(backend.port)],
        routes=[
            {"path": "/page", "respond": {"body": "page", "headers": {"Link": "</style.css>; rel=preload; as=style, </api/data?x=1>; rel=\"preload\""}}},
            respond("/style.css", body="style"),
            {"path": "/nested", "respond": {"body": "n", "headers": {"Link": "</page>; rel=preload"}}},
        ])


def page(*links: str, status: int = 200):  # type: ignore[no-untyped-def]
    def answer(connection: Connection, request: Request) -> None:
        if request.target == "/api":
            reply(status, *(f"Link: {link}" for link in links), body=b"page")(connection, request)
        else:
            reply(body=request.target.encode())(connection, request)

    return answer


def paths(client: Http2) -> list[str]:
    return [dict(fields)[b":path"].decode() for fields in client.promises.values()]


def test_links_are_pushed(gateway: Gateway, backend: Backend) -> None:
    backend.answer = reply(body=b"data")
    with Http2(gateway.port) as client:
        answer = client.get("/page", ("user-agent", "me"), ("accept-encoding", "gzip"), ("cookie", "secret=1"))
        assert answer.body == b"page" and answer.header("link")
        assert client.promises == {
            2: [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"test"), (b":path", b"/style.css"), (b"user-agent", b"me"), (b"accept-encoding", b"gzip")],
            4: [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"test"), (b":path", b"/api/data?x=1"), (b"user-agent", b"me"), (b"accept-encoding", b"gzip")],
        }
        assert set(client.promised_in.values()) == {answer.stream}
        assert client.answer(2).body == b"style" and client.answer(4).body == b"data"
        assert client.answers[2].status == 200
        stats = json.loads(client.get("/stats").body)["http2"]
        assert (stats["pushes"], stats["streams_active"]) == (2, 1)
    asked = backend.requests[0]
    assert (asked.target, asked.header("user-agent"), asked.header("x-forwarded-host"), asked.header("via"), asked.header("cookie")) == ("/api/data?x=1", "me", "test", "2.0 gateway", None)
    entries = {entry["url.path"]: entry for entry in gateway.access_entries(4)}
    assert entries["/style.css"]["http.response.status_code"] == 200 and entries["/style.css"]["network.protocol.version"] == "2"
    assert entries["/api/data"]["user_agent.original"] == "me"


@pytest.mark.parametrize("links, expected", [
    (["</api/a>; rel=preload"], ["/api/a"]),
    (["</api/a>;rel=preload;as=script,</api/b>; as=style; rel=\"next PreLoad\""], ["/api/a", "/api/b"]),
    (["</api/a>; rel=preload", "</api/b>; rel=preload"], ["/api/a", "/api/b"]),
    (["</api/a>; rel=preload, </api/a>; rel=preload"], ["/api/a"]),
    (["</api/a#part>; rel=preload"], ["/api/a"]),
    (["<http://test/api/a>; rel=preload"], ["/api/a"]),
    ([f"</api/{number}>; rel=preload" for number in range(20)], [f"/api/{number}" for number in range(8)]),
    (["</api/a>; rel=preload; nopush"], []),
    (["</api/a>; rel=stylesheet", "</api/a>", "</api/a>; rel=next; rel=preload"], []),
    (["<//test/api/a>; rel=preload"], []),
    (["<https://test/api/a>; rel=preload"], []),
    (["<http://other/api/a>; rel=preload", "<http://test.other/api/a>; rel=preload", "<http://test:81/api/a>; rel=preload"], []),
    (["<api/a>; rel=preload", "<>; rel=preload", "</api/a b>; rel=preload"], []),
    (["</api/a; rel=preload", "rel=preload", ";", "</api/a>; rel=\"preload"], ["/api/a"]),
])
def test_which_links(gateway: Gateway, backend: Backend, links: list[str], expected: list[str]) -> None:
    backend.answer = page(*links)
    with Http2(gateway.port) as client:
        assert client.get("/api").body == b"page"
        assert paths(client) == expected
        for stream in client.promises:
            assert client.answer(stream).status == 200
        client.ping()


@pytest.mark.parametrize("status", [302, 404, 500])
def test_only_with_a_success(gateway: Gateway, backend: Backend, status: int) -> None:
    backend.answer = page("</api/a>; rel=preload", status=status)
    with Http2(gateway.port) as client:
        assert client.get("/api").status == status
        assert not client.promises


def test_what_is_pushed_pushes_nothing(gateway: Gateway) -> None:
    with Http2(gateway.port) as client:
        client.get("/nested")
        assert paths(client) == ["/page"] and client.answer(2).body == b"page"
        client.ping()
        assert len(client.promises) == 1


def test_only_get(gateway: Gateway, backend: Backend) -> None:
    backend.answer = page("</api/a>; rel=preload")
    with Http2(gateway.port) as client:
        assert client.answer(client.request("POST", "/api", body=b"x")).status == 200
        assert client.answer(client.request("HEAD", "/api")).status == 200
        assert not client.promises


@pytest.mark.parametrize("settings", [{ENABLE_PUSH: 0}, {MAX_CONCURRENT_STREAMS: 0}])
def test_a_client_that_takes_none(gateway: Gateway, settings: dict[int, int]) -> None:
    with Http2(gateway.port, settings=settings) as client:
        assert client.get("/page").body == b"page" and not client.promises


def test_no_more_than_the_client_takes(gateway: Gateway, backend: Backend) -> None:
    backend.answer = lambda connection, request: page("</api/a>; rel=preload, </api/b>; rel=preload")(connection, request) if request.target == "/api" else hang(connection, request)
    with Http2(gateway.port, settings={MAX_CONCURRENT_STREAMS: 1}) as client:
        for _ in range(2):
            assert client.get("/api").status == 200
        assert paths(client) == ["/api/a"]
        client.reset(2)
        client.ping()
        assert client.get("/api").status == 200
        assert paths(client) == ["/api/a", "/api/a"]


def test_a_refused_push_is_cancelled(gateway: Gateway, backend: Backend) -> None:
    backend.answer = lambda connection, request: page("</api/slow>; rel=preload")(connection, request) if request.target == "/api" else hang(connection, request)
    with Http2(gateway.port) as client:
        # More often than resets are put up with.
        for turn in range(120):
            assert client.get("/api").status == 200
            stream = 2 * (turn + 1)
            client.frame(RST_STREAM, 0, stream, CANCEL.to_bytes(4, "big"))
        until(lambda: all(request.connection.ended.is_set() for request in backend.requests if request.target == "/api/slow"))
        assert client.get("/stats").status == 200
        assert json.loads(client.get("/stats").body)["http2"]["streams_active"] == 1


def test_off_unless_switched_on(launch) -> None:  # type: ignore[no-untyped-def]
    gateway = launch(routes=[{"path": "/page", "respond": {"body": "page", "headers": {"Link": "</style.css>; rel=preload"}}}])
    with Http2(gateway.port) as client:
        assert client.get("/page").body == b"page"
        client.ping()
        assert not client.promises
