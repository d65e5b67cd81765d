"""What can go wrong between the gateway and a backend that speaks TLS: each cause has its own fault, and the log names it."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from pathlib import Path

import pytest

from support.backend import head
from support.misbehaving import Peer, Scenario
from support.tls import Authority, Certificate, openssl

from .conftest import Behind, documented


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def site(authority: Authority) -> Certificate:
    return authority.issue("backend.test")


def expired(authority: Authority) -> Certificate:
    """A certificate of yesterday."""
    directory = authority.directory
    made = Certificate(directory / "expired.pem", directory / "expired.key")
    request = directory / "expired.csr"
    done = openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(made.key), "-out", str(request),
                   "-subj", "/CN=backend.test", "-addext", "subjectAltName=DNS:backend.test", cwd=directory)
    assert done.returncode == 0, done.stderr
    (directory / "index.txt").write_text("")
    (directory / "ca.cnf").write_text(
        "[ca]\ndefault_ca = here\n[here]\n" f"database = {directory}/index.txt\nnew_certs_dir = {directory}\nrand_serial = yes\ndefault_md = sha256\n"
        "policy = any\ncopy_extensions = copy\nunique_subject = no\n[any]\ncommonName = supplied\n")
    done = openssl("ca", "-batch", "-config", str(directory / "ca.cnf"), "-cert", str(authority.middle.chain), "-keyfile", str(authority.middle.key),
                   "-in", str(request), "-out", str(made.chain), "-notext", "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", cwd=directory)
    assert done.returncode == 0, done.stderr
    made.chain.write_bytes(made.chain.read_bytes() + authority.middle.chain.read_bytes())
    return made


def server_context(certificate: Certificate, **attributes: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


def upstream(authority: Authority, **tls: object) -> dict:  # type: ignore[type-arg]
    return {"tls": {"enabled": True, "ca_file": str(authority.root.chain), "sni_hostname": "backend.test", **tls}}


def serve(peer: Peer) -> None:
    peer.serve()


def test_a_good_one(behind: Behind, authority: Authority, site: Certificate) -> None:
    setting = behind(serve, context=server_context(site), upstream=upstream(authority))
    for _ in range(3):
        assert setting.ask().status == 200
    assert len(setting.backend.connections) == 1 and setting.backend.handshakes == ["TLSv1.3"]


# The certificate


def test_expired(behind: Behind, authority: Authority) -> None:
    check(behind, authority, expired(authority), "tls_certificate_expired")


def test_wrong_name(behind: Behind, authority: Authority) -> None:
    check(behind, authority, authority.issue("other.test"), "tls_certificate_name_mismatch")


def test_unknown_authority(behind: Behind, authority: Authority, tmp_path: Path) -> None:
    check(behind, authority, Authority(tmp_path / "other").issue("backend.test"), "tls_certificate_unknown_ca")


def check(behind: Behind, authority: Authority, certificate: Certificate, token: str) -> None:
    setting = behind(serve, context=server_context(certificate), upstream=upstream(authority))
    outcome = setting.ask("POST", body=b"x")
    assert (outcome.status, outcome.token) == (502, token) and documented(token) == (502, "error")
    assert len(setting.lines(token)) == 1 and setting.stats()["faults"] == {token: 1}
    assert setting.backend.heads == {}, "a request was sent to someone unknown"


def test_unverified_where_asked_for(behind: Behind, authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "other").issue("other.test")
    setting = behind(serve, context=server_context(stranger), upstream={"tls": {"enabled": True, "verify_peer": False}})
    assert setting.ask().status == 200


def test_the_name_is_sent(behind: Behind, authority: Authority, site: Certificate) -> None:
    names: list[str | None] = []
    context = server_context(site)
    context.sni_callback = lambda sock, name, context: names.append(name)
    setting = behind(serve, context=context, upstream=upstream(authority))
    assert setting.ask().status == 200 and names == ["backend.test"]


def test_a_client_certificate_is_missing(behind: Behind, authority: Authority, site: Certificate) -> None:
    context = server_context(site, verify_mode=ssl.CERT_REQUIRED)
    context.load_verify_locations(authority.root.chain)
    setting = behind(serve, context=context, upstream=upstream(authority))
    outcome = setting.ask("POST", body=b"x")
    assert (outcome.status, outcome.token) == (502, "tls_alert_received")
    assert len(setting.lines("tls_alert_received")) == 1
    assert setting.backend.heads == {}


# The handshake



def alert(code: int) -> Scenario:
    def scenario(peer: Peer) -> None:
        peer.reader.some(65_536)
        peer.send(b"\x15\x03\x03\x00\x02\x02" + bytes([code]))
        peer.wait_end(5)

    return scenario


def silent(peer: Peer) -> None:
    peer.wait_end(10)


def answers_in_the_clear(peer: Peer) -> None:
    peer.reader.some(65_536)
    peer.send(head(400, "Content-Length: 0"))
    peer.wait_end(5)


def noise(peer: Peer) -> None:
    peer.reader.some(65_536)
    peer.send(bytes(range(256)) * 10)
    peer.wait_end(5)


def closes(peer: Peer) -> None:
    peer.reader.some(65_536)
    peer.close()


def resets(peer: Peer) -> None:
    peer.reader.some(65_536)
    peer.reset()


HANDSHAKES = [
    ("handshake_failure", alert(40), "tls_alert_received"),
    ("unrecognized_name", alert(112), "tls_alert_received"),
    ("protocol_version", alert(70), "tls_alert_received"),
    ("says nothing", silent, "tls_handshake_timeout"),
    ("speaks HTTP", answers_in_the_clear, "tls_protocol_error"),
    ("sends noise", noise, "tls_protocol_error"),
]


@pytest.mark.parametrize("scenario,token", [row[1:] for row in HANDSHAKES], ids=[row[0] for row in HANDSHAKES])
def test_handshake(behind: Behind, authority: Authority, scenario: Scenario, token: str) -> None:
    setting = behind(scenario, upstream=upstream(authority, handshake_timeout_ms=300))
    outcome = setting.ask("POST", body=b"x")
    assert (outcome.status, outcome.token) == (502, token)
    assert documented(token) == (502, "error")
    assert len(setting.lines(token)) == 1 and setting.stats()["faults"] == {token: 1}


@pytest.mark.parametrize("scenario", [closes, resets])
def test_handshake_is_broken_off(behind: Behind, authority: Authority, scenario: Scenario) -> None:
    setting = behind(scenario, upstream=upstream(authority))
    outcome = setting.ask("POST", body=b"x")
    assert (outcome.status, outcome.token) == (502, "tls_handshake_terminated")
    assert len(setting.lines("tls_handshake_terminated")) == 1


class Relay:
    """Passes bytes on to a TLS server, and ends both connections after `limit` bytes of its."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.limit = 0

    def __call__(self, peer: Peer) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = self.context.wrap_bio(incoming, outgoing, server_side=True)
        left, done, asked = self.limit, False, b""
        while True:
            try:
                if not done:
                    server.do_handshake()
                    done = True
                asked += server.read(65_536)
                if b"\r\n\r\n" in asked:
                    server.write(head(200, "Content-Length: 5") + b"hello")
                    asked = b""
            except ssl.SSLWantReadError:
                pass
            data = outgoing.read()
            peer.send(data[:left])
            left -= len(data)
            if left <= 0:
                return peer.close()
            received = peer.reader.some(65_536)
            if not received:
                return peer.close()
            incoming.write(received)


