"""Endpoints that checks, requests or orders take out of use, and bring back."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from support.backend import Backend, reply
from support.fleet import Fleet, numbered
from support.gateway import Gateway, ctl
from support.load import Load
from support.wait import until

Make = Callable[[int], Fleet]
Json = dict[str, Any]

#: As often as is allowed, and decided at once.
CHECK: Json = {"type": "http", "path": "/healthz", "interval_ms": 100, "timeout_ms": 100, "unhealthy_threshold": 2, "healthy_threshold": 2}


def check(**more: Any) -> Json:
    return {"check": {**CHECK, **more}}


def answers(index: int, healthy: Callable[[], bool] = lambda: True) -> Any:
    """Requests get the number; checks a status."""

    def answer(connection: Any, request: Any) -> None:
        if request.target == "/healthz":
            reply(200 if healthy() else 503, body=b"all is well")(connection, request)
        else:
            reply(body=str(index).encode())(connection, request)

    return answer


def asked(backend: Backend) -> int:
    return sum(1 for request in backend.requests if request.target != "/healthz")


def who(gateway: Gateway, count: int = 20) -> set[str]:
    with gateway.connect() as client:
        found = [client.request() for _ in range(count)]
    assert all(one.status == 200 for one in found), [one.status for one in found]
    return {one.body.decode() for one in found}


def test_a_check_takes_out_and_brings_back(launch, fleet: Make) -> None:
    three = fleet(3)
    good = [True, True, True]
    for index in range(3):
        three[index].answer = answers(index, lambda index=index: good[index])
    gateway: Gateway = launch(upstreams=[three.upstream(health=check())], workers=2)
    until(lambda: who(gateway) == {"0", "1", "2"}, 10, "all are used")
    good[1] = False
    until(lambda: who(gateway) == {"0", "2"}, 10, "the one that fails its checks is not used")
    good[1] = True
    until(lambda: who(gateway) == {"0", "1", "2"}, 10, "it is used again")
    log = gateway.log
    name = three.name(1)
    assert log.count(f"endpoint {name} is unhealthy: the status is not one of those expected") == 1, "said once, by one worker"
    assert log.count(f"endpoint {name} is healthy again") == 1
    checks = [request for request in three[0].requests if request.target == "/healthz"]
    assert checks[0].header("user-agent") == "gateway-health-check"


def test_only_one_worker_checks(launch, fleet: Make) -> None:
    one = fleet(2)
    for index in range(2):
        one[index].answer = answers(index)
    launch(upstreams=[one.upstream(health=check(interval_ms=500))], workers=2)
    one[0].wait_requests(1, 10)
    start = len(one[0].requests)
    time.sleep(2)
    assert 1 <= len(one[0].requests) - start <= 5


def test_the_leader_is_followed(launch, fleet: Make) -> None:
    """The worker that checks is killed: another goes on, and what was known is known."""
    two = fleet(2)
    good = [True, False]
    for index in range(2):
        two[index].answer = answers(index, lambda index=index: good[index])
    gateway: Gateway = launch(upstreams=[two.upstream(health=check())], workers=2)
    until(lambda: who(gateway) == {"0"}, 10, "the second is out")
    for worker in list(gateway.workers):
        os.kill(worker, signal.SIGKILL)
        until(lambda: worker not in gateway.workers and len(gateway.workers) == 2, 10, "another worker")
        assert who(gateway) == {"0"}
        seen = len(two[0].requests)
        until(lambda: any(request.target == "/healthz" for request in two[0].requests[seen:]), 10, "checks go on")
    good[1] = True
    until(lambda: who(gateway) == {"0", "1"}, 10, "and bring it back")


def test_a_reload_keeps_what_is_known(launch, fleet: Make) -> None:
    two = fleet(2)
    good = [True, False]
    for index in range(2):
        two[index].answer = answers(index, lambda index=index: good[index])
    gateway: Gateway = launch(upstreams=[two.upstream(health=check())])
    until(lambda: who(gateway) == {"0"}, 10, "the second is out")
    # So rarely that no check can have found it out anew.
    gateway.reload(upstreams=[two.upstream(health=check(interval_ms=3_000_000))])
    assert who(gateway) == {"0"}
    # Without checks nothing speaks against it.
    gateway.reload(upstreams=[two.upstream()])
    assert who(gateway) == {"0", "1"}


def test_none_is_healthy(launch, fleet: Make) -> None:
    two = fleet(2)
    for index in range(2):
        two[index].answer = answers(index, lambda: False)
    gateway: Gateway = launch(upstreams=[two.upstream(health=check())], access_log=True)
    until(lambda: gateway.get("/").status == 503, 10, "nobody to ask")
    until(lambda: gateway.access_entries(1)[-1].get("error.type") == "no_healthy_endpoint", 5)
    # With a threshold for panic all are used.
    gateway.reload(upstreams=[two.upstream(health={**check(), "panic_threshold_percent": 60})])
    until(lambda: who(gateway) == {"0", "1"}, 10, "all are used")


def test_backups_take_over(launch, fleet: Make) -> None:
    two = fleet(2)
    good = [True, True]
    for index in range(2):
        two[index].answer = answers(index, lambda index=index: good[index])
    gateway: Gateway = launch(upstreams=[two.upstream({}, {"backup": True}, health=check())])
    assert who(gateway) == {"0"}
    good[0] = False
    until(lambda: who(gateway) == {"1"}, 10, "the backup")
    good[0] = True
    until(lambda: who(gateway) == {"0"}, 10, "the first again")


@pytest.mark.parametrize("body, passes", [("is well", True), ("not there", False)])
def test_the_body_counts(launch, fleet: Make, body: str, passes: bool) -> None:
    one = fleet(1)
    one[0].answer = answers(0)
    gateway: Gateway = launch(upstreams=[one.upstream(health=check(body=body))])
    until(lambda: sum(1 for request in one[0].requests if request.target == "/healthz") >= 4, 10, "some checks")
    until(lambda: gateway.get("/").status == (200 if passes else 503), 5)


def test_connections_are_checked(launch, fleet: Make) -> None:
    two = fleet(2)
    gateway: Gateway = launch(upstreams=[two.upstream(health={"check": {**CHECK, "type": "tcp", "path": "/"}})])
    assert who(gateway) == {"0", "1"}
    two[1].stop_listening()
    until(lambda: f"endpoint {two.name(1)} is unhealthy: it cannot be connected to" in gateway.log, 10)


def test_killed_and_back_under_load(launch, fleet: Make) -> None:
    """No client sees an error."""
    three = fleet(3)
    for index in range(3):
        three[index].answer = answers(index)
    retry = {"max_retries": 2, "retry_on_disconnect": True, "backoff_base_ms": 1, "backoff_max_ms": 5}
    gateway: Gateway = launch(
        upstreams=[three.upstream(health=check(), proxy={"route_prefix": "/", "retry": retry})], workers=2)
    port = three[1].port
    with Load(gateway.port, pause=0.002) as load:
        until(lambda: load.answered > 100, 20)
        three[1].stop()
        until(lambda: f"endpoint {three.name(1)} is unhealthy" in gateway.log, 10, "it is found out")
        count = load.answered
        until(lambda: load.answered > count + 100, 20)
        back = Backend(answers(1), port=port)
        until(lambda: asked(back) > 10, 15, "it is used again")
    assert not load.failures, load.failures[:5]
    back.stop()


# Outliers


def outliers(**more: Any) -> Json:
    return {"outlier_detection": {"enabled": True, "consecutive_failures": 3, "base_ejection_ms": 1000, **more}}


def test_failures_one_after_the_other_eject(launch, fleet: Make) -> None:
    three = fleet(3)
    good = [True]
    three[0].answer = lambda connection, request: (reply(body=b"0") if good[0] else reply(500, body=b"0"))(connection, request)
    gateway: Gateway = launch(upstreams=[three.upstream(health=outliers())], workers=2)
    good[0] = False

    def statuses(count: int = 30) -> set[int]:
        with gateway.connect() as client:
            return {client.request().status for _ in range(count)}

    until(lambda: statuses() == {200}, 10, "it is ejected")
    assert gateway.log.count(f"endpoint {three.name(0)} is ejected for 1000 ms: too many failures one after the other") == 1
    good[0] = True
    three[0].requests.clear()
    until(lambda: statuses() == {200} and three[0].requests, 10, "it is back")
    good[0] = False
    until(lambda: f"endpoint {three.name(0)} is ejected for 2000 ms" in gateway.log or statuses(5) is None, 10, "the next one is longer")


def test_not_too_many_are_ejected(launch, fleet: Make) -> None:
    four = fleet(4)
    for index in range(4):
        four[index].answer = reply(500)
    gateway: Gateway = launch(upstreams=[four.upstream(health=outliers(max_ejected_percent=50, base_ejection_ms=60_000))])
    with gateway.connect() as client:
        for _ in range(100):
            client.request()
    assert gateway.log.count("is ejected for") == 2


def test_an_operator_lifts_an_ejection(launch, fleet: Make) -> None:
    three = fleet(3)
    three[0].answer = reply(500)
    gateway: Gateway = launch(upstreams=[three.upstream(health=outliers(base_ejection_ms=60_000))], workers=2)

    def ejected() -> bool:
        with gateway.connect() as client:
            for _ in range(30):
                client.request()
        return "is ejected for 60000 ms" in gateway.log

    until(ejected, 10, "it is ejected")
    three[0].answer = reply(body=b"well")
    done = gateway.ctl("upstreams", "enable", f"fleet/{three.name(0)}")
    assert done.stdout.strip() == f"endpoint fleet/{three.name(0)} is now enabled, and ejected no more", done

    def answers() -> set[bytes]:
        with gateway.connect() as client:
            return {client.request().body for _ in range(30)}

    until(lambda: b"well" in answers(), 10, "it is in use")
    assert "ejected" not in gateway.ctl("upstreams").stdout


def test_fewer_successes_than_the_others(launch, fleet: Make) -> None:
    three = fleet(3)
    count = [0]

    def half(connection: Any, request: Any) -> None:
        count[0] += 1
        (reply(500) if count[0] % 2 else reply(body=b"0"))(connection, request)

    three[0].answer = half
    gateway: Gateway = launch(
        upstreams=[three.upstream(health=outliers(consecutive_failures=0, interval_ms=300, min_requests=5, base_ejection_ms=60_000))])
    end = time.monotonic() + 15
    with gateway.connect() as client:
        while "is ejected for" not in gateway.log and time.monotonic() < end:
            client.request()
    assert f"endpoint {three.name(0)} is ejected for 60000 ms: fewer of its requests succeed than of the others'" in gateway.log


def test_slower_than_the_others(launch, fleet: Make) -> None:
    three = fleet(3)
    three[2].answer = numbered(2, delay=0.1)
    gateway: Gateway = launch(
        upstreams=[three.upstream(balance={"policy": "round_robin"}, health=outliers(interval_ms=1000, min_requests=3, latency_factor=5, base_ejection_ms=60_000))])
    end = time.monotonic() + 15
    with gateway.connect() as client:
        while "is ejected for" not in gateway.log and time.monotonic() < end:
            client.request()
    assert f"endpoint {three.name(2)} is ejected for 60000 ms: it takes longer than the others" in gateway.log


# Orders


def upstreams(gateway: Gateway) -> list[Json]:
    done = gateway.ctl("upstreams", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["upstreams"]


def test_drained_under_load(launch, fleet: Make) -> None:
    """An endpoint is drained and enabled without a reload; no request fails, and a long one ends as it would have."""
    two = fleet(2)
    gateway: Gateway = launch(upstreams=[two.upstream()], workers=2)
    slow = threading.Event()

    def answer(connection: Any, request: Any) -> None:
        if request.target == "/slow":
            slow.set()
            time.sleep(1)
        reply(body=b"0")(connection, request)

    two[0].answer = answer
    with Load(gateway.port, pause=0.002) as load:
        until(lambda: load.answered > 50, 20)
        client = gateway.connect()
        while not slow.is_set():
            client.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: slow.is_set() or any(request.target == "/slow" for request in two[1].requests), 10)
            if not slow.is_set():
                client.read()
                two.forget()
        done = gateway.ctl("upstreams", "drain", f"fleet/{two.name(0)}")
        assert done.returncode == 0, done.stderr
        assert client.read().status == 200
        count = load.answered
        two.forget()
        until(lambda: load.answered > count + 50, 20)
        assert len(two[0].requests) <= 2, "what was under way at that moment"
        endpoints = {one["name"]: one for one in upstreams(gateway)[0]["endpoints"]}
        assert endpoints[two.name(0)]["administration"] == "draining" and not endpoints[two.name(0)]["used"]
        assert endpoints[two.name(1)]["administration"] == "enabled" and endpoints[two.name(1)]["used"]
        # A reload keeps the order.
        gateway.reload(upstreams=[two.upstream()])
        two.forget()
        count = load.answered
        until(lambda: load.answered > count + 50, 20)
        assert not two[0].requests
        assert gateway.ctl("upstreams", "enable", f"fleet/{two.name(0)}").returncode == 0
        until(lambda: len(two[0].requests) > 10, 20, "it is used again")
    assert not load.failures, load.failures[:5]


def test_disabled_is_out_even_for_those_who_are_bound(launch, fleet: Make) -> None:
    two = fleet(2)
    gateway: Gateway = launch(upstreams=[two.upstream(balance={"sticky": {"cookie": "route"}})])
    first = gateway.get("/")
    cookie, index = first.header("set-cookie").split(";")[0], int(first.body)
    assert gateway.ctl("upstreams", "drain", f"fleet/{two.name(index)}").returncode == 0
    until(lambda: {gateway.get("/").body for _ in range(10)} == {str(1 - index).encode()}, 5, "new clients go elsewhere")
    assert gateway.get("/", f"Cookie: {cookie}").body == first.body
    assert gateway.ctl("upstreams", "disable", f"fleet/{two.name(index)}").returncode == 0
    until(lambda: gateway.get("/", f"Cookie: {cookie}").body == str(1 - index).encode(), 5)
    assert "is now disabled" in gateway.log


@pytest.mark.parametrize("order, complaint", [
    (["drain", "nobody/x:1"], 'there is no upstream "nobody"'), (["drain", "fleet/x:1"], 'upstream "fleet" has no endpoint "x:1"'),
    (["drain", "fleet"], "an endpoint is named UPSTREAM/ENDPOINT"),
])
def test_orders_that_cannot_be_followed(launch, fleet: Make, order: list[str], complaint: str) -> None:
    gateway: Gateway = launch(upstreams=[fleet(1).upstream()])
    done = gateway.ctl("upstreams", *order)
    assert done.returncode != 0 and complaint in done.stderr, done.stderr


def test_the_table_for_people_and_the_stats(launch, fleet: Make) -> None:
    two = fleet(2)
    good = [True, False]
    for index in range(2):
        two[index].answer = answers(index, lambda index=index: good[index])
    gateway: Gateway = launch(upstreams=[two.upstream(health=check())])
    until(lambda: who(gateway) == {"0"}, 10)
    shown = gateway.ctl("upstreams")
    assert shown.returncode == 0
    row = next(line for line in shown.stdout.splitlines() if two.name(1) in line)
    assert "unhealthy" in row and "the status is not one of those expected" in row
    own = upstreams(gateway)[0]
    assert own["name"] == "fleet" and [one["name"] for one in own["endpoints"]] == [two.name(0), two.name(1)]
    assert [one["health"] for one in own["endpoints"]] == ["healthy", "unhealthy"]
    stats = json.loads(gateway.get("/stats").body)
    assert stats["upstream"]["fleet"]["endpoints"]["usable"] == 1 and stats["upstream"]["fleet"]["endpoints"]["all"] == 2


# Mistakes

MISTAKES: list[tuple[Json, str]] = [
    ({"check": {"type": "udp"}}, "health.check.type must be"),
    ({"check": {"path": "/x"}}, "health.check.path has no effect without type"),
    ({"check": {"type": "tcp", "body": "x"}}, 'health.check.body has no effect with type "tcp"'),
    ({"check": {"type": "http", "statuses": ["2x"]}}, 'health.check.statuses[0] has "2x"'),
    ({"check": {"type": "http", "path": "x"}}, "health.check.path must be a path"),
    ({"check": {"type": "http", "interval_ms": 100, "timeout_ms": 200}}, "health.check.timeout_ms (200) must not be more than interval_ms (100)"),
    ({"outlier_detection": {"base_ejection_ms": 5000, "max_ejection_ms": 100}}, "health.outlier_detection.max_ejection_ms (100) must not be less"),
    ({"panic_threshold_percent": 101}, "health.panic_threshold_percent must be"),
]


@pytest.mark.parametrize("health, expected", MISTAKES)
def test_mistakes(tmp_path, health: Json, expected: str) -> None:
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps({"upstreams": [{"name": "a", "host": "127.0.0.1", "health": health}]}))
    done = ctl("validate", "-c", str(path))
    assert done.returncode != 0
    assert expected in done.stdout + done.stderr and "gateway.json:1:" in done.stdout + done.stderr, done.stdout + done.stderr
