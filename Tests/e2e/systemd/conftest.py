"""Gateways that a service manager has started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.service import Service, ServiceManager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    manager = ServiceManager(tmp_path)
    yield manager
    manager.close()


@pytest.fixture
def service(tmp_path: Path, manager: ServiceManager) -> Iterator[Callable[..., Service]]:
    """Starts services of `manager` that end with the test."""
    started: list[Service] = []

    def start(wait: bool = True, begin: bool = True, **options: Any) -> Service:
        service = Service(tmp_path / f"service{len(started)}", manager, **options)
        started.append(service)
        return service.start(wait) if begin else service

    yield start
    for service in started:
        service.stop()
