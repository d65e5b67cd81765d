"""Commands, flags and exit codes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.client import Client
from support.configuration import respond
from support.gateway import Gateway, binaries, clean_environment, ctl
from support.ports import free_port
from support.wait import until


def test_help() -> None:
    for arguments in (("help",), (), ("--help",), ("-h",)):
        shown = ctl(*arguments)
        assert shown.returncode == 0
        for command in ("start", "stop", "reload", "reopen", "status", "validate", "config", "version"):
            assert command in shown.stdout


@pytest.mark.parametrize("arguments", [("version",), ("--version",), ("-v",)])
def test_version(arguments: tuple[str, ...]) -> None:
    shown = ctl(*arguments)
    assert shown.returncode == 0
    assert any(character.isdigit() for character in shown.stdout)


@pytest.mark.parametrize("arguments", [("frobnicate",), ("status", "--frobnicate"), ("validate", "-c"), ("start", "-p", "http"), ("start", "-p", "65536"),
                                       ("start", "-p", "+80"), ("stop", "-d"), ("validate", "surplus"), ("config", "-d")])
def test_usage_errors(arguments: tuple[str, ...]) -> None:
    done = ctl(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == "" and done.stderr
    assert "help" in done.stderr.lower()


def test_gatewayd_takes_the_start_flags(tmp_path: Path, launch) -> None:
    port = free_port()
    gateway: Gateway = launch(bind_port=port, arguments=("-w", "2", "-l", "critical", "--no-stats-endpoint"), routes=[respond("/")])
    gateway.get("/")
    assert len(gateway.workers) == 2
    assert gateway.get("/stats").status == 404
    assert "[info] generation" not in gateway.log


def test_port_flag(launch) -> None:
    port = free_port()
    gateway: Gateway = launch(wait=False, arguments=("-p", str(port), "-H", "127.0.0.2"), routes=[respond("/")])

    def answered() -> bool:
        try:
            with Client(port, host="127.0.0.2") as client:
                return client.request().status == 200
        except ConnectionRefusedError:
            return False

    assert until(answered, what="the address of the flags")
    assert gateway.process is not None


def test_missing_configuration_that_was_named(tmp_path: Path) -> None:
    done = subprocess.run([binaries() / "gatewayd", "-c", tmp_path / "missing.json", "-P", tmp_path / "pid"], capture_output=True, text=True,
                          timeout=10, env=clean_environment())
    assert done.returncode == 1
    assert "missing.json" in done.stderr


def test_taken_port_is_an_error(launch, tmp_path: Path) -> None:
    first: Gateway = launch(routes=[respond("/")])
    second = Gateway(tmp_path / "second", bind_port=first.port, routes=[respond("/")])
    done = subprocess.run([binaries() / "gatewayd", "-c", second.config_file, "-P", second.pid_file], capture_output=True, text=True,
                          timeout=10, env=clean_environment())
    assert done.returncode == 1
    assert str(first.port) in done.stdout + done.stderr
    assert not second.pid_file.exists()
