"""allow and deny: who is let in, everywhere, on a listener and on a route."""

from __future__ import annotations

import json

from support.backend import Backend
from support.client import Client
from support.configuration import forward, respond, upstream
from support.gateway import Gateway
from support.http2 import Http2
from support.ports import free_port


def status(gateway: Gateway, path: str = "/", *lines: str, source: str = "127.0.0.1", port: int | None = None) -> int:
    with Client(port or gateway.port, source=source) as client:
        return client.request("GET", path, *lines).status


def test_the_longest_range_decides(launch) -> None:
    gateway: Gateway = launch(allow=["127.0.0.0/8", "127.0.1.7"], deny=["127.0.1.0/24"], routes=[respond("/")])
    assert [status(gateway, source=f"127.0.{last}") for last in ("0.1", "0.9", "1.1", "1.7", "2.1")] == [200, 200, 403, 200, 200]


def test_who_is_not_allowed_is_denied(launch) -> None:
    gateway: Gateway = launch(allow=["127.0.0.1", "127.0.0.2"], routes=[respond("/")], access_log={"format": "json"})
    assert [status(gateway, source=f"127.0.0.{last}") for last in (1, 2, 3)] == [200, 200, 403]
    entry = gateway.access_entries(3)[-1]
    assert entry["error.type"] == "http_request_denied" and entry["client.address"] == "127.0.0.3"
    assert json.loads(gateway.get("/stats").body)["faults"]["http_request_denied"] == 1


def test_a_denied_request_keeps_its_connection_and_says_why(launch) -> None:
    gateway: Gateway = launch(deny=["127.0.0.9"], routes=[respond("/", methods=["GET", "POST"])])
    with Client(gateway.port, source="127.0.0.9") as client:
        answer = client.request("POST", "/", "Accept: application/json", body=b"x" * 1000)
        assert answer.status == 403 and json.loads(answer.body)["fault"] == "http_request_denied"
        assert client.request("GET", "/elsewhere").status == 403


def test_a_listener_has_lists_of_its_own(launch) -> None:
    other = free_port()
    gateway: Gateway = launch(routes=[respond("/")])
    gateway.stop()
    gateway.write(bind_host=None, bind_port=None, listeners=[
        {"host": "127.0.0.1", "port": gateway.port}, {"host": "127.0.0.1", "port": other, "allow": ["127.0.0.2"]}])
    gateway.start()
    assert [status(gateway, source="127.0.0.1"), status(gateway, source="127.0.0.1", port=other), status(gateway, source="127.0.0.2", port=other)] == [200, 403, 200]


def test_a_route_has_lists_of_its_own(launch, backend: Backend) -> None:
    gateway: Gateway = launch(
        routes=[respond("/"), {**respond("/admin"), "allow": ["127.0.0.2"]}, {**forward("/inner/*rest"), "deny": ["127.0.0.1"]}],
        upstreams=[upstream(backend.port, "/api", allow=["127.0.0.3"])])
    for path, allowed in [("/", {1, 2, 3}), ("/admin", {2}), ("/inner/x", {2, 3}), ("/api/x", {3})]:
        for last in (1, 2, 3):
            assert (status(gateway, path, source=f"127.0.0.{last}") == 200) == (last in allowed), (path, last)
    with Http2(gateway.port) as client:
        assert client.get("/admin").status == 403 and client.get("/").status == 200


def test_lists_are_for_the_clients_address(launch) -> None:
    gateway: Gateway = launch(client_address={"trusted_proxies": ["127.0.0.1"]}, deny=["203.0.113.0/24"],
                              routes=[respond("/"), {**respond("/admin"), "allow": ["198.51.100.1"]}])
    told = "X-Forwarded-For: "
    assert status(gateway, "/", told + "203.0.113.7") == 403
    assert status(gateway, "/", told + "198.51.100.9") == 200
    assert status(gateway, "/admin", told + "198.51.100.1") == 200
    assert status(gateway, "/admin", told + "198.51.100.1, 198.51.100.2") == 403
    assert status(gateway, "/admin", told + "198.51.100.1", source="127.0.0.9") == 403
    assert status(gateway, "/admin") == 403


def test_lists_change_with_a_reload(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    assert status(gateway) == 200
    gateway.reload(deny=["127.0.0.1"])
    assert status(gateway) == 403
    gateway.reload(deny=None)
    assert status(gateway) == 200
