"""Who gets a request, by policy; keys that stay where they are; clients that are bound to an endpoint."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from support.backend import reply
from support.client import request
from support.fleet import Fleet, numbered
from support.gateway import Gateway, ctl
from support.ports import free_port
from support.wait import until

Make = Callable[[int], Fleet]


def ask(gateway: Gateway, count: int, *lines: str, path: str = "/") -> list[int]:
    """Who has answered, on one connection."""
    with gateway.connect() as client:
        answers = [client.request("GET", path, *lines) for _ in range(count)]
    assert all(answer.status == 200 for answer in answers)
    return [int(answer.body) for answer in answers]


def test_round_robin_is_even(launch, fleet: Make) -> None:
    three = fleet(3)
    gateway: Gateway = launch(upstreams=[three.upstream(balance={"policy": "round_robin"})])
    ask(gateway, 30)
    assert set(three.shares.values()) == {10}


def test_round_robin_is_smooth(launch, fleet: Make) -> None:
    """Weights 4, 2 and 1: exact shares, and nobody gets more than two in a row."""
    three = fleet(3)
    gateway: Gateway = launch(upstreams=[three.upstream({"weight": 4}, {"weight": 2}, {"weight": 1}, balance={"policy": "round_robin"})])
    order = ask(gateway, 70)
    assert Counter(order) == {0: 40, 1: 20, 2: 10}
    assert "000" not in "".join(map(str, order))


@pytest.mark.parametrize("policy", ["least_requests", "power_of_two"])
def test_load_decides(launch, fleet: Make, policy: str) -> None:
    """A slow endpoint gets few requests of many that are under way."""
    four = fleet(4)
    four[0].answer = numbered(0, delay=0.3)
    gateway: Gateway = launch(upstreams=[four.upstream(balance={"policy": policy})])
    end = time.monotonic() + 1.5

    def work() -> None:
        with gateway.connect() as client:
            while time.monotonic() < end:
                client.request()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(four.shares.values())
    assert four.shares[0] < total / 10, four.shares


KEYS: dict[str, tuple[Callable[[int], tuple[str, list[str]]], str]] = {
    "header:X-Account": (lambda number: ("/", [f"X-Account: {number}"]), "/"),
    "cookie:account": (lambda number: ("/", [f"Cookie: other=1; account=a{number}"]), "/"),
    "path": (lambda number: (f"/users/{number}?q={number % 3}", []), "/"),
    "param:id": (lambda number: (f"/users/{number}/page", []), "/users/:id/*rest"),
}


@pytest.mark.parametrize("key", KEYS)
def test_a_key_stays(launch, fleet: Make, key: str) -> None:
    make, pattern = KEYS[key]
    five = fleet(5)
    upstream = five.upstream(balance={"policy": "hash", "hash": {"key": key}}, proxy={"route_prefix": pattern})
    gateway: Gateway = launch(upstreams=[upstream], workers=2)
    homes = {}
    for number in range(100):
        path, lines = make(number)
        homes[number] = ask(gateway, 1, *lines, path=path)[0]
    for number in range(100):
        path, lines = make(number)
        assert ask(gateway, 1, *lines, path=path) == [homes[number]], "another worker, another connection: the same endpoint"
    assert all(count >= 8 for count in Counter(homes.values()).values()), Counter(homes.values())


def test_the_address_is_a_key(launch, fleet: Make) -> None:
    five = fleet(5)
    gateway: Gateway = launch(upstreams=[five.upstream(balance={"policy": "hash"})])
    found = Counter()
    for last in range(2, 42):
        with gateway.connect(source=f"127.0.0.{last}") as client:
            found[(last, client.request().body)] += 1
            found[(last, client.request().body)] += 1
    assert set(found.values()) == {2}
    assert len({body for _, body in found}) == 5


def behind(gateway: Gateway, address: str, source: str = "127.0.0.1", field: str = "X-Forwarded-For") -> bytes:
    with gateway.connect(source=source) as client:
        return client.request("GET", "/", f"{field}: {address}").body


def test_the_address_behind_a_trusted_proxy_is_the_key(launch, fleet: Make) -> None:
    """All come by one proxy's connection, and go where they would go themselves."""
    five = fleet(5)
    gateway: Gateway = launch(upstreams=[five.upstream(balance={"policy": "hash"})], client_address={"trusted_proxies": ["127.0.0.1"]}, workers=2)
    homes = {}
    with gateway.connect() as client:
        for last in range(2, 42):
            homes[last] = client.request("GET", "/", f"X-Forwarded-For: 127.0.0.{last}").body
    assert len(set(homes.values())) == 5
    for last, home in homes.items():
        assert behind(gateway, f"198.51.100.7, 127.0.0.{last}") == home, "what stands before the client's address is the client's own word"
        with gateway.connect(source=f"127.0.0.{last}") as client:
            assert client.request().body == home, "the same without the proxy"


