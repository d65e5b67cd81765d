"""Clients that people use, over HTTP/2 in the clear and over TLS."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from support.backend import Backend, reply
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.wait import until
from support.http2 import Http2
from support.ports import free_port


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Gateway:  # type: ignore[no-untyped-def]
    directory = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", directory / "key.pem",
                    "-out", directory / "cert.pem", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                   check=True, capture_output=True)
    port, secure = free_port(), free_port()
    certificate = {"cert_file": str(directory / "cert.pem"), "key_file": str(directory / "key.pem")}
    gateway = launch_shared(
        wait=False, bind_port=port, access_log=True, routes=[respond("/local", body="hello", methods=["GET", "POST"])],
        upstreams=[upstream(shared_backend.port)], max_body_size=8 << 20)
    gateway.stop()
    gateway.config = {key: value for key, value in gateway.config.items() if key not in ("bind_host", "bind_port")}
    gateway.write(listeners=[{"host": "127.0.0.1", "port": port}, {"host": "127.0.0.1", "port": secure, "tls": {"certificates": [certificate]}}])
    gateway.start()
    gateway.secure_port = secure  # type: ignore[attr-defined]
    gateway.certificate = directory / "cert.pem"  # type: ignore[attr-defined]
    return gateway


def run(*command: object, timeout: float = 30) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(part) for part in command], capture_output=True, timeout=timeout, check=True)


def test_curl(gateway: Gateway, shared_backend: Backend, tmp_path: Path) -> None:
    body = bytes(range(256)) * 4096
    (tmp_path / "body").write_bytes(body)
    shared_backend.answer = lambda connection, request: reply(body=connection.read_body(request))(connection, request)
    for options in (["--http2-prior-knowledge", f"http://127.0.0.1:{gateway.port}"],
                    ["--cacert", gateway.certificate, f"https://localhost:{gateway.secure_port}"]):  # type: ignore[attr-defined]
        *flags, base = options
        done = run("curl", "-sS", "--max-time", 10, "-w", "%{http_version} %{http_code}", *flags, f"{base}/local")
        assert done.stdout == b"hello2 200"
        done = run("curl", "-sS", "--max-time", 20, *flags, "--data-binary", f"@{tmp_path / 'body'}", f"{base}/api")
        assert done.stdout == body
        # Without a length.
        done = run("curl", "-sS", "--max-time", 20, *flags, "-H", "Content-Length:", "-T", tmp_path / "body", "-X", "POST", f"{base}/api")
        assert done.stdout == body


def test_curl_upgrade_stays_http_1(gateway: Gateway) -> None:
    done = run("curl", "-sS", "--max-time", 10, "--http2", "-w", "%{http_version} %{http_code}", f"http://127.0.0.1:{gateway.port}/local")
    assert done.stdout == b"hello1.1 200"


def test_nghttp(gateway: Gateway) -> None:
    done = run("nghttp", "-v", "-n", f"http://127.0.0.1:{gateway.port}/local", f"http://127.0.0.1:{gateway.port}/local?2")
    assert done.stdout.count(b":status: 200") == 2 and b"SETTINGS_NO_RFC7540_PRIORITIES(0x09):1" in done.stdout.replace(b" ", b"")


@pytest.mark.parametrize("path", ["/local", "/api"])
def test_h2load(gateway: Gateway, shared_backend: Backend, path: str) -> None:
    shared_backend.answer = reply(body=b"hello")
    done = run("h2load", "-n", 600, "-c", 4, "-m", 20, f"http://127.0.0.1:{gateway.port}{path}", timeout=60)
    assert re.search(rb"600 total, 600 started, 600 done, 600 succeeded, 0 failed, 0 errored, 0 timeout", done.stdout), done.stdout


@pytest.mark.parametrize("secure", [False, True], ids=["in the clear", "over TLS"])
def test_httpx(gateway: Gateway, shared_backend: Backend, secure: bool) -> None:
    shared_backend.answer = lambda connection, request: reply(body=connection.read_body(request))(connection, request)
    context = ssl.create_default_context(cafile=gateway.certificate)  # type: ignore[attr-defined]
    base = f"https://localhost:{gateway.secure_port}" if secure else f"http://127.0.0.1:{gateway.port}"  # type: ignore[attr-defined]
    with httpx.Client(http1=False, http2=True, verify=context, timeout=10, trust_env=False) as client:
        for _ in range(3):
            response = client.get(base + "/local")
            assert response.http_version == "HTTP/2" and response.text == "hello"
        response = client.post(base + "/api", content=b"x" * 300_000)
        assert response.content == b"x" * 300_000
        assert shared_backend.last.header("x-forwarded-proto") == ("https" if secure else "http")
        response = client.post(base + "/api", content=iter([b"a" * 1000, b"b" * 1000]))
        assert response.content == b"a" * 1000 + b"b" * 1000


def test_a_wrong_preface_over_tls(gateway: Gateway) -> None:
    context = ssl.create_default_context(cafile=gateway.certificate)  # type: ignore[attr-defined]
    context.set_alpn_protocols(["h2"])
    with Http2(gateway.secure_port, tls=context, begin=False) as client:  # type: ignore[attr-defined]
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.until_closed()
        assert client.answers == {} and client.goaways[-1][1] == 1


def test_access_log_over_tls(gateway: Gateway) -> None:
    context = ssl.create_default_context(cafile=gateway.certificate)  # type: ignore[attr-defined]
    context.set_alpn_protocols(["h2"])
    with Http2(gateway.secure_port, tls=context) as client:  # type: ignore[attr-defined]
        client.get("/local", ("user-agent", "over-tls"))
    # Others share the gateway, and its lines are written a moment later.
    until(lambda: any(entry.get("user_agent.original") == "over-tls" for entry in gateway.access_entries(1)))
    entries = [entry for entry in gateway.access_entries(1) if entry.get("user_agent.original") == "over-tls"]
    assert entries[0]["network.protocol.version"] == "2" and any(key.startswith("tls.") for key in entries[0])


def test_tools_are_there() -> None:
    for tool in ("curl", "nghttp", "h2load"):
        assert shutil.which(tool), tool
