"""What /proc says about a process: children, memory, CPU time, descriptors."""

from __future__ import annotations

import os
from pathlib import Path


def children(pid: int) -> list[int]:
    """Process ids of the living children of `pid`, in order of birth."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(child) for child in text.split() if alive(int(child))]


def alive(pid: int) -> bool:
    """Whether `pid` runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def status(pid: int) -> dict[str, str]:
    """The fields of its status."""
    return dict((name, value.strip()) for name, _, value in (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines()))


def memory(pid: int, field: str = "VmRSS") -> int:
    """Bytes of `VmRSS` (resident now) or `VmHWM` (the most so far)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def reset_peak(pid: int) -> None:
    """Lets `VmHWM` begin again at the present value."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_seconds(pid: int) -> float:
    """User and system time used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> int:
    """How many descriptors are open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def owner(pid: int) -> tuple[int, int]:
    """Effective user and group id."""
    ids = {line.split(":")[0]: line.split()[2] for line in Path(f"/proc/{pid}/status").read_text().splitlines()
           if line.startswith(("Uid:", "Gid:"))}
    return int(ids["Uid"]), int(ids["Gid"])
