"""A configuration cannot be wrong quietly: every mistake is named with its place, all at once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.configuration import forward, redirect, respond, upstream
from support.gateway import ctl


def validate(path: Path, text: str | dict[str, Any]):
    path.write_text(text if isinstance(text, str) else json.dumps(text, indent=1))
    return ctl("validate", "-c", str(path))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.json"


def test_valid(file: Path) -> None:
    done = validate(file, {"bind_port": 8081})
    assert done.returncode == 0 and "valid" in done.stdout


def test_syntax_error_has_a_position(file: Path) -> None:
    done = validate(file, '{\n  "bind_port": 8081,\n  "workers": }\n')
    assert done.returncode == 1
    assert re.search(re.escape(str(file)) + r":3:\d+: error: ", done.stderr), done.stderr


def test_unknown_key_has_a_position_and_a_suggestion(file: Path) -> None:
    done = validate(file, '{\n  "bind_prot": 8081\n}\n')
    assert done.returncode == 1
    assert f"{file}:2:3: error: " in done.stderr and '"bind_prot"' in done.stderr and '"bind_port"' in done.stderr


def test_all_mistakes_at_once(file: Path) -> None:
    done = validate(file, {"bind_port": 70_000, "workers": "many", "max_heeder_size": 1, "idle_timeout_sec": -1})
    for key in ("bind_port", "workers", "max_heeder_size", "idle_timeout_sec"):
        assert key in done.stderr, key
    assert done.stderr.count("error:") == 4


UNAVAILABLE = [
    {"auth": {}}, {"observability": {}},
    {"upstreams": [upstream(80, auth={})]},
]


@pytest.mark.parametrize("keys", UNAVAILABLE, ids=[json.dumps(keys)[:60] for keys in UNAVAILABLE])
def test_what_does_not_exist_yet_is_refused_by_name(file: Path, keys: dict[str, Any]) -> None:
    done = validate(file, keys)
    assert done.returncode == 1
    assert "is not available yet" in done.stderr, done.stderr


WRONG = [
    ({"bind_port": -1}, "bind_port"),
    ({"bind_port": 65_536}, "bind_port"),
    ({"bind_port": 80.5}, "bind_port"),
    ({"bind_port": "80"}, "bind_port"),
    ({"bind_port": True}, "bind_port"),
    ({"bind_host": ""}, "bind_host"),
    ({"bind_host": "127.1"}, "bind_host"),
    ({"bind_host": "0x7f000001"}, "bind_host"),
    ({"bind_host": "a b"}, "bind_host"),
    ({"bind_host": "127.0.0.1:80"}, "bind_host"),
    ({"workers": -1}, "workers"),
    ({"health_endpoint": 1}, "health_endpoint"),
    ({"health_endpoint": "yes"}, "health_endpoint"),
    ({"max_header_count": 0}, "max_header_count"),
    ({"max_header_count": 1001}, "max_header_count"),
    ({"max_header_size": 2 << 20}, "max_header_size"),
    ({"shutdown_drain_timeout_sec": 301}, "shutdown_drain_timeout_sec"),
    ({"idle_timeout_sec": "30 parsecs"}, "idle_timeout_sec"),
    ({"max_body_size": "1 MB!"}, "max_body_size"),
    ({"log": {"level": "loud"}}, "level"),
    ({"log": []}, "log"),
    ({"log": {"file": "logs/"}}, "file"),
    ({"access_log": {"enabled": True, "format": "$nothing"}}, "format"),
    ({"access_log": {"buffer_size": 1}}, "buffer_size"),
    ({"http1": {"half_close": "maybe"}}, "half_close"),
    ({"http1": {"streaming": {"high_water_bytes": 10, "low_water_bytes": 20}}}, "low_water_bytes"),
    ({"upstreams": {}}, "upstreams"),
    ({"upstreams": [{"host": "127.0.0.1"}]}, "name"),
    ({"upstreams": [{"name": "a"}]}, "host"),
    ({"upstreams": [upstream(0)]}, "port"),
    ({"upstreams": [upstream(80), upstream(81, "/b")]}, "backend"),
    ({"upstreams": [upstream(80, host="no such host!")]}, "host"),
    ({"upstreams": [upstream(80, pool={"max_connections": 0})]}, "max_connections"),
    ({"upstreams": [upstream(80, pool={"max_connections": 1, "max_idle_connections": 2})]}, "max_idle_connections"),
    ({"upstreams": [upstream(80, pool={"connect_timeout_ms": 1})]}, "connect_timeout_ms"),
    ({"upstreams": [upstream(80, pool={"timout": 1})]}, "timout"),
    ({"upstreams": [upstream(80, response_timeout_ms=5)]}, "response_timeout_ms"),
    ({"upstreams": [upstream(80, buffering="sometimes")]}, "buffering"),
    ({"upstreams": [upstream(80, methods=["GET", "FETCH"])]}, "FETCH"),
    ({"upstreams": [upstream(80, methods=["GET", "GET"])]}, "GET"),
    ({"upstreams": [upstream(80, "api")]}, "api"),
    ({"upstreams": [upstream(80, relay_buffer_limit_bytes=1)]}, "relay_buffer_limit_bytes"),
    ({"upstreams": [{**upstream(80), "request_mode": "psychic"}]}, "request_mode"),
    ({"routes": [{"path": "/"}]}, "routes"),
    ({"routes": [{"respond": {}}]}, "path"),
    ({"routes": [{**respond("/"), "redirect": {"to": "/x"}}]}, "redirect"),
    ({"routes": [respond("/"), respond("/")]}, "/"),
    ({"routes": [respond("/a/:x"), respond("/a/:x([0-9]+)"), respond("/a/:y([a-z]+)")]}, "/a/"),
    ({"routes": [respond("/:a/:a")]}, "/:a/:a"),
    ({"routes": [respond("/:id.json")]}, "/:id.json"),
    ({"routes": [respond("/:(x)")]}, "/:(x)"),
    ({"routes": [respond("/*rest/more")]}, "/*rest/more"),
    ({"routes": [respond("/a//b")]}, "/a//b"),
    ({"routes": [respond("/:x([)")]}, "/:x([)"),
    ({"routes": [forward("/", "billing")], "upstreams": [upstream(80, None, "auth"), upstream(80, None, "web")]}, "billing"),
    ({"routes": [respond("/", status=99)]}, "status"),
    ({"routes": [respond("/", headers={"Bad Name": "x"})]}, "Bad Name"),
    ({"routes": [respond("/", headers={"X-A": "a\nb"})]}, "X-A"),
    ({"routes": [respond("/", headers={"Content-Length": "5"})]}, "Content-Length"),
    ({"routes": [respond("/", hosts=["a b"])]}, "a b"),
    ({"routes": [respond("/", hosts=["*.*.com"])]}, "hosts"),
    ({"routes": [respond("/", methods=["CONNECT"])]}, "CONNECT"),
    ({"routes": [redirect("/", "/{nothing}")]}, "nothing"),
    ({"routes": [redirect("/", "/x", status=200)]}, "status"),
    ({"listeners": [{"host": "127.0.0.1"}]}, "port"),
    ({"listeners": [{"host": "127.0.0.1", "port": 1, "unix": "/x"}]}, "unix"),
    ({"listeners": [{"unix": "relative.sock"}]}, "unix"),
    ({"user": "no-such-user-here"}, "no-such-user-here"),
]


@pytest.mark.parametrize(("keys", "named"), WRONG, ids=[json.dumps(row[0])[:70] for row in WRONG])
def test_is_refused_with_its_place(file: Path, keys: dict[str, Any], named: str) -> None:
    done = validate(file, keys)
    assert done.returncode == 1, done.stdout
    assert named in done.stderr
    assert re.search(re.escape(str(file)) + r":\d+:\d+: error: ", done.stderr), done.stderr


def test_unknown_upstream_lists_the_known(file: Path) -> None:
    done = validate(file, {"routes": [forward("/", "billing")], "upstreams": [upstream(80, None, "auth"), upstream(80, None, "web")]})
    assert "auth" in done.stderr and "web" in done.stderr


@pytest.mark.parametrize("text", ["", "[]", "7", '"x"', "null"])
def test_root_must_be_an_object(file: Path, text: str) -> None:
    assert validate(file, text).returncode == 1


def test_duplicate_key_is_refused(file: Path) -> None:
    done = validate(file, '{\n "workers": 1,\n "workers": 2\n}')
    assert done.returncode == 1 and f"{file}:3:2" in done.stderr


def test_deep_nesting_is_survived(file: Path) -> None:
    done = validate(file, '{"log": ' + "[" * 100_000 + "]" * 100_000 + "}")
    assert done.returncode == 1


def test_schema_key_is_ignored(file: Path) -> None:
    assert validate(file, {"$schema": "./gateway.schema.json"}).returncode == 0


@pytest.mark.parametrize(("keys", "warning"), [
    ({"access_log": {"enabled": True, "file": "/tmp"}}, 'access_log.file "/tmp" is a directory: the gateway would not start'),
    ({"log": {"file": "/dev/null/error.log"}}, 'log.file "/dev/null/error.log" cannot be written: /dev/null is not a directory: the gateway would not start'),
    ({"log": {"file": "/tmp", "max_files": 1}}, 'log.file "/tmp" is a directory'),
])
def test_places_where_no_log_can_be(tmp_path: Path, keys: dict, warning: str) -> None:
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps(keys))
    done = ctl("validate", "-c", str(path))
    assert done.returncode == 0 and f"warning: {warning}" in done.stderr
