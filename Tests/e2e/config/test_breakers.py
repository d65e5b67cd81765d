"""Mistakes in the settings of circuit breakers, each refused with its place."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support.gateway import ctl


def validate(directory: Path, breaker: dict[str, object]) -> tuple[int, str]:
    file = directory / "gateway.json"
    file.write_text(json.dumps({"upstreams": [{"name": "a", "host": "127.0.0.1", "circuit_breaker": breaker}]}, indent=1))
    done = ctl("validate", "-c", str(file))
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("key, value", [
    ("consecutive_failure_threshold", 0), ("consecutive_failure_threshold", 10_001), ("failure_rate_threshold", 101), ("failure_rate_threshold", -1),
    ("minimum_volume", 0), ("window_seconds", 0), ("window_seconds", "2h"), ("permitted_half_open_calls", 0), ("permitted_half_open_calls", 1001),
    ("base_open_duration_ms", 99), ("max_open_duration_ms", "25h"), ("retry_budget_percent", 101), ("retry_budget_min_concurrency", -1),
    ("max_ejection_percent_per_host_set", 101), ("enabled", "yes"), ("dry_run", 1),
])
def test_bounds(tmp_path: Path, key: str, value: object) -> None:
    code, text = validate(tmp_path, {"enabled": True, key: value})
    assert code == 1 and f"upstreams[0].circuit_breaker.{key}" in text and re.search(r"gateway.json:[78]:\d+: error", text), text


def test_between_settings(tmp_path: Path) -> None:
    code, text = validate(tmp_path, {"base_open_duration_ms": "1m", "max_open_duration_ms": 1000})
    assert code == 1 and "max_open_duration_ms (1000) must not be less than base_open_duration_ms (60000)" in text
    assert validate(tmp_path, {"base_open_duration_ms": "2m"})[0] == 1


def test_an_unknown_key_is_suggested(tmp_path: Path) -> None:
    code, text = validate(tmp_path, {"windows_seconds": 5})
    assert code == 1 and "window_seconds" in text


def test_what_is_of_endpoints_is_refused_for_upstreams(tmp_path: Path) -> None:
    code, text = validate(tmp_path, {"enabled": True, "max_ejection_percent_per_host_set": 10})
    assert code == 1 and 'max_ejection_percent_per_host_set has no effect without scope "endpoint"' in text
    assert validate(tmp_path, {"enabled": True, "scope": "endpoint", "max_ejection_percent_per_host_set": 10})[0] == 0
    code, text = validate(tmp_path, {"enabled": True, "scope": "endpoint", "permitted_half_open_calls": 25})
    assert code == 1 and "permitted_half_open_calls must be between 1 and 24" in text
