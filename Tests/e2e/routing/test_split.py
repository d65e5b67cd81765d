"""A route's requests divided between upstreams: by weight, by key, by header or cookie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from support.backend import Backend, reply
from support.client import Client
from support.configuration import upstream
from support.gateway import Gateway
from support.http2 import Http2
from support.websocket import WebSocket, WebSocketBackend


class Sides:
    def __init__(self, count: int = 3) -> None:
        self.backends = [Backend() for _ in range(count)]
        for name, backend in self.named.items():
            backend.answer = reply(200, f"X-Side: {name}")

    @property
    def named(self) -> dict[str, Backend]:
        return dict(zip("abc", self.backends))

    @property
    def upstreams(self) -> list:
        return [upstream(backend.port, None, name) for name, backend in self.named.items()]

    def stop(self) -> None:
        for backend in self.backends:
            backend.stop()


@pytest.fixture(scope="module")
def sides() -> Iterator[Sides]:
    sides = Sides()
    yield sides
    sides.stop()


def arms(**weights: int) -> list:
    return [{"upstream": name, "weight": weight} for name, weight in weights.items()]


CANARY = [{"upstream": "a", "weight": 1}, {"upstream": "b", "weight": 0, "when": {"header:X-Canary": ["1", "yes"], "cookie:canary": "on"}}]


@pytest.fixture(scope="module")
def gateway(launch_shared, sides: Sides) -> Gateway:
    return launch_shared(
        access_log=True, workers=2,
        upstreams=[*sides.upstreams[:2], upstream(sides.backends[2].port, "/short/*rest", "c", split=arms(a=1, c=1), split_key="{header:X-User}")],
        routes=[{"path": "/weight/*rest", "split": arms(a=70, b=25, c=5)}, {"path": "/user/:id/*rest", "split": arms(a=1, b=1), "split_key": "{id}"},
                {"path": "/more/:id/*rest", "split": arms(a=1, b=3), "split_key": "{id}"}, {"path": "/canary/*rest", "split": CANARY},
                {"path": "/cookie/*rest", "split": arms(a=1, b=1), "split_key": "{cookie:uid}", "response_headers": {"set": {"X-Up": "{upstream}"}}},
                {"path": "/retry/*rest", "split": arms(a=1, b=1), "split_key": "{header:X-User}",
                 "proxy": {"retry": {"max_retries": 3, "retry_on_status": [503], "backoff_base_ms": 1}}}])


def side(client: Client, path: str, *lines: str) -> str:
    response = client.request("GET", path, *lines)
    assert response.status == 200
    side = response.header("x-side")
    assert side is not None
    return side


def test_by_weight(gateway: Gateway) -> None:
    """Within what chance allows: five standard deviations."""
    with Client(gateway.port) as client:
        found = Counter(side(client, "/weight/x") for _ in range(2000))
    for name, share in {"a": 0.70, "b": 0.25, "c": 0.05}.items():
        assert abs(found[name] - 2000 * share) < 5 * (2000 * share * (1 - share)) ** 0.5, found


def test_the_same_key_goes_the_same_way(gateway: Gateway) -> None:
    """On other connections, in other workers, and after a reload."""
    def choices() -> dict[int, str]:
        found = {}
        for number in range(60):
            with Client(gateway.port) as client:
                found[number] = side(client, f"/user/{number}/x")
                assert side(client, f"/user/{number}/other?q") == found[number]
        return found

    first = choices()
    assert 15 < Counter(first.values())["a"] < 45
    assert choices() == first
    gateway.reload()
    assert choices() == first


def test_keys_are_divided_by_weight(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        found = Counter(side(client, f"/more/{number}/x") for number in range(400))
    assert 60 < found["a"] < 140, found


def test_without_a_key_chance_decides(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        assert len({side(client, "/cookie/x") for _ in range(60)}) == 2
        assert len({side(client, "/cookie/x", "Cookie: uid=") for _ in range(60)}) == 2
        assert len({side(client, "/cookie/x", "Cookie: uid=joe; a=b") for _ in range(20)}) == 1


@pytest.mark.parametrize(("lines", "expected"), [
    ([], "a"), (["X-Canary: 1"], "b"), (["x-canary: yes"], "b"), (["X-Canary: 2"], "a"), (["X-Canary: 11"], "a"), (["X-Canary: "], "a"), (["Cookie: a=b; canary=on"], "b"),
    (["Cookie: canary=off"], "a"), (["Cookie: xcanary=on"], "a"), (["Cookie: canary=on2"], "a"), (["X-Canary: 2", "X-Canary: yes"], "b"),
])
@pytest.mark.parametrize("protocol", [1, 2])
def test_demanded(gateway: Gateway, lines: list[str], expected: str, protocol: int) -> None:
    for _ in range(5):
        if protocol == 1:
            with Client(gateway.port) as client:
                assert side(client, "/canary/x", *lines) == expected
        else:
            with Http2(gateway.port) as client:
                assert client.get("/canary/x", *[(line.split(": ", 1)[0].lower(), line.split(": ", 1)[1]) for line in lines]).header("x-side") == expected


def test_the_log_says_which(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        response = client.request("GET", "/cookie/x", "Cookie: uid=ann", "X-Request-Id: which-upstream")
    entries = gateway.access_entries()
    found = [one for one in entries if one.get("gateway.request_id") == "which-upstream"] or [gateway.access_entries(len(entries) + 1)[-1]]
    assert found[0]["gateway.upstream"] == response.header("x-up") == response.header("x-side")


def test_the_short_form(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        assert {side(client, "/short/x", f"X-User: {number}") for number in range(40)} == {"a", "c"}


def test_retries_stay_on_their_side(gateway: Gateway, sides: Sides) -> None:
    counts = {name: len(backend.requests) for name, backend in sides.named.items()}
    with Client(gateway.port) as client:
        chosen = side(client, "/retry/x", "X-User: bob")
        answers = iter([503, 503, 200])
        sides.named[chosen].answer = lambda connection, request: reply(next(answers), f"X-Side: {chosen}")(connection, request)
        try:
            assert side(client, "/retry/x", "X-User: bob") == chosen
        finally:
            sides.named[chosen].answer = reply(200, f"X-Side: {chosen}")
    grown = {name: len(backend.requests) - counts[name] for name, backend in sides.named.items()}
    assert grown == {**dict.fromkeys("abc", 0), chosen: 4}


def test_upgrades(launch) -> None:
    backends = [WebSocketBackend(), WebSocketBackend()]
    try:
        gateway = launch(upstreams=[upstream(backend.port, None, name) for name, backend in zip("ab", backends)],
                         routes=[{"path": "/ws", "split": CANARY, "response_headers": {"set": {"X-Up": "{upstream}"}}}])
        for lines, expected in ([], "a"), (["X-Canary: 1"], "b"):
            with WebSocket(gateway.port, "/ws", *lines) as socket:
                assert socket.response.header("x-up") == expected
    finally:
        for backend in backends:
            backend.stop()
