"""Which requests get a line in the access log: shares, routes of their own, and what is wrong in any case."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from support.backend import Backend, head
from support.client import Client
from support.configuration import respond, upstream
from support.gateway import Gateway, ctl
from support.ports import free_port
from support.wait import until


def paths(gateway: Gateway, last: str) -> Counter[str]:
    """How many lines each path has, once that of `last` is there."""
    def entries() -> Counter[str] | None:
        found = Counter(entry["url.path"] for entry in gateway.access_entries(0))
        return found if found[last] else None
    return until(entries)


def test_routes_without_lines(launch) -> None:
    routes = [{**respond("/quiet"), "access_log": {"enabled": False}}, {**respond("/none"), "access_log": {"sample_percent": 0}}, respond("/loud")]
    gateway: Gateway = launch(access_log=True, routes=routes)
    with Client(gateway.port) as client:
        for path in ("/quiet", "/none", "/missing", "/loud"):
            for _ in range(5):
                client.request("GET", path)
        client.request("GET", "/last")
    assert paths(gateway, "/last") == {"/missing": 5, "/loud": 5, "/last": 1}


def test_a_share_of_the_requests(launch, backend: Backend) -> None:
    gateway: Gateway = launch(access_log={"sample_percent": 20}, routes=[respond("/local"), {**respond("/all"), "access_log": {}}],
                              upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        for _ in range(300):
            client.request("GET", "/local")
            client.request("GET", "/api")
        client.request("GET", "/all")
    found = paths(gateway, "/all")
    # 60 of each, and six standard deviations.
    assert 18 <= found["/local"] <= 102 and 18 <= found["/api"] <= 102 and found["/all"] == 1


def test_what_is_wrong_is_logged_all_the_same(launch) -> None:
    def answer(connection, asked) -> None:
        time.sleep(0.3)
        connection.send(head(200, "Content-Length: 0"))

    slow = Backend(answer)
    gateway: Gateway = launch(access_log={"sample_percent": 0, "always_after_ms": 200}, routes=[respond("/fine")],
                              upstreams=[upstream(free_port(), "/broken"), upstream(slow.port, "/slow", name="slow")])
    with Client(gateway.port) as client:
        for path in ("/fine", "/missing", "/slow", "/broken"):
            client.request("GET", path)
    slow.stop()
    assert paths(gateway, "/broken") == {"/slow": 1, "/broken": 1}


def test_a_reload_changes_the_share(launch) -> None:
    gateway: Gateway = launch(access_log={"sample_percent": 0}, routes=[respond("/")])
    gateway.get("/before")
    gateway.reload(access_log={"enabled": True, "file": str(gateway.access_file), "flush_interval_ms": 50})
    until(lambda: gateway.get("/after") and gateway.access_entries(0))
    assert "/before" not in {entry["url.path"] for entry in gateway.access_entries(0)}


@pytest.mark.parametrize("setting, message", [
    ('{"sample_percent": 101}', "access_log.sample_percent must be between 0 and 100"),
    ('{"sample_percent": 0.00001}', "access_log.sample_percent must be a number with at most three decimals"),
    ('{"always_from_status": 99}', "access_log.always_from_status must be 0 or between 100 and 599"),
    ('{"always_after_ms": -1}', "access_log.always_after_ms must be"),
])
def test_bad_values(tmp_path: Path, setting: str, message: str) -> None:
    file = tmp_path / "gateway.json"
    file.write_text(f'{{"access_log": {setting}}}')
    result = ctl("validate", "-c", str(file))
    assert result.returncode != 0 and f"{file}:1:" in result.stderr + result.stdout and message in result.stderr + result.stdout
