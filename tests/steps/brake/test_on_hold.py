"""What is not deleted while the brake is on, and how it is released."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.base.units import GiB, MiB
from steps.brake import publishing, released
from steps.brake.nights import Brake
from steps.copy import sampling
from steps.copy.extents import WHOLE
from steps.copy.sampling import Sampling
from steps.points import retention_plan, room
from steps.repository import layout, reader
from steps.repository.manifest import Manifest, Sampled, SetNight, dump
from steps.repository.naming import Names
from steps.repository.retention import Policy
from steps.repository.section import BrakeLimits
from steps.trail.log import Log
from tests.chain import BRAKE, NOW, Chain
from tests.chains import manifest_of
from tests.hub import Hub

MIB = b"a line of a log file, and the next one\n" * 30000


@pytest.fixture
def encrypted(hub: Hub) -> Chain:
    """Five points of a VM, of which the last is fifty times as large as the others."""
    made = Chain(Path(hub.root))
    for number in range(5):
        made.add({2000: None if number == 0 else number - 1}, {2000: ((number % 3 * MiB, 512, 9),)})
        size = 5 * GiB if number == 4 else 100 * MiB
        say(made, number, Sampled(changed=size, whole=False, blocks=64, incompressible=3))
    return made


def say(made: Chain, number: int, sampled: Sampled) -> None:
    point = made.path(number)
    was = manifest_of(point)
    disks = tuple(disk.model_copy(update={"sampled": sampled}) for disk in was.disks)
    (point / layout.MANIFEST).write_bytes(dump(was.model_copy(update={"disks": disks, "sequence": number + 1})))


def plan(hub: Hub, made: Chain, brake: BrakeLimits | None = BRAKE):
    vm = reader.read(hub.host, str(made.directory))
    return retention_plan.plan_of(hub.host, vm, Policy(keep_last=1, max_chain=2), NOW, shares=True, brake=brake)


def test_nothing_of_it_is_deleted_or_rebuilt_and_the_plan_says_why(hub: Hub, encrypted: Chain):
    found = plan(hub, encrypted)
    assert (found.plan.drops, found.plan.moves) == ((), ())
    assert found.braked is not None and encrypted.points[4] in found.braked
    assert all("the brake is on" in one.reasons for one in found.plan.decisions)
    assert plan(hub, encrypted, None).plan.drops, "without a brake there is something to delete"


def test_not_even_to_make_room(hub: Hub, encrypted: Chain):
    names = Names.read(hub.host, hub.root)
    found = room.expendable(hub.host, names, names.vms, NOW, BRAKE)
    assert found.points == () and "as if it were being encrypted" in found.refused[0][1]


def test_a_release_holds_until_the_next_such_point(hub: Hub, encrypted: Chain):
    last = manifest_of(encrypted.path(4))
    record = released.Released(point=last.point, sequence=last.sequence or 0, reason="moved", at=datetime.now(UTC))
    for_ever = record.model_copy(update={"sequence": 10**9})
    released.write(hub.host, str(encrypted.directory), for_ever)
    assert plan(hub, encrypted).braked is not None, "of points that are not there yet"
    released.write(hub.host, str(encrypted.directory), record)
    assert plan(hub, encrypted).plan.drops
    encrypted.add({2000: 4}, {2000: ((MiB, 512, 11),)})
    say(encrypted, 5, Sampled(changed=60 * GiB, whole=False, blocks=64, incompressible=3))
    assert plan(hub, encrypted).braked is not None


def test_a_release_is_of_the_point_that_was_looked_at_and_not_of_the_next_with_its_sequence(hub: Hub, encrypted: Chain):
    """The run that made the point was discarded after its brake was released."""
    last = manifest_of(encrypted.path(4))
    gone = layout.point(last.created, "20201231T170000Z-00000001")
    record = released.Released(point=gone, sequence=last.sequence or 0, reason="moved", at=datetime.now(UTC))
    released.write(hub.host, str(encrypted.directory), record)
    assert plan(hub, encrypted).braked is not None


def test_a_release_that_cannot_be_read_releases_nothing(hub: Hub, encrypted: Chain):
    (encrypted.directory / layout.BRAKE_RELEASED).write_text(json.dumps({"schema_version": 1}))
    found = plan(hub, encrypted)
    assert found.plan.drops == () and layout.BRAKE_RELEASED in (found.braked or "")


def in_a_night_of_its_set(hub: Hub, made: Chain, others: tuple[bool, ...]) -> tuple[Manifest, Brake | None]:
    """What is made of a point of 1010 MiB, in a night in which other VMs of the set were published before."""
    for number, unusual in enumerate(others):
        log = Log(hub.host, hub.root, f"gold/vm{number}", hub.context().warn)
        log.note("publish", vm=f"/r/vm{number}", unusual=unusual)
    vm = reader.read(hub.host, str(made.directory))
    before = replace(vm, entries=vm.entries[:-1])
    disks = tuple(
        disk.model_copy(update={"sampled": Sampled(changed=1010 * MiB, whole=False, blocks=64, incompressible=3)})
        for disk in vm.entries[-1].manifest.disks
    )
    point = vm.entries[-1].manifest.model_copy(update={"job": "gold/pgtest1-x", "disks": disks})
    return publishing.judged(hub.host, before, point, BRAKE, hub.context().warn)


def test_a_vm_is_on_hold_with_most_of_its_set(hub: Hub, encrypted: Chain):
    made, brake = in_a_night_of_its_set(hub, encrypted, (True, True, False))
    assert made.unusual and made.of_set == SetNight(set="gold", unusual=3, of=4)
    assert brake is not None and brake.of_set == made.of_set
    (encrypted.path(4) / layout.MANIFEST).write_bytes(dump(made))
    found = plan(hub, encrypted)
    assert found.plan.drops == () and "3 of 4 VMs of gold" in (found.braked or "")


def test_a_vm_alone_below_a_gibibyte_is_not(hub: Hub, encrypted: Chain):
    made, brake = in_a_night_of_its_set(hub, encrypted, (True, False, False))
    assert (made.unusual, made.of_set, brake) == (True, None, None)


def test_where_the_log_cannot_be_read_the_brake_goes_by_the_vm_alone_and_says_so(hub: Hub, encrypted: Chain):
    (Path(hub.root) / layout.LOG).mkdir()
    made, brake = in_a_night_of_its_set(hub, encrypted, ())
    assert (made.unusual, made.of_set, brake) == (True, None, None)
    (warning,) = hub.warnings
    assert warning.startswith("how much the other VMs of gold changed is unknown, so the brake goes by this VM alone: ")


@pytest.mark.parametrize(("content", "share"), [(MIB[:MiB], 0.0), (os.urandom(MiB), 1.0)], ids=["text", "encrypted"])
def test_what_is_encrypted_looks_it(content: bytes, share: float):
    found = Sampling()
    for _ in range(1000):
        found.take(memoryview(content), WHOLE)
    assert found.incompressible == share * found.blocks
    assert found.blocks == pytest.approx(1000, rel=0.05), "each look stands for those that were passed over"


def test_what_comes_first_in_a_copy_does_not_hide_what_comes_later():
    """Two gibibytes of a system, and thirty that are encrypted."""
    found, text, noise = Sampling(), memoryview(MIB[:MiB]), memoryview(os.urandom(MiB))
    for number in range(32 * 1024):
        found.take(text if number < 2 * 1024 else noise, WHOLE)
    assert found.incompressible / found.blocks == pytest.approx(30 / 32, abs=0.03)


def test_few_of_many_blocks_are_looked_at(monkeypatch: pytest.MonkeyPatch):
    looks: list[int] = []
    monkeypatch.setattr(sampling.zlib, "compress", lambda part, level: looks.append(len(part)) or b"")
    found = Sampling()
    for _ in range(1 << 13):
        found.take(memoryview(MIB[:MiB]), WHOLE)
    assert (len(looks), set(looks)) == (64 + 7 * 32, {64 * 1024})


def test_only_the_part_with_content_is_looked_at():
    found, block = Sampling(), bytearray(MiB)
    block[3 << 16 : 4 << 16] = os.urandom(1 << 16)
    found.take(memoryview(block), 1 << 3)
    assert (found.blocks, found.incompressible) == (1, 1)
