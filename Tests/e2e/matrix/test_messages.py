"""Small messages: fields, bodies, trailers and interim responses arrive as they were sent."""

from __future__ import annotations

import json

import pytest

from support.message import values
from support.wait import until

from .conftest import Pair

#: RFC 9110 §7.6.3: that of the message that was received.
VERSION = {"h1": "1.1", "h1s": "1.1", "h2c": "2.0", "h2s": "2.0"}
CONNECTION = ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade")


def arrived(body: bytes) -> dict:  # type: ignore[type-arg]
    told = json.loads(body)
    told["fields"] = [(name.encode(), value.encode("latin-1")) for name, value in told["fields"]]
    return told


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_without_a_body(pair: Pair, method: str) -> None:
    request = pair.new_id()
    call = pair.connect().begin(method, pair.path("small?a=1&b=%20"), [("X-Request-Id", request), ("X-Two", "a"), ("X-Two", "b")])
    head = call.head()
    body = b"".join(call.body())
    assert head.status == 200 and values(head.fields, "x-kept") == ["a", "b"]
    assert head.header("via") == f"{VERSION[pair.backend_kind]} gateway"
    # The client has the answer before the backend notes that it has given it.
    record = until(lambda: (found := pair.record(request))["answered"] and found, what="the backend's note")
    assert (record["count"], record["received"], record["whole"]) == (1, 0, True)
    if method == "HEAD":
        assert body == b"" and int(head.header("content-length") or 0) > 0
        return
    told = arrived(body)
    assert (told["method"], told["target"]) == (method, pair.path("small?a=1&b=%20"))
    assert values(told["fields"], "x-two") == ["a", "b"] and values(told["fields"], "via") == [f"{VERSION[pair.kind]} gateway"]
    assert values(told["fields"], "x-forwarded-proto") == ["https" if pair.kind in ("h1s", "h2s") else "http"]
    assert not values(told["fields"], "content-length") and not values(told["fields"], "transfer-encoding")
    if told["version"] == "2":
        assert not [name for name in CONNECTION if values(told["fields"], name)]
        assert values(told["fields"], ":scheme") == ["https" if pair.backend_kind == "h2s" else "http"]
    else:
        assert len(values(told["fields"], "host")) == 1


@pytest.mark.parametrize("framing", ["length", "no length"])
def test_with_a_body(pair: Pair, framing: str) -> None:
    body = bytes(range(256)) * 40
    caller = pair.connect()
    for _ in range(3):
        if framing == "length":
            call = caller.begin("POST", pair.path("small"), body=body)
        else:
            call = caller.begin("POST", pair.path("small"), open=True)
            call.send(body[:5000])
            call.send(body[5000:])
            call.finish()
        told = arrived(call.whole())
        assert told["received"] == len(body)
        if framing == "length":
            assert values(told["fields"], "content-length") == [str(len(body))]
        else:
            assert not values(told["fields"], "content-length")


def test_many_on_one_connection(pair: Pair) -> None:
    """One after the other, and where the client can, at the same time."""
    caller = pair.connect()
    for _ in range(20):
        assert caller.begin("GET", pair.path("small")).head().status == 200 if pair.kind.startswith("h2") else \
            caller.begin("GET", pair.path("small")).whole()
    if pair.kind.startswith("h2"):
        calls = [caller.begin("POST", pair.path("small"), body=b"x" * count) for count in range(1, 40)]
        assert [arrived(call.whole())["received"] for call in calls] == list(range(1, 40))


def test_204(pair: Pair) -> None:
    caller = pair.connect()
    for _ in range(2):
        call = caller.begin("POST", pair.path("empty"), body=b"x")
        head = call.head()
        assert head.status == 204 and b"".join(call.body()) == b""
        assert head.header("content-length") is None and head.header("transfer-encoding") is None


def test_trailers(pair: Pair) -> None:
    caller = pair.connect()
    for _ in range(2):
        call = caller.begin("POST", pair.path("trailers"), [("TE", "trailers"), ("Trailer", "X-Sent")], open=True)
        call.send(b"abc")
        call.finish([("X-Sent", "yes")])
        told = json.loads(call.whole())
        assert told["received"] == 3
        assert [(name.lower(), value) for name, value in told["trailers"]] == [("x-sent", "yes")]
        assert [(name.lower(), value) for name, value in call.trailers] == [(b"x-sum", told["sha256"].encode()), (b"x-more", b"1")]
    # The connection is still good.
    assert caller.begin("GET", pair.path("small")).whole()


def test_early_hints(pair: Pair) -> None:
    """They are there before the final response can be."""
    caller = pair.connect()
    for _ in range(2):
        call = caller.begin("POST", pair.path("hints"), length=4, open=True)
        hints = call.interim()
        assert hints.status == 103 and values(hints.fields, "link") == ["</a.css>; rel=preload", "</b.js>; rel=preload"]
        call.send(b"body")
        call.finish()
        assert call.head().status == 200 and arrived(call.whole())["received"] == 4
