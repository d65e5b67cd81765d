"""Fixtures for scenarios over TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support.configuration import Json, respond
from support.gateway import Gateway
from support.ports import free_port
from support.tls import Authority, Certificate, SecureClient, listener

Secure = Callable[..., Gateway]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def site(authority: Authority) -> Certificate:
    """The certificate for site.test."""
    return authority.issue("site.test", "www.site.test")


@pytest.fixture
def secure(launch, site: Certificate) -> Secure:
    """Starts a gateway whose one listener speaks TLS; the keys of `tls` are its."""

    def start(*certificates: Certificate, tls: Json | None = None, **keys: Any) -> Gateway:
        port = free_port()
        keys.setdefault("routes", [respond("/", "secure")])
        return launch(bind_port=port, listeners=[listener(port, *(certificates or (site,)), **(tls or {}))], **keys)

    return start


@pytest.fixture
def client(authority: Authority) -> Callable[..., SecureClient]:
    """Connects to a gateway as one who trusts the authority."""

    def connect(gateway: Gateway, name: str | None = "site.test", **options: Any) -> SecureClient:
        context = options.pop("context", None) or authority.context()
        return SecureClient(gateway.port, context, name, **options)

    return connect
