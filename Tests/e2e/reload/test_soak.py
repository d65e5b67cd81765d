"""A short run of scripts/soak."""

from __future__ import annotations

from pathlib import Path

from support.soak import GatewaySoak


def test_everything_at_once(tmp_path: Path) -> None:
    soak = GatewaySoak(tmp_path, 15)
    soak.go()
    table = soak.table("gateway")
    assert not soak.failures and not soak.problems and not soak.growth(), table + "\n" + "\n".join(soak.growth()) + "\n" + (tmp_path / "error.log").read_text()[-4000:]
    assert all(entry.answered > 10 for entry in soak.traffic), table
    assert soak.done["upgrade"] and soak.done["workers killed"] and soak.done["backends restarted"], table
