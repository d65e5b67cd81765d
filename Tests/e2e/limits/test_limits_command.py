"""`gatewayctl limits`: what the zones refuse and hold, and which keys ask most where they may be kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.backend import Backend, hang
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.wait import until


def shown(gateway: Gateway, *options: str) -> dict[str, Any]:
    done = gateway.ctl("limits", "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def zone(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "rate": 0.01, "capacity": 2, "key_type": "header:X-Key", **more}


def test_keys_are_named_only_where_they_may_be(launch) -> None:
    zones = [zone("open", track_keys=True), zone("closed", capacity=100)]
    gateway: Gateway = launch(workers=2, rate_limit={"enabled": True, "zones": zones}, routes=[respond("/")])
    for key, count in (("alpha", 5), ("beta", 3), ("gamma", 1)):
        for _ in range(count):
            gateway.get("/", f"X-Key: {key}")
    first, second = shown(gateway)["rate_limits"]
    assert first["zone"] == "open" and first["refused"] == 4 and first["keys"] == 3 and first["keys_without_token"] == 2 and first["keys_below_capacity"] == 3
    assert first["top"] == [
        {"key": "alpha", "requests": 5, "requests_at_least": 5, "refused": 3},
        {"key": "beta", "requests": 3, "requests_at_least": 3, "refused": 1},
        {"key": "gamma", "requests": 1, "requests_at_least": 1, "refused": 0},
    ]
    assert second["zone"] == "closed" and second["refused"] == 0 and second["keys"] == 3 and "top" not in second
    assert "alpha" not in json.dumps(second)
    assert [key["key"] for key in shown(gateway, "--top", "1")["rate_limits"][0]["top"]] == ["alpha"]
    text = gateway.ctl("limits").stdout
    assert "RATE LIMIT" in text and "open: KEY" in text and "alpha" in text and "closed: KEY" not in text


@pytest.mark.parametrize("key_type, lines, expected", [
    ("client_ip", (), "127.0.0.1"),
    ("client_ip+header:X-Key", ("X-Key: a b",), "127.0.0.1 a b"),
    ("path+cookie:id", ("Cookie: id=\x7fq",), "/"),
])
def test_keys_are_readable(launch, key_type: str, lines: tuple[str, ...], expected: str) -> None:
    gateway: Gateway = launch(rate_limit={"enabled": True, "zones": [zone("z", key_type=key_type, track_keys=True)]}, routes=[respond("/")])
    gateway.get("/", *lines)
    keys = [key["key"] for key in shown(gateway)["rate_limits"][0]["top"]]
    assert len(keys) <= 1 and all(key.startswith(expected) and "\x7f" not in key for key in keys)
    if key_type != "path+cookie:id":
        assert keys == [expected]


def test_the_hottest_survive_a_crowd(launch) -> None:
    gateway: Gateway = launch(rate_limit={"enabled": True, "zones": [zone("z", rate=1000, capacity=1000, track_keys=True)]}, routes=[respond("/")])
    with Client(gateway.port) as client:
        for number in range(3000):
            client.send(request("GET", "/", f"X-Key: {'hot' if number % 10 == 0 else number}"))
            client.read()
    top = shown(gateway, "--top", "5")["rate_limits"][0]["top"]
    assert top[0]["key"] == "hot" and top[0]["requests_at_least"] <= 300 <= top[0]["requests"] + 1
    assert len(shown(gateway, "--top", "1024")["rate_limits"][0]["top"]) <= 1024


def test_what_is_under_way(launch, backend: Backend) -> None:
    backend.answer = hang
    zones = [{"name": "r", "limit": 5, "key_type": "client_ip"}, {"name": "c", "counts": "connections", "limit": 50, "key_type": "client_ip"}]
    gateway: Gateway = launch(workers=2, concurrency_limit={"enabled": True, "zones": zones}, upstreams=[upstream(backend.port)])
    clients = [Client(gateway.port) for _ in range(3)]
    for client in clients:
        client.send(request("GET", "/api"))
    backend.wait_requests(3)
    requests, connections = shown(gateway)["concurrency_limits"]
    assert requests["under_way"] == 3 and requests["most_of_a_key"] == 3 and requests["keys"] == 1 and requests["limit"] == 5 and requests["counts"] == "requests"
    assert connections["under_way"] == 3 and connections["counts"] == "connections"
    assert "UNDER WAY" in gateway.ctl("limits").stdout
    for client in clients:
        client.reset()
    until(lambda: [zone["under_way"] for zone in shown(gateway)["concurrency_limits"]] == [0, 0], what="the end of all")


def test_without_limits(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    assert shown(gateway) == {"rate_limits": [], "concurrency_limits": []}
    assert gateway.ctl("limits").stdout == "There are no rate or concurrency limits.\n"
    assert gateway.ctl("limits", "--top", "5000").returncode == 2
