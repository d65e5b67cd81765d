"""A service manager as the gateway sees it: a notification socket that keeps descriptors, and starts with sockets passed on."""

from __future__ import annotations

import array
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from .gateway import Gateway, clean_environment
from .wait import until

#: Puts the descriptors named in argv at 3, 4, … and becomes the program, as a service manager's child does.
_LAUNCH = """
import os, sys
files = [os.dup2(int(text), 200 + place, inheritable=True) for place, text in enumerate(sys.argv[1].split(",") if sys.argv[1] else [])]
for place, file in enumerate(files):
    os.dup2(file, 3 + place, inheritable=True)
os.closerange(3 + len(files), 1000)
if files:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(files)), LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""


class Message(dict[str, str]):
    """One datagram: its assignments by name."""

    files: list[int]


class ServiceManager:
    """What sd_notify(3) speaks to. `messages` are the datagrams in order; `stored` the descriptors that it was asked to keep, by name."""

    def __init__(self, directory: Path, watchdog_sec: float = 0) -> None:
        self.path = directory / "notify.sock"
        self.watchdog_sec = watchdog_sec
        self.messages: list[Message] = []
        self.stored: dict[str, int] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        room = socket.CMSG_SPACE(253 * 4)
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(65536, room)
            except OSError:
                return
            if data == b"end":
                return
            message = Message(line.split("=", 1) for line in data.decode().splitlines())
            message.files = []
            for level, kind, content in ancillary:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                message.files += list(array.array("i", content[: len(content) - len(content) % 4]))
            if message.get("FDSTORE") == "1":
                assert len(message.files) == 1 and message["FDPOLL"] == "0"
                assert message["FDNAME"] not in self.stored, "a name is used once"
                self.stored[message["FDNAME"]] = message.files[0]
            if message.get("FDSTOREREMOVE") == "1":
                os.close(self.stored.pop(message["FDNAME"]))
            self.messages.append(message)

    @property
    def environment(self) -> dict[str, str]:
        watchdog = {"WATCHDOG_USEC": str(int(self.watchdog_sec * 1_000_000))} if self.watchdog_sec else {}
        return {"NOTIFY_SOCKET": str(self.path), **watchdog}

    def wait(self, name: str, value: str | None = None, after: int = 0, timeout: float = 15) -> tuple[int, Message]:
        """The first message from position `after` on that assigns `name`, and the position behind it."""

        def find() -> tuple[int, Message] | None:
            for place, message in enumerate(self.messages[after:], after):
                if name in message and value in (None, message[name]):
                    return place + 1, message
            return None

        return until(find, timeout, f"{name}={value or '…'} among {self.messages[after:]}")

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(b"end", str(self.path))
        self._thread.join(5)
        self._socket.close()
        for file in self.stored.values():
            os.close(file)
        self.stored = {}


class Service(Gateway):
    """A gateway that a service manager starts: with its notification socket, what it has kept, and sockets of its own."""

    def __init__(self, directory: Path, manager: ServiceManager | None = None, **options: Any) -> None:
        super().__init__(directory, **options)
        self.manager = manager
        #: Sockets of socket units: name and socket.
        self.sockets: list[tuple[str, socket.socket]] = []

    def start(self, wait: bool = True) -> "Service":
        files = [(name, own.fileno()) for name, own in self.sockets]
        if self.manager:
            files += list(self.manager.stored.items())
        numbers = ",".join(str(number) for _, number in files)
        names = ":".join(name for name, _ in files)
        command = [str(self.program), "-c", str(self.config_file), "-P", str(self.pid_file), *self.arguments]
        environment = {**(self.env or {}), **(self.manager.environment if self.manager else {})}
        begun = len(self.manager.messages) if self.manager else 0
        with self.output_file.open("ab") as output:
            self.process = subprocess.Popen([sys.executable, "-c", _LAUNCH, numbers, names, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            env=clean_environment(environment), pass_fds=[number for _, number in files], start_new_session=True,
                                            cwd=self.directory)
        if wait and self.manager:
            until(lambda: self.process is None or self.process.poll() is not None or any("READY" in message for message in self.manager.messages[begun:]), 20, "READY")
            assert self.process.poll() is None, f"gatewayd ended at once:\n{self.log}"
        elif wait:
            self.wait_ready()
        return self
