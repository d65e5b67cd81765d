"""What responses made by the gateway carry."""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime

import pytest

from support.client import Client, request
from support.configuration import respond
from support.gateway import Gateway


@pytest.fixture(scope="module")
def gateway(launch_shared) -> Gateway:
    return launch_shared(routes=[respond("/ok")])


@pytest.mark.parametrize("path", ["/ok", "/missing", "/health"])
def test_date_server_and_request_id(gateway: Gateway, path: str) -> None:
    response = gateway.get(path)
    date = parsedate_to_datetime(response.header("date") or "")
    assert abs(date.timestamp() - time.time()) < 3
    assert (response.header("date") or "").endswith(" GMT")
    assert response.header("server") == "gateway"
    assert response.header("x-request-id")


def test_date_moves_on(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        first = client.request("GET", "/ok").header("date")
        time.sleep(1.1)
        assert client.request("GET", "/ok").header("date") != first


def test_request_ids_differ(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        ids = {client.request("GET", "/missing").header("x-request-id") for _ in range(50)}
    assert len(ids) == 50


def test_server_header_may_be_left_out(launch) -> None:
    gateway: Gateway = launch(server_header=False, routes=[respond("/ok")])
    assert gateway.get("/ok").header("server") is None
    assert gateway.get("/missing").header("server") is None


def test_errors_are_plain_text(gateway: Gateway) -> None:
    response = gateway.get("/missing")
    assert (response.header("content-type") or "").startswith("text/plain")
    assert response.text.strip() == "Not Found"
    assert response.reason == "Not Found"


@pytest.mark.parametrize("accept", ["application/json", "application/problem+json", "application/json, text/plain;q=0.5"])
def test_errors_are_problem_json_for_who_prefers_json(gateway: Gateway, accept: str) -> None:
    """RFC 9457."""
    response = gateway.get("/missing", f"Accept: {accept}")
    assert response.header("content-type") == "application/problem+json"
    problem = json.loads(response.body)
    assert problem["status"] == 404 and problem["title"] == "Not Found"


@pytest.mark.parametrize("accept", ["*/*", "text/html, */*", "text/plain"])
def test_errors_stay_plain_for_others(gateway: Gateway, accept: str) -> None:
    assert (gateway.get("/missing", f"Accept: {accept}").header("content-type") or "").startswith("text/plain")


def test_nothing_of_the_request_stands_in_an_error_page(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send(request("GET", "/<script>alert(1)</script>"))
        assert b"<script>" not in client.read().body
