"""Backends that others wrote, in each kind of HTTP that they speak."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.backend import Backend, reply
from support.gateway import Gateway
from support.http2 import Http2
from support.kinds import speaking
from support.others import LARGE, SMALL, SPEAKS, Other
from support.stream import blocks, digest
from support.tls import Authority, Certificate

PAIRS = [(name, kind) for name, (_, kinds) in SPEAKS.items() for kind in kinds]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def site(authority: Authority) -> Certificate:
    return authority.issue("localhost")


@pytest.fixture(scope="module")
def echo(shared_backend: Backend) -> Backend:
    """What stands behind those that cannot send a body back."""
    def answer(connection, request) -> None:  # type: ignore[no-untyped-def]
        if request.target.endswith("/large"):
            reply(body=b"".join(blocks(LARGE)))(connection, request)
        else:
            reply(body=connection.read_body(request))(connection, request)

    shared_backend.answer = answer
    return shared_backend


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def gateway(request: pytest.FixtureRequest, launch_shared, echo: Backend, authority: Authority, site: Certificate,  # type: ignore[no-untyped-def]
            tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    name, kind = request.param
    directory = tmp_path_factory.mktemp(f"{name}-{kind}")
    entry = speaking(kind, 1, str(authority.root.chain), "/api")
    other = Other(name, kind, directory, site, echo.port)
    entry["port"] = other.port
    entry["pool"] = {"max_idle_connections": 64}
    yield launch_shared(access_log=True, max_body_size=0, upstreams=[entry])
    other.stop()


def curl(*arguments: str) -> bytes:
    return subprocess.run(["curl", "-sS", "--fail", "--max-time", "20", *arguments], capture_output=True, check=True).stdout


def test_small(gateway: Gateway) -> None:
    for flags in ([], ["--http2-prior-knowledge"]):
        base = f"http://127.0.0.1:{gateway.port}"
        for _ in range(2):  # Debian's curl cannot use a connection again after prior knowledge.
            assert curl(*flags, f"{base}/api/small") == SMALL
        head = curl(*flags, "-I", f"{base}/api/small").lower()
        assert b" 200" in head and (b"content-length: %d" % len(SMALL) in head or b"content-length" not in head)


def test_large(gateway: Gateway) -> None:
    with Http2(gateway.port) as client:
        answers = [client.request("GET", "/api/large") for _ in range(2)]
        for stream in answers:
            assert hashlib.sha256(client.answer(stream).body).hexdigest() == digest(LARGE)
    assert hashlib.sha256(gateway.get("/api/large").body).hexdigest() == digest(LARGE)


@pytest.mark.parametrize("framing", ["length", "no length"])
def test_body(gateway: Gateway, framing: str, tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(b"".join(blocks(LARGE // 4)))
    for flags in ([], ["--http2-prior-knowledge"]):
        if framing == "no length":
            flags = [*flags, "-H", "Content-Length:", *([] if flags else ["-H", "Transfer-Encoding: chunked"]), "-T", str(file), "-X", "POST"]
        else:
            flags = [*flags, "--data-binary", f"@{file}"]
        assert curl(*flags, "-H", "Expect:", f"http://127.0.0.1:{gateway.port}/api/echo") == file.read_bytes()


def test_load(gateway: Gateway) -> None:
    """h2load's and our own clients at the same time; nothing fails, and connections are used again."""
    failures: list[str] = []

    def run() -> None:
        with gateway.connect() as client:
            for _ in range(60):
                answer = client.request("GET", "/api/small")
                if answer.status != 200 or answer.body != SMALL:
                    failures.append(f"{answer.status} {answer.body!r}")

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    done = subprocess.run(["h2load", "-n", "400", "-c", "4", "-m", "10", f"http://127.0.0.1:{gateway.port}/api/small"], capture_output=True, timeout=60,
                          check=True)
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert re.search(rb"400 total, 400 started, 400 done, 400 succeeded, 0 failed, 0 errored, 0 timeout", done.stdout), done.stdout
    stats = json.loads(gateway.get("/stats").body)
    assert stats["upstream_connections"]["connects"] < 70
    failed = [one for one in gateway.access_entries(1) if "error.type" in one]
    assert failed == [] and stats["faults"] == {}
