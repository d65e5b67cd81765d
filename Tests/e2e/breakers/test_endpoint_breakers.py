"""Breakers of single endpoints: one that is open is passed over, and what it was left alone for is tried out again."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest

from support.backend import close, hang, reply
from support.client import Client, request
from support.fleet import Fleet, numbered
from support.gateway import Gateway
from support.wait import until


@pytest.fixture
def three():
    fleet = Fleet(3)
    yield fleet
    fleet.stop()


def guarded(fleet: Fleet, breaker: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    settings = {"enabled": True, "scope": "endpoint", "consecutive_failure_threshold": 3, "base_open_duration_ms": 60_000, "permitted_half_open_calls": 2}
    return fleet.upstream(balance={"policy": "round_robin"}, circuit_breaker={**settings, **(breaker or {})}, **keys)


def states(gateway: Gateway) -> dict[str, dict[str, Any]]:
    done = gateway.ctl("breakers", "--json")
    assert done.returncode == 0, done.stderr
    return {one["endpoint"]: one for one in json.loads(done.stdout)["breakers"] if "endpoint" in one}


def test_an_open_endpoint_is_passed_over(launch, three: Fleet) -> None:
    gateway: Gateway = launch(upstreams=[guarded(three)])
    three[1].answer = reply(500, reason="Broken", body=b"x")
    answers = [gateway.get("/").status for _ in range(12)]
    assert answers.count(500) == 3, answers
    three.forget()
    assert [gateway.get("/").status for _ in range(12)] == [200] * 12
    assert three.shares[1] == 0 and three.shares[0] == three.shares[2] == 6
    found = states(gateway)
    assert found[three.name(1)]["state"] == "open" and found[three.name(1)]["opened"] == 1 and found[three.name(0)]["state"] == "closed"
    assert f"upstream fleet: endpoint {three.name(1)}: circuit breaker is open for 60000 ms: consecutive failures, 3 of 3" in gateway.log
    stats = json.loads(gateway.get("/stats").body)["breakers"]
    assert stats[f"fleet/{three.name(1)}"]["state"] == "open" and stats["fleet"]["state"] == "closed"
    assert f"fleet/{three.name(1)}" in gateway.ctl("breakers").stdout


def test_it_is_tried_out_and_used_again(launch, three: Fleet) -> None:
    gateway: Gateway = launch(upstreams=[guarded(three, {"base_open_duration_ms": 500})])
    three[1].answer = reply(500, reason="Broken", body=b"x")
    until(lambda: gateway.get("/").status == 500 and states(gateway)[three.name(1)]["state"] == "open", what="an open breaker")
    three[1].answer = numbered(1)
    three.forget()

    def recovered() -> bool:
        assert gateway.get("/").status == 200
        return states(gateway)[three.name(1)]["state"] == "closed"

    until(recovered, timeout=10, what="a closed breaker", pause=0.02)
    assert three.shares[1] >= 2


def test_a_failed_probe_opens_it_for_longer(launch, three: Fleet) -> None:
    gateway: Gateway = launch(upstreams=[guarded(three, {"base_open_duration_ms": 300, "max_open_duration_ms": 60_000})])
    three[2].answer = close
    until(lambda: gateway.get("/") and states(gateway)[three.name(2)]["trips"] >= 3, timeout=10, what="three times", pause=0.02)
    three.forget()
    assert [gateway.get("/").status for _ in range(6)] == [200] * 6 and three.shares[2] == 0


def test_retries_go_elsewhere_and_clients_notice_nothing(launch, three: Fleet) -> None:
    gateway: Gateway = launch(upstreams=[{**guarded(three), "proxy": {"route_prefix": "/", "retry": {"max_retries": 2, "retry_on_5xx": True}}}])
    three[0].answer = reply(503, reason="Busy", body=b"x")
    assert [gateway.get("/").status for _ in range(12)] == [200] * 12
    assert states(gateway)[three.name(0)]["state"] == "open" and three.shares[0] == 3


def test_an_endpoint_that_cannot_be_connected_to_opens(launch, three: Fleet) -> None:
    gateway: Gateway = launch(upstreams=[guarded(three)])
    three[0].stop()
    assert [gateway.get("/").status for _ in range(12)] == [200] * 12
    until(lambda: gateway.get("/").status == 200 and states(gateway)[three.name(0)]["state"] == "open", what="an open breaker")


def test_when_all_are_open_requests_are_refused(launch, three: Fleet) -> None:
    gateway: Gateway = launch(upstreams=[guarded(three, {"max_ejection_percent_per_host_set": 100})], access_log={"format": "json"})
    for backend in three.backends:
        backend.answer = reply(500, reason="Broken", body=b"x")
    assert [gateway.get("/").status for _ in range(9)] == [500] * 9
    refused = gateway.get("/")
    assert refused.status == 503 and refused.header("x-circuit-breaker") == "open" and refused.body == b"Upstream circuit breaker is open; please retry later.\n"
    assert 50 <= int(refused.header("retry-after") or 0) <= 60
    assert gateway.access_entries(10)[-1]["error.type"] == "circuit_open"


def test_no_more_are_passed_over_than_may_be(launch, three: Fleet) -> None:
    gateway: Gateway = launch(upstreams=[guarded(three, {"max_ejection_percent_per_host_set": 34})])
    for backend in three.backends:
        backend.answer = reply(500, reason="Broken", body=b"x")
    assert [gateway.get("/").status for _ in range(9)] == [500] * 9
    three.forget()
    assert [gateway.get("/").status for _ in range(8)] == [500] * 8
    assert sorted(three.shares.values()) == [0, 4, 4]


def test_a_single_endpoint(launch) -> None:
    one = Fleet(1)
    try:
        gateway: Gateway = launch(upstreams=[guarded(one)])
        assert gateway.get("/").status == 200
        one[0].answer = reply(500, reason="Broken", body=b"x")
        assert [gateway.get("/").status for _ in range(4)] == [500, 500, 500, 503]
    finally:
        one.stop()


def test_a_dry_run_passes_nobody_over(launch, three: Fleet) -> None:
    gateway: Gateway = launch(upstreams=[guarded(three, {"dry_run": True})])
    three[1].answer = reply(500, reason="Broken", body=b"x")
    assert [gateway.get("/").status for _ in range(30)].count(500) == 10
    assert states(gateway)[three.name(1)]["state"] == "open" and states(gateway)[three.name(1)]["spared"] > 0


def test_orders(launch, three: Fleet) -> None:
    gateway: Gateway = launch(workers=2, upstreams=[guarded(three)])
    for _ in range(6):
        gateway.get("/")
    done = gateway.ctl("breakers", "open", f"fleet/{three.name(2)}")
    assert done.returncode == 0 and "is held open" in done.stdout, done
    until(lambda: quiet(gateway, three, 2), what="the order to be obeyed")
    assert states(gateway)[three.name(2)]["held"]
    gateway.reload(idle_timeout_sec=77)
    assert quiet(gateway, three, 2)
    assert gateway.ctl("breakers", "reset", f"fleet/{three.name(2)}").returncode == 0
    until(lambda: not quiet(gateway, three, 2), what="requests again")
    assert gateway.ctl("breakers", "close", f"fleet/{three.name(0)}").returncode == 0
    three[0].answer = reply(500, reason="Broken", body=b"x")
    assert [gateway.get("/").status for _ in range(18)].count(500) == 6
    done = gateway.ctl("breakers", "open", "fleet/nowhere:1")
    assert done.returncode == 1 and "there are: " in done.stdout + done.stderr
    done = gateway.ctl("breakers", "open", "fleet")
    assert done.returncode == 0 and done.stdout.count("is held open") == 3
    until(lambda: gateway.get("/").status == 503, what="refusals")


def quiet(gateway: Gateway, fleet: Fleet, index: int) -> bool:
    fleet.forget()
    for _ in range(9):
        gateway.get("/")
    return fleet.shares[index] == 0


def test_workers_share_the_state_and_dead_ones_give_probes_back(launch, three: Fleet) -> None:
    gateway: Gateway = launch(workers=2, upstreams=[guarded(three, {"base_open_duration_ms": 700})])
    three[1].answer = reply(500, reason="Broken", body=b"x")
    until(lambda: gateway.get("/") and states(gateway)[three.name(1)]["state"] == "open", what="an open breaker")
    three[1].answer = hang
    time.sleep(0.8)
    clients = []

    def probing() -> bool:
        client = Client(gateway.port)
        clients.append(client)
        client.send(request("GET", "/"))
        state = states(gateway)[three.name(1)]
        return state["state"] == "half_open" and state["probes_under_way"] == 2

    until(probing, timeout=10, what="two probes")
    for worker in gateway.workers:
        os.kill(worker, signal.SIGKILL)
    three[1].answer = numbered(1)
    until(lambda: len(gateway.workers) == 2, what="two workers")
    until(lambda: gateway.get("/").status == 200 and states(gateway)[three.name(1)]["state"] == "closed", timeout=10, what="a closed breaker", pause=0.02)
    for client in clients:
        client.close()
