"""The gateway as a process: started with a generated configuration in a directory of its own, ended by its process id."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import proc
from .client import Client, get
from .configuration import Json, configuration
from .message import Response
from .ports import free_port
from .wait import until

ROOT = Path(__file__).resolve().parents[3]


def binaries() -> Path:
    """Where gatewayd and gatewayctl are."""
    return Path(os.environ.get("GATEWAY_BIN_DIR", ROOT / ".build" / "release")).resolve()


def stamped(path: Path, version: str) -> Path:
    """Writes the same program with another version."""
    data = (binaries() / "gatewayd").read_bytes()
    mark = b"gateway version "
    assert data.count(mark + b"1.0.0") == 1
    path.write_bytes(data.replace(mark + b"1.0.0", mark + version.encode()))
    path.chmod(0o755)
    return path


def clean_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment without variables that would change the configuration."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GATEWAY_", "REACTOR_", "NOTIFY_", "LISTEN_", "WATCHDOG_"))}
    return {**kept, **(extra or {})}


def ctl(*arguments: str, timeout: float = 30, env: dict[str, str] | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs gatewayctl."""
    return subprocess.run([binaries() / "gatewayctl", *arguments], capture_output=True, text=True, timeout=timeout,
                          env=clean_environment(env), cwd=cwd)


class Gateway:
    """One instance. `keys` are the top-level keys of its configuration beside those of `configuration()`."""

    def __init__(self, directory: Path, *, access_log: Json | bool = False, arguments: tuple[str, ...] = (),
                 env: dict[str, str] | None = None, program: Path | None = None, **keys: Any) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port: int = keys.pop("bind_port", None) or free_port()
        self.config_file = directory / "gateway.json"
        self.pid_file = directory / "gatewayd.pid"
        self.output_file = directory / "output.log"
        self.access_file = directory / "access.log"
        self.arguments = arguments
        self.env = env
        self.program = program or binaries() / "gatewayd"
        self.single = "--single-process" in arguments
        self.process: subprocess.Popen[bytes] | None = None
        if access_log:
            given = access_log if isinstance(access_log, dict) else {}
            keys["access_log"] = {"enabled": True, "file": str(self.access_file), "flush_interval_ms": 10, **given}
        self.config = configuration(self.port, **keys)
        self.write()

    # Configuration

    def write(self, **changes: Any) -> None:
        """Writes the configuration file, after changing top-level keys; None removes one."""
        self.config.update(changes)
        self.config = {key: value for key, value in self.config.items() if value is not None}
        # At once, as whoever reads it may do so at any moment.
        new = self.config_file.with_name(self.config_file.name + ".new")
        new.write_text(json.dumps(self.config, indent=2))
        new.replace(self.config_file)

    # Life

    def start(self, wait: bool = True) -> "Gateway":
        command = [str(self.program), "-c", str(self.config_file), *self.arguments]
        if not self.single:
            command += ["-P", str(self.pid_file)]
        with self.output_file.open("ab") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            env=clean_environment(self.env), start_new_session=True, cwd=self.directory)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout: float = 15) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            assert self.process is None or self.process.poll() is None, f"gatewayd ended at once:\n{self.log}"
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.005)
        raise AssertionError(f"gatewayd does not listen after {timeout} s:\n{self.log}")

    @property
    def pid(self) -> int:
        """The master's process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def workers(self) -> list[int]:
        """Living worker processes of all generations, oldest first."""
        return proc.children(self.pid)

    @property
    def worker(self) -> int:
        """The only worker."""
        return until(lambda: self.workers if len(self.workers) == 1 else None, what="one worker")[0]

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait_exit(self, timeout: float = 10) -> int:
        assert self.process is not None
        return self.process.wait(timeout)

    def stop(self) -> None:
        """Ends the master and its workers, gently first; does nothing to processes it did not start."""
        if self.process is None:
            return
        workers = self.workers
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                workers = self.workers or workers
                self.process.kill()
                self.process.wait()
        for worker in workers:
            if proc.alive(worker) and self._is_ours(worker):
                os.kill(worker, signal.SIGKILL)

    def _is_ours(self, pid: int) -> bool:
        try:
            return b"gatewayd" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    # gatewayctl

    def ctl(self, command: str, *arguments: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """Runs a command of gatewayctl against this instance."""
        return ctl(command, *arguments, "-P", str(self.pid_file), timeout=timeout, env=self.env)

    def ctl_start(self, command: str, *arguments: str) -> subprocess.Popen[str]:
        """Begins a command of gatewayctl, whose end is to be waited for."""
        return subprocess.Popen([binaries() / "gatewayctl", command, *arguments, "-P", str(self.pid_file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env=clean_environment(self.env))

    def reload(self, **changes: Any) -> None:
        """Changes the configuration and reloads; fails the test when the reload is refused."""
        self.write(**changes)
        done = self.ctl("reload", timeout=60)
        assert done.returncode == 0, f"reload failed: {done.stdout}{done.stderr}\n{self.log}"

    # Requests

    def connect(self, timeout: float = 10, **options: Any) -> Client:
        return Client(self.port, timeout=timeout, **options)

    def get(self, path: str = "/", *lines: str) -> Response:
        """One GET on a connection of its own."""
        return get(self.port, path, *lines)

    # Logs

    @property
    def log(self) -> str:
        return self.output_file.read_text(errors="replace") if self.output_file.exists() else ""

    def access_entries(self, count: int = 1, timeout: float = 5) -> list[Json]:
        """The entries of the JSON access log, once there are `count`."""

        def entries() -> list[Json]:
            text = self.access_file.read_text() if self.access_file.exists() else ""
            return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

        until(lambda: len(entries()) >= count, timeout, f"{count} lines in the access log")
        return entries()


def living(pids: list[int]) -> Iterator[int]:
    return (pid for pid in pids if proc.alive(pid))
