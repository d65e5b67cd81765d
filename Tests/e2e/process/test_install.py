"""scripts/install: what is where, and that what is generated is what it should be."""

from __future__ import annotations

import fcntl
import gzip
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from support.gateway import ROOT, binaries, ctl


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("installed")
    for _ in range(2):  # the second time over the first
        done = subprocess.run([ROOT / "scripts/install"], env={**os.environ, "DESTDIR": str(where), "GATEWAY_BIN_DIR": str(binaries())}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return where


FILES = """usr/sbin/gatewayd usr/bin/gatewayctl lib/systemd/system/gatewayd.service lib/systemd/system/gatewayd.socket usr/lib/sysusers.d/gateway.conf
usr/lib/tmpfiles.d/gateway.conf etc/logrotate.d/gateway etc/gateway/gateway.json usr/share/gateway/schema/gateway.schema.json usr/share/man/man8/gatewayd.8.gz
usr/share/man/man1/gatewayctl.1.gz usr/share/man/man5/gateway.json.5.gz usr/share/bash-completion/completions/gatewayctl
usr/share/zsh/vendor-completions/_gatewayctl usr/share/fish/vendor_completions.d/gatewayctl.fish usr/share/doc/gateway/examples/site.json""".split()


def test_everything_is_where_it_belongs(installed: Path) -> None:
    for name in FILES:
        assert (installed / name).stat().st_size > 0, name
    assert not list(installed.rglob("*.new"))
    assert os.access(installed / "usr/sbin/gatewayd", os.X_OK)


def test_manual_pages(installed: Path) -> None:
    texts = {name: gzip.decompress((installed / f"usr/share/man/{name}.gz").read_bytes()).decode() for name in ("man8/gatewayd.8", "man1/gatewayctl.1", "man5/gateway.json.5")}
    assert all(text.startswith(".TH ") for text in texts.values())
    for word in ("upgrade", "\\-\\-pid\\-file", "explain", "EXIT STATUS"):
        assert word in texts["man1/gatewayctl.1"]
    assert "upstreams[].pool.max_connections" in texts["man5/gateway.json.5"] and "USR2" in texts["man8/gatewayd.8"] and "\\-\\-config FILE" in texts["man8/gatewayd.8"]
    if shutil.which("groff"):
        for text in texts.values():
            done = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=text, capture_output=True, text=True)
            assert done.returncode == 0 and not done.stderr, done.stderr


@pytest.mark.parametrize("shell, file", [("bash", "bash-completion/completions/gatewayctl"), ("zsh", "zsh/vendor-completions/_gatewayctl"),
                                         ("fish", "fish/vendor_completions.d/gatewayctl.fish")])
def test_completions(installed: Path, shell: str, file: str) -> None:
    text = (installed / "usr/share" / file).read_text()
    assert "upgrade" in text and "manual" not in text.split("reference")[0][-200:]
    assert subprocess.run([shell, "-n", installed / "usr/share" / file], capture_output=True).returncode == 0


def completed(shell: str, file: Path, line: str, offers: set[str]) -> set[str]:
    """What the shell itself offers behind `line`, which should be `offers`."""
    if shell == "fish":
        script = f'source {file}; complete -C "{line}"'
        done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, timeout=30)
        return {offer.split("\t")[0] for offer in done.stdout.splitlines() if offer}
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    if shell == "bash":
        script = (f"source {file}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; COMP_POINT={len(line)}; "
                  f"_gatewayctl gatewayctl '{words[-1]}' '{words[-2]}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
        done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=30)
        return {offer.strip() for offer in done.stdout.splitlines() if offer.strip()}
    # zsh completes on a terminal only. Ctrl-D lists what there is; what is the only one is put into the line by a tab.
    own, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 200, 0, 0))
    shell_process = subprocess.Popen(["zsh", "-f", "-i"], stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True, env={**os.environ, "TERM": "dumb"})
    os.close(terminal)
    try:
        setup = f"PROMPT=; unsetopt beep; autoload -Uz compinit; fpath=({file.parent} $fpath); compinit -u -D; echo rea''dy\n"
        os.write(own, setup.encode())
        hear(own, {"ready"})
        os.write(own, line.encode() + b"\t\x04")
        return hear(own, offers)
    finally:
        shell_process.kill()
        shell_process.wait()
        os.close(own)


def hear(terminal: int, words: set[str]) -> set[str]:
    """The words that a terminal has shown when all of `words` are among them."""
    told = b""
    deadline = time.monotonic() + 20
    while True:
        shown = set(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", " ", told.decode("utf-8", "replace")).split())
        left = deadline - time.monotonic()
        if words <= shown or left <= 0 or not select.select([terminal], [], [], left)[0]:
            assert words <= shown, shown
            return shown
        told += os.read(terminal, 65536)


@pytest.mark.parametrize("shell, file", [("bash", "bash-completion/completions/gatewayctl"), ("zsh", "zsh/vendor-completions/_gatewayctl"),
                                         ("fish", "fish/vendor_completions.d/gatewayctl.fish")])
@pytest.mark.parametrize("line, offers", [("gatewayctl re", {"reload", "reopen", "reference"}), ("gatewayctl logs --le", {"--level"}),
                                          ("gatewayctl logs --level ", {"warn", "critical"}), ("gatewayctl upstreams ", {"drain", "enable"})])
def test_what_shells_offer(installed: Path, shell: str, file: str, line: str, offers: set[str]) -> None:
    found = completed(shell, installed / "usr/share" / file, line, offers)
    assert offers <= found, found


def test_the_configuration_of_an_operator_is_left_alone(installed: Path) -> None:
    own = installed / "etc/gateway/gateway.json"
    assert ctl("validate", "-c", str(own)).returncode == 0
    own.write_text('{"workers": 2}')
    done = subprocess.run([ROOT / "scripts/install"], env={**os.environ, "DESTDIR": str(installed), "GATEWAY_BIN_DIR": str(binaries())}, capture_output=True, text=True)
    assert done.returncode == 0 and own.read_text() == '{"workers": 2}'


def test_the_example_is_valid_but_for_its_certificate(installed: Path) -> None:
    done = ctl("validate", "-c", str(installed / "usr/share/doc/gateway/examples/site.json"))
    wrong = [line for line in done.stderr.splitlines() if ": error: " in line]
    assert wrong and all("cannot be read: No such file or directory" in line for line in wrong), done.stderr
