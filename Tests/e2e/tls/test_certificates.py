"""Which certificate a client is shown."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path

import pytest

from support.configuration import redirect, respond
from support.gateway import Gateway
from support.http2 import Http2
from support.tls import Authority, Certificate, openssl
from support.wait import until


def test_by_name(secure, client, authority: Authority, site: Certificate) -> None:
    wild, other = authority.issue("*.site.test"), authority.issue("other.test")
    gateway: Gateway = secure(site, wild, other)
    for name, certificate in [("site.test", site), ("www.site.test", site), ("a.site.test", wild), ("OTHER.test", other)]:
        with client(gateway, name) as connection:
            assert connection.serial == certificate.serial, name
            assert connection.request("GET", "/").status == 200
    for name in ["a.b.site.test", "unknown.test"]:
        with pytest.raises(ssl.SSLCertVerificationError):
            client(gateway, name)
    with client(gateway, None, context=authority.context(check_hostname=False)) as connection:
        assert connection.serial == site.serial


def test_the_whole_chain(secure, authority: Authority, site: Certificate) -> None:
    gateway: Gateway = secure(site)
    done = openssl("s_client", "-connect", f"127.0.0.1:{gateway.port}", "-servername", "site.test", "-CAfile", str(authority.root.chain),
                   "-verify_return_error", "-showcerts", cwd=gateway.directory)
    assert done.stdout.count(b"BEGIN CERTIFICATE") == 2 and b"Verify return code: 0 (ok)" in done.stdout, done.stdout.decode()


@pytest.mark.parametrize(("signatures", "kind"), [("ECDSA+SHA256:RSA-PSS+SHA256", "ec"), ("RSA-PSS+SHA256", "rsa")])
def test_rsa_and_ecdsa_side_by_side(secure, authority: Authority, signatures: str, kind: str) -> None:
    both = {"ec": authority.issue("two.test"), "rsa": authority.issue("two.test", kind="rsa")}
    gateway: Gateway = secure(both["rsa"], both["ec"])
    done = openssl("s_client", "-connect", f"127.0.0.1:{gateway.port}", "-servername", "two.test", "-sigalgs", signatures, cwd=gateway.directory)
    shown = openssl("x509", "-noout", "-serial", cwd=gateway.directory, stdin=done.stdout).stdout.decode()
    assert int(shown.strip().removeprefix("serial="), 16) == both[kind].serial


def test_minimum_version(secure, client, authority: Authority) -> None:
    gateway: Gateway = secure(tls={"min_version": "1.3"})
    with pytest.raises(ssl.SSLError):
        client(gateway, context=authority.context(maximum_version=ssl.TLSVersion.TLSv1_2))
    with client(gateway) as connection:
        assert connection.sock.version() == "TLSv1.3" and connection.request("GET", "/").status == 200
    relaxed: Gateway = secure()
    with client(relaxed, context=authority.context(maximum_version=ssl.TLSVersion.TLSv1_2)) as connection:
        assert connection.sock.version() == "TLSv1.2" and connection.request("GET", "/").status == 200


def test_ciphers_and_groups(secure, client) -> None:
    gateway: Gateway = secure(tls={"cipher_suites": "TLS_CHACHA20_POLY1305_SHA256", "groups": "P-384", "ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"})
    with client(gateway) as connection:
        cipher = connection.sock.cipher()
        assert cipher is not None and cipher[0] == "TLS_CHACHA20_POLY1305_SHA256"


def test_stapled_response(secure, authority: Authority) -> None:
    """An OCSP response in a file is given to clients that ask for it."""
    leaf = authority.issue("stapled.test")
    directory = authority.directory
    index = directory / "index.txt"
    index.write_text(f"V\t360101000000Z\t\t{leaf.serial:X}\tunknown\t/CN=stapled.test\n")
    request, response = directory / "request.der", directory / "response.der"
    done = openssl("ocsp", "-issuer", str(authority.middle.chain), "-cert", str(leaf.chain), "-reqout", str(request), cwd=directory)
    assert done.returncode == 0, done.stderr.decode()
    done = openssl("ocsp", "-index", str(index), "-rsigner", str(authority.middle.chain), "-rkey", str(authority.middle.key), "-CA",
                   str(authority.middle.chain), "-reqin", str(request), "-respout", str(response), "-ndays", "3", cwd=directory)
    assert done.returncode == 0, done.stderr.decode()
    gateway: Gateway = secure(tls={"certificates": [{**leaf.setting, "ocsp_file": str(response)}]})
    done = openssl("s_client", "-connect", f"127.0.0.1:{gateway.port}", "-servername", "stapled.test", "-status", cwd=directory)
    assert b"OCSP Response Status: successful" in done.stdout, done.stdout.decode()


def test_application_protocol(secure, client, authority: Authority) -> None:
    for enabled, preferred in [(True, "h2"), (False, "http/1.1")]:
        gateway: Gateway = secure(http2={"enabled": enabled})
        for offered, agreed in [(["http/1.1", "h2"], preferred), (["http/1.1"], "http/1.1"), (["spdy/3"], None)]:
            context = authority.context()
            context.set_alpn_protocols(offered)
            with client(gateway, context=context) as connection:
                assert connection.sock.selected_alpn_protocol() == agreed
                if agreed != "h2":
                    assert connection.request("GET", "/").status == 200


def test_curl(secure, authority: Authority) -> None:
    gateway: Gateway = secure()
    done = subprocess.run(
        ["curl", "-sS", "--cacert", str(authority.root.chain), "--resolve", f"site.test:{gateway.port}:127.0.0.1",
         f"https://site.test:{gateway.port}/", f"https://site.test:{gateway.port}/"], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0 and done.stdout == "securesecure", done.stderr


def test_the_short_form(launch, client, site: Certificate) -> None:
    """`tls` applies to bind_host and bind_port."""
    gateway: Gateway = launch(tls={"enabled": True, **site.setting}, routes=[respond("/", "short")])
    with client(gateway) as connection:
        assert connection.request("GET", "/").body == b"short"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_keys_are_read_with_the_rights_of_the_master(secure, client, authority: Authority, tmp_path: Path) -> None:
    """Workers that run as nobody need not be able to read them."""
    certificate = authority.issue("site.test").copy(tmp_path / "private")
    certificate.key.chmod(0o600)
    certificate.key.parent.chmod(0o700)
    gateway: Gateway = secure(certificate, user="nobody")
    assert os.stat(f"/proc/{gateway.worker}").st_uid != 0
    with client(gateway) as connection:
        assert connection.serial == certificate.serial
    new = authority.issue("site.test")
    certificate.key.write_bytes(new.key.read_bytes())
    certificate.chain.write_bytes(new.chain.read_bytes())

    def shown() -> int:
        with client(gateway) as connection:
            return connection.serial

    until(lambda: shown() == new.serial, 10, "the new certificate")


def test_two_listeners(launch, client, site: Certificate) -> None:
    """One in the clear beside one that is not."""
    from support.ports import free_port
    from support.tls import listener

    plain, port = free_port(), free_port()
    gateway: Gateway = launch(bind_port=plain, listeners=[{"host": "127.0.0.1", "port": plain}, listener(port, site)],
                              routes=[respond("/", "both"), redirect("/old", "{scheme}://www.{host}/new")])
    assert gateway.get("/").body == b"both"
    assert gateway.get("/old").header("location") == "http://www.test/new"
    gateway.port = port
    with client(gateway) as connection:
        assert connection.request("GET", "/").body == b"both"
        assert connection.request("GET", "/old").header("location") == "https://www.test/new"


@pytest.mark.parametrize(("name", "host", "status"), [
    ("site.test", "site.test", 200), ("site.test", "SITE.test:443", 200), ("site.test", "www.site.test", 200), ("site.test", "other.test", 421),
    ("site.test", "OTHER.test:1234", 421), ("other.test", "www.site.test", 421), ("a.site.test", "b.site.test", 200), ("a.site.test", "site.test", 421),
    ("site.test", "a.site.test", 421), ("site.test", "unknown.test", 200), ("site.test", "127.0.0.1", 200), ("site.test", "[::1]:1", 200), (None, "other.test", 200),
])
def test_a_host_of_another_certificate(secure, client, authority: Authority, site: Certificate, name: str | None, host: str, status: int) -> None:
    gateway: Gateway = secure(site, authority.issue("*.site.test"), authority.issue("other.test"), access_log=True)
    with client(gateway, name, context=authority.context(check_hostname=False)) as connection:
        response = connection.request("GET", "/", f"Host: {host}")
        assert response.status == status
    entry = gateway.access_entries()[0]
    assert entry["http.response.status_code"] == status
    assert entry.get("error.type") == ("misdirected_request" if status == 421 else None)


def test_a_host_of_another_certificate_on_http2(secure, authority: Authority, site: Certificate) -> None:
    gateway: Gateway = secure(authority.issue("localhost"), site)
    context = authority.context()
    context.set_alpn_protocols(["h2"])
    with Http2(gateway.port, tls=context) as connection:
        for host, status in [("localhost", 200), ("site.test", 421), ("localhost", 200), ("unknown.test", 200), ("www.site.test:1", 421)]:
            assert connection.answer(connection.request("GET", "/", authority=host)).status == status


def test_one_certificate_serves_any_host(secure, client) -> None:
    gateway: Gateway = secure()
    with client(gateway, "site.test") as connection:
        assert connection.request("GET", "/", "Host: other.test").status == 200
