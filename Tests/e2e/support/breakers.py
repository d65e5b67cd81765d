"""Upstreams with circuit breakers, and what the gateway says of these."""

from __future__ import annotations

import json

from .configuration import Json, upstream
from .gateway import Gateway


def guarded(port: int, pool: Json | None = None, name: str = "backend", prefix: str = "/api", breaker: Json | None = None, **proxy: Any) -> Json:
    """An upstream whose breaker opens at the third failure in a row, for a minute unless told otherwise."""
    entry = upstream(port, prefix, name, pool=pool, **proxy)
    settings = {"enabled": True, "consecutive_failure_threshold": 3, "base_open_duration_ms": 60_000, "permitted_half_open_calls": 2}
    entry["circuit_breaker"] = {**settings, **(breaker or {})}
    return entry


def breakers(gateway: Gateway) -> dict[str, Json]:
    done = gateway.ctl("breakers", "--json")
    assert done.returncode == 0, done.stderr
    return {one["upstream"]: one for one in json.loads(done.stdout)["breakers"]}
