"""A vCenter whose clock is wrong for a night: what was published last is the newest, and no retention takes it away."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from runner.events.events import Warned
from runner.hosts.local import LocalHost
from steps.repository import catalogue
from tests.estate import VM, disk, estate, inventory, machine, read

YEAR = timedelta(days=365)


@pytest.mark.parametrize("nights", [(YEAR, timedelta()), (timedelta(), -YEAR)], ids=["ahead", "behind"])
def test_a_run_never_drops_what_it_has_just_published_whatever_the_clock_of_the_vcenter_says(
    tmp_path: Path, nights: tuple[timedelta, timedelta]
) -> None:
    with estate(tmp_path, {"prod": inventory(machine(disk(2000, "4 MiB")))}) as made:
        job = made.job(retention={"keep-last": 1}, cbt="enable")
        for number, ahead in enumerate(nights):
            made.vcenter.set_clock(ahead)
            made.vcenter.write(VM, 2000, number * 512, b"x" * 512)
            point = made.backup(job)
            assert point.exists(), "it was dropped by the run that published it"
        made.references = {key: copy for key, copy in made.references.items() if key[0] == str(point)}
        made.assert_all_equal()
        (listed,) = catalogue.read(LocalHost(), str(made.repository())).points
        assert (listed.path, listed.sequence) == (str(point), 2)
        off = nights[1] != timedelta()
        assert abs(listed.moment - read(point).published) < timedelta(minutes=1)
        assert [note for note in listed.notes if "The vCenter's clock was" in note] == list(listed.notes)[: int(off)]


def test_a_wrong_clock_is_told_recorded_and_shown(tmp_path: Path) -> None:
    with estate(
        tmp_path, {"prod": inventory(machine(disk(2000, "4 MiB")), **{"clock-ahead": YEAR.total_seconds()})}
    ) as made:
        ran = made.run(made.job())
        (point,) = ran.points()
        (note,) = [text for text in read(point).notes if "clock" in text]
        assert note.startswith("The vCenter's clock was about 365 days ahead of that of the machine of the run")
        assert note in [event.text for event in ran.events if isinstance(event, Warned)]
