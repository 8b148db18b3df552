"""Whose a VM's directory is, once its VM was adopted from another vCenter."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from runner.base.errors import StateError
from runner.base.sealed import seal
from runner.hosts.host import Completed
from runner.hosts.local import LocalHost
from steps.points import retention_plan
from steps.repository import identities, layout, manifest, parent, reader, vm_directory, vm_place
from steps.repository.identities import AdoptedTwiceError, Adoption, Identity
from steps.repository.listing import UnreadableError
from steps.repository.naming import Names
from steps.repository.parent import NoParentError, Sought
from steps.repository.retention import Policy
from steps.repository.vm_place import OtherVcenterError
from tests.chain import BRAKE, CAPACITY, FIRST, NOW, Chain, manifest_of
from tests.hub import INSTANCE, VCENTER, Hub, vm

NEW = "99999999-aaaa-bbbb-cccc-dddddddddddd"
REBUILT = "7e0d3f51-6c1f-4a57-9d3e-2f6b1c0a7e22"
WHEN = datetime(2026, 11, 10, tzinfo=UTC)


@pytest.fixture
def chain(hub: Hub) -> Chain:
    made = Chain(Path(hub.root))
    made.add({2000: None}, {2000: ((0, 512, 1),)})
    return made


def adopted(instance: str = NEW, vcenter: str = REBUILT) -> Adoption:
    old = vm_directory.identity_of(manifest_of(0, FIRST, {2000: None}))
    new = old.model_copy(update={"instance_uuid": instance, "vcenter_uuid": vcenter})
    return Adoption(old=old, new=new, who="anna@backup1", when=WHEN)


def adopt(hub: Hub, chain: Chain, adoption: Adoption) -> None:
    identities.add(hub.host, str(chain.directory), adoption)


def test_the_directory_is_found_by_the_uuid_for_which_it_was_adopted(any_hub: Hub) -> None:
    chain = Chain(Path(any_hub.root))
    chain.add({2000: None}, {2000: ((0, 512, 1),)})
    assert vm_place.find(any_hub.host, any_hub.root, NEW) is None
    adopt(any_hub, chain, adopted(instance=NEW.upper()))
    (Path(any_hub.root) / "lost+found").mkdir(mode=0)
    assert vm_place.find(any_hub.host, any_hub.root, NEW) == str(chain.directory)
    assert vm_place.find(any_hub.host, any_hub.root, INSTANCE) == str(chain.directory)
    assert vm_place.find(any_hub.host, any_hub.root, NEW.replace("9", "8")) is None


def test_it_is_the_adopted_vms_and_no_longer_the_one_of_the_old_vcenter(hub: Hub, chain: Chain) -> None:
    adopt(hub, chain, adopted())
    assert vm_place.look(hub.host, hub.root, vm(instance_uuid=NEW, vcenter_uuid=REBUILT)) == str(chain.directory)
    with pytest.raises(OtherVcenterError):
        vm_place.look(hub.host, hub.root, vm())
    adopt(hub, chain, adopted(INSTANCE, VCENTER))
    assert vm_place.look(hub.host, hub.root, vm()) == str(chain.directory)
    assert vm_place.find(hub.host, hub.root, NEW) is None, "only the last adoption counts"
    assert [one.new.instance_uuid for one in identities.read(hub.host, str(chain.directory))] == [NEW, INSTANCE]


def test_nothing_is_built_on_what_was_made_before_until_there_is_a_full(hub: Hub, chain: Chain) -> None:
    adopt(hub, chain, adopted())
    uuid = "6000C290-0000-0000-0000-000000002000"
    sought = Sought(2000, uuid, CAPACITY, REBUILT, NEW)
    with pytest.raises(NoParentError, match=r"was made before the VM was adopted from another vCenter \(2026-11-10\)"):
        parent.find(hub.host, str(chain.directory), sought, run="now")
    with pytest.raises(NoParentError, match="is of another VM"):
        parent.find(hub.host, str(chain.directory), Sought(2000, uuid, CAPACITY, VCENTER, NEW), run="now")


def test_points_of_before_and_after_are_one_vms_to_those_who_list_and_prune(hub: Hub, chain: Chain) -> None:
    adopt(hub, chain, adopted())
    made = manifest_of(1, FIRST + timedelta(days=1), {2000: None}, instance=NEW).model_copy(update={"sequence": 2})
    point = chain.directory / made.point
    point.mkdir()
    (point / layout.MANIFEST).write_bytes(manifest.dump(made))
    (seen,) = reader.read_all(hub.host, hub.root).vms.values()
    assert [entry.point for entry in seen.entries] == [chain.points[0], made.point]
    assert seen.unread == []
    assert seen.uuids == {INSTANCE, NEW}
    names = Names.read(hub.host, hub.root)
    (plan,) = retention_plan.of_vms(
        hub.host, names, names.find_all((NEW,)), Policy(keep_last=1), NOW, shares=True, brake=BRAKE
    )
    assert plan.key == chain.directory.name


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"anna", b"otto"))


def newer(path: Path) -> None:
    path.write_bytes(seal({"schema_version": 2, "adopted": []}))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        pytest.param(damaged, "is damaged: its checksum does not match its content", id="damaged"),
        pytest.param(newer, "was written by a newer version of sendense", id="newer"),
    ],
)
def test_a_record_that_cannot_be_read_is_a_sentence_and_keeps_what_is_there(
    hub: Hub, chain: Chain, spoil: Callable[[Path], None], why: str
) -> None:
    adopt(hub, chain, adopted(INSTANCE))
    spoil(chain.directory / layout.IDENTITIES)
    with pytest.raises(StateError, match=why):
        vm_place.look(hub.host, hub.root, vm(vcenter_uuid=REBUILT))
    names = Names.read(hub.host, hub.root)
    (plan,) = retention_plan.of_vms(hub.host, names, names.vms, Policy(keep_last=1), NOW, shares=True, brake=BRAKE)
    assert why in str(plan.refused)


def test_two_directories_of_one_adopted_vm_are_refused(hub: Hub, chain: Chain) -> None:
    other = Chain(Path(hub.root), instance=INSTANCE.replace("5013", "5014"))
    other.add({2000: None}, {2000: ((0, 512, 1),)})
    for made in (chain, other):
        adopt(hub, made, adopted())
    with pytest.raises(AdoptedTwiceError, match=f"{chain.directory} and {other.directory} were all adopted"):
        vm_place.find(hub.host, hub.root, NEW)


class Nobody(LocalHost):
    """An account that may not read all, also where the tests run as root."""

    def run(self, argv: Sequence[str], **options: Any) -> Completed:
        as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--") if os.geteuid() == 0 else ()
        return super().run((*as_nobody, *argv), **options)


def test_a_directory_that_cannot_be_read_is_not_taken_for_one_that_was_not_adopted() -> None:
    with TemporaryDirectory() as root:  # nobody can reach what pytest makes
        Path(root).chmod(0o755)
        for name, mode in (("lost+found", 0), (f"web-{INSTANCE}", 0o755)):
            (Path(root) / name).mkdir()
            (Path(root) / name).chmod(mode)
        assert vm_place.find(Nobody(), root, NEW) is None
        (Path(root) / f"web-{INSTANCE}").chmod(0)
        with pytest.raises(UnreadableError, match=f"web-{INSTANCE}.: Permission denied"):
            vm_place.find(Nobody(), root, NEW)


@pytest.mark.parametrize("recorded", ["None", ""])
def test_a_point_that_does_not_say_which_esxi_host_it_is_of_is_any_hosts_and_nothing_is_built_on_it(
    hub: Hub, chain: Chain, recorded: str
) -> None:
    made = manifest_of(0, FIRST, {2000: None})
    made = made.model_copy(update={"vm": made.vm.model_copy(update={"vcenter_uuid": recorded})})
    (chain.path(0) / layout.MANIFEST).write_bytes(manifest.dump(made))
    assert vm_place.look(hub.host, hub.root, vm(vcenter_uuid=REBUILT)) == str(chain.directory)
    sought = Sought(2000, "6000C290-0000-0000-0000-000000002000", CAPACITY, REBUILT, INSTANCE)
    with pytest.raises(NoParentError, match="does not say which ESXi host it was read from"):
        parent.find(hub.host, str(chain.directory), sought, run="now")


def identity(bios: str = "b", *disks: str) -> Identity:
    named = tuple(identities.DiskIdentity(key=2000 + key, backing_uuid=uuid) for key, uuid in enumerate(disks))
    return Identity(
        vcenter_uuid="v", instance_uuid="i", bios_uuid=bios, name="web", inventory_path="DC1/vm/web", disks=named
    )


@pytest.mark.parametrize(
    ("one", "other", "may_be"),
    [
        pytest.param(identity("b", "1", "2"), identity("B", "2", "3"), True, id="a disk more, one less"),
        pytest.param(identity("b", "1"), identity("b", "2"), False, id="other disks"),
        pytest.param(identity("b", "1"), identity("c", "1"), False, id="another BIOS uuid"),
        pytest.param(identity("", "1"), identity("", "1"), False, id="no BIOS uuid"),
        pytest.param(identity("b", ""), identity("b", ""), False, id="disks without a uuid"),
    ],
)
def test_a_vm_resembles_another_by_bios_uuid_and_disks_together(one: Identity, other: Identity, may_be: bool) -> None:
    assert one.resembles(other) == other.resembles(one) == may_be