def test_nobody_else_chooses_a_key(launch, fleet: Make) -> None:
    five = fleet(5)
    upstreams = [five.upstream(balance={"policy": "hash"})]
    for trusted in ({}, {"client_address": {"trusted_proxies": ["192.0.2.1"]}}):
        gateway: Gateway = launch(upstreams=upstreams, **trusted)
        assert len({behind(gateway, f"198.51.100.{last}", "127.0.0.9") for last in range(30)}) == 1
        gateway.stop()


def test_the_address_in_a_proxy_header_is_the_key(launch, fleet: Make) -> None:
    five = fleet(5)
    port = free_port()
    gateway: Gateway = launch(
        bind_host=None, bind_port=None, wait=False, listeners=[{"host": "127.0.0.1", "port": port, "proxy_protocol": True}],
        upstreams=[five.upstream(balance={"policy": "hash"})])
    gateway.port = port
    homes: dict[int, set[bytes]] = {}

    def ask_as(last: int) -> bytes:
        with gateway.connect() as client:
            client.send(f"PROXY TCP4 203.0.113.{last} 192.0.2.1 4000 80\r\n".encode() + request())
            return client.read().body

    until(lambda: connects(port), 10, "the listener")
    for last in [*range(30), *range(30)]:
        homes.setdefault(last, set()).add(ask_as(last))
    assert all(len(found) == 1 for found in homes.values())
    assert len(set.union(*homes.values())) == 5


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def test_without_a_key_chance_decides(launch, fleet: Make) -> None:
    three = fleet(3)
    gateway: Gateway = launch(upstreams=[three.upstream(balance={"policy": "hash", "hash": {"key": "header:X-Account"}})])
    assert set(ask(gateway, 60)) == {0, 1, 2}


def test_few_keys_move_when_an_endpoint_leaves(launch, fleet: Make) -> None:
    """Of five endpoints one goes: its keys move, and no others; when it is back, all are where they were."""
    five = fleet(5)
    balance = {"policy": "hash", "hash": {"key": "header:X-Key"}}
    gateway: Gateway = launch(upstreams=[five.upstream(balance=balance)])

    def homes() -> list[str]:
        with gateway.connect() as client:
            ports = {str(index): five.ports[index] for index in range(5)}
            return [ports[client.request("GET", "/", f"X-Key: {number}").body.decode()] for number in range(300)]

    before = homes()
    shares = Counter(before)
    assert all(30 <= count <= 95 for count in shares.values()), shares
    smaller = five.upstream(balance=balance)
    del smaller["endpoints"][2]
    gateway.reload(upstreams=[smaller])
    after = homes()
    moved = [old for old, new in zip(before, after) if old != new]
    assert set(moved) == {five.ports[2]} and len(moved) == shares[five.ports[2]]
    taken = Counter(new for old, new in zip(before, after) if old != new)
    assert len(taken) == 4, "its keys went to all the others"
    gateway.reload(upstreams=[five.upstream(balance=balance)])
    assert homes() == before


