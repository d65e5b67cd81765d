"""GET /health."""

from __future__ import annotations

import json

from support.configuration import respond
from support.gateway import Gateway


def test_says_ok(launch) -> None:
    gateway: Gateway = launch()
    response = gateway.get("/health")
    health = json.loads(response.body)
    assert response.status == 200 and response.header("content-type") == "application/json"
    assert list(health) == ["status", "pid", "uptime_seconds"]
    assert health["status"] == "ok" and health["pid"] in [gateway.pid, *gateway.workers]
    assert health["uptime_seconds"] >= 0


def test_head_and_other_methods(launch) -> None:
    gateway: Gateway = launch()
    with gateway.connect() as client:
        assert client.request("HEAD", "/health").status == 200
        refused = client.request("POST", "/health")
        assert (refused.status, refused.header("allow")) == (405, "GET, HEAD")


def test_may_be_switched_off(launch) -> None:
    assert launch(health_endpoint=False).get("/health").status == 404
    assert launch(arguments=("--no-health-endpoint",)).get("/health").status == 404


def test_stays_when_stats_are_switched_off(launch) -> None:
    gateway: Gateway = launch(stats_endpoint=False)
    assert gateway.get("/health").status == 200
    assert gateway.get("/stats").status == 404


def test_a_configured_route_wins(launch) -> None:
    assert launch(routes=[respond("/health", "mine")]).get("/health").text == "mine"


def test_a_catch_all_does_not_hide_it(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/*", "mine")])
    assert json.loads(gateway.get("/health").body)["status"] == "ok"