def test_every_byte_of_the_backends(behind: Behind, authority: Authority, site: Certificate) -> None:
    """Ends after each number of bytes of handshake and response."""
    relay = Relay(server_context(site))
    setting = behind(relay, upstream=upstream(authority))
    worker, tokens, limit = setting.gateway.worker, set(), 1
    while limit < 5000:
        relay.limit = limit
        outcome = setting.ask("POST", body=b"")
        if outcome.status == 200:
            break
        assert outcome.status == 502, f"after {limit} bytes"
        tokens.add(outcome.token)
        limit += 7 if limit > 200 else 3
    assert outcome.status == 200 and limit > 500
    assert tokens == {"tls_handshake_terminated", "connection_terminated"}, tokens
    assert setting.gateway.worker == worker


# The end


def test_an_end_without_notice_is_not_the_end_of_a_body(behind: Behind, authority: Authority, site: Certificate) -> None:
    """A body that ends with its connection could have been cut off by anyone."""

    def scenario(peer: Peer) -> None:
        peer.request()
        peer.send(head(200, "Connection: close") + b"part")
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
        # Without close_notify.
        socket.socket(fileno=peer.sock.detach()).close()
        peer.closed = True

    setting = behind(scenario, context=server_context(site), upstream=upstream(authority))
    outcome = setting.ask()
    assert outcome.token == "http_response_incomplete" and (outcome.cut or outcome.status == 502)


def test_an_end_with_notice_is(behind: Behind, authority: Authority, site: Certificate) -> None:
    def scenario(peer: Peer) -> None:
        peer.request()
        peer.send(head(200, "Connection: close") + b"whole")
        peer.sock.unwrap()
        peer.close()

    setting = behind(scenario, context=server_context(site), upstream=upstream(authority))
    outcome = setting.ask()
    assert outcome.status == 200 and outcome.response is not None and outcome.response.body == b"whole" and outcome.token == "-"


def test_old_versions(behind: Behind, authority: Authority, site: Certificate) -> None:
    context = server_context(site, maximum_version=ssl.TLSVersion.TLSv1_2)
    setting = behind(serve, context=context, upstream=upstream(authority))
    assert setting.ask().status == 200 and setting.backend.handshakes == ["TLSv1.2"]
    setting = behind(serve, context=context, upstream=upstream(authority, min_version="1.3"))
    outcome = setting.ask()
    assert outcome.status == 502 and outcome.token == "tls_alert_received"


def test_many_at_the_same_time(behind: Behind, authority: Authority, site: Certificate) -> None:
    setting = behind(serve, context=server_context(site), upstream=upstream(authority))
    statuses: list[int | None] = []

    def run() -> None:
        for _ in range(10):
            statuses.append(setting.gateway.get("/api").status)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert statuses == [200] * 80
