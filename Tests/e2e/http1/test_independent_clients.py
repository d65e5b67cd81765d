"""Clients that others wrote."""

from __future__ import annotations

import http.client
import subprocess

import httpx
import pytest

from support.backend import Backend
from support.configuration import respond, upstream
from support.gateway import Gateway


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    return launch_shared(routes=[respond("/local", "local answer")], upstreams=[upstream(shared_backend.port)])


def curl(*arguments: str) -> str:
    return subprocess.run(["curl", "-sS", "--max-time", "10", *arguments], capture_output=True, text=True, check=True).stdout


def test_curl(gateway: Gateway) -> None:
    base = f"http://127.0.0.1:{gateway.port}"
    assert curl(f"{base}/local") == "local answer"
    assert curl(f"{base}/api") == "hello from the backend"
    assert curl("--http1.0", f"{base}/local") == "local answer"
    assert curl("-I", f"{base}/local").startswith("HTTP/1.1 200")


def test_curl_upload_with_expect(gateway: Gateway, shared_backend: Backend) -> None:
    curl("-H", "Expect: 100-continue", "-d", "x" * 100_000, f"http://127.0.0.1:{gateway.port}/api")
    assert shared_backend.last.body == b"x" * 100_000


def test_curl_chunked_upload(gateway: Gateway, shared_backend: Backend) -> None:
    curl("-H", "Transfer-Encoding: chunked", "-d", "y" * 100_000, f"http://127.0.0.1:{gateway.port}/api")
    assert shared_backend.last.body == b"y" * 100_000


def test_curl_reuses_its_connection(gateway: Gateway) -> None:
    url = f"http://127.0.0.1:{gateway.port}/local"
    assert curl("-w", "%{num_connects} ", "-o", "/dev/null", "-o", "/dev/null", url, url).split() == ["1", "0"]


def test_http_client(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)
    for method, path, body in [("GET", "/local", None), ("POST", "/api", b"body"), ("HEAD", "/local", None), ("GET", "/api", None)]:
        connection.request(method, path, body)
        response = connection.getresponse()
        assert response.status == 200
        response.read()
    connection.close()


def test_httpx(gateway: Gateway, shared_backend: Backend) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{gateway.port}", trust_env=False) as client:
        assert client.get("/local").text == "local answer"
        assert client.post("/api", content=(b"part" for _ in range(3))).status_code == 200
        assert shared_backend.last.body == b"partpartpart"
        assert client.get("/missing").status_code == 404
