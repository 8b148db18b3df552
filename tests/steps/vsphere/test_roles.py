"""The roles that `sendense role` prints are enough, on the objects that it says, and hold nothing that is not asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner.cli import main
from steps.lab.simulator.authorization import KNOWN, AuthorizationManager
from steps.vsphere import roles
from steps.vsphere.roles import Grant
from tests.estate import Estate, disk, estate, inventory, machine
from tests.rollbacks import rolling
from tests.vddk_library import Vddk, vddk, vddk_distribution

__all__ = ["vddk", "vddk_distribution"]

KINDS = {
    "each VM, or the folder above them": {"VirtualMachine", "Snapshot"},
    "each VM that is rolled back": {"VirtualMachine", "Snapshot"},
    "the vCenter's root folder, not propagated": {"Folder"},
    "the VMs' datacenter and their datastores": {"Datacenter", "Datastore"},
    "the folder of the new VMs": {"Folder", "VirtualMachine", "HttpNfcLease"},
    "the resource pool": {"ResourcePool"},
    "the resource pool, and the folder of the new VMs": {"ResourcePool", "Folder"},
    "the datastores of the new VMs": {"Datastore"},
    "their datacenter": {"Datacenter"},
    "the networks": {"Network"},
}
"""What a grant is on → the kinds of objects that have it then."""


@dataclass
class Account:
    """An account that may do what was granted and nothing else. `used`: what calls took, each on a kind of object."""

    granted: set[tuple[str, str]] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    refused: set[tuple[str, str]] = field(default_factory=set)

    def give(self, *grants: Grant) -> None:
        for grant in grants:
            self.granted |= {(name, kind) for name in grant.privileges for kind in KINDS[grant.on]}

    @property
    def held(self) -> set[str]:
        return {name for name, _ in self.granted}

    def may(self, privilege: str | None, managed: Any) -> bool:
        if privilege is None or privilege.startswith("System."):
            return True
        wanted = privilege, type(managed).kind.__name__.rpartition(".")[2]
        self.used.add(privilege)
        if wanted not in self.granted:
            self.refused.add(wanted)
        return wanted in self.granted


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    made = Account()
    monkeypatch.setattr(AuthorizationManager, "grants", lambda _, privilege, managed: made.may(privilege, managed))
    return made


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Estate]:
    vm = machine(
        disk(2000, "1 MiB"), powered_on=False, networks=[{"network": "VM Network", "mac": "00:50:56:9a:10:01"}]
    )
    with estate(tmp_path, {"prod": inventory(vm)}) as made:
        yield made


def test_a_backup_over_https_takes_exactly_the_role_without_what_is_vddks(site: Estate, account: Account) -> None:
    account.give(*(grant for grant in roles.backup() if grant.when != "with VDDK"))
    for _ in range(2):
        site.backup(site.job(cbt="enable"))
    assert (account.refused, account.used) == (set(), account.held)


def test_a_restore_by_a_lease_takes_no_more_than_its_role(site: Estate, account: Account) -> None:
    account.give(*roles.backup())
    job = site.job()
    site.backup(job)
    account.granted.clear()
    account.used.clear()
    account.give(
        *(grant for grant in roles.restore() if grant.when in ("", "for `--transport lease`", "for `--power-on`"))
    )
    options = ("--name", "back", "--transport", "lease", "--power-on", "--state", str(site.directory / "state"))
    with pytest.raises(SystemExit) as left:
        main(["restore", str(job), "db", "--to-vcenter", "prod", *options])
    assert (left.value.code, account.refused) == (0, set())


def test_a_rollback_takes_no_more_than_its_role(tmp_path: Path, vddk: Vddk, account: Account) -> None:
    account.give(*roles.backup())
    with rolling(tmp_path, vddk) as vm:
        vm.change(2000)
        account.granted.clear()
        account.give(*(grant for grant in roles.restore() if grant.when in ("for `sendense rollback`", "with VDDK")))
        account.give(roles.backup()[-1])  # the job reads over HTTPS for the restore point of the present state
        assert (vm.rollback(), account.refused) == (0, set())
        assert vm.live() == vm.then()


@pytest.mark.parametrize("option", [[], ["--restore"]], ids=["backup", "restore"])
def test_the_command_prints_each_privilege_that_a_vcenter_knows(
    capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["role", *option, "--json"])
    document = json.loads(capsys.readouterr().out)
    with pytest.raises(SystemExit):
        main(["role", *option])
    printed = capsys.readouterr().out
    listed = {name for grant in document["grants"] for name in grant["privileges"]}
    assert listed <= set(KNOWN)
    assert all(f"    {name}\n" in printed for name in listed)
