"""The script that root runs: what it installs, and where it refuses to."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.base.units import DAY
from steps.lock.timer import INSTALL, LockTimer
from steps.repository import layout
from tests.locked_repository import LockedRepository, call, flags

ACCOUNT = "backup"
"""Each Debian has it, in a group of its own."""
UNIT = "sendense-lock-main"


@dataclass
class Machine:
    """A repository host: what is installed goes to directories of the test's, and systemctl is told, and starts that alone."""

    repository: LockedRepository
    directory: Path

    def install(self, *, account: str = ACCOUNT, path: Path | None = None) -> tuple[int, str]:
        """Exit code and what is said."""
        timer = LockTimer("main", str(path or self.repository.root), account, 30 * DAY)
        script = self.directory / INSTALL
        script.write_text(timer.texts()[INSTALL])
        mounts = (
            f"mount --bind {self.directory}/sbin /usr/local/sbin && mount --bind {self.directory}/units /etc/systemd/system && "
            f'PATH={self.directory}/bin:$PATH exec "$@"'
        )
        argv = ["unshare", "--mount", "sh", "-c", mounts, "sh", "sh", str(script)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    def installed(self) -> set[str]:
        return {path.name for name in ("sbin", "units") for path in (self.directory / name).iterdir()}

    def program(self, name: str, text: str) -> None:
        path = self.directory / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)


@pytest.fixture
def machine(on_ext4: LockedRepository, tmp_path: Path) -> Iterator[Machine]:
    directory = tmp_path / "machine"
    for name in ("sbin", "units", "bin"):
        (directory / name).mkdir(parents=True)
    found = Machine(on_ext4, directory)
    found.program(
        "systemctl",
        f'echo "systemctl $*" >>{directory}/systemctl; [ "$1" = start ] || exit 0\n'
        f'set -- $(sed -n s/^ExecStart=//p "/etc/systemd/system/$2"); "$1" "$2" "$3" "$4" "$5" {on_ext4.record}',
    )
    account = pwd.getpwnam(ACCOUNT)
    for path in (on_ext4.root, *on_ext4.root.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid)
    yield found


def test_it_installs_a_script_a_service_and_a_timer_and_starts_them(machine: Machine) -> None:
    code, said = machine.install()
    assert code == 0
    assert said.endswith((machine.repository.root / layout.LOCK_TIMER).read_text())
    assert flags(machine.repository.root / layout.MARKER) == "i"
    assert machine.installed() == {"sendense-lock", f"{UNIT}.service", f"{UNIT}.timer"}
    assert (machine.directory / "systemctl").read_text().splitlines() == [
        "systemctl daemon-reload",
        f"systemctl enable --quiet --now {UNIT}.timer",
        f"systemctl start {UNIT}.service",
    ]
    assert not list(machine.repository.root.glob(".lock-timer*"))
    texts = LockTimer("main", str(machine.repository.root), ACCOUNT, 30 * DAY).texts()
    assert (machine.directory / "units" / f"{UNIT}.service").read_text() == texts[f"{UNIT}.service"]
    assert os.access(machine.directory / "sbin" / "sendense-lock", os.X_OK)


def test_again_it_changes_what_differs(machine: Machine) -> None:
    machine.install()
    assert machine.install()[0] == 0


def test_systemd_takes_the_units(machine: Machine) -> None:
    machine.install()
    program = machine.directory / "sbin" / "sendense-lock"
    for unit in (machine.directory / "units").iterdir():
        unit.write_text(unit.read_text().replace("/usr/local/sbin/sendense-lock", str(program)))
    call("systemd-analyze", "verify", *sorted((machine.directory / "units").iterdir()))


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("mv {root} {root}.away; ln -s {root}.away {root}", "leads to"),
        ("rm {root}/repository.json", "is no repository"),
        ("chown 1:1 {root}", "belongs to daemon, not to backup"),
        ("chown backup {root}/..", "can be written by backup"),
        ("chmod 777 {root}/..", "can be written by backup"),
    ],
)
def test_it_installs_nothing_where_the_lock_would_not_hold(machine: Machine, before: str, says: str) -> None:
    subprocess.run(["sh", "-c", before.format(root=machine.repository.root)], check=True, timeout=10)
    code, said = machine.install()
    assert code == 1
    assert says in said
    assert machine.installed() == set()


def test_a_group_with_other_members_is_refused(machine: Machine) -> None:
    machine.program(
        "getent", f'case "$1 $#" in "group 2") echo {ACCOUNT}:x:$2:daemon,bin ;; *) exec /usr/bin/getent "$@" ;; esac'
    )
    code, said = machine.install()
    assert (code, machine.installed()) == (1, set())
    assert "has other members (bin daemon)" in said


def test_an_account_that_can_become_root_is_refused(machine: Machine) -> None:
    machine.program("id", 'case $1 in -Gn) echo backup docker ;; *) exec /usr/bin/id "$@" ;; esac')
    code, said = machine.install()
    assert (code, machine.installed()) == (1, set())
    assert "in the group docker" in said


def test_a_file_system_that_has_no_such_flag_is_refused(machine: Machine) -> None:
    root = machine.repository.root
    call("mount", "-t", "tmpfs", "-o", f"uid={pwd.getpwnam(ACCOUNT).pw_uid}", "tmpfs", root)
    (root / layout.MARKER).write_text("{}")
    machine.program("chattr", 'echo "chattr: Operation not supported" >&2; exit 1')
    try:
        code, said = machine.install()
        assert list(root.iterdir()) == [root / layout.MARKER]
    finally:
        call("umount", root)
    assert (code, machine.installed()) == (1, set())
    assert "(tmpfs) cannot make files immutable" in said


def test_what_is_wrong_later_the_timer_says_each_time(on_ext4: LockedRepository) -> None:
    point = on_ext4.point(0)
    on_ext4.root.parent.chmod(0o777)
    assert any("can be written" in problem for problem in on_ext4.run())
    assert flags(point) == "i"
    assert any("can be written" in problem for problem in on_ext4.run())
