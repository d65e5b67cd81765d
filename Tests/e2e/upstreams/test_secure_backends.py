"""Backends over TLS that behave: whom the gateway believes, what it shows, what it resumes, and that everything passes."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.sync.server import serve as serve_websockets

from support.backend import head
from support.client import Client, request
from support.misbehaving import BODY, Peer
from support.tls import Authority, Certificate, openssl
from support.wait import until

from .conftest import Behind


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def site(authority: Authority) -> Certificate:
    return authority.issue("backend.test")


def server(certificate: Certificate, **attributes: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


def upstream(authority: Authority, **more: object) -> dict:  # type: ignore[type-arg]
    pool = more.pop("pool", None)
    tls = {"enabled": True, "ca_file": str(authority.root.chain), "sni_hostname": "backend.test", **more}
    return {"tls": tls, **({"pool": pool} if pool else {})}


def serve(peer: Peer) -> None:
    peer.serve()


def once(peer: Peer) -> None:
    """Answers one request, and ends the connection in good order."""
    peer.request()
    peer.send(head(200, "Connection: close", f"Content-Length: {len(BODY)}") + BODY)
    peer.sock.unwrap()  # type: ignore[attr-defined]


# Names


def with_address(authority: Authority, address: str) -> Certificate:
    made = authority._make("address-" + address, "/CN=address", ["basicConstraints=CA:FALSE", f"subjectAltName=IP:{address}"], authority.middle)
    made.chain.write_bytes(made.chain.read_bytes() + authority.middle.chain.read_bytes())
    return made


def test_an_address_is_verified_and_not_asked_for(behind: Behind, authority: Authority) -> None:
    names: list[str | None] = []
    context = server(with_address(authority, "127.0.0.1"))
    context.sni_callback = lambda sock, name, context: names.append(name)
    setting = behind(serve, context=context, upstream=upstream(authority, sni_hostname=""))
    assert setting.ask().status == 200 and names == [None]
    setting = behind(serve, context=server(with_address(authority, "127.0.0.2")), upstream=upstream(authority, sni_hostname=""))
    assert setting.ask().token == "tls_certificate_name_mismatch"
    assert "good for 127.0.0.2" in setting.lines("tls_certificate_name_mismatch")[0]


def test_host_is_the_name(behind: Behind, authority: Authority, site: Certificate) -> None:
    hosts: list[str | None] = []

    def scenario(peer: Peer) -> None:
        while True:
            hosts.append(peer.request().header("host"))
            peer.send(head(200, "Content-Length: 0"))

    setting = behind(scenario, context=server(site), upstream=upstream(authority))
    assert setting.ask().status == 200
    assert hosts == [f"backend.test:{setting.backend.port}"]


def test_only_http1_is_asked_for(behind: Behind, authority: Authority, site: Certificate) -> None:
    context = server(site)
    context.set_alpn_protocols(["h2", "http/1.1"])
    setting = behind(serve, context=context, upstream=upstream(authority))
    assert setting.ask().status == 200
    assert setting.backend.connections[0].sock.selected_alpn_protocol() == "http/1.1"  # type: ignore[attr-defined]


# Authorities


def test_those_that_the_system_trusts(behind: Behind, authority: Authority, site: Certificate, tmp_path: Path) -> None:
    setting = behind(serve, context=server(site), upstream=upstream(authority, ca_file=""), env={"SSL_CERT_FILE": str(authority.root.chain)})
    assert setting.ask().status == 200
    other = Authority(tmp_path / "other")
    setting = behind(serve, context=server(site), upstream=upstream(authority, ca_file=""), env={"SSL_CERT_FILE": str(other.root.chain)})
    assert setting.ask().token == "tls_certificate_unknown_ca"


def test_words_about_a_rejected_certificate(behind: Behind, authority: Authority) -> None:
    setting = behind(serve, context=server(authority.issue("other.test")), upstream=upstream(authority))
    assert setting.ask().status == 502
    line, = setting.lines("tls_certificate_name_mismatch")
    assert "subject CN=other.test, issuer CN=Middle, valid from 20" in line and "good for other.test" in line


def test_authorities_change_on_disk(behind: Behind, authority: Authority, site: Certificate, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    used = tmp_path / "ca.pem"
    shutil.copy(other.root.chain, used)
    setting = behind(once, context=server(site), upstream=upstream(authority, ca_file=str(used)))
    worker = setting.gateway.worker
    assert setting.ask().token == "tls_certificate_unknown_ca"
    used.write_text("not one")
    until(lambda: "has no certificate that can be read" in setting.gateway.log, 10, "the complaint")
    assert setting.ask().token == "tls_certificate_unknown_ca"
    shutil.copy(authority.root.chain, used)
    until(lambda: setting.ask().status == 200, 10, "the new authority")
    # …and back: nothing of what was trusted is resumed.
    shutil.copy(other.root.chain, used)
    until(lambda: setting.ask().token == "tls_certificate_unknown_ca", 10, "the old authority")
    assert setting.gateway.worker == worker


# What has been revoked


class Lists:
    """The revocation lists of an authority and of the intermediate one, in one file."""

    def __init__(self, authority: Authority, directory: Path) -> None:
        directory.mkdir()
        self.authority, self.directory, self.file = authority, directory, directory / "lists.pem"
        (directory / "numbers").write_text("1000")
        for issuer in ("root", "middle"):
            (directory / f"{issuer}.txt").write_text("")
            (directory / f"{issuer}.cnf").write_text(
                f"[ca]\ndefault_ca = here\n[here]\ndatabase = {directory}/{issuer}.txt\ncrlnumber = {directory}/numbers\ndefault_md = sha256\ndefault_crl_days = 1\n")

    def revoke(self, issuer: str, certificate: Certificate) -> None:
        self._run(issuer, "-revoke", str(certificate.chain))

    def write(self, *issuers: str, seconds: int | None = None) -> None:
        for issuer in issuers:
            self._run(issuer, "-gencrl", "-out", str(self.directory / f"{issuer}.crl"), *(["-crlsec", str(seconds)] if seconds else []))
        new = self.directory / "new"
        new.write_bytes(b"".join((self.directory / f"{issuer}.crl").read_bytes() for issuer in issuers))
        new.rename(self.file)

    def _run(self, issuer: str, *arguments: str) -> None:
        mine = self.authority.root if issuer == "root" else self.authority.middle
        done = openssl("ca", "-config", str(self.directory / f"{issuer}.cnf"), "-cert", str(mine.chain), "-keyfile", str(mine.key), *arguments, cwd=self.directory)
        assert done.returncode == 0, done.stderr


def test_revoked_certificates_are_refused(behind: Behind, authority: Authority, tmp_path: Path) -> None:
    """…from the moment that a list says so, and no longer than it does; nothing of what was trusted before is resumed."""
    site = authority.issue("backend.test", file="revocable")
    lists = Lists(authority, tmp_path / "lists")
    lists.write("root", "middle")
    setting = behind(once, context=server(site), upstream=upstream(authority, crl_file=str(lists.file)))
    worker = setting.gateway.worker
    assert setting.ask().status == 200
    # Another's certificate.
    lists.revoke("middle", authority.issue("other.test", file="other"))
    lists.revoke("middle", site)
    lists.write("root", "middle")
    until(lambda: setting.ask().token == "tls_certificate_revoked", 10, "the revocation")
    line = setting.lines("tls_certificate_revoked")[-1]
    assert "certificate revoked" in line and "CN=backend.test" in line
    # A file that is no list changes nothing.
    lists.file.write_text("not one")
    until(lambda: "has no revocation list that can be read" in setting.gateway.log, 10, "the complaint")
    assert setting.ask().token == "tls_certificate_revoked"
    (lists.directory / "middle.txt").write_text("")
    lists.write("root", "middle")
    until(lambda: setting.ask().status == 200, 10, "the new list")
    # The authority in between.
    lists.revoke("root", authority.middle)
    lists.write("root", "middle")
    until(lambda: setting.ask().token == "tls_certificate_revoked", 10, "the revocation of the authority")
    assert setting.gateway.worker == worker


def test_every_authority_needs_its_list(behind: Behind, authority: Authority, site: Certificate, tmp_path: Path) -> None:
    lists = Lists(authority, tmp_path / "lists")
    lists.write("middle")
    setting = behind(once, context=server(site), upstream=upstream(authority, crl_file=str(lists.file), session_resumption=False))
    assert setting.ask().token == "tls_certificate_error"
    assert "unable to get certificate CRL" in setting.lines("tls_certificate_error")[-1]

    def ended() -> bool:
        assert setting.ask().status in (200, 502)
        return any("CRL has expired" in line for line in setting.lines("tls_certificate_error"))

    lists.write("root", "middle", seconds=1)
    until(ended, 10, "the end of the lists", pause=0.3)


# Our certificate


def test_a_certificate_is_shown(behind: Behind, authority: Authority, site: Certificate, tmp_path: Path) -> None:
    """…and another one, when its files have changed."""
    context = server(site, verify_mode=ssl.CERT_REQUIRED)
    context.load_verify_locations(authority.root.chain)
    used = authority.issue(common_name="first").copy(tmp_path / "own", "own")
    setting = behind(once, context=context, upstream=upstream(authority, cert_file=str(used.chain), key_file=str(used.key)))

    def shown() -> str:
        assert setting.ask().status == 200
        certificate = setting.backend.shown[-1]
        return str(dict(pair[0] for pair in certificate["subject"])["commonName"])

    setting.backend.shown = []  # type: ignore[attr-defined]
    plain = setting.backend.scenarios[0]

    def note(peer: Peer) -> None:
        setting.backend.shown.append(peer.sock.getpeercert())  # type: ignore[attr-defined]
        plain(peer)

    setting.backend.scenarios = [note]
    assert shown() == "first"
    new = authority.issue(common_name="second")
    used.key.write_bytes(new.key.read_bytes())
    used.chain.write_bytes(new.chain.read_bytes())
    until(lambda: shown() == "second", 10, "the new certificate")


def test_a_foreign_certificate_is_refused(behind: Behind, authority: Authority, site: Certificate, tmp_path: Path) -> None:
    context = server(site, verify_mode=ssl.CERT_REQUIRED)
    context.load_verify_locations(authority.root.chain)
    own = Authority(tmp_path / "other").issue(common_name="gateway")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context.maximum_version = version
        setting = behind(serve, context=context, upstream=upstream(authority, cert_file=str(own.chain), key_file=str(own.key)))
        outcome = setting.ask("POST", body=b"x")
        assert (outcome.status, outcome.token) == (502, "tls_alert_received")
        assert "unknown ca" in setting.lines("tls_alert_received")[0]
        assert setting.backend.heads == {}


# Sessions


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("resumption", [True, False])
def test_sessions_are_resumed(behind: Behind, authority: Authority, site: Certificate, version: ssl.TLSVersion, resumption: bool) -> None:
    setting = behind(once, context=server(site, maximum_version=version), upstream=upstream(authority, session_resumption=resumption))
    for _ in range(4):
        assert setting.ask().status == 200
    found = setting.stats()["upstream_connections"]
    assert found["tls_handshakes"] == 4 and found["tls_failures"] == 0
    assert found["tls_resumed"] == (3 if resumption else 0)


# Connections


def test_what_tls_says_between_requests_ends_nothing(behind: Behind, authority: Authority, site: Certificate) -> None:
    """A backend that sends its tickets late: the connection is used again."""
    context = server(site)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ready = threading.Event()

    def scenario(peer: Peer) -> None:
        side = context.wrap_bio(incoming, outgoing, server_side=True)
        held, asked, done, served = b"", b"", False, 0
        while True:
            try:
                if not done:
                    side.do_handshake()
                    done = True
                    # The tickets.
                    held = outgoing.read()
                asked += side.read(65_536)
                while b"\r\n\r\n" in asked:
                    asked = asked.partition(b"\r\n\r\n")[2]
                    served += 1
                    side.write(head(200, "Content-Length: 5") + b"hello")
                    if served == 1:
                        # In one stream of records nothing may overtake: tickets before, the end of the last one later.
                        peer.send(held + outgoing.read())
                        held = b""
                        ready.set()
            except ssl.SSLWantReadError:
                pass
            data = outgoing.read()
            if data and not held:
                peer.send(data)
            received = peer.reader.some(65_536)
            if not received:
                return
            incoming.write(received)

    setting = behind(scenario, upstream=upstream(authority))
    for _ in range(3):
        assert setting.ask().status == 200
        time.sleep(0.05)
    assert ready.wait(5) and len(setting.backend.connections) == 1


def test_surplus_bytes_end_an_idle_connection(behind: Behind, authority: Authority, site: Certificate) -> None:
    """Whatever a backend says unasked could be taken for the answer to the next request."""

    def talks(peer: Peer) -> None:
        peer.request()
        peer.send(head(200, "Content-Length: 2") + b"ok")
        time.sleep(0.05)
        peer.send(head(200, "Content-Length: 4") + b"evil")
        peer.wait_end(5)

    setting = behind(talks, serve, context=server(site), upstream=upstream(authority))
    assert setting.ask().status == 200
    until(lambda: setting.stats()["upstream_connections"]["idle"] == 0, what="the end of the connection")
    outcome = setting.ask()
    assert outcome.response is not None and outcome.response.body == BODY


def test_an_idle_connection_is_ended_with_notice(behind: Behind, authority: Authority, site: Certificate) -> None:
    ends: list[object] = []

    def scenario(peer: Peer) -> None:
        peer.request()
        peer.send(head(200, "Content-Length: 2") + b"ok")
        peer.sock.settimeout(5)
        try:
            ends.append(peer.sock.recv(1))
        except OSError as error:
            ends.append(error)

    setting = behind(scenario, context=server(site), upstream=upstream(authority, pool={"idle_timeout_sec": "200ms"}))
    assert setting.ask().status == 200
    until(lambda: ends, 5, "the end")
    assert ends == [b""], "no close_notify"


def test_connections_beyond_the_idle_limit_are_closed(behind: Behind, authority: Authority, site: Certificate) -> None:
    barrier = threading.Barrier(3, timeout=10)

    def scenario(peer: Peer) -> None:
        peer.request()
        barrier.wait()
        peer.send(head(200, "Content-Length: 2") + b"ok")
        peer.wait_end(10)

    setting = behind(scenario, context=server(site), upstream=upstream(authority, pool={"max_idle_connections": 1}), proxy={"response_timeout_ms": 5000})
    threads = [threading.Thread(target=setting.gateway.get, args=("/api",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    until(lambda: setting.stats()["upstream_connections"]["active"] == 1, what="two of three to be closed")
    until(lambda: sum(peer.ended.is_set() for peer in setting.backend.connections) == 2, what="their ends")


def test_a_client_that_goes_away_during_the_handshake(behind: Behind, authority: Authority) -> None:
    def silent(peer: Peer) -> None:
        peer.wait_end(10)

    setting = behind(silent, upstream=upstream(authority), http1={"half_close": "cancel"})
    with Client(setting.gateway.port) as client:
        client.send(request("GET", "/api"))
        until(lambda: setting.stats()["upstream_connections"]["active"] == 1, what="the connection")
    until(lambda: setting.stats()["upstream_connections"]["active"] == 0, what="its end")
    until(lambda: setting.backend.connections and setting.backend.connections[0].ended.is_set(), what="its end at the backend")


def test_the_next_address_is_tried(behind: Behind, authority: Authority, site: Certificate, tmp_path: Path) -> None:
    """One of two addresses has a bad certificate: the other one serves, and the log says so."""
    sock = socket.socket(socket.AF_INET6)
    try:
        sock.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    finally:
        sock.close()
    bad = behind(serve, context=server(authority.issue("other.test")), upstream={**upstream(authority), "host": "localhost"})
    if len({entry[4][0] for entry in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}) < 2:
        pytest.skip("localhost has one address")
    context = server(site)
    listener = socket.create_server(("::1", bad.backend.port), family=socket.AF_INET6)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) as secure:
                    secure.recv(65_536)
                    secure.sendall(head(200, "Content-Length: 0", "Connection: close"))
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    assert bad.ask().status == 200
    assert len(bad.lines("tls_certificate_name_mismatch")) == 1
    listener.close()


# WebSockets


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_websockets_pass(launch, authority: Authority, site: Certificate, version: ssl.TLSVersion) -> None:
    """Both ways at the same time, longer than any buffer; and the orderly end of both."""
    with serve_websockets(lambda socket: [socket.send(message) for message in socket], "127.0.0.1", 0, ssl=server(site, maximum_version=version),
                          max_size=None) as backend:
        thread = threading.Thread(target=backend.serve_forever, daemon=True)
        thread.start()
        port = backend.socket.getsockname()[1]
        entry = {"name": "backend", "host": "127.0.0.1", "port": port, "proxy": {"route_prefix": "/ws"}, **upstream(authority)}
        gateway = launch(access_log=True, upstreams=[entry])
        with connect(f"ws://127.0.0.1:{gateway.port}/ws", max_size=None) as socket:
            for message in ["", "hello", os.urandom(3_000_000)]:
                socket.send(message)
                assert socket.recv(10) == message
            messages = [os.urandom(300_000) for _ in range(20)]
            sender = threading.Thread(target=lambda: [socket.send(message) for message in messages])
            sender.start()
            assert [socket.recv(10) for _ in messages] == messages
            sender.join(10)
        assert socket.close_code == 1000
        found = gateway.access_entries(1)[0]
        assert found["http.response.status_code"] == 101 and "error.type" not in found
        backend.shutdown()
