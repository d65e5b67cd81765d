"""Rate limits: who is refused and how, what responses say, and that all workers and generations count together."""

from __future__ import annotations

import json
import socket
import subprocess
from typing import Any

import pytest

from support.backend import Backend, reply
from support.client import Client
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.http2 import Http2
from support.wait import until


def zone(name: str = "z", rate: float = 0.01, capacity: int = 3, key_type: str = "client_ip", **more: Any) -> dict[str, Any]:
    return {"name": name, "rate": rate, "capacity": capacity, "key_type": key_type, **more}


def limits(*zones: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"enabled": True, "zones": list(zones), **more}


def statuses(gateway: Gateway, count: int, path: str = "/", *lines: str) -> list[int]:
    with Client(gateway.port) as client:
        return [client.request("GET", path, *lines).status for _ in range(count)]


def test_requests_beyond_the_capacity_are_refused_and_the_connection_is_kept(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone()), routes=[respond("/")], access_log={"format": "json"})
    with Client(gateway.port) as client:
        answers = [client.request("GET", "/") for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[3].body == b"Too Many Requests\n" and answers[3].header("content-type") == "text/plain"
    assert gateway.access_entries(5)[-1]["error.type"] == "rate_limited"


def test_what_responses_say(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(rate=0.5, capacity=2)), routes=[respond("/")])
    with Client(gateway.port) as client:
        first, second, third = (client.request("GET", "/") for _ in range(3))
    assert first.header("ratelimit-policy") == "2;w=4" and first.header("ratelimit") == "limit=2, remaining=1, reset=0"
    assert second.header("ratelimit") == "limit=2, remaining=0, reset=2" and second.header("retry-after") is None
    assert third.status == 429 and third.header("ratelimit") == "limit=2, remaining=0, reset=2" and third.header("retry-after") == "2"


def test_tokens_come_back(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(rate=20, capacity=1)), routes=[respond("/")])
    with Client(gateway.port) as client:
        assert client.request("GET", "/").status == 200
        until(lambda: client.request("GET", "/").status == 200, what="a token")


def test_status_headers_and_dry_run(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(capacity=1), status_code=503, include_headers=False), routes=[respond("/")])
    with Client(gateway.port) as client:
        client.request("GET", "/")
        refused = client.request("GET", "/")
    assert refused.status == 503 and refused.body == b"Service Unavailable\n"
    assert not [name for name, _ in refused.fields if name.lower().startswith((b"ratelimit", b"retry"))]
    gateway.reload(rate_limit=limits(zone(capacity=1), dry_run=True))
    with Client(gateway.port) as client:
        spared = client.request("GET", "/")
    assert spared.status == 200 and spared.header("ratelimit") is not None and spared.header("retry-after") is None
    assert "would have been refused (dry run)" in gateway.log


KEYS = [
    ("header:X-Key", ("X-Key: a",), ("X-Key: b",), ()),
    ("cookie:session", ("Cookie: other=1; session=a",), ("Cookie: session=b",), ("Cookie: other=1",)),
    ("client_ip+header:X-Key", ("X-Key: a",), ("X-Key: b",), ()),
]


@pytest.mark.parametrize("key, one, other, none", KEYS)
def test_each_key_has_a_bucket_and_who_has_none_is_not_limited(launch, key: str, one, other, none) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(capacity=1, key_type=key)), routes=[respond("/")])
    assert statuses(gateway, 2, "/", *one) == [200, 429]
    assert statuses(gateway, 2, "/", *other) == [200, 429]
    assert statuses(gateway, 3, "/", *none) == [200, 200, 200]


def test_client_addresses(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(capacity=1)), routes=[respond("/")])
    for source in ("127.0.0.1", "127.0.0.2"):
        with Client(gateway.port, source=source) as client:
            assert [client.request("GET", "/").status for _ in range(2)] == [200, 429]


