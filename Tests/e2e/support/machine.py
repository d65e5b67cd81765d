"""systemd as the first process of namespaces of its own: another machine, of which this one sees processes and a control group.

Its root is an overlay of this machine's: what is written goes to memory. Processes, mounts, control groups, host name and network are its own; of this
machine's units it has only those that a service needs. It ends with its first process, and that with this one.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import proc
from .client import get
from .configuration import configuration, respond
from .gateway import ROOT, binaries, clean_environment
from .message import Response
from .wait import until

SYSTEMD = Path("/lib/systemd/systemd")
#: Of the system's units, those that a service and a socket unit refer to, and the journal.
_UNITS = ("basic sysinit sockets multi-user paths timers slices local-fs swap shutdown umount network network-online nss-lookup").split()
_JOURNAL = ("systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket")

#: $1: an empty directory, $2: the source, $3: the programs, $4: units. What follows becomes the first process.
_BOOT = r"""
set -eu
new=$1 source=$2 programs=$3 units=$4
shift 4
mount -t tmpfs -o mode=755 tmpfs "$new"
mkdir "$new/upper" "$new/work" "$new/root"
mount -t overlay -o lowerdir=/,upperdir="$new/upper",workdir="$new/work" overlay "$new/root"
cd "$new/root"
memory() { mount -t tmpfs -o "mode=${2:-755}" tmpfs "$1"; }

mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
memory dev
for name in null zero full random urandom tty; do
  touch "dev/$name"
  mount --bind "/dev/$name" "dev/$name"
done
mkdir dev/pts dev/shm srv/source srv/programs
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
memory dev/shm 1777
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
memory run
memory tmp 1777
memory var/log
memory var/lib
mount --bind -o ro "$source" srv/source
mount --bind -o ro "$programs" srv/programs

# Nothing of this machine's services.
memory etc/systemd
mkdir etc/systemd/system
memory usr/lib/systemd/system-generators
mkdir "$new/units" "$new/units/sockets.target.wants" "$new/units/sysinit.target.wants"
for unit in $units; do cp "usr/lib/systemd/system/$unit" "$new/units/"; done
ln -s ../systemd-journald.socket ../systemd-journald-dev-log.socket "$new/units/sockets.target.wants"
ln -s ../systemd-journald.service "$new/units/sysinit.target.wants"
mount --bind "$new/units" usr/lib/systemd/system

ip link set lo up
mkdir run/old
pivot_root . run/old
umount -l /run/old
rmdir /run/old
echo booting
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 container=other "$@"
"""


class Refused(Exception):
    """The kernel, or what this process may do, does not allow for it."""


def _control_group() -> Path:
    """Where groups can be made: this process' own, in the unified hierarchy."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            own = next(text[3:] for text in Path("/proc/self/cgroup").read_text().splitlines() if text.startswith("0::"))
            return Path(fields.split()[4] + own)
    raise Refused("there is no unified hierarchy of control groups")


