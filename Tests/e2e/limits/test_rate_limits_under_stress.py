"""One key, as many requests as can be made: exactly the capacity and what the time has brought is admitted, whatever happens to workers.

`scripts/stress-limits` does the same for longer, beside nginx.
"""

from __future__ import annotations

import shutil

import pytest

from support.configuration import respond
from support.gateway import Gateway
from support.stress import Trouble, wrk
from support.wait import until

pytestmark = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")

#: A second's worth of tokens, so that none is lost when the machine stands still for a moment.
RATE = CAPACITY = 200


def start(launch, workers: int) -> Gateway:
    zone = {"name": "z", "rate": RATE, "capacity": CAPACITY, "key_type": "client_ip"}
    return launch(workers=workers, rate_limit={"enabled": True, "zones": [zone]}, routes=[respond("/")])


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_no_token_is_lost_or_made(launch, workers: int) -> None:
    outcome = wrk(start(launch, workers).port, 3)
    assert outcome.least(RATE, CAPACITY) <= outcome.admitted <= outcome.most(RATE, CAPACITY), outcome


def test_reloads_carry_the_buckets_over(launch) -> None:
    gateway = start(launch, 2)
    with Trouble(gateway, reloads=True) as trouble:
        outcome = wrk(gateway.port, 4)
    assert trouble.reloaded > 0
    assert outcome.least(RATE, CAPACITY) <= outcome.admitted <= outcome.most(RATE, CAPACITY), outcome


def test_killed_workers_give_nobody_more(launch) -> None:
    gateway = start(launch, 4)
    with Trouble(gateway, kills=True) as trouble:
        outcome = wrk(gateway.port, 3)
    assert trouble.killed > 3 and outcome.admitted <= outcome.most(RATE, CAPACITY), outcome
    # Nothing that they have left behind is in the way.
    until(lambda: gateway.get("/").status in (200, 429), timeout=20, what="service")
    until(lambda: gateway.get("/").status == 200, timeout=20, what="a token")
