"""The units: accepted by systemd, and hardened."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.gateway import ROOT, binaries

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed (package systemd)")
UNITS = sorted((ROOT / "systemd").glob("gatewayd*"))


def test_exposure_is_at_most_1_5() -> None:
    for unit in (unit for unit in UNITS if unit.suffix == ".service"):
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=15", str(unit)], capture_output=True, text=True)
        level = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
        assert level and float(level[1]) <= 1.5, done.stdout[-500:] + done.stderr
        assert done.returncode == 0


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    # The programs are where they will be installed; here they are where they were built.
    for unit in UNITS:
        text = unit.read_text()
        text = re.sub(r"=/usr/s?bin/(gateway\w+)", lambda found: f"={binaries()}/{found[1]}", text)
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *(str(tmp_path / unit.name) for unit in UNITS)], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_there_are_a_service_and_a_socket() -> None:
    assert {unit.name for unit in UNITS} >= {"gatewayd.service", "gatewayd.socket"}
