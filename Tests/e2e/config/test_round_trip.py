"""`gatewayctl config` prints what loads again to the same configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.configuration import forward, redirect, respond, upstream
from support.gateway import ROOT, ctl

EVERYTHING = {
    "listeners": [{"host": "127.0.0.1", "port": 8081, "backlog": 100}, {"unix": "/tmp/gw.sock", "mode": "0600"}],
    "workers": 2, "max_connections": 5, "max_header_size": "16KiB", "idle_timeout_sec": "1500ms", "server_header": False,
    "log": {"level": "debug", "file": "/tmp/gw.log", "max_files": 1},
    "access_log": {"enabled": True, "format": '$remote_addr "$request" $status', "flush_interval_ms": 50},
    "http1": {"half_close": "cancel", "streaming": {"high_water_bytes": 100_000, "low_water_bytes": 0}},
    "upstreams": [upstream(8082, "/api", pool={"max_connections": 3, "max_idle_connections": 1, "connect_timeout_ms": 20}, strip_prefix=True, methods=["GET", "POST"],
                           response_timeout_ms="1s", forward_trailers=True, header_rewrite={"rewrite_host": False})],
    "routes": [respond("/a", "é\"\\\n\u0001", hosts=["*.example.com"], headers={"X-A": ["1", "2"]}), redirect("/b/:id", "/c/{id}{query}", status=302),
               forward("/d/*rest", proxy={"buffering": "always"}, methods=["PUT"])],
}


def config(path: Path) -> str:
    done = ctl("config", "-c", str(path))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("keys", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_second_dump_equals_the_first(tmp_path: Path, keys: dict[str, object]) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(json.dumps(keys))
    printed = config(first)
    second.write_text(printed)
    assert config(second) == printed
    json.loads(printed)


def test_dump_keeps_what_was_set(tmp_path: Path) -> None:
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps(EVERYTHING))
    shown = json.loads(config(path))
    assert shown["max_header_size"] == 16_384 or shown["max_header_size"] == "16KiB"
    assert shown["routes"][0]["respond"]["body"] == "é\"\\\n\u0001"
    assert shown["upstreams"][0]["proxy"]["header_rewrite"]["rewrite_host"] is False


def test_reference_configuration_is_valid_and_shows_the_defaults(tmp_path: Path) -> None:
    reference = ROOT / "etc" / "gateway.json"
    assert ctl("validate", "-c", str(reference)).returncode == 0
    schema = json.loads((ROOT / "etc" / "gateway.schema.json").read_text())
    assert "upstreams" in schema["properties"]
