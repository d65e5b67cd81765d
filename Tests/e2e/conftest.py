"""Fixtures shared by all scenarios."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.backend import Backend
from support.configuration import upstream
from support.gateway import Gateway, binaries

Launch = Callable[..., Gateway]
_running: list[Gateway] = []


def pytest_configure() -> None:
    if not (binaries() / "gatewayd").exists():
        pytest.exit(f"no gatewayd in {binaries()}: build it or set GATEWAY_BIN_DIR", 2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        for gateway in _running:
            report.sections.append((f"log of {gateway.directory.name}", "\n".join(gateway.log.splitlines()[-60:])))


def _launcher(directory: Callable[[], Path]) -> Iterator[Launch]:
    started: list[Gateway] = []

    def launch(wait: bool = True, **options: Any) -> Gateway:
        gateway = Gateway(directory(), **options)
        started.append(gateway)
        _running.append(gateway)
        return gateway.start(wait)

    yield launch
    for gateway in started:
        gateway.stop()
        _running.remove(gateway)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts gateways that end with the test."""
    count = iter(range(100))
    yield from _launcher(lambda: tmp_path / f"gateway{next(count)}")


@pytest.fixture(scope="module")
def launch_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Starts gateways that all tests of a file use."""
    yield from _launcher(lambda: tmp_path_factory.mktemp("gateway"))


def _backend() -> Iterator[Backend]:
    backend = Backend()
    yield backend
    backend.stop()
    assert not backend.errors, f"the backend was sent something it could not read: {backend.errors}"


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A recording backend that ends with the test."""
    yield from _backend()


@pytest.fixture(scope="module")
def shared_backend() -> Iterator[Backend]:
    """A recording backend that all tests of a file use."""
    yield from _backend()


@pytest.fixture
def proxied(launch: Launch, backend: Backend) -> Gateway:
    """A gateway that forwards /api to `backend`."""
    return launch(access_log=True, upstreams=[upstream(backend.port)])
