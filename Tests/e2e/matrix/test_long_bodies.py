"""100 MiB in each direction arrive unchanged, in constant memory."""

from __future__ import annotations

import hashlib
import json

import pytest

from support.stream import blocks, digest

from .conftest import ALLOWED, Pair

SIZE = 100 << 20


@pytest.fixture(scope="module")
def expected() -> str:
    return digest(SIZE)


def test_down(pair: Pair, expected: str) -> None:
    caller = pair.connect()
    pair.begin_memory()
    call = caller.begin("GET", pair.path(f"down?size={SIZE}"))
    assert call.head().header("content-length") == str(SIZE)
    sha = hashlib.sha256()
    for piece in call.body():
        sha.update(piece)
    assert sha.hexdigest() == expected
    assert pair.grown < ALLOWED


def test_up(pair: Pair, expected: str) -> None:
    caller = pair.connect()
    pair.begin_memory()
    call = caller.begin("PUT", pair.path("small"), length=SIZE, open=True)
    for block in blocks(SIZE):
        call.send(block)
    call.finish()
    told = json.loads(call.whole())
    assert (told["received"], told["sha256"]) == (SIZE, expected)
    assert pair.grown < ALLOWED


def test_of_unknown_length(pair: Pair) -> None:
    size = SIZE // 10
    caller = pair.connect()
    call = caller.begin("POST", pair.path(f"down?size={size}&unframed"), open=True)
    for block in blocks(size):
        call.send(block)
    call.finish()
    sha = hashlib.sha256()
    assert call.head().header("content-length") is None
    for piece in call.body():
        sha.update(piece)
    assert sha.hexdigest() == digest(size)