def test_paths_are_the_normalised_ones(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(capacity=1, key_type="path")), routes=[respond("/*all")])
    assert statuses(gateway, 1, "/a/b?x=1") == [200]
    assert statuses(gateway, 1, "/a/./%62") == [429]
    assert statuses(gateway, 1, "/a/c") == [200]


@pytest.mark.parametrize("prefix, limited, free", [
    ("/api", ["/api", "/api/x"], ["/apix", "/other"]),
    ("/api/", ["/api/", "/api/x"], ["/api", "/apix"]),
])
def test_a_zone_applies_below_its_prefixes(launch, prefix: str, limited: list[str], free: list[str]) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(capacity=1, applies_to=[prefix])), routes=[respond("/*all")])
    assert statuses(gateway, 1, limited[0]) == [200]
    assert [statuses(gateway, 1, path)[0] for path in limited] == [429, 429]
    assert [statuses(gateway, 1, path)[0] for path in free] == [200, 200]


def test_the_first_zone_that_refuses_ends_it(launch) -> None:
    gateway: Gateway = launch(
        rate_limit=limits(zone("first", capacity=2), zone("second", capacity=3, key_type="header:X-Key")), routes=[respond("/")])
    with Client(gateway.port) as client:
        said = [client.request("GET", "/", "X-Key: a").header("ratelimit") for _ in range(3)]
    # The tighter of the two; and the refusal of the first, for which the second was not asked.
    assert said == ["limit=2, remaining=1, reset=0", "limit=2, remaining=0, reset=100", "limit=2, remaining=0, reset=100"]
    with Client(gateway.port, source="127.0.0.9") as client:
        assert client.request("GET", "/", "X-Key: a").header("ratelimit") == "limit=3, remaining=0, reset=100"


def test_proxied_requests_errors_and_local_endpoints_are_governed(launch, backend: Backend) -> None:
    backend.answer = reply(200, "RateLimit: the backend's own", body=b"ok")
    gateway: Gateway = launch(rate_limit=limits(zone(capacity=4)), upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        proxied = client.request("GET", "/api")
        assert proxied.status == 200 and "limit=4, remaining=3, reset=0" in proxied.all("ratelimit")
        assert client.request("GET", "/health").header("ratelimit") == "limit=4, remaining=2, reset=0"
        assert client.request("GET", "/missing").header("ratelimit") == "limit=4, remaining=1, reset=0"
        backend.stop()
        failed = client.request("POST", "/api")
        assert failed.status == 502 and failed.header("ratelimit") == "limit=4, remaining=0, reset=100"
        assert client.request("GET", "/api").status == 429
    assert len(backend.requests) == 1


def test_refused_before_a_body_is_read(launch, backend: Backend) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(capacity=1)), upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        assert client.request("GET", "/api").status == 200
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n")
        assert client.read("POST").status == 429
    with Client(gateway.port) as client:
        assert client.request("POST", "/api", body=bytes(100_000)).status == 429
        assert client.request("GET", "/api").status == 429, "the connection serves on"


def test_http2(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(capacity=1)), routes=[respond("/")])
    with Http2(gateway.port) as client:
        assert client.get("/").header("ratelimit") == "limit=1, remaining=0, reset=100"
        refused = client.get("/")
        assert refused.status == 429 and refused.header("retry-after") == "100"


def test_all_workers_share_the_buckets(launch) -> None:
    gateway: Gateway = launch(workers=4, rate_limit=limits(zone(capacity=50)), routes=[respond("/")])
    admitted = sum(statuses(gateway, 1)[0] == 200 for _ in range(120))
    assert admitted in (50, 51)


def test_buckets_outlive_a_reload_and_a_worker(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(capacity=3)), routes=[respond("/")])
    assert statuses(gateway, 2) == [200, 200]
    gateway.reload(idle_timeout_sec=77)
    assert statuses(gateway, 2) == [200, 429]
    worker = gateway.worker
    subprocess.run(["kill", "-9", str(worker)], check=True)
    until(lambda: gateway.workers and gateway.worker != worker, what="another worker")
    assert statuses(gateway, 1) == [429]


