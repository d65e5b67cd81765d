"""Conditional requests and ranges of files (RFC 9110 §13, §14)."""

from __future__ import annotations

import os
import re
from email.utils import formatdate
from pathlib import Path

import pytest

from support.client import Client
from support.gateway import Gateway
from support.http2 import Http2

BODY = bytes(range(256)) * 4
LONG = os.urandom(3 << 20)
TIME = 1_700_000_000


@pytest.fixture(scope="module")
def gateway(launch_shared, tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    root = tmp_path_factory.mktemp("www")
    for name, content in {"f.txt": BODY, "long.bin": LONG, "zero": b""}.items():
        (root / name).write_bytes(content)
        os.utime(root / name, (TIME, TIME))
    return launch_shared(routes=[{"path": "/*file", "static": {"root": str(root)}}])


TAG = f'"{TIME * 10**9:x}-{len(BODY):x}"'
AT, BEFORE, AFTER = (formatdate(TIME + shift, usegmt=True) for shift in (0, -1, 1))


def status(gateway: Gateway, *lines: str, method: str = "GET") -> int:
    with Client(gateway.port) as client:
        answer = client.request(method, "/f.txt", *lines)
        if answer.status == 304:
            assert answer.header("etag") == TAG and answer.body == b"" and answer.header("content-length") is None
        return answer.status


@pytest.mark.parametrize("lines, expected", [
    ([f"If-None-Match: {TAG}"], 304), ([f"If-None-Match: W/{TAG}"], 304), (["If-None-Match: *"], 304), (['If-None-Match: "x"'], 200),
    ([f'If-None-Match: "x", {TAG}'], 304), ([f'If-None-Match: "x",W/"y" , {TAG}'], 304), (["If-None-Match: " + TAG.strip('"')], 200),
    ([f'If-None-Match: "x", y, {TAG}'], 200), (['If-None-Match: "x"', f"If-None-Match: {TAG}"], 304), (["If-None-Match: "], 200),
    ([f"If-Modified-Since: {AT}"], 304), ([f"If-Modified-Since: {AFTER}"], 304), ([f"If-Modified-Since: {BEFORE}"], 200), (["If-Modified-Since: yesterday"], 200),
    (['If-None-Match: "x"', f"If-Modified-Since: {AT}"], 200), ([f"If-None-Match: {TAG}", f"If-Modified-Since: {BEFORE}"], 304),
    ([f"If-Match: {TAG}"], 200), (["If-Match: *"], 200), (['If-Match: "x"'], 412), ([f"If-Match: W/{TAG}"], 412), ([f'If-Match: "x", {TAG}'], 200),
    ([f"If-Unmodified-Since: {AT}"], 200), ([f"If-Unmodified-Since: {BEFORE}"], 412), (["If-Unmodified-Since: x"], 200),
    ([f"If-Match: {TAG}", f"If-Unmodified-Since: {BEFORE}"], 200), ([f"If-Match: {TAG}", f"If-None-Match: {TAG}"], 304), (['If-Match: "x"', f"If-None-Match: {TAG}"], 412),
])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(gateway: Gateway, lines: list[str], expected: int, method: str) -> None:
    assert status(gateway, *lines, method=method) == expected


SIZE = len(BODY)


@pytest.mark.parametrize("value, start, end", [
    ("bytes=0-0", 0, 0), ("bytes=0-9", 0, 9), ("bytes=10-", 10, SIZE - 1), ("bytes=-5", SIZE - 5, SIZE - 1), ("bytes=-99999", 0, SIZE - 1),
    ("bytes=1000-99999", 1000, SIZE - 1), (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1), ("BYTES=0-9", 0, 9), ("bytes=,0-9,", 0, 9), ("bytes= 0-9 ", 0, 9),
    (f"bytes={SIZE}-, 3-4", 3, 4), ("bytes=0-99999999999999999999999999", 0, SIZE - 1), ("bytes=-99999999999999999999999999", 0, SIZE - 1),
])
def test_one_range(gateway: Gateway, value: str, start: int, end: int) -> None:
    with Client(gateway.port) as client:
        answer = client.request("GET", "/f.txt", f"Range: {value}")
        assert answer.status == 206 and answer.body == BODY[start:end + 1]
        assert answer.header("content-range") == f"bytes {start}-{end}/{SIZE}" and answer.header("etag") == TAG
        # A HEAD has no ranges.
        head = client.request("HEAD", "/f.txt", f"Range: {value}")
        assert head.status == 200 and head.header("content-length") == str(SIZE) and head.header("content-range") is None


@pytest.mark.parametrize("value", [
    "bytes", "bytes=", "bytes=a-b", "bytes=5-4", "bytes=-", "bytes=1", "items=0-5", "bytes 0-5", "bytes=0-5,x", "bytes=--5", "bytes=0-5;6-7", "bytes=0x0-5", "bytes=+1-5",
    "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 40, 2)), "bytes=0-,0-", "bytes=0-1000,0-1000",
])
def test_what_is_no_range_is_not_looked_at(gateway: Gateway, value: str) -> None:
    answer = gateway.get("/f.txt", f"Range: {value}")
    assert answer.status == 200 and answer.body == BODY


@pytest.mark.parametrize("path, value", [("/f.txt", f"bytes={SIZE}-"), ("/f.txt", f"bytes={SIZE}-{SIZE + 5}, 99999-"), ("/f.txt", "bytes=-0"), ("/zero", "bytes=0-"), ("/zero", "bytes=-5")])
def test_no_bytes_of_it(gateway: Gateway, path: str, value: str) -> None:
    answer = gateway.get(path, f"Range: {value}")
    assert answer.status == 416 and answer.header("content-range") == f"bytes */{0 if path == '/zero' else SIZE}"


def test_two_fields_are_none(gateway: Gateway) -> None:
    assert gateway.get("/f.txt", "Range: bytes=0-1", "Range: bytes=2-3").status == 200


@pytest.mark.parametrize("value, counts", [
    (TAG, True), (f"W/{TAG}", False), ('"x"', False), (AT, True), (AFTER, False), (BEFORE, False), ("x", False), ("*", False),
])
def test_if_range(gateway: Gateway, value: str, counts: bool) -> None:
    answer = gateway.get("/f.txt", "Range: bytes=0-9", f"If-Range: {value}")
    assert (answer.status, answer.body) == ((206, BODY[:10]) if counts else (200, BODY))


def test_a_condition_comes_before_a_range(gateway: Gateway) -> None:
    assert gateway.get("/f.txt", "Range: bytes=0-9", f"If-None-Match: {TAG}").status == 304
    assert gateway.get("/f.txt", "Range: bytes=99999-", 'If-Match: "x"').status == 412


def parts(content_type: str, body: bytes) -> list[tuple[bytes, bytes]]:
    """The parts as (head, content), read strictly."""
    match = re.fullmatch(r"multipart/byteranges; boundary=([0-9a-f]+)", content_type)
    assert match
    mark = b"\r\n--" + match[1].encode()
    assert body.startswith(mark + b"\r\n") and body.endswith(mark + b"--\r\n")
    pieces = body[: -len(mark) - 4].split(mark + b"\r\n")[1:]
    return [tuple(piece.split(b"\r\n\r\n", 1)) for piece in pieces]  # type: ignore[misc]


@pytest.mark.parametrize("path, whole, ranges", [
    ("/f.txt", BODY, [(0, 9), (20, 29)]), ("/f.txt", BODY, [(500, 509), (0, 0), (1023, 1023)]), ("/long.bin", LONG, [(0, 999_999), (2_000_000, 2_999_999)]),
    ("/long.bin", LONG, [(n * 1000, n * 1000 + 9) for n in range(16)]),
])
def test_several_ranges(gateway: Gateway, path: str, whole: bytes, ranges: list[tuple[int, int]]) -> None:
    value = "bytes=" + ",".join(f"{start}-{end}" for start, end in ranges)

    def check(status: int, kind: str | None, body: bytes) -> None:
        assert status == 206
        got = parts(kind or "", body)
        assert [content for _, content in got] == [whole[start:end + 1] for start, end in ranges]
        for (head, _), (start, end) in zip(got, ranges):
            assert f"Content-Range: bytes {start}-{end}/{len(whole)}".encode() in head.split(b"\r\n")
    with Client(gateway.port) as client:
        for _ in range(2):
            answer = client.request("GET", path, f"Range: {value}")
            check(answer.status, answer.header("content-type"), answer.body)
            assert answer.header("content-length") == str(len(answer.body)) and answer.header("content-range") is None
    with Http2(gateway.port) as client:
        answer2 = client.get(path, ("range", value))
        check(answer2.status, answer2.header("content-type"), answer2.body)


def test_long_ranges(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        answer = client.request("GET", "/long.bin", "Range: bytes=1000000-2999999")
        assert answer.status == 206 and answer.body == LONG[1_000_000:3_000_000]
        answer = client.request("GET", "/long.bin", "Range: bytes=-5")
        assert answer.status == 206 and answer.body == LONG[-5:]
