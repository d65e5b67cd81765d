"""A backend on a Unix socket."""

from __future__ import annotations

import socket
from pathlib import Path

from .backend import Answer, Backend


class UnixBackend(Backend):
    def __init__(self, path: Path, answer: Answer | None = None) -> None:
        self.path = path
        super().__init__(answer)

    def _listen(self, host: str, port: int, receive_buffer: int | None) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        return listener
