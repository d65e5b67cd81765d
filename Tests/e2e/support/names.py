"""DNS servers on loopback: dnsmasq, whose records can be changed while it runs, and one that answers, or lies, as a test says."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .ports import free_port
from .wait import until

A, CNAME, AAAA, SRV = 1, 5, 28, 33
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, REFUSED = 0, 1, 2, 3, 5


def servers(port: int, **keys: Any) -> dict[str, Any]:
    """The settings of `dns` for a server on loopback."""
    return {"servers": [f"127.0.0.1:{port}"], **keys}


class Dnsmasq:
    """dnsmasq, with the hosts of `records` (name -> addresses)."""

    def __init__(self, directory: Path, ttl: int = 1, *options: str, **records: list[str]) -> None:
        program = shutil.which("dnsmasq") or "/usr/sbin/dnsmasq"
        assert Path(program).exists(), "install dnsmasq-base"
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.hosts = directory / "hosts"
        self.output = directory / "dnsmasq.log"
        self.command = [
            program, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--no-poll", f"--port={self.port}",
            "--listen-address=127.0.0.1", "--bind-interfaces", f"--addn-hosts={self.hosts}", f"--local-ttl={ttl}", "--local=/test/", "--pid-file=",
            "--log-facility=-", "--log-queries", f"--user={os.environ.get('USER', '') or 'root'}" if os.getuid() == 0 else "--user=", *options,
        ]
        self.process: subprocess.Popen[bytes] | None = None
        self.write(records)
        self.start()

    def write(self, records: dict[str, list[str]]) -> None:
        self.hosts.write_text("".join(f"{address} {name}.test\n" for name, addresses in records.items() for address in addresses))

    def start(self) -> None:
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        until(lambda: self._answers(), what="an answer of dnsmasq")

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.output.read_text()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.2)
            try:
                probe.connect(("127.0.0.1", self.port))
                probe.send(query("probe.test", A))
                return len(probe.recv(4096)) > 12
            except OSError:
                return False

    def change(self, **records: list[str]) -> None:
        """Other records, from now on."""
        assert self.process is not None
        self.write(records)
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(5)
            self.process = None


def query(name: str, kind: int) -> bytes:
    return struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + encode(name) + struct.pack(">HH", kind, 1)


def encode(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def a(address: str, ttl: int = 1) -> tuple[int, int, bytes]:
    return A, ttl, socket.inet_aton(address)


def aaaa(address: str, ttl: int = 1) -> tuple[int, int, bytes]:
    return AAAA, ttl, socket.inet_pton(socket.AF_INET6, address)


def srv(priority: int, weight: int, port: int, target: str, ttl: int = 1) -> tuple[int, int, bytes]:
    return SRV, ttl, struct.pack(">HHH", priority, weight, port) + encode(target)


Record = tuple[int, int, bytes]
#: Records, a response code, bytes behind the query's id, a function of the question and whether it came over TCP, or None: nothing is sent.
Reply = list[Record] | int | bytes | Callable[[str, int, bool], "Reply"] | None


class Scripted:
    """Answers over UDP and TCP what `replies` says for (name, type); what is not in it does not exist."""

    def __init__(self, replies: dict[tuple[str, int], Reply] | None = None) -> None:
        self.replies: dict[tuple[str, int], Reply] = replies or {}
        self.asked: list[tuple[str, int, bool]] = []
        self.port = free_port()
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", self.port))
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(16)
        self._ended = False
        for run in (self._serve_datagrams, self._serve_streams):
            threading.Thread(target=run, daemon=True).start()

    def stop(self) -> None:
        self._ended = True
        for sock in (self.datagrams, self.listener):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def count(self, name: str, kind: int = A) -> int:
        return sum(1 for asked in list(self.asked) if asked[:2] == (name, kind))

    def _serve_datagrams(self) -> None:
        while not self._ended:
            try:
                data, peer = self.datagrams.recvfrom(4096)
                if len(data) < 17:
                    continue
                answer = self._answer(data, False)
                if answer is not None:
                    self.datagrams.sendto(answer, peer)
            except OSError:
                if self._ended:
                    return

    def _serve_streams(self) -> None:
        while not self._ended:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_stream, args=(sock,), daemon=True).start()

    def _serve_stream(self, sock: socket.socket) -> None:
        with sock:
            stream = sock.makefile("rb")
            while head := stream.read(2):
                answer = self._answer(stream.read(struct.unpack(">H", head)[0]), True)
                if answer is not None:
                    sock.sendall(struct.pack(">H", len(answer)) + answer)

    def _answer(self, data: bytes, is_stream: bool) -> bytes | None:
        labels, position = [], 12
        while data[position]:
            labels.append(data[position + 1 : position + 1 + data[position]].decode())
            position += 1 + data[position]
        kind = struct.unpack(">H", data[position + 1 : position + 3])[0]
        name = ".".join(labels).lower()
        self.asked.append((name, kind, is_stream))
        reply: Reply = self.replies.get((name, kind), [] if any(known == name for known, _ in self.replies) else NXDOMAIN)
        if callable(reply):
            reply = reply(name, kind, is_stream)
        if reply is None:
            return None
        if isinstance(reply, bytes):
            return data[:2] + reply
        code, records = (reply, []) if isinstance(reply, int) else (NOERROR, reply)
        question = data[12 : position + 5]
        body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, ttl, len(content)) + content for kind, ttl, content in records)
        truncated = not is_stream and len(body) > 400
        if truncated:
            body, records = b"", []
        flags = 0x8180 | code | (0x0200 if truncated else 0)
        return data[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + question + body
