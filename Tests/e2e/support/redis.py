"""A Redis server on loopback, one that only pretends to be one, and a way to it that takes its time."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .ports import free_port
from .wait import until

Reply = int | str | None | list["Reply"]


class RedisError(Exception):
    """What a server answers instead of a reply."""


class Redis:
    """redis-server without any file of its own, ended by its process id."""

    def __init__(self, directory: Path, *options: str, password: str = "", unix: bool = False, port: int = 0) -> None:
        program = shutil.which("redis-server") or "/usr/bin/redis-server"
        assert Path(program).exists(), "install redis-server"
        directory.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.password = password
        self.path = directory / "redis.sock"
        self.output = directory / "redis.log"
        self.command = [
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", str(directory),
            "--protected-mode", "no", *(["--requirepass", password] if password else []), *(["--unixsocket", str(self.path)] if unix else []), *options,
        ]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> "Redis":
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        until(self._answers, what="an answer of redis-server")
        return self

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.output.read_text()
        try:
            return self("PING") == "PONG"
        except OSError:
            return False

    def __call__(self, *words: object) -> Any:
        """Sends one command and returns the reply."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection, connection.makefile("rb") as file:
            if self.password:
                connection.sendall(_command("AUTH", self.password))
                _reply(file)
            connection.sendall(_command(*words))
            return _reply(file)

    @property
    def address(self) -> str:
        return f"redis://{f':{self.password}@' if self.password else ''}127.0.0.1:{self.port}"

    def _signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.process = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid


def _command(*words: object) -> bytes:
    texts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%s\r\n" % (len(text), text) for text in texts)


def _reply(file: Any) -> Reply:
    line = file.readline()
    if not line:
        raise OSError("the connection was closed")
    kind, rest = line[:1], line[1:-2]
    if kind == b"+":
        return rest.decode()
    if kind == b"-":
        raise RedisError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else file.read(int(rest) + 2)[:-2].decode()
    assert kind == b"*", line
    return [_reply(file) for _ in range(int(rest))]


class Connection:
    """A connection that is kept, for many commands."""

    def __init__(self, redis: Redis) -> None:
        self._socket = socket.create_connection(("127.0.0.1", redis.port), 5)
        self._file = self._socket.makefile("rb")

    def __call__(self, *words: object) -> Any:
        self._socket.sendall(_command(*words))
        return _reply(self._file)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Pretender:
    """Listens, and does `behave` with each connection."""

    def __init__(self, behave: Callable[[socket.socket], None], port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port or 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._open: list[socket.socket] = []
        self._behave = behave
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._behave(connection)
        except OSError:
            pass

    def stop(self) -> None:
        # An accept that waits does not notice a close.
        for end in [self._listener, *self._open]:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


def slow_way(redis: Redis, seconds: float) -> Pretender:
    """A way to `redis` on which what it answers takes `seconds` more."""

    def behave(client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", redis.port), 5) as server:
            server.settimeout(None)

            def back() -> None:
                try:
                    while data := server.recv(65536):
                        time.sleep(seconds)
                        client.sendall(data)
                except OSError:
                    pass
                try:
                    client.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

            threading.Thread(target=back, daemon=True).start()
            while data := client.recv(65536):
                server.sendall(data)

    return Pretender(behave)


def script() -> str:
    """The script that gateways decide by, as their source has it."""
    source = (Path(__file__).resolve().parents[3] / "Sources/RateStore/StoreScript.swift").read_text()
    text = source.split('text: StaticString = """\n')[1].split('\n    """')[0]
    return "\n".join(line.removeprefix("    ") for line in text.splitlines())


def script_digest() -> str:
    source = (Path(__file__).resolve().parents[3] / "Sources/RateStore/StoreScript.swift").read_text()
    return source.split('digest: StaticString = "')[1].split('"')[0]