@pytest.mark.parametrize("change, expected", [
    ({"capacity": 5}, [200, 200, 429]),  # what was taken stays taken
    ({"rate": 0.02}, [429]),
    ({"max_entries": 1_000_000}, [429]),
    ({"max_entries": 16}, [429]),
    ({"applies_to": ["/"]}, [429]),
    ({"key_type": "path"}, [200]),
    ({"name": "other"}, [200]),
])
def test_changed_zones_keep_what_still_means_the_same(launch, change: dict[str, Any], expected: list[int]) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(capacity=3, max_entries=1000)), routes=[respond("/")])
    assert statuses(gateway, 3) == [200, 200, 200]
    gateway.reload(rate_limit=limits(zone(**{"capacity": 3, "max_entries": 1000, **change})))
    assert statuses(gateway, len(expected)) == expected


def test_stats_and_log(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone("per client", capacity=1)), routes=[respond("/")])
    statuses(gateway, 4)
    assert "rate limit per client: request refused" in gateway.log
    gateway.reload(rate_limit=limits(zone("per client", capacity=1, applies_to=["/limited"])))
    stats = json.loads(gateway.get("/stats").body)["rate_limit"]
    assert stats == {"refused": 3, "dry_run_refused": 0, "held": 0, "delayed": 0, "zones": {"per client": {"refused": 3, "dry_run_refused": 0}}}


def test_ipv6(launch) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 loopback")
    gateway: Gateway = launch(bind_host="::", rate_limit=limits(zone(capacity=1)), routes=[respond("/")])
    for host in ("::1", "127.0.0.1"):
        with Client(gateway.port, host=host) as client:
            assert [client.request("GET", "/").status for _ in range(2)] == [200, 429]


def test_keys_by_a_parameter_of_the_route(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(capacity=2, key_type="param:user")),
                              routes=[respond("/users/:user/*rest"), respond("/teams/:team/:user"), respond("/other")])
    assert statuses(gateway, 3, "/users/ann/a") == [200, 200, 429]
    assert statuses(gateway, 1, "/teams/x/ann") == [429], "the same value of the same parameter, on another route"
    assert statuses(gateway, 2, "/users/bob/a") == [200, 200]
    assert statuses(gateway, 4, "/other") == [200] * 4


def test_a_route_may_cost_more_or_nothing(launch, backend: Backend) -> None:
    routes = [{**respond("/cheap"), "rate_limit_cost": 1}, {**respond("/dear"), "rate_limit_cost": 5}, {**respond("/free"), "rate_limit_cost": 0}]
    gateway: Gateway = launch(rate_limit=limits(zone(capacity=12)), routes=routes, upstreams=[upstream(backend.port, "/api", rate_limit_cost=3)])
    with Client(gateway.port) as client:
        assert client.request("GET", "/dear").header("ratelimit") == "limit=12, remaining=7, reset=0"
        assert client.request("GET", "/api").header("ratelimit") == "limit=12, remaining=4, reset=0"
        assert client.request("GET", "/dear").status == 429
        assert client.request("GET", "/cheap").header("ratelimit") == "limit=12, remaining=3, reset=0"
        free = client.request("GET", "/free")
        assert free.status == 200 and free.header("ratelimit") is None


def test_a_parameter_that_no_route_has_is_refused(launch, tmp_path) -> None:
    gateway: Gateway = launch(routes=[respond("/users/:user")])
    gateway.write(rate_limit=limits(zone(key_type="param:usr")))
    done = gateway.ctl("reload")
    assert done.returncode == 1 and 'names the parameter "usr", which no route\'s pattern has' in done.stdout + done.stderr


def test_upgrades_are_governed(launch, backend: Backend) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(capacity=1)), routes=[{"path": "/ws", "echo": {}}])
    lines = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    with Client(gateway.port) as client:
        client.send(("GET /ws HTTP/1.1\r\nHost: test\r\n" + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode())
        assert client.read_head().status == 101
    assert statuses(gateway, 1, "/ws", *lines) == [429]
