from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from support.fleet import Fleet


@pytest.fixture
def fleet() -> Iterator[Callable[[int], Fleet]]:
    """Makes fleets that end with the test."""
    made: list[Fleet] = []

    def make(count: int) -> Fleet:
        made.append(Fleet(count))
        return made[-1]

    yield make
    for one in made:
        one.stop()
