"""TLS for scenarios: certificates made by the openssl command, and a client that reads strictly through them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .client import Client
from .configuration import Json
from .message import Reader


def openssl(*arguments: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(["openssl", *arguments], cwd=cwd, input=stdin, capture_output=True, timeout=30, check=False)
    return done


@dataclass
class Certificate:
    """The files of one certificate; `chain` holds it and what leads to its issuer."""

    chain: Path
    key: Path

    @property
    def setting(self) -> Json:
        return {"cert_file": str(self.chain), "key_file": str(self.key)}

    @property
    def serial(self) -> int:
        done = openssl("x509", "-in", str(self.chain), "-noout", "-serial", cwd=self.chain.parent)
        return int(done.stdout.decode().strip().removeprefix("serial="), 16)

    @property
    def fingerprint(self) -> str:
        """SHA-256, lower-case digits."""
        done = openssl("x509", "-in", str(self.chain), "-noout", "-fingerprint", "-sha256", cwd=self.chain.parent)
        return done.stdout.decode().strip().partition("=")[2].replace(":", "").lower()

    def copy(self, directory: Path, name: str = "site") -> "Certificate":
        """The same under other names."""
        directory.mkdir(parents=True, exist_ok=True)
        copied = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
        shutil.copy(self.key, copied.key)
        shutil.copy(self.chain, copied.chain)
        return copied


class Authority:
    """Issues certificates through an intermediate authority."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.root = self._make("root", "/CN=Root", ["basicConstraints=critical,CA:TRUE"], None)
        self.middle = self._make("middle", "/CN=Middle", ["basicConstraints=critical,CA:TRUE"], self.root)

    def issue(self, *names: str, kind: str = "ec", days: int = 30, common_name: str | None = None, file: str | None = None) -> Certificate:
        """A certificate for `names` (or none of them, for a client), with its chain."""
        file = file or f"{(names or (common_name or 'client',))[0].replace('*', 'any')}-{kind}-{len(list(self.directory.iterdir()))}"
        extensions = ["basicConstraints=CA:FALSE"]
        if names:
            extensions.append("subjectAltName=" + ",".join(f"DNS:{name}" for name in names))
        made = self._make(file, f"/CN={common_name or names[0]}", extensions, self.middle, kind, days)
        made.chain.write_bytes(made.chain.read_bytes() + self.middle.chain.read_bytes())
        return made

    def _make(self, file: str, subject: str, extensions: list[str], issuer: Certificate | None, kind: str = "ec", days: int = 30) -> Certificate:
        made = Certificate(self.directory / f"{file}.pem", self.directory / f"{file}.key")
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["-newkey", "rsa:2048"]
        command = ["req", "-x509", *new, "-nodes", "-keyout", str(made.key), "-out", str(made.chain), "-days", str(days), "-subj", subject]
        for extension in extensions:
            command += ["-addext", extension]
        if issuer is not None:
            command += ["-CA", str(issuer.chain), "-CAkey", str(issuer.key)]
        done = openssl(*command, cwd=self.directory)
        assert done.returncode == 0, done.stderr.decode()
        return made

    def context(self, certificate: Certificate | None = None, **attributes: Any) -> ssl.SSLContext:
        """What a client that trusts this authority uses; it shows `certificate`, if there is one."""
        context = ssl.create_default_context(cafile=str(self.root.chain))
        if certificate is not None:
            context.load_cert_chain(certificate.chain, certificate.key)
        for name, value in attributes.items():
            setattr(context, name, value)
        return context


def listener(port: int, *certificates: Certificate, **tls: Any) -> Json:
    """An element of `listeners` that speaks TLS."""
    return {"host": "127.0.0.1", "port": port, "tls": {"certificates": [certificate.setting for certificate in certificates], **tls}}


class SecureClient(Client):
    """One connection over TLS."""

    sock: ssl.SSLSocket  # type: ignore[assignment]

    def __init__(self, port: int, context: ssl.SSLContext, name: str | None = "site.test", session: ssl.SSLSession | None = None,
                 **options: Any) -> None:
        super().__init__(port, **options)
        # A missing close_notify is an error, not an end.
        self.sock = context.wrap_socket(self.sock, server_hostname=name, session=session, suppress_ragged_eofs=False)
        self.reader = Reader(self.sock)

    @property
    def serial(self) -> int:
        """Of the certificate that the gateway has shown."""
        certificate = self.sock.getpeercert()
        assert certificate is not None
        return int(str(certificate["serialNumber"]), 16)

    @property
    def resumed(self) -> bool:
        return bool(self.sock.session_reused)

    def ends_with_notice(self, timeout: float = 5.0) -> bool:
        """Whether the peer's close_notify is the next that comes."""
        self.sock.settimeout(timeout)
        try:
            return self.sock.recv(1) == b""
        except ssl.SSLEOFError:
            return False


def has_ended(sock: socket.socket, timeout: float = 5.0) -> bool:
    """Whether the peer closes a plain socket within `timeout` seconds, whatever it sends before."""
    sock.settimeout(timeout)
    try:
        while sock.recv(65_536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def swap(link: Path, target: Path) -> None:
    """Lets a symbolic link point elsewhere, at one stroke."""
    new = link.with_name(link.name + ".new")
    os.symlink(target, new)
    os.replace(new, link)


def stats(connection: SecureClient) -> Json:
    """The counters of TLS, asked for over `connection`."""
    found: Json = json.loads(connection.request("GET", "/stats").body)["tls"]
    return found
