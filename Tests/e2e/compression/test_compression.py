"""Compression: what is compressed, for whom, how it is told, and that nothing is kept back or lost by it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import zlib
from pathlib import Path

import pytest

from support import proc
from support.backend import Backend, Connection, Request
from support.backend import reply as reply_with
from support.backend import reply_chunked as reply_in_chunks
from support.client import Client
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.http2 import Http2
from support.wait import until

TEXT = b"".join(b"line %d of a text that repeats itself\n" % n for n in range(400))
KIND = ("Content-Type", "text/plain")


def lines_of(headers: list[tuple[str, str]]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers]


def reply(body: bytes, status: int = 200, headers: list[tuple[str, str]] | None = None):
    return reply_with(status, *lines_of(headers or []), body=body)


def reply_chunked(*pieces: bytes, headers: list[tuple[str, str]]):
    return reply_in_chunks(pieces, *lines_of(headers))


def decoded(body: bytes, coding: str | None) -> bytes:
    if coding == "gzip":
        return gzip.decompress(body)
    if coding in ("br", "zstd"):
        command = ["brotli", "-d", "-c"] if coding == "br" else ["zstd", "-d", "-c", "-q"]
        return subprocess.run(command, input=body, capture_output=True, check=True).stdout
    assert coding is None
    return body


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    root = tmp_path_factory.mktemp("www")
    for name, content in {"a.css": TEXT, "a.png": TEXT, "small.css": b"a{}", "long.txt": TEXT * 200, "b.css": TEXT, "b.css.gz": gzip.compress(TEXT)}.items():
        (root / name).write_bytes(content)
    return launch_shared(compression={"enabled": True, "min_length_bytes": 256}, upstreams=[
        upstream(shared_backend.port), upstream(shared_backend.port, "/off", "off", compression="off"), upstream(shared_backend.port, "/held", "held", buffering="always")], routes=[
        {"path": "/files/*file", "static": {"root": str(root)}}, {"path": "/pre/*file", "static": {"root": str(root), "precompressed": ["gzip"]}},
        respond("/fixed", TEXT.decode()), respond("/short", "short"), {**respond("/plain", TEXT.decode()), "compression": "off"}])


def values(answer, name: bytes) -> list[str]:
    return [value.decode() for key, value in answer.fields if key.lower() == name]


def get(gateway: Gateway, path: str, accept: str | None = "gzip", *lines: str, method: str = "GET"):
    with Client(gateway.port) as client:
        return client.request(method, path, *([] if accept is None else [f"Accept-Encoding: {accept}"]), *lines)


ANSWERS = ["/api", "/held", "/files/a.css", "/fixed"]


@pytest.mark.parametrize("path", ANSWERS)
@pytest.mark.parametrize("accept, coding", [
    ("gzip", "gzip"), ("br", "br"), ("zstd", "zstd"), ("gzip, deflate, br, zstd", "br"), ("gzip;q=1.0, br;q=0.9", "gzip"), ("*", "br"), ("br;q=0, zstd;q=0, *", "gzip"),
    (None, None), ("", None), ("identity", None), ("gzip;q=0", None), ("deflate", None), ("gzip;q=0.5, identity;q=0.8", None), ("*;q=0", None), ("identity;q=0, gzip", "gzip"),
])
def test_what_the_client_takes(gateway: Gateway, shared_backend: Backend, path: str, accept: str | None, coding: str | None) -> None:
    shared_backend.answer = reply(TEXT, headers=[KIND])
    answer = get(gateway, path, accept)
    assert answer.status == 200 and answer.header("content-encoding") == coding and decoded(answer.body, coding) == TEXT
    assert answer.header("vary") == "Accept-Encoding"
    if coding:
        assert len(answer.body) < len(TEXT) / 4
    with Http2(gateway.port) as client:
        answer2 = client.get(path, *([] if accept is None else [("accept-encoding", accept)]))
        assert answer2.status == 200 and answer2.header("content-encoding") == coding and decoded(answer2.body, coding) == TEXT


@pytest.mark.parametrize("name, headers", [
    ("type", [("Content-Type", "image/png")]), ("no type", []), ("coded", [KIND, ("Content-Encoding", "gzip")]), ("coded otherwise", [KIND, ("Content-Encoding", "x-own")]),
    ("no-transform", [KIND, ("Cache-Control", "public, no-transform")]), ("range", [KIND, ("Content-Range", "bytes 0-1/5")]), ("events", [("Content-Type", "text/event-stream")]),
    ("events with charset", [("Content-Type", "text/event-stream; charset=utf-8")]),
])
def test_what_is_left_alone(gateway: Gateway, shared_backend: Backend, name: str, headers: list[tuple[str, str]]) -> None:
    shared_backend.answer = reply(TEXT, headers=[*headers, ("ETag", '"a"')])
    answer = get(gateway, "/api")
    assert answer.body == TEXT and answer.header("content-length") == str(len(TEXT)) and answer.header("etag") == '"a"'
    assert answer.header("vary") is None and answer.header("content-encoding") == dict(headers).get("Content-Encoding")


def test_short_ones_are_left_alone_but_vary(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(b"x" * 255, headers=[KIND])
    answer = get(gateway, "/api")
    assert answer.body == b"x" * 255 and answer.header("vary") == "Accept-Encoding"
    assert get(gateway, "/api", "gzip, identity;q=0").header("content-encoding") == "gzip"
    assert get(gateway, "/files/small.css").body == b"a{}" and get(gateway, "/short").body == b"short"


@pytest.mark.parametrize("status", [204, 304])
def test_without_a_body(gateway: Gateway, shared_backend: Backend, status: int) -> None:
    shared_backend.answer = reply(b"", status=status, headers=[KIND, ("ETag", '"a"')])
    answer = get(gateway, "/api")
    assert answer.status == status and answer.header("content-encoding") is None and answer.header("etag") == '"a"'


def test_routes_that_are_off(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(TEXT, headers=[KIND])
    for path in ("/off", "/plain"):
        answer = get(gateway, path)
        assert answer.body == TEXT and answer.header("vary") is None


def test_fields_that_change(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(TEXT, headers=[("Content-Type", "Application/JSON; charset=utf-8"), ("ETag", '"a"'), ("Accept-Ranges", "bytes"), ("Vary", "Origin")])
    answer = get(gateway, "/api")
    assert answer.header("etag") == 'W/"a"' and answer.header("accept-ranges") is None
    assert answer.header("content-length") == str(len(answer.body)) and decoded(answer.body, "gzip") == TEXT
    assert values(answer, b"vary") == ["Origin", "Accept-Encoding"] and answer.header("content-type") == "Application/JSON; charset=utf-8"
    shared_backend.answer = reply(TEXT, headers=[KIND, ("ETag", 'W/"a"'), ("Vary", "accept-encoding, Cookie")])
    answer = get(gateway, "/api")
    assert answer.header("etag") == 'W/"a"' and values(answer, b"vary") == ["accept-encoding, Cookie"]
    shared_backend.answer = reply(TEXT, headers=[KIND, ("Vary", "*")])
    assert values(get(gateway, "/api"), b"vary") == ["*"]


def test_head_is_as_get(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(TEXT, headers=[KIND, ("ETag", '"a"')])
    for path in ANSWERS:
        got, head = get(gateway, path), get(gateway, path, method="HEAD")
        assert head.body == b"" and head.header("content-length") == (got.header("content-length") if path == "/fixed" else None)
        for name in ("content-encoding", "vary", "etag", "content-type"):
            assert head.header(name) == got.header(name), (path, name)


def test_a_held_response_has_its_length(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(TEXT, headers=[KIND])
    answer = get(gateway, "/held")
    assert answer.header("content-length") == str(len(answer.body)) and answer.header("content-encoding") == "gzip"


def test_to_http_1_0_nothing_is_compressed(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(TEXT, headers=[KIND])
    with Client(gateway.port) as client:
        client.send("GET /api HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        answer = client.read()
        assert answer.body == TEXT and answer.header("content-encoding") is None


@pytest.mark.parametrize("accept", ["gzip", "br", "zstd"])
def test_long_ones(gateway: Gateway, shared_backend: Backend, accept: str) -> None:
    body = TEXT * 300
    shared_backend.answer = reply_chunked(*[body[start:start + 50_000] for start in range(0, len(body), 50_000)], headers=[KIND])
    for path, expected in (("/api", body), ("/files/long.txt", TEXT * 200)):
        answer = get(gateway, path, accept)
        assert answer.header("content-encoding") == accept and decoded(answer.body, accept) == expected
        with Http2(gateway.port) as client:
            answer2 = client.get(path, ("accept-encoding", accept))
            assert decoded(answer2.body, accept) == expected
    stats = json.loads(gateway.get("/stats").body)["compression"]
    assert stats["responses"] > 0 and stats["bytes_in"] > stats["bytes_out"] > 0


def test_what_a_backend_has_sent_is_not_kept_back(gateway: Gateway, shared_backend: Backend) -> None:
    pause = {"go": False}

    def answer(connection: Connection, _request: Request) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        until(lambda: pause["go"], what="the client to have the first piece")
        connection.send(b"6\r\nsecond\r\n0\r\n\r\n")
    shared_backend.answer = answer
    with Client(gateway.port) as client:
        client.send("GET /api HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, identity;q=0\r\n\r\n")
        assert b"Content-Encoding: gzip" in client.reader.until(b"\r\n\r\n")
        decoder, text = zlib.decompressobj(31), b""

        def chunk() -> bytes:
            size = int(client.reader.until(b"\r\n"), 16)
            data = client.reader.exactly(size)
            client.reader.exactly(2)
            return data
        while text != b"first":
            text += decoder.decompress(chunk())
        pause["go"] = True
        while data := chunk():
            text += decoder.decompress(data)
        assert text == b"firstsecond" and decoder.eof


def test_ranges_and_conditions_of_files(gateway: Gateway) -> None:
    plain, coded = get(gateway, "/files/a.css", None), get(gateway, "/files/a.css")
    assert coded.header("etag") == "W/" + (plain.header("etag") or "")
    assert get(gateway, "/files/a.css", "gzip", f"If-None-Match: {coded.header('etag')}").status == 304
    assert get(gateway, "/files/a.css", "gzip", f"If-None-Match: {coded.header('etag')}").header("vary") == "Accept-Encoding"
    part = get(gateway, "/files/a.css", "gzip", "Range: bytes=0-9")
    assert part.status == 206 and part.body == TEXT[:10] and part.header("content-encoding") is None and part.header("vary") == "Accept-Encoding"
    assert get(gateway, "/files/a.css", "gzip", "Range: bytes=0-9", f"If-Range: {coded.header('etag')}").header("content-encoding") == "gzip"
    assert get(gateway, "/files/a.png").header("content-encoding") is None and get(gateway, "/files/a.png").header("vary") is None
    assert get(gateway, "/pre/b.css").header("content-length") == str(len(gzip.compress(TEXT)))
    assert get(gateway, "/pre/b.css", "br").header("content-encoding") == "br"


def test_a_response_that_breaks_off_is_cut_off(gateway: Gateway, shared_backend: Backend) -> None:
    def answer(connection: Connection, _request: Request) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 5000)
        connection.close()
    shared_backend.answer = answer
    with Client(gateway.port) as client:
        client.send("GET /api HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        client.reader.until(b"\r\n\r\n")
        rest = bytes(client.reader.buffer)
        try:
            while data := client.sock.recv(65536):
                rest += data
        except ConnectionResetError:
            pass
        assert not rest.endswith(b"0\r\n\r\n")


def test_memory_is_bounded_by_the_number_of_encoders(launch, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_bytes(os.urandom(1 << 20).hex().encode() * 20)
    gateway: Gateway = launch(compression={"enabled": True}, routes=[{"path": "/*file", "static": {"root": str(tmp_path)}}])
    clients = [Client(gateway.port) for _ in range(300)]
    for client in clients:
        client.send("GET /long.txt HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
    heads = [client.reader.until(b"\r\n\r\n") for client in clients]
    coded = sum(b"Content-Encoding: gzip" in head for head in heads)
    assert coded == 256 and proc.memory(gateway.worker) < 400 << 20
    for client in clients:
        client.sock.close()
    until(lambda: get(gateway, "/long.txt", "gzip", method="HEAD").header("content-encoding") == "gzip", what="encoders to be free")
