"""Long bodies made on the fly: every block differs, so a lost, doubled or swapped block changes the digest."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

BLOCK = 1 << 20
_NOISE = random.Random(7).randbytes(BLOCK - 8)


def blocks(total: int) -> Iterator[bytes]:
    """`total` bytes in blocks of up to 1 MiB."""
    for index in range(0, total, BLOCK):
        yield (index.to_bytes(8, "big") + _NOISE)[: min(BLOCK, total - index)]


def digest(total: int) -> str:
    """The SHA-256 of `blocks(total)`."""
    sha = hashlib.sha256()
    for block in blocks(total):
        sha.update(block)
    return sha.hexdigest()