class Machine:
    """Boots in `directory`, which must be empty and stays so."""

    def __init__(self, directory: Path) -> None:
        if os.geteuid() != 0:
            raise Refused("only root can make the namespaces")
        for needed in (str(SYSTEMD), "unshare", "nsenter", "setpriv", "ip"):
            if not shutil.which(needed):
                raise Refused(f"{needed} is not installed (packages systemd, util-linux, iproute2)")
        own = _control_group()
        for left in own.glob("gateway-tests-*"):
            # Of a run that was killed.
            if not proc.alive(int(left.name.rpartition("-")[2])):
                _removed(left)
        self._group = own / f"gateway-tests-{os.getpid()}"
        try:
            self._group.mkdir()
        except OSError as error:
            raise Refused(f"no control group can be made: {error}") from error
        self._output = directory.with_name(directory.name + ".log")
        directory.mkdir()
        units = [f"{name}.target" for name in _UNITS] + list(_JOURNAL)
        boot = ["sh", "-c", _BOOT, "boot", str(directory), str(ROOT), str(binaries()), " ".join(units), str(SYSTEMD), "--unit=multi-user.target"]
        spaces = ["--fork", "--kill-child", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--net"]
        join = f'echo $$ >"{self._group}/cgroup.procs" && exec setpriv --pdeathsig KILL "$@"'
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(["sh", "-c", join, "sh", "unshare", *spaces, *boot], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                             env=clean_environment())
        try:
            until(lambda: "booting" in self.output or self._process.poll() is not None, 15, "the mounts")
            if self._process.poll() is not None:
                raise Refused(f"the namespaces cannot be made: {self.output.strip()}")
            #: The process id of its first process, as this machine sees it.
            self.pid = proc.children(self._process.pid)[0]
            try:
                until(lambda: (self.root / "run/systemd/private").exists(), 15, "systemd to answer")
            except AssertionError as error:
                raise Refused(f"systemd does not come up: {self.output.strip()}") from error
            self.run("systemctl", "is-system-running", "--wait")
        except BaseException:
            self.close()
            raise

    @property
    def root(self) -> Path:
        """Its root directory, as this machine sees it."""
        return Path(f"/proc/{self.pid}/root")

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    # Commands

    def run(self, *command: str, check: bool = True, timeout: float = 60, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command inside, as root; fails the test when it fails, unless `check` is false."""
        done = subprocess.run(["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", *command], capture_output=True, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, env=clean_environment(env))
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done

    def journal(self, unit: str, *options: str) -> str:
        """The entries of a unit, once all that was written before has been taken in."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "-u", unit, *options).stdout

    def processes(self, unit: str) -> list[int]:
        """The processes in the control group of a unit, by the numbers that this machine gives them."""
        group = self._group / "system.slice" / unit
        return [int(line) for file in group.rglob("cgroup.procs") for line in file.read_text().split()]

    @contextmanager
    def network(self) -> Iterator[None]:
        """This thread, and those it starts meanwhile, are in the machine's network."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        other = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        try:
            _enter(other)
            yield
        finally:
            _enter(own)
            os.close(own)
            os.close(other)

    # End

    def close(self) -> None:
        """Ends the first process, and with it all others; then there are no namespaces and no mounts any more."""
        first = proc.children(self._process.pid) if self._process.poll() is None else []
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # The kernel lets go of the groups a moment after their last process.
        until(lambda: _removed(self._group), 10, f"{self._group} to be empty")


def _removed(group: Path) -> bool:
    """Removes a control group with those in it; false when there are processes in one."""
    try:
        for directory, _, _ in os.walk(group, topdown=False):
            os.rmdir(directory)
    except OSError:
        return False
    return True


def _enter(file: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(file, 0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")


class Unit:
    """The gateway on a machine, as `scripts/install` and its operator put it there."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.port = 80
        self.config_file = machine.root / "etc/gateway/gateway.json"
        self._directory = machine.root / "etc/systemd/system/gatewayd.service.d"
        self._original = self.config_file.read_bytes()
        self._begun = time.time()

    def configure(self, **keys: Any) -> None:
        """Writes the configuration: two workers that answer on port 80, unless `keys` say otherwise; None removes one."""
        keys = {**configuration(self.port, workers=2, routes=[respond("/")]), **keys}
        self.config_file.write_text(json.dumps({key: value for key, value in keys.items() if value is not None}, indent=2))

    def amend(self, *lines: str) -> None:
        """Settings of `[Service]` beside those of the unit, as `systemctl edit` makes them."""
        self._directory.mkdir(exist_ok=True)
        (self._directory / "override.conf").write_text("\n".join(["[Service]", *lines, ""]))
        self.systemctl("daemon-reload")

    def systemctl(self, verb: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.machine.run("systemctl", "--no-pager", verb, *arguments, check=check)

    def start(self, **keys: Any) -> None:
        self.configure(**keys)
        self.systemctl("start", "gatewayd")

    def reload(self, **keys: Any) -> None:
        self.configure(**keys)
        self.systemctl("reload", "gatewayd")

    def show(self, name: str) -> str:
        """A property, such as `ActiveState`."""
        return self.systemctl("show", "--value", "-p", name, "gatewayd").stdout.strip()

    @property
    def is_active(self) -> bool:
        return self.show("ActiveState") == "active"

    @property
    def processes(self) -> list[int]:
        return self.machine.processes("gatewayd.service")

    @property
    def main(self) -> int:
        """What systemd calls the main process, by the number that this machine gives it."""
        number = self.show("MainPID")
        for pid in self.processes:
            if proc.status(pid)["NSpid"].split()[-1] == number:
                return pid
        raise LookupError(f"no process {number} in {self.processes}")

    @property
    def workers(self) -> list[int]:
        return proc.children(self.main)

    def journal(self, *options: str) -> str:
        """What has been written since this object was made."""
        return self.machine.journal("gatewayd", f"--since=@{self._begun:.3f}", *options)

    def get(self, path: str = "/") -> Response:
        return get(self.port, path)

    def reset(self) -> None:
        """As it was after the installation, and stopped."""
        self.systemctl("stop", "gatewayd.socket", "gatewayd.service", check=False)
        shutil.rmtree(self._directory, ignore_errors=True)
        self.config_file.write_bytes(self._original)
        self.systemctl("daemon-reload")
        self.systemctl("reset-failed")