def test_a_busy_endpoint_passes_keys_on(launch, fleet: Make) -> None:
    """One key that everybody asks for: with a bound it is not one endpoint's alone."""
    four = fleet(4)
    for index in range(4):
        four[index].answer = numbered(index, delay=0.4)
    gateway: Gateway = launch(
        upstreams=[four.upstream(balance={"policy": "hash", "hash": {"key": "header:X-Key", "load_bound_percent": 150}})])
    threads = [threading.Thread(target=ask, args=(gateway, 1, "X-Key: hot")) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # 16 at a time, 4 on average: 6 at most have the key's own endpoint when the last one comes.
    assert max(four.shares.values()) <= 7 and sum(1 for count in four.shares.values() if count) >= 3, four.shares


def test_a_cookie_binds(launch, fleet: Make) -> None:
    four = fleet(4)
    upstream = four.upstream(balance={"sticky": {"cookie": "route", "secret": "s", "path": "/app", "max_age_sec": 60, "secure": True, "same_site": "none"}})
    gateway: Gateway = launch(upstreams=[upstream], workers=2)
    bound: dict[str, bytes] = {}
    for _ in range(30):
        first = gateway.get("/")
        cookie = first.header("set-cookie")
        assert cookie is not None
        found = re.fullmatch(r"route=([0-9a-f]{16}); Path=/app; Max-Age=60; HttpOnly; Secure; SameSite=None", cookie)
        assert found, cookie
        assert bound.setdefault(found[1], first.body) == first.body
    assert len(bound) == 4
    for value, body in bound.items():
        for _ in range(5):
            again = gateway.get("/", f"Cookie: x=y; route={value}")
            assert again.body == body and again.header("set-cookie") is None
    # One that was made up, or is another's, binds to nobody, and is replaced.
    for value in ["0" * 16, "zz", "f" * 16, "a" * 15, "a" * 400]:
        assert gateway.get("/", f"Cookie: route={value}").header("set-cookie") is not None
    # It survives a reload, and another order of endpoints.
    upstream["endpoints"].reverse()
    gateway.reload(upstreams=[upstream])
    for value, body in bound.items():
        assert gateway.get("/", f"Cookie: route={value}").body == body


def test_a_bound_client_goes_elsewhere_when_it_must(launch, fleet: Make) -> None:
    two = fleet(2)
    gateway: Gateway = launch(upstreams=[two.upstream(balance={"sticky": {"cookie": "route"}})])
    first = gateway.get("/")
    value = first.header("set-cookie").split(";")[0]
    two[int(first.body)].stop()
    second = gateway.get("/", f"Cookie: {value}")
    assert second.status == 200 and second.body != first.body
    cookie = second.header("set-cookie")
    assert cookie is not None and not cookie.startswith(value)
    assert "Path=/" in cookie and "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" not in cookie and "Max-Age" not in cookie


def test_bound_judged_and_compressed(launch, fleet: Make) -> None:
    """What is kept of an exchange for its endpoint is apart from what is kept for its compression."""
    two = fleet(2)
    text = b"the same again and again. " * 400
    for backend in two.backends:
        backend.answer = reply(200, "Content-Type: text/plain", body=text)
    upstream = two.upstream(balance={"sticky": {"cookie": "route"}}, health={"outlier_detection": {"enabled": True}})
    gateway: Gateway = launch(upstreams=[upstream], compression={"enabled": True})
    plain = gateway.get("/")
    assert plain.body == text and plain.header("content-encoding") is None and plain.header("set-cookie") is not None
    coded = gateway.get("/", "Accept-Encoding: gzip")
    assert coded.header("content-encoding") == "gzip" and gzip.decompress(coded.body) == text and coded.header("set-cookie") is not None
    assert sum(one["requests"] for one in json.loads(gateway.ctl("upstreams", "--json").stdout)["upstreams"][0]["endpoints"]) == 2


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"policy": "random"}, 'balance.policy must be'),
    ({"policy": "hash", "hash": {"key": "body"}}, 'balance.hash.key is "body", which is no key'),
    ({"policy": "hash", "hash": {"key": "header:"}}, 'balance.hash.key has no name after "header:"'),
    ({"policy": "hash", "hash": {"load_bound_percent": 50}}, "must be 0 or between 101 and 1000"),
    ({"hash": {"key": "path"}}, 'balance.hash.key has no effect without policy "hash"'),
    ({"sticky": {"secure": True}}, "balance.sticky.secure has no effect without cookie"),
    ({"sticky": {"cookie": "a b"}}, "balance.sticky.cookie must be a token"),
    ({"sticky": {"cookie": "a", "path": "/;x"}}, "balance.sticky.path must be a path"),
    ({"sticky": {"cookie": "a", "same_site": "none"}}, "browsers accept with secure only"),
    ({"slow_start_sec": -1}, "balance.slow_start_sec must be"),
]


@pytest.mark.parametrize("balance, expected", MISTAKES)
def test_mistakes(tmp_path, balance: dict[str, Any], expected: str) -> None:
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps({"upstreams": [{"name": "a", "host": "127.0.0.1", "balance": balance}]}))
    done = ctl("validate", "-c", str(path))
    assert done.returncode != 0
    assert expected in done.stdout + done.stderr and "gateway.json:1:" in done.stdout + done.stderr, done.stderr


