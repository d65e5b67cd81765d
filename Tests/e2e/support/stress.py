"""One key of a rate limit under as many requests as can be made, counted by those who made them."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import threading
import time
from dataclasses import dataclass

from . import proc
from .gateway import Gateway


@dataclass
class Outcome:
    """What a run of wrk has brought."""

    answered: int
    admitted: int
    #: Seconds: as wrk has measured them, and from before its start to after its end.
    inner: float
    outer: float

    def least(self, rate: float, capacity: float) -> float:
        """What must have been admitted if no token was lost: the time until the first request is wrk's own."""
        return 0.99 * (capacity + rate * self.inner) - 0.1 * rate

    def most(self, rate: float, capacity: float) -> float:
        return capacity + rate * self.outer


def wrk(port: int, seconds: int, connections: int = 16, path: str = "/") -> Outcome:
    """Keeps `connections` connections busy."""
    begun = time.monotonic()
    done = subprocess.run(["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", f"http://127.0.0.1:{port}{path}"],
                          capture_output=True, text=True, timeout=seconds + 60)
    outer = time.monotonic() - begun
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m),", done.stdout)
    assert found, done.stdout + done.stderr
    scale = {"ms": 0.001, "s": 1.0, "m": 60.0}[found[3]]
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    answered = int(found[1])
    return Outcome(answered, answered - int(refused[1] if refused else 0), float(found[2]) * scale, outer)


class Trouble:
    """Kills a random worker each tenth of a second, or reloads each second, while it is entered."""

    def __init__(self, gateway: Gateway, *, kills: bool = False, reloads: bool = False, seed: int = 1) -> None:
        self.gateway = gateway
        self.kills = kills
        self.reloads = reloads
        self.killed = 0
        self.reloaded = 0
        self.random = random.Random(seed)
        self.over = threading.Event()
        self.threads = [threading.Thread(target=work) for work, wanted in ((self._kill, kills), (self._reload, reloads)) if wanted]

    def __enter__(self) -> "Trouble":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _kill(self) -> None:
        while not self.over.wait(0.1):
            workers = [worker for worker in self.gateway.workers if proc.alive(worker)]
            if not workers:
                continue
            try:
                os.kill(self.random.choice(workers), signal.SIGKILL)
                self.killed += 1
            except ProcessLookupError:
                pass

    def _reload(self) -> None:
        while not self.over.wait(1):
            if self.gateway.ctl("reload", timeout=60).returncode == 0:
                self.reloaded += 1
