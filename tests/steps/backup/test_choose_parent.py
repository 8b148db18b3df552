"""When a disk's next image is a full again, in a repository whose chains were made shorter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.base.units import MiB
from steps.backup.choose_parent import ChooseParent, ChooseParentIn, FullEvery
from steps.repository import parent, verification_records
from steps.repository.manifest import LastFull
from steps.repository.verification_records import DiskVerified, Suspicion
from steps.values.base import Base
from tests.chain import Chain, prune
from tests.hub import Hub, disk, vm
from tests.points import snapshot

TODAY = datetime.now(UTC)
FIRST = TODAY - timedelta(days=5, minutes=1)


def nights(hub: Hub, count: int, *, noted: bool = True, first: datetime = FIRST) -> Chain:
    """A full and an incremental a night on it; `noted`: each says when the full was."""
    made = Chain(Path(hub.root))
    for number in range(count):
        last = {"last_full": LastFull(at=first, points=number + 1)} if noted else {}
        parents, writes = {2000: number - 1 if number else None}, {2000: ((number % 4 * MiB, MiB, number + 1),)}
        made.add(parents, writes, at=first + timedelta(days=number), **last)
    return made


def base(hub: Hub, full_every: FullEvery, created: datetime = TODAY) -> Base:
    frozen = snapshot((disk(),), vm(), created=created)
    inputs = ChooseParentIn(
        vm=vm(), disk=disk(), snapshot=frozen, repository="main", full_every=full_every, incremental="digests"
    )
    return ChooseParent().run(hub.context(), inputs, ChooseParent.Live())


def test_a_full_comes_so_long_after_the_disk_was_last_read_whole_whatever_was_deleted_since(hub: Hub) -> None:
    made = nights(hub, 5)
    wishes = {
        FullEvery(days=5): "full",
        FullEvery(days=6): "incremental",
        FullEvery(points=5): "full",
        FullEvery(points=6): "incremental",
    }
    assert {wish: base(hub, wish).kind for wish in wishes} == wishes
    prune(hub, made, keep_last=3)
    assert len(made.whole()) == 3
    assert {wish: base(hub, wish).kind for wish in wishes} == wishes


def test_where_it_is_not_noted_it_is_counted_from_the_full_of_the_chain(hub: Hub) -> None:
    """Manifests of an earlier version; what is built on them notes it."""
    made = nights(hub, 5, noted=False)
    found = base(hub, FullEvery(days=6))
    assert found.parent is not None
    assert found.parent.last_full == LastFull(at=FIRST, points=5)
    assert base(hub, FullEvery(days=5)).reason == "the job wants one every 5 days"
    made.add({2000: 4}, {}, at=TODAY, last_full=found.parent.last_full.next())
    prune(hub, made, keep_last=2)
    assert len(made.whole()) == 2
    assert base(hub, FullEvery(days=5)).reason == "the job wants one every 5 days"


@pytest.mark.parametrize("what", ["a lie of tracking", "a block that went bad"])
def test_every_point_that_is_no_longer_trusted_is_named(hub: Hub, what: str) -> None:
    made = nights(hub, 4)
    host, run = hub.host, hub.context().run.id
    if what == "a lie of tracking":
        found = Suspicion(key=2000, why=what, run=run, at=FIRST)
        parent.mark_suspect(host, str(made.directory), made.points[-1], found)
    else:
        verified = DiskVerified(key=2000, at=FIRST, level="sample", blocks=4, compared=1, problem=what, run=run)
        verification_records.damaged(host, str(made.path(-1)), verified)
    out = base(hub, FullEvery())
    alarm = ChooseParent().report(out).alarm
    assert alarm is not None
    assert alarm.subjects == tuple(made.points)
    assert all(point in alarm.text for point in made.points)
    assert what in alarm.text


YEAR = timedelta(days=365)


@pytest.mark.parametrize("off", [YEAR, -YEAR], ids=["ahead", "behind"])
def test_how_old_the_last_full_is_does_not_hang_on_the_clock_of_the_vcenter(hub: Hub, off: timedelta) -> None:
    nights(hub, 5)
    wishes = {FullEvery(days=5): "full", FullEvery(days=6): "incremental"}
    assert {wish: base(hub, wish, TODAY + off).kind for wish in wishes} == wishes


def test_a_last_full_that_is_to_come_is_none(hub: Hub) -> None:
    """As an earlier version noted it when the vCenter's clock was a year ahead."""
    nights(hub, 2, first=TODAY + YEAR)
    assert "in the future" in base(hub, FullEvery(days=6)).reason
    assert base(hub, FullEvery(points=6)).kind == "incremental"
