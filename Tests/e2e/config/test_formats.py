"""JSON with comments and YAML are read by one parser; durations and sizes may carry units."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.gateway import ctl

JSON = """
# a comment
{
\t"bind_port": 8001,   # tabs, comments and a comma at the end
  "routes": [
    {"path": "\\/x", "respond": {"body": "\\u00e9 \\"quoted\\""}},
  ],
}
"""

YAML = """
# the same in YAML
bind_port: 8001
routes:
  - path: /x
    respond:
      body: 'é "quoted"'
"""


def config(path: Path, text: str) -> dict:
    path.write_text(text)
    done = ctl("config", "-c", str(path))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_json_and_yaml_mean_the_same(tmp_path: Path) -> None:
    first = config(tmp_path / "gateway.json", JSON)
    assert first == config(tmp_path / "gateway.yaml", YAML)
    assert first["routes"][0]["respond"]["body"] == 'é "quoted"'


def test_surrogate_escapes(tmp_path: Path) -> None:
    path = tmp_path / "gateway.json"
    path.write_text('{"routes": [{"path": "/", "respond": {"body": "\\ud83d\\ude00"}}]}')
    done = ctl("config", "-c", str(path))
    if done.returncode == 0:
        assert json.loads(done.stdout)["routes"][0]["respond"]["body"] == "\U0001f600"
    else:
        assert "gateway.json:1:" in done.stderr


@pytest.mark.parametrize(("key", "text", "plain"), [
    ("idle_timeout_sec", "30s", 30), ("idle_timeout_sec", "2m", 120), ("idle_timeout_sec", "1h", 3600), ("max_body_size", "16KiB", 16_384),
    ("max_body_size", "1MiB", 1 << 20), ("max_body_size", "1GiB", 1 << 30),
])
def test_units(tmp_path: Path, key: str, text: str, plain: int) -> None:
    with_unit = config(tmp_path / "gateway.json", json.dumps({key: text}))
    assert with_unit == config(tmp_path / "gateway.json", json.dumps({key: plain}))


def test_less_than_a_second(tmp_path: Path) -> None:
    quarter = config(tmp_path / "gateway.json", '{"idle_timeout_sec": "250ms"}')
    assert quarter != config(tmp_path / "gateway.json", '{"idle_timeout_sec": 0}')
    assert quarter != config(tmp_path / "gateway.json", '{"idle_timeout_sec": 1}')
