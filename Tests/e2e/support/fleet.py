"""Several backends of one upstream, and what came to each of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .backend import Backend, Connection, Request, reply

Json = dict[str, Any]


class Fleet:
    """Backends that answer with their own number."""

    def __init__(self, count: int) -> None:
        self.backends = [Backend(reply(body=str(index).encode())) for index in range(count)]

    def __getitem__(self, index: int) -> Backend:
        return self.backends[index]

    @property
    def ports(self) -> list[int]:
        return [backend.port for backend in self.backends]

    def name(self, index: int) -> str:
        return f"127.0.0.1:{self.backends[index].port}"

    def endpoints(self, *changes: Json) -> list[Json]:
        """The settings of all; `changes` are for the first, the second and so on."""
        more = [*changes, *({} for _ in self.backends)]
        return [{"host": "127.0.0.1", "port": backend.port, **change} for backend, change in zip(self.backends, more)]

    def upstream(self, *changes: Json, **keys: Any) -> Json:
        entry: Json = {"name": "fleet", "endpoints": self.endpoints(*changes), "proxy": {"route_prefix": "/"}}
        return {**entry, **keys}

    @property
    def shares(self) -> Counter[int]:
        return Counter({index: len(backend.requests) for index, backend in enumerate(self.backends)})

    def forget(self) -> None:
        for backend in self.backends:
            backend.requests.clear()

    def stop(self) -> None:
        for backend in self.backends:
            backend.stop()


def numbered(index: int, delay: float = 0.0) -> Any:
    """Answers with a number, after a while."""
    import time

    def answer(connection: Connection, request: Request) -> None:
        if delay:
            time.sleep(delay)
        reply(body=str(index).encode())(connection, request)

    return answer
