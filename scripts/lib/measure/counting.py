"""Exact costs per request under valgrind: the difference between a long and a short run, over the difference in requests."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from .cases import Case
from .load import sequence, together
from .servers import Recipe, Server, Settings, free_port

#: Requests of the two runs.
SHORT, LONG = 2000, 12000


@dataclass
class Profile:
    """What callgrind wrote down."""

    total: int = 0
    #: Own instructions of each function, by the name the linker knows.
    own: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    #: How often each function was called.
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    #: Own instructions of the functions of each program or library.
    objects: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @classmethod
    def read(cls, file: Path) -> "Profile":
        profile, names, files, current, target, place, skip = cls(), {}, {}, "", "", "", False

        def name(text: str, known: dict[str, str] = names) -> str:
            match = re.match(r"(\(\d+\))(?: (.*))?", text)
            if not match:
                return text
            if match[2]:
                known[match[1]] = match[2]
            return known.get(match[1], match[1])

        for line in file.read_text(errors="replace").splitlines():
            if line.startswith("fn="):
                current = name(line[3:])
            elif line.startswith("ob="):
                place = Path(name(line[3:], files)).name
            elif line.startswith("cob="):
                name(line[4:], files)
            elif line.startswith("cfn="):
                target = name(line[4:])
            elif line.startswith("calls="):
                profile.calls[target] += int(line[6:].split()[0])
                skip = True  # the next line is the cost of the calls, not of this function
            elif line[:1] in "+-*0123456789" and line:
                parts = line.split()
                if not skip and len(parts) > 1:
                    profile.own[current] += int(parts[1])
                    profile.objects[place] += int(parts[1])
                    profile.total += int(parts[1])
                skip = False
        return profile


@dataclass
class Slope:
    """Costs per request."""

    instructions: float
    own: dict[str, float]
    calls: dict[str, float]
    objects: dict[str, float]

    def of(self, library: str) -> float:
        """Those of one library."""
        return sum(count for name, count in self.objects.items() if name.startswith(library))


def _run(recipe: Recipe, case: Case, backend: int, directory: Path, log: bool, count: int, wrapper: list[str], load=together) -> Path:
    settings = Settings(directory / f"{recipe.name}-{case.name}-{log}-{count}", free_port(), backend, log, zones=case.zones, guarded=case.guarded, rules=case.rules, single=True)
    with Server(recipe, settings, wrapper=wrapper) as server:
        server.wait(settings.tls_port if case.tls else settings.h2_port if case.h2 else settings.port)
        load(server, case, count)
    return server.output


def instructions(recipe: Recipe, case: Case, backend: int, directory: Path, log: bool = False) -> Slope:
    """User-mode instructions per keep-alive request."""
    profiles = []
    for count in (SHORT, LONG):
        name = f"callgrind-{recipe.name}-{case.name}-{log}-{count}"
        _run(recipe, case, backend, directory, log, count, ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory / name}.%p", "-q"])
        # Some have a process at their side: the one that did most is meant.
        profiles.append(max((Profile.read(file) for file in directory.glob(f"{name}.*")), key=lambda profile: profile.total, default=Profile()))
        if profiles[-1].total == 0:
            raise RuntimeError(f"{recipe.name} left no profile")
    short, long = profiles

    def slope(a: dict[str, int], b: dict[str, int]) -> dict[str, float]:
        return {key: (b[key] - a.get(key, 0)) / (LONG - SHORT) for key in b}

    return Slope((long.total - short.total) / (LONG - SHORT), slope(short.own, long.own), slope(short.calls, long.calls),
                 slope(short.objects, long.objects))


def allocations(recipe: Recipe, case: Case, backend: int, directory: Path) -> float:
    """Calls of malloc and its kin per keep-alive request, as memcheck counts them."""
    counts = []
    for count in (SHORT, LONG):
        output = _run(recipe, case, backend, directory, False, count, ["valgrind", "--tool=memcheck", "--leak-check=no", "--undef-value-errors=no"], sequence)
        found = re.search(r"total heap usage: ([\d,]+) allocs", output.read_text(errors="replace"))
        if not found:
            raise RuntimeError(f"memcheck printed no heap usage; see {output}")
        counts.append(int(found[1].replace(",", "")))
    return (counts[1] - counts[0]) / (LONG - SHORT)
