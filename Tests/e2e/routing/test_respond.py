"""Fixed answers."""

from __future__ import annotations

import pytest

from support.configuration import respond
from support.gateway import Gateway


@pytest.fixture(scope="module")
def gateway(launch_shared) -> Gateway:
    return launch_shared(routes=[
        respond("/plain", "text"), respond("/teapot", "short", status=418), respond("/none", "", status=204),
        respond("/headers", "{}", headers={"Content-Type": "application/json", "X-Many": ["one", "two"], "Cache-Control": "no-store"}),
        respond("/long", "é" * 20_000),
    ])


def test_body_and_length(gateway: Gateway) -> None:
    response = gateway.get("/plain")
    assert (response.status, response.text, response.header("content-length")) == (200, "text", "4")


def test_status(gateway: Gateway) -> None:
    assert gateway.get("/teapot").status == 418
    assert gateway.get("/none").status == 204


def test_headers(gateway: Gateway) -> None:
    response = gateway.get("/headers")
    assert response.header("content-type") == "application/json"
    assert response.all("x-many") == ["one", "two"]
    assert response.header("cache-control") == "no-store"


def test_long_body(gateway: Gateway) -> None:
    assert gateway.get("/long").text == "é" * 20_000
