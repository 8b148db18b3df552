"""When a VM counts as changing as if it were being encrypted."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from runner.base.units import DAY, GiB, MiB
from steps.brake.nights import Brake, brake, judge
from steps.repository.manifest import Manifest, Sampled, SetNight
from steps.repository.section import BrakeLimits
from tests.chain import FIRST, manifest_of

LIMITS = BrakeLimits()


def night(number: int, sampled: Sampled | None) -> Manifest:
    at = FIRST + timedelta(seconds=number * DAY)
    return manifest_of(number, at, {2000: None}, sequence=number + 1, sampled=sampled)


def nights(*changed: int, share: float = 0.1, whole: bool = False) -> list[Manifest]:
    """Points of so many changed bytes, of which that share looks random."""
    blocks = [min(256, size // MiB) for size in changed]
    return [
        night(
            number,
            Sampled(changed=size, whole=whole, blocks=count, incompressible=round(share * count)),
        )
        for number, (size, count) in enumerate(zip(changed, blocks, strict=True))
    ]


USUAL = (200 * MiB, 300 * MiB, 150 * MiB, 250 * MiB)


def with_last(points: list[Manifest], size: int, share: float = 0.1, whole: bool = False) -> list[Manifest]:
    count = min(256, size // MiB)
    sampled = Sampled(changed=size, whole=whole, blocks=count, incompressible=round(share * count))
    return [*points, night(len(points), sampled)]


def test_a_night_that_changes_ten_times_what_is_usual_puts_it_on():
    found = brake(with_last(nights(*USUAL), 3 * GiB), LIMITS)
    assert found is not None
    assert found.why == "changed 3.0 GiB, 14 times what its last 4 points did, 225.0 MiB"
    assert (
        "until `sendense release-brake`, or until its points of 3 days in a row are as others (0 so far)"
        in found.sentence
    )


@pytest.mark.parametrize(
    ("usual", "last"),
    [((10 * MiB,) * 5, GiB), ((200 * MiB,) * 5, 1900 * MiB), ((10 * MiB,) * 2, 5 * GiB)],
    ids=["not over a gibibyte", "nine times", "too few points to know what is usual"],
)
def test_less_does_not(usual: tuple[int, ...], last: int):
    assert brake(with_last(nights(*usual), last), LIMITS) is None


def test_a_copy_of_the_whole_disk_says_nothing_of_how_much_changed():
    assert brake(with_last(nights(*USUAL), 900 * GiB, whole=True), LIMITS) is None


def test_a_disk_that_turns_incompressible_puts_it_on_however_little_changed():
    found = brake(with_last(nights(*USUAL), 220 * MiB, share=0.97), LIMITS)
    assert found is not None
    assert found.why == "has 97% of what changed on disk 2000 incompressible, where it was 10%"


def test_a_disk_of_media_does_not():
    assert brake(with_last(nights(*USUAL, share=0.95), 220 * MiB, share=1.0), LIMITS) is None


@pytest.mark.parametrize(("size", "share"), [(6 * GiB, 1.0), (6 * GiB, 0.1), (900 * MiB, 1.0)], ids=str)
@pytest.mark.parametrize("before", [4, 10])
def test_encryption_that_goes_on_does_not_become_usual(before: int, size: int, share: float):
    points = nights(*(USUAL * 3)[:before])
    for _ in range(25):
        points = with_last(points, size, share)
        assert brake(points, LIMITS) is not None


def test_three_points_of_one_day_are_no_three_days():
    points = with_last(nights(*USUAL), 3 * GiB)
    quiet = with_last(points, 200 * MiB)[-1]
    assert brake([*points, quiet, quiet, quiet, quiet], LIMITS) is not None


def test_a_point_of_which_nothing_is_known_is_not_as_others():
    points = with_last(nights(*USUAL), 3 * GiB)
    points += [night(len(points) + number, None) for number in range(5)]
    assert brake(points, LIMITS) is not None


def test_points_of_three_days_that_are_as_others_release_it():
    points = with_last(nights(*USUAL), 3 * GiB)
    for quiet in range(3):
        assert (found := brake(points, LIMITS)) is not None and found.quiet == quiet
        points = with_last(points, 200 * MiB)
    assert brake(points, LIMITS) is None


def test_what_was_looked_at_does_not_put_it_on_again():
    points = with_last(nights(*USUAL), 3 * GiB)
    assert brake(points, LIMITS, released=len(points)) is None
    again = brake(with_last(points, 7 * GiB), LIMITS, released=len(points))
    assert again is not None and again.point == night(len(points), None).point


def test_a_vm_that_stays_larger_is_released_once():
    points = with_last(nights(*USUAL), 3 * GiB)
    looked_at = len(points)
    for size in (5 * GiB, 2 * GiB, 200 * MiB, 4 * GiB, 3 * GiB, 300 * MiB, 5 * GiB) * 4:
        points = with_last(points, size)
        assert brake(points, LIMITS, released=looked_at) is None, len(points)


@pytest.mark.parametrize(
    ("after", "last"),
    [((), 7 * GiB), ((5 * GiB, 5 * GiB), 9 * GiB), ((200 * MiB,) * 10, 3 * GiB)],
    ids=["more than twice as much", "twice as much as what nobody looked at", "ten points later"],
)
def test_a_release_is_of_what_was_looked_at(after: tuple[int, ...], last: int):
    points = with_last(nights(*USUAL), 3 * GiB)
    looked_at = len(points)
    for size in after:
        points = with_last(points, size)
    assert brake(points, LIMITS, released=looked_at) is None
    assert brake(with_last(points, last), LIMITS, released=looked_at) is not None


def test_a_disk_that_stays_incompressible_is_released_once():
    points = with_last(nights(*USUAL * 2), 220 * MiB, share=0.97)
    looked_at = len(points)
    for _ in range(25):
        points = with_last(points, 220 * MiB, share=0.97)
        assert brake(points, LIMITS, released=looked_at) is None


def test_what_was_released_as_large_may_not_become_incompressible_too():
    points = with_last(nights(*USUAL), 2 * GiB)
    assert brake(with_last(points, 2 * GiB, share=1.0), LIMITS, released=len(points)) is not None


OF_SET = SetNight(set="gold", unusual=7, of=12)


def noted(points: list[Manifest]) -> list[Manifest]:
    """The last of them is of a night in which most VMs of the set changed so much."""
    return [*points[:-1], points[-1].model_copy(update={"of_set": OF_SET})]


@pytest.mark.parametrize("size", [200 * MiB, 900 * MiB], ids=["as always", "more, and below a gibibyte"])
def test_what_most_of_its_set_did_puts_it_on_whatever_it_did_itself(size: int):
    points = noted(with_last(nights(*(10 * MiB,) * 5), size))
    found = brake(points, LIMITS)
    assert found is not None and found.of_set == OF_SET
    assert "is of a night in which 7 of 12 VMs of gold changed far more than they do otherwise" in found.sentence
    assert brake(points, BrakeLimits(set_share=1)) is None
    assert brake(points, LIMITS, released=len(points)) is None
    for _ in range(2):
        points = with_last(points, 10 * MiB)
        assert brake(points, LIMITS) is not None
    assert brake(with_last(points, 10 * MiB), LIMITS) is None, "three days later"


def test_of_a_vm_of_a_set_it_is_noted_how_much_it_changed():
    small = nights(*(10 * MiB,) * 5)
    assert judge(with_last(small, 900 * MiB), LIMITS).unusual is True
    assert judge(with_last(small, 90 * MiB), LIMITS).unusual is False, "nine times"
    assert judge(with_last(nights(*(5 * MiB,) * 5), 60 * MiB), LIMITS).unusual is False, "next to nothing"
    assert judge(with_last(small[:2], 900 * MiB), LIMITS).unusual is None
    assert judge(with_last(small, 900 * MiB, whole=True), LIMITS).unusual is None
    seen = with_last(small, 500 * MiB)
    assert judge(with_last(seen, 900 * MiB), LIMITS, released=len(seen)).unusual is False, "it was looked at"


def test_encryption_of_a_set_that_goes_on_does_not_become_usual():
    points = nights(*(10 * MiB,) * 5)
    for _ in range(25):
        points = noted(with_last(points, 500 * MiB))
        found = judge(points, LIMITS)
        assert found.unusual and found.brake is not None
        assert found.brake.since == points[5].point
    notices = {found.notice for found in (brake(points[:number], LIMITS) for number in range(6, 30)) if found}
    assert notices == {
        "7 of 12 VMs of gold changed far more than they do otherwise: nothing is deleted until somebody has looked at it"
    }


def test_thresholds_are_the_sites():
    points = with_last(nights(*USUAL), 3 * GiB)
    assert brake(points, None) is None
    assert brake(points, BrakeLimits(times=20)) is None
    assert brake(points, BrakeLimits(least=4 * GiB)) is None


def test_points_of_before_this_was_noted_say_nothing():
    points = [night(number, None) for number in range(4)]
    assert brake(with_last(points, 30 * GiB, share=1.0), LIMITS) is None


@pytest.mark.parametrize("seed", range(20))
def test_thirty_ordinary_nights_put_it_on_in_none(seed: int):
    """Lognormal around each VM's own level, by a factor of 1.8 either way, a tenth of it on two days of each week, with
    a share of incompressible data that is as good as anything from night to night."""
    chance = random.Random(seed)
    level = chance.choice((5, 60, 400, 3000)) * MiB
    kind = chance.choice((0.05, 0.2, 0.4, 0.97))
    points: list[Manifest] = []
    told: list[Brake] = []
    for number in range(30):
        weekend = 0.1 if number % 7 in (5, 6) else 1.0
        size = max(MiB, round(level * weekend * chance.lognormvariate(0, 0.6)))
        share = min(1.0, max(0.0, chance.gauss(kind, 0.08)))
        points = with_last(points, size, share)
        if (found := brake(points, LIMITS)) is not None:
            told.append(found)
    assert told == []
