"""When most VMs of a set count as changing as if they were being encrypted."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from runner.base.units import MiB
from steps.brake import of_set
from steps.brake.nights import judge
from steps.repository.manifest import Manifest, SetNight
from steps.repository.section import BrakeLimits
from steps.trail.publications import Publication
from tests.steps.brake.test_nights import with_last

LIMITS = BrakeLimits()


def said(text: str) -> list[Publication]:
    """``a. b! c-``: usual, unusual, released."""
    words = {".": "usual", "!": "unusual", "-": "released"}
    return [Publication(one[:-1], words[one[-1]]) for one in text.split()]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "unusual", "found"),
    [
        ("a. b. c. d. e. a! b!", True, (3, 5)),
        ("a. b. c. d. e. a! b!", False, None),
        ("a. b. c. a! b!", True, None),
        ("c. a! b! d!", False, (3, 4)),
        ("c. d. a! b!", True, (3, 4)),
        ("a. b. c. d. e. a! b! d! e! a. b. d. e.", False, (3, 5)),
        ("a! b! d! e! c! a. b. d. e.", False, None),
        ("a! b! d! e! f.", False, None),
        ("a. b. c. d. e. f. a! b! c! d! e! f! c- a- b- d- e- f-", False, None),
        ("a. b. c. d. e. f. a! b! c! d! e! f! c- a- b- d- e- f- a!", True, None),
        ("c. a! b! q- r- s- t- d!", False, (3, 4)),
    ],
    ids=[
        "this one makes it most",
        "two of five are not most",
        "three are no set",
        "others did while this one is as always",
        "most of four are three",
        "they were most since this one was published, and are no longer",
        "this one knew of it when it was published",
        "a new one has nothing to lose yet",
        "somebody has looked at them, at this one first",
        "what was looked at no longer counts",
        "releases of others count nobody for the set",
    ],
)
def test_most(before: str, unusual: bool, found: tuple[int, int] | None):
    expected = None if found is None else SetNight(set="gold", unusual=found[0], of=found[1])
    assert of_set.night("gold", said(before), "c", LIMITS, unusual=unusual) == expected


def test_most_is_the_sites_share():
    limits = BrakeLimits(set_share=0.7)
    assert of_set.night("gold", said("a. b. c. d. e. a! b!"), "c", limits, unusual=True) is None


@pytest.mark.parametrize(("job", "name"), [("gold/web-1-5023", "gold"), ("nightly", ""), ("a/b/web-1", "a/b")], ids=str)
def test_which_set_a_vm_is_of(job: str, name: str):
    assert of_set.name_of(job) == name


@dataclass
class Estate:
    """A set's VMs, their points, and its log of two nights, as each publication finds it."""

    levels: Mapping[str, int]
    points: dict[str, list[Manifest]] = field(default_factory=dict)
    log: list[Publication] = field(default_factory=list)

    def night(self, changed: Mapping[str, int]) -> Iterator[str]:
        """Of each VM that is on hold, its name."""
        for vm, size in changed.items():
            points = with_last(self.points.get(vm, []), size)
            unusual = judge(points, LIMITS).unusual is True
            night = of_set.night("gold", self.log[-2 * len(self.levels) :], vm, LIMITS, unusual=unusual)
            self.points[vm] = [*points[:-1], points[-1].model_copy(update={"of_set": night})][-14:]
            self.log.append(Publication(vm, "unusual" if unusual else "usual"))
            if judge(self.points[vm], LIMITS).brake is not None:
                yield vm


def of_size(count: int, chance: random.Random) -> Estate:
    return Estate({f"vm{number}": chance.choice((5, 20, 60)) * MiB for number in range(count)})


def ordinary(made: Estate, number: int, chance: random.Random) -> dict[str, int]:
    """As a VM alone has them; on the second Tuesday all are patched: four times as much as else comes on top."""
    weekend, patches = 0.1 if number % 7 in (5, 6) else 1.0, 4 if number == 15 else 0
    return {
        vm: max(MiB, round(level * (weekend * chance.lognormvariate(0, 0.6) + patches)))
        for vm, level in made.levels.items()
    }


@pytest.mark.parametrize("seed", range(5))
def test_thirty_ordinary_nights_of_a_set_with_a_day_of_patches_put_nothing_on_hold(seed: int):
    chance = random.Random(seed)
    made = of_size(12, chance)
    assert [list(made.night(ordinary(made, number, chance))) for number in range(30)] == [[]] * 30


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_a_set_that_is_encrypted_below_what_counts_for_one_vm_is_on_hold_within_two_nights(share: float):
    chance = random.Random(1)
    made = of_size(20, chance)
    for number in range(5):
        assert not list(made.night(ordinary(made, number, chance)))
    usual = ordinary(made, 7, chance)
    hit = chance.sample(sorted(made.levels), round(share * len(made.levels)))
    changed = {**usual, **dict.fromkeys(hit, 900 * MiB)}
    first = set(made.night(changed))
    assert first, "from then on that most are known"
    second = set(made.night(ordinary(made, 8, chance)))
    assert first | second == set(made.levels)
