"""Certificates that change on disk are used without a reload; bad ones are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.configuration import respond
from support.gateway import Gateway, ctl
from support.tls import Authority, Certificate, listener, swap
from support.wait import until


def shown(client, gateway: Gateway) -> int:
    with client(gateway) as connection:
        assert connection.request("GET", "/").status == 200
        return int(connection.serial)


def test_a_link_is_swapped(secure, client, authority: Authority, tmp_path: Path) -> None:
    """As certbot and Kubernetes do it: the directory changes behind a symbolic link."""
    old, new = authority.issue("site.test"), authority.issue("site.test")
    first, second = tmp_path / "v1", tmp_path / "v2"
    old.copy(first)
    new.copy(second)
    current = tmp_path / "current"
    current.symlink_to(first)
    gateway: Gateway = secure(Certificate(current / "site.pem", current / "site.key"), workers=2)
    workers = gateway.workers
    assert shown(client, gateway) == old.serial
    with client(gateway) as kept:
        assert kept.request("GET", "/").status == 200
        swap(current, second)
        until(lambda: shown(client, gateway) == new.serial, 10, "the new certificate")
        for _ in range(10):
            assert shown(client, gateway) == new.serial, "a worker still shows the old certificate"
        # Who is connected stays so.
        assert kept.request("GET", "/").status == 200
    assert gateway.workers == workers
    # A worker that comes later has it, too; and again.
    third = authority.issue("site.test")
    third.copy(tmp_path / "v3")
    swap(current, tmp_path / "v3")
    until(lambda: shown(client, gateway) == third.serial, 10, "the third certificate")
    gateway.reload()
    assert shown(client, gateway) == third.serial


def test_files_are_overwritten(secure, client, authority: Authority, tmp_path: Path) -> None:
    old, new = authority.issue("site.test"), authority.issue("site.test")
    used = old.copy(tmp_path / "files")
    gateway: Gateway = secure(used)
    used.key.write_bytes(new.key.read_bytes())
    used.chain.write_bytes(new.chain.read_bytes())
    until(lambda: shown(client, gateway) == new.serial, 10, "the new certificate")
    assert "changed certificates are in use" in gateway.log


def test_a_bad_one_is_not_used(secure, client, authority: Authority, tmp_path: Path) -> None:
    old, new = authority.issue("site.test"), authority.issue("site.test")
    used = old.copy(tmp_path / "files")
    gateway: Gateway = secure(used)
    used.chain.write_bytes(new.chain.read_bytes())
    until(lambda: "does not fit the certificate" in gateway.log, 10, "the complaint")
    assert shown(client, gateway) == old.serial
    status = json.loads(gateway.ctl("status", "--json").stdout)
    assert any("does not fit" in problem for problem in status["certificate_problems"])
    assert "not in use" in gateway.ctl("status").stdout
    # A worker that is replaced has the one in use, not the one on disk; and what was wrong may be put right.
    used.key.write_bytes(new.key.read_bytes())
    until(lambda: shown(client, gateway) == new.serial, 10, "the new certificate")
    assert json.loads(gateway.ctl("status", "--json").stdout)["certificate_problems"] == []


def test_a_single_process_notices_too(secure, client, authority: Authority, tmp_path: Path) -> None:
    old, new = authority.issue("site.test"), authority.issue("site.test")
    files = old.copy(tmp_path / "site")
    gateway: Gateway = secure(files, arguments=("--single-process",))
    assert shown(client, gateway) == old.serial
    with client(gateway) as kept:
        files.chain.write_text("nothing")
        until(lambda: "the certificate in use stays" in gateway.log, 10, "the complaint")
        assert shown(client, gateway) == old.serial
        new.copy(tmp_path / "site")
        until(lambda: shown(client, gateway) == new.serial, 10, "the new certificate")
        assert kept.request("GET", "/").status == 200


def test_status_tells_the_age(secure, authority: Authority, site: Certificate) -> None:
    soon = authority.issue("soon.test", days=3)
    gateway: Gateway = secure(site, soon)
    status = json.loads(gateway.ctl("status", "--json").stdout)
    first, second = status["certificates"]
    assert first["names"] == ["site.test", "www.site.test"] and first["days_left"] in (29, 30) and first["key"] == "EC 256"
    assert first["fingerprint"] == site.fingerprint and first["file"] == str(site.chain) and not first["expired"]
    assert second["days_left"] in (2, 3)
    text = gateway.ctl("status").stdout
    assert "site.test, www.site.test" in text and str(soon.chain) in text
    assert f"the certificate in {soon.chain} expires in 2 days" in gateway.log or f"the certificate in {soon.chain} expires in 3 days" in gateway.log


@pytest.fixture
def validate(tmp_path: Path):
    def run(*certificates: Certificate, **tls: object) -> str:
        file = tmp_path / "checked.json"
        file.write_text(json.dumps({"listeners": [listener(1, *certificates, **tls)], "routes": [respond("/")]}, indent=2))
        done = ctl("validate", "-c", str(file))
        assert (done.returncode == 0) == ("error" not in done.stderr)
        return done.stderr

    return run


def test_mistakes_are_found_with_their_place(validate, authority: Authority, site: Certificate, tmp_path: Path) -> None:
    other = authority.issue("other.test")
    assert validate(site) == ""
    found = validate(Certificate(site.chain, other.key))
    assert "checked.json:10:" in found and f'key_file "{other.key}" does not fit the certificate in "{site.chain}"' in found, found
    missing = validate(Certificate(tmp_path / "missing.pem", site.key))
    assert "checked.json:9:" in missing and "cannot be read: No such file or directory" in missing
    assert "is not a regular file" in validate(Certificate(tmp_path, site.key))
    text = tmp_path / "text"
    text.write_text("no certificate")
    assert "has no certificate that can be read" in validate(Certificate(text, site.key))
    assert "client_ca_file is required" in validate(site, client_certificates="require")
    locked = tmp_path / "locked.key"
    from support.tls import openssl

    assert openssl("pkcs8", "-topk8", "-in", str(site.key), "-out", str(locked), "-passout", "pass:secret", cwd=tmp_path).returncode == 0
    assert "is protected by a password" in validate(Certificate(site.chain, locked))


def test_a_reload_with_a_bad_certificate_is_refused(secure, client, authority: Authority, site: Certificate) -> None:
    gateway: Gateway = secure(site)
    workers = gateway.workers
    other = authority.issue("other.test")
    gateway.write(listeners=[listener(gateway.port, Certificate(site.chain, other.key))])
    done = gateway.ctl("reload")
    assert done.returncode == 1 and "does not fit the certificate" in done.stdout + done.stderr
    assert gateway.workers == workers and shown(client, gateway) == site.serial
