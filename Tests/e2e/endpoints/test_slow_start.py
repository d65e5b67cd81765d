"""An endpoint that comes back begins with a tenth of its share, and has all of it when its time is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from support.backend import reply
from support.fleet import Fleet
from support.gateway import Gateway
from support.wait import until

Make = Callable[[int], Fleet]
#: Long enough for a share to be measured before it has grown much.
RAMP = 6


def share(gateway: Gateway, of: int, count: int = 120) -> float:
    with gateway.connect() as client:
        answers = [client.request().body for _ in range(count)]
    return answers.count(str(of).encode()) / count


def come_back(gateway: Gateway, two: Fleet, way: str, good: list[bool]) -> None:
    """Takes the second endpoint out of use, and brings it back."""
    if way == "order":
        assert gateway.ctl("upstreams", "disable", f"fleet/{two.name(1)}").returncode == 0
        until(lambda: share(gateway, 1, 10) == 0, 5)
        assert gateway.ctl("upstreams", "enable", f"fleet/{two.name(1)}").returncode == 0
    elif way == "checks":
        good[0] = False
        until(lambda: f"endpoint {two.name(1)} is unhealthy" in gateway.log, 10)
        good[0] = True
        until(lambda: f"endpoint {two.name(1)} is healthy again" in gateway.log, 10)
    else:
        good[0] = False
        until(lambda: share(gateway, 1, 10) >= 0 and f"endpoint {two.name(1)} is ejected" in gateway.log, 10)
        good[0] = True
        until(lambda: share(gateway, 1, 10) > 0, 10, "the ejection to end")


@pytest.mark.parametrize("way", ["order", "checks", "ejection"])
@pytest.mark.parametrize("policy", ["round_robin", "power_of_two"])
def test_the_ramp(launch, fleet: Make, way: str, policy: str) -> None:
    two = fleet(2)
    good = [True]

    def answer(connection: Any, request: Any) -> None:
        reply(200 if good[0] else 500, body=b"1")(connection, request)

    two[1].answer = answer
    health: dict[str, Any] = {}
    if way == "checks":
        health = {"check": {"type": "http", "interval_ms": 100, "timeout_ms": 100, "unhealthy_threshold": 2, "healthy_threshold": 2}}
    elif way == "ejection":
        health = {"outlier_detection": {"enabled": True, "consecutive_failures": 3, "base_ejection_ms": 500}}
    gateway: Gateway = launch(upstreams=[two.upstream(balance={"policy": policy, "slow_start_sec": RAMP}, health=health)])
    assert 0.3 <= share(gateway, 1) <= 0.7, "nobody is coming back at the start"
    come_back(gateway, two, way, good)
    start = time.monotonic()
    first = share(gateway, 1)
    taken = time.monotonic() - start
    # A tenth at first, and what it has grown by while it was measured; two of these weights share as w / (1 + w).
    most = 0.1 + (taken + 1.5) / RAMP
    assert 0 < first <= most / (1 + most) + 0.12, (first, taken)
    until(lambda: time.monotonic() - start > RAMP / 2, RAMP)
    middle = share(gateway, 1)
    assert first < middle <= 0.55, (first, middle)
    until(lambda: time.monotonic() - start > RAMP + 0.5, RAMP)
    last = share(gateway, 1, 300)
    assert 0.4 <= last <= 0.6, last


def test_at_once_without_it(launch, fleet: Make) -> None:
    two = fleet(2)
    gateway: Gateway = launch(upstreams=[two.upstream(balance={"policy": "round_robin"})])
    come_back(gateway, two, "order", [True])
    assert share(gateway, 1) == 0.5
