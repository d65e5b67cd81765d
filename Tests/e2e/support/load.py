"""Clients that send requests without pause while something happens to the gateway, and remember every failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from .client import Client, request


@dataclass
class Load:
    """`keep_alive` clients reuse a connection as long as they may; `fresh` ones make a new one for each request.

    No client repeats a request: whatever goes wrong is in `failures`, with the time and the kind of client.
    """

    port: int
    keep_alive: int = 2
    fresh: int = 2
    path: str = "/"
    pause: float = 0.0
    #: Makes a connection; None: in the clear to `port`.
    connect: Callable[[], Client] | None = None
    answered: int = 0
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._start = time.monotonic()
        kinds = [True] * self.keep_alive + [False] * self.fresh
        self._threads = [threading.Thread(target=self._run, args=(kind,), daemon=True) for kind in kinds]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(15)

    def _run(self, reuse: bool) -> None:
        client: Client | None = None
        asked = request("GET", self.path, *(() if reuse else ("Connection: close",)))
        used = 0
        while not self._ended.is_set():
            try:
                if client is None:
                    client, used = (self.connect() if self.connect else Client(self.port)), 0
                client.send(asked)
                response = client.read()
                used += 1
                with self._lock:
                    self.answered += 1
                    if response.status != 200:
                        self.failures.append(f"{self._where(reuse, used)}: status {response.status}")
                if not reuse or response.closes:
                    client.close()
                    client = None
            except Exception as error:
                with self._lock:
                    self.failures.append(f"{self._where(reuse, used)}: {error!r}")
                if client is not None:
                    client.close()
                client = None
            if self.pause:
                time.sleep(self.pause)
        if client is not None:
            client.close()

    def _where(self, reuse: bool, used: int) -> str:
        kind = f"keep-alive, request {used + 1}" if reuse else "new connection"
        return f"{time.monotonic() - self._start:.3f} s, {kind}"
