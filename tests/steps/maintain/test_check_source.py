"""Of which VM a point may be that is compared with it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.base.errors import StateError
from steps.maintain.check_source import CheckSource, CheckSourceIn, CheckSourceLive
from steps.repository import identities, vm_directory
from steps.repository.identities import Adoption
from steps.values.point_checked import PointChecked
from steps.values.source_checked import SourceChecked
from steps.vsphere.inventory import VM
from tests import points
from tests.chain import Chain, manifest_of
from tests.hub import CREATED, Hub, disk, vm

REBUILT = "7e0d3f51-6c1f-4a57-9d3e-2f6b1c0a7e22"


@pytest.fixture
def chain(hub: Hub) -> Chain:
    made = Chain(Path(hub.root))
    made.add({2000: None}, {2000: ((0, 512, 1),)})
    return made


def compare(hub: Hub, chain: Chain, machine: VM) -> SourceChecked:
    checked = PointChecked(path=str(chain.path(0)), host="hub", level="chain", blocks=4, compared=4, at=CREATED)
    snapshot = points.snapshot([disk()], machine)
    inputs = CheckSourceIn(repository="main", checked=checked, vm=machine, snapshot=snapshot)
    return CheckSource().run(hub.context(), inputs, CheckSourceLive(sources=()))


def test_another_vcenters_vm_is_refused(hub: Hub, chain: Chain) -> None:
    with pytest.raises(StateError, match=r"is of VM pgtest1 .*so they are not compared"):
        compare(hub, chain, vm(vcenter_uuid=REBUILT))


def test_points_of_before_an_adoption_are_named_and_not_compared(hub: Hub, chain: Chain) -> None:
    """Their changeIds are those of another vCenter, in which the same number may be that of other changes."""
    old = vm_directory.identity_of(manifest_of(0, CREATED, {2000: None}))
    new = old.model_copy(update={"vcenter_uuid": REBUILT})
    when = datetime(2026, 11, 10, tzinfo=UTC)
    identities.add(hub.host, str(chain.directory), Adoption(old=old, new=new, who="anna@backup1", when=when))
    (told,) = compare(hub, chain, vm(vcenter_uuid=REBUILT)).disks
    assert (told.compared, told.passed) == (0, True)
    assert "was made before the VM was adopted from another vCenter" in str(told.why_not)
    with pytest.raises(StateError, match="so they are not compared"):
        compare(hub, chain, vm())
