"""Rules of routes hold between every kind of client and every kind of backend."""

from __future__ import annotations

import pytest

from support.message import values
from support.wait import until

from .conftest import Pair
from .test_messages import arrived

PROTOCOL = {"h1": "HTTP/1.1", "h1s": "HTTP/1.1", "h2c": "HTTP/2.0", "h2s": "HTTP/2.0"}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_rules(pair: Pair, method: str) -> None:
    request, body = pair.new_id(), b"b" * 20_000 if method == "POST" else None
    call = pair.connect().begin(method, f"/ruled-{pair.backend_kind}/7/a/small?q=1", [("X-Request-Id", request), ("X-Gone", "1"), ("X-Two", "a"), ("Origin", "https://x.a.test")],
                                body=body)
    head = call.head()
    told = arrived(b"".join(call.body()))
    assert head.status == 200 and head.header("x-how") == f"200 {pair.backend_kind} 7" and head.header("cache-control") == "no-store"
    assert values(head.fields, "x-kept") == [] and head.header("access-control-allow-origin") == "https://x.a.test" and head.header("vary") == "Origin"
    assert told["target"] == "/7/a/small?q=1" and len(body or b"") <= told["received"] <= 2 * len(body or b"")
    scheme = "https" if pair.kind in ("h1s", "h2s") else "http"
    assert values(told["fields"], "x-how") == [f"{scheme} {PROTOCOL[pair.kind]} {method} {pair.backend_kind} 7"]
    assert values(told["fields"], "x-gone") == [] and values(told["fields"], "x-two") == ["a", "b"] and values(told["fields"], "x-gateway-mirror") == []
    # The copy has come to the same backend.
    record = until(lambda: (found := pair.record(request))["count"] == 2 and found["received"] == 2 * len(body or b"") and found, what="the copy")
    assert record["whole"]


def test_preflight(pair: Pair) -> None:
    request = pair.new_id()
    for origin, status in [("https://x.a.test", 204), ("https://a.test.evil", 403)]:
        call = pair.connect().begin("OPTIONS", f"/ruled-{pair.backend_kind}/7/small", [("X-Request-Id", request), ("Origin", origin), ("Access-Control-Request-Method", "PUT")])
        head = call.head()
        b"".join(call.body())
        assert head.status == status and head.header("access-control-allow-methods") == ("PUT" if status == 204 else None)
        assert any("Origin" in value for value in values(head.fields, "vary"))
    assert pair.record(request)["count"] == 0
