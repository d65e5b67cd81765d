"""Early responses, and either side giving up."""

from __future__ import annotations

import pytest

from support.kinds import Cut
from support.wait import until

from .conftest import Pair

CANCEL = 8


def test_early_response(pair: Pair) -> None:
    """The answer comes while the request's body is still to come."""
    caller = pair.connect()
    request = pair.new_id()
    call = caller.begin("POST", pair.path("early"), [("X-Request-Id", request)], length=1 << 20, open=True)
    try:
        call.send(b"x" * 10_000)
    except Cut as cut:
        # It may be here before that (RFC 9113 §8.1).
        assert pair.kind.startswith("h2") and cut.code == 0
    head = call.head()
    assert head.status == 403 and b"".join(call.body()) == b'{"early": true}'
    assert pair.record(request)["count"] == 1
    # Nothing of the exchange is in the way of the next one.
    assert pair.connect().begin("GET", pair.path("small")).head().status == 200


def test_early_response_into_a_body_on_its_way(pair: Pair) -> None:
    caller = pair.connect()
    call = caller.begin("POST", pair.path("early"), length=32 << 20, open=True)
    try:
        for _ in range(32):
            call.send(b"x" * (1 << 20))
    except Cut as cut:
        # RFC 9113 §8.1: NO_ERROR says that the rest is not wanted; the response stands.
        assert pair.kind.startswith("h1") or cut.code == 0
    assert call.head().status == 403 and b"".join(call.body()) == b'{"early": true}'


@pytest.mark.parametrize("moment", ["before the response", "within the response", "within the request"])
@pytest.mark.parametrize("how", ["abort", "vanish"])
def test_client_aborts(pair: Pair, moment: str, how: str) -> None:
    caller = pair.connect()
    request = pair.new_id()
    fields = [("X-Request-Id", request)]
    if moment == "before the response":
        call = caller.begin("GET", pair.path("hang"), fields)
        until(lambda: pair.record(request)["count"])
    elif moment == "within the response":
        call = caller.begin("GET", pair.path(f"down?size={1 << 30}"), fields)
        call.head()
        next(iter(call.body()))
    else:
        call = caller.begin("POST", pair.path("small"), fields, length=1 << 20, open=True)
        call.send(b"x" * 10_000)
        until(lambda: pair.record(request)["received"] == 10_000)
    call.abort() if how == "abort" else caller.vanish()
    cut = until(lambda: pair.record(request)["cut"] is not None and pair.record(request), what="the backend's being told")["cut"]
    assert cut == CANCEL if pair.backend_kind.startswith("h2") else cut in ("closed", "reset")
    assert pair.record(request)["count"] == 1
    assert pair.entry(request).get("error.type") == "client_aborted"
    assert pair.connect().begin("GET", pair.path("small")).head().status == 200


def test_client_resets_one_stream_of_several(pair: Pair) -> None:
    if not pair.kind.startswith("h2"):
        assert not pair.connect().http2
        return
    caller = pair.connect()
    first, second = pair.new_id(), pair.new_id()
    one = caller.begin("GET", pair.path("drip"), [("X-Request-Id", first)])
    two = caller.begin("GET", pair.path("drip"), [("X-Request-Id", second)])
    for call in (one, two):
        call.head()
    one.abort()
    pair.backend.go(second, 10)
    assert b"".join(two.body()).count(b"piece") == 10
    pair.backend.go(first, 10)
    assert until(lambda: pair.record(first)["cut"], what="the reset")


def test_backend_aborts_before_the_response(pair: Pair) -> None:
    caller = pair.connect()
    request = pair.new_id()
    call = caller.begin("POST", pair.path("abort"), [("X-Request-Id", request)], body=b"x")
    assert call.head().status == 502
    call.whole()
    assert pair.record(request)["count"] == 1, "a POST was sent twice"
    entry = pair.entry(request)
    assert entry["error.type"] and entry["http.response.status_code"] == 502
    # The client's connection goes on.
    assert caller.begin("GET", pair.path("small")).head().status == 200


@pytest.mark.parametrize("framing", ["length", "no length"])
def test_backend_aborts_within_the_response(pair: Pair, framing: str) -> None:
    """The client can see that something is missing."""
    caller = pair.connect()
    request = pair.new_id()
    size = 600_000
    call = caller.begin("GET", pair.path(f"abort?size={size}{'&unframed' if framing != 'length' else ''}"), [("X-Request-Id", request)])
    assert call.head().status == 200
    got = 0
    body = call.body()
    while got < size:
        got += len(next(body))
    pair.backend.go(request)
    with pytest.raises(Cut):
        for piece in body:
            got += len(piece)
    assert got == size
    entry = pair.entry(request)
    assert entry["error.type"] == "http_response_incomplete" and entry["http.response.status_code"] == 200
    assert pair.connect().begin("GET", pair.path("small")).head().status == 200
