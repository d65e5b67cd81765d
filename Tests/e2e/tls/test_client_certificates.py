"""Certificates of clients: asked for, verified, told to backends and logs, and never taken from a request."""

from __future__ import annotations

import ssl
import subprocess

import pytest

from support.backend import Backend
from support.configuration import upstream
from support.gateway import Gateway
from support.tls import Authority, stats

ACCESS = {"format": "$status $scheme $tls_version $tls_server_name [$tls_client_subject] $tls_client_fingerprint"}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_required(secure, client, authority: Authority, version: ssl.TLSVersion) -> None:
    gateway: Gateway = secure(tls={"client_certificates": "require", "client_ca_file": str(authority.middle.chain)})
    alice = authority.issue(common_name="alice")
    with client(gateway, context=authority.context(alice, maximum_version=version)) as connection:
        assert connection.request("GET", "/").status == 200
    mallory = Authority(gateway.directory / "mallory").issue(common_name="alice")
    for context in [authority.context(maximum_version=version), authority.context(mallory, maximum_version=version)]:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with client(gateway, context=context) as connection:
                connection.request("GET", "/")
    with client(gateway, context=authority.context(alice)) as connection:
        failures = stats(connection)["failures"]
        assert failures["no_client_certificate"] == 1 and failures["bad_client_certificate"] == 1, failures


def test_requested(secure, client, authority: Authority) -> None:
    gateway: Gateway = secure(tls={"client_certificates": "request", "client_ca_file": str(authority.middle.chain)})
    with client(gateway) as connection:
        assert connection.request("GET", "/").status == 200
    mallory = Authority(gateway.directory / "mallory").issue(common_name="alice")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with client(gateway, context=authority.context(mallory)) as connection:
            connection.request("GET", "/")


def test_told_to_backend_and_log(secure, client, authority: Authority, backend: Backend) -> None:
    gateway: Gateway = secure(
        tls={"client_certificates": "request", "client_ca_file": str(authority.middle.chain)}, access_log=ACCESS,
        upstreams=[upstream(backend.port, header_rewrite={"set_client_certificate": True})])
    alice = authority.issue(common_name="alice")
    forged = ["X-Client-Cert-Subject: CN=root", "x-client-cert-fingerprint: 00"]
    with client(gateway, context=authority.context(alice)) as connection:
        for _ in range(2):
            assert connection.request("GET", "/api", *forged).status == 200
            assert backend.last.all("x-client-cert-subject") == ["CN=alice"]
            assert backend.last.all("x-client-cert-fingerprint") == [alice.fingerprint]
            assert backend.last.header("x-forwarded-proto") == "https"
    with client(gateway) as connection:
        assert connection.request("GET", "/api", *forged).status == 200
        assert backend.last.all("x-client-cert-subject") == [] and backend.last.all("x-client-cert-fingerprint") == []
    lines = read_lines(gateway, 3)
    assert lines[0] == f"200 https TLSv1.3 site.test [CN=alice] {alice.fingerprint}"
    assert lines[2] == "200 https TLSv1.3 site.test [-] -"


def test_told_of_streams_of_http2(secure, authority: Authority, backend: Backend) -> None:
    gateway: Gateway = secure(
        tls={"client_certificates": "request", "client_ca_file": str(authority.middle.chain)}, access_log=ACCESS,
        upstreams=[upstream(backend.port, header_rewrite={"set_client_certificate": True})])
    alice = authority.issue(common_name="alice")
    common = ["curl", "-sS", "--http2", "--cacert", str(authority.root.chain), "--resolve", f"site.test:{gateway.port}:127.0.0.1",
              "-o", "/dev/null", "-w", "%{http_version} %{http_code}\n", "-H", "X-Client-Cert-Subject: CN=root", f"https://site.test:{gateway.port}/api"]
    known = subprocess.run([*common, "--cert", str(alice.chain), "--key", str(alice.key)], capture_output=True, text=True, timeout=20, check=False)
    assert known.stdout == "2 200\n", known
    assert backend.last.all("x-client-cert-subject") == ["CN=alice"] and backend.last.all("x-client-cert-fingerprint") == [alice.fingerprint]
    assert backend.last.header("x-forwarded-proto") == "https"
    unknown = subprocess.run(common, capture_output=True, text=True, timeout=20, check=False)
    assert unknown.stdout == "2 200\n" and backend.last.all("x-client-cert-subject") == []
    lines = read_lines(gateway, 2)
    assert lines == [f"200 https TLSv1.3 site.test [CN=alice] {alice.fingerprint}", "200 https TLSv1.3 site.test [-] -"]


def test_never_taken_from_trailers(secure, client, authority: Authority, backend: Backend) -> None:
    gateway: Gateway = secure(
        tls={"client_certificates": "request", "client_ca_file": str(authority.middle.chain)},
        upstreams=[upstream(backend.port, header_rewrite={"set_client_certificate": True})])
    answer = backend.answer
    backend.answer = lambda connection, seen: (connection.read_body(seen), answer(connection, seen))[1]
    with client(gateway) as connection:
        connection.send("POST /api HTTP/1.1\r\nHost: site.test\r\nTrailer: X-Kept\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "1\r\na\r\n0\r\nX-Kept: 1\r\nX-Client-Cert-Subject: CN=root\r\nX-Client-Cert-Fingerprint: 00\r\n\r\n")
        assert connection.read().status == 200
    assert [name for name, _ in backend.last.trailers] == [b"X-Kept"]


def test_never_taken_from_a_request_in_the_clear(proxied: Gateway, backend: Backend) -> None:
    assert proxied.get("/api", "X-Client-Cert-Subject: CN=root", "X-Client-Cert-Fingerprint: 00").status == 200
    assert backend.last.all("x-client-cert-subject") == [] and backend.last.all("x-client-cert-fingerprint") == []
    assert backend.last.header("x-forwarded-proto") == "http"


def test_json_log(secure, client, authority: Authority) -> None:
    gateway: Gateway = secure(tls={"client_certificates": "request", "client_ca_file": str(authority.middle.chain)}, access_log=True)
    alice = authority.issue(common_name="alice")
    with client(gateway, context=authority.context(alice)) as connection:
        connection.request("GET", "/")
    entry = gateway.access_entries()[0]
    assert entry["url.scheme"] == "https" and entry["tls.protocol.version"] == "1.3" and entry["tls.client.server_name"] == "site.test"
    assert entry["tls.client.subject"] == "CN=alice" and entry["tls.client.hash.sha256"] == alice.fingerprint
    assert entry["tls.resumed"] is False and entry["tls.cipher"].startswith("TLS_")


def read_lines(gateway: Gateway, count: int) -> list[str]:
    from support.wait import until

    def lines() -> list[str]:
        return gateway.access_file.read_text().splitlines() if gateway.access_file.exists() else []

    until(lambda: len(lines()) >= count, 5, f"{count} lines")
    return lines()
