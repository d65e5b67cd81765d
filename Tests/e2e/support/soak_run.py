"""The command line of scripts/soak."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from .soak import GatewaySoak, NginxSoak


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description="Everything at once, and what became of the requests.")
    parser.add_argument("--minutes", type=float, default=2, help="how long each of the two is run (default 2; hours work as well)")
    parser.add_argument("--no-nginx", action="store_true", help="only the gateway")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="gateway-soak-"))
    soak = GatewaySoak(directory / "gateway", given.minutes * 60)
    soak.go()
    problems = soak.failures + soak.growth() + soak.problems
    print(soak.table("gateway"), flush=True)
    for text in soak.growth():
        print("  " + text)
    if not given.no_nginx and shutil.which("nginx"):
        other = NginxSoak(directory / "nginx", given.minutes * 60)
        other.go()
        print(other.table("nginx"), flush=True)
    if given.keep or problems:
        print(f"logs: {directory}")
    else:
        shutil.rmtree(directory)
    return 1 if problems else 0


sys.exit(main())
