"""Defaults, file, environment, flags: each beats the one before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.gateway import ctl


def effective(file: Path, *flags: str, **env: str) -> dict[str, Any]:
    done = ctl("config", "-c", str(file), *flags, env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.json"
    path.write_text('{"bind_port": 8001, "workers": 5, "log": {"level": "warn"}}')
    return path


def test_default(file: Path) -> None:
    assert effective(file)["bind_host"] == "127.0.0.1"


def test_file(file: Path) -> None:
    assert effective(file)["bind_port"] == 8001


def test_environment_beats_the_file(file: Path) -> None:
    shown = effective(file, GATEWAY_BIND_PORT="8002", GATEWAY_LOG_LEVEL="error")
    assert (shown["bind_port"], shown["log"]["level"]) == (8002, "error")


def test_flags_beat_the_environment(file: Path) -> None:
    shown = effective(file, "-p", "8003", "-H", "127.0.0.2", "-w", "7", "-l", "trace", GATEWAY_BIND_PORT="8002")
    assert (shown["bind_port"], shown["bind_host"], shown["workers"], shown["log"]["level"]) == (8003, "127.0.0.2", 7, "trace")


def test_old_names_are_known(file: Path) -> None:
    assert effective(file, REACTOR_BIND_PORT="8004", REACTOR_WORKER_THREADS="9")["workers"] == 9
    assert effective(file, REACTOR_BIND_PORT="8004", GATEWAY_BIND_PORT="8005")["bind_port"] == 8005


def test_old_key_for_workers(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text('{"worker_threads": 6}')
    assert effective(path)["workers"] == 6


@pytest.mark.parametrize(("name", "value"), [("GATEWAY_BIND_PORT", "http"), ("GATEWAY_BIND_PORT", ""), ("GATEWAY_BIND_PORT", "80 "), ("GATEWAY_WORKERS", "-1"),
                                             ("GATEWAY_BIND_HOST", ""), ("GATEWAY_LOG_LEVEL", "loud")])
def test_bad_values_of_variables_are_refused_by_name(file: Path, name: str, value: str) -> None:
    done = ctl("validate", "-c", str(file), env={name: value})
    assert done.returncode == 1 and name in done.stderr


def test_empty_log_file_means_standard_output(file: Path) -> None:
    assert effective(file, GATEWAY_LOG_FILE="")["log"]["file"] == ""
