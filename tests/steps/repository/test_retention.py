from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steps.repository.chains import Chains
from steps.repository.history import Entry, History
from steps.repository.retention import Plan, Policy, keep, plan
from steps.repository.verification_records import (
    Comparison,
    DiskCompared,
    DiskVerified,
    Marks,
    Protection,
    Suspect,
    Suspicion,
    Verification,
)
from tests.chain import manifest_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FIRST = datetime(2026, 11, 1, 3, tzinfo=UTC)


def entry(
    number: int,
    *,
    at: datetime | None = None,
    parents: dict[int, str | None] | None = None,
    level: Any = "full",
    whole: bool = False,
    **marks: Any,
) -> Entry:
    """Point `number`; by default of one disk, 2000, a full. `whole`: all blocks were compared, those of an incremental too."""
    changes = {"compared": 4} if whole else {}
    made = manifest_of(number, at or FIRST + timedelta(days=number), parents or {2000: None}, level=level, **changes)
    return Entry(f"/repository/vm/{made.point}", made, Marks(**marks))


def chain(count: int) -> list[Entry]:
    """A full and incrementals on it, one a day."""
    made: list[Entry] = []
    for number in range(count):
        made.append(entry(number, parents={2000: made[-1].point if made else None}))
    return made


def at_rest(day: float, *, passed: bool = True, key: int = 2000) -> Verification:
    return Verification(disks=(verified(day, passed, key),))


def verified(day: float, passed: bool, key: int = 2000) -> DiskVerified:
    at, different = FIRST + timedelta(days=day), () if passed else (0,)
    return DiskVerified(key=key, at=at, level="chain", blocks=4, compared=4, different=different)


def against_source(*, passed: bool, key: int = 2000) -> Comparison:
    different = () if passed else (0,)
    return Comparison(disks=(DiskCompared(key=key, at=NOW, blocks=4, compared=4, changed=0, different=different),))


def numbers(history: History, decided: Plan) -> list[int]:
    """Which points stay."""
    return [number for number, decision in enumerate(decided.decisions) if decision.keep]


def moves(history: History, decided: Plan) -> list[tuple[int, int | None]]:
    place = {entry.point: number for number, entry in enumerate(history)}
    return [(place[move.point], None if move.onto is None else place[move.onto]) for move in decided.moves]


@pytest.mark.parametrize(
    ("policy", "stay"),
    [
        pytest.param({"keep_last": 3}, [21, 22, 23], id="last"),
        pytest.param({"keep_daily": 2}, [21, 23], id="daily"),
        pytest.param({"keep_hourly": 3}, [21, 22, 23], id="hourly"),
        pytest.param({"keep_weekly": 2}, [21, 23], id="weekly"),
        pytest.param({"keep_monthly": 5}, [23], id="monthly"),
        pytest.param({"keep_yearly": 1, "keep_last": 1}, [23], id="yearly"),
        pytest.param({"keep_last": 2, "keep_weekly": 3}, [14, 21, 22, 23], id="together"),
        pytest.param({"keep_last": 500}, list(range(24)), id="more-than-there-are"),
        pytest.param({}, list(range(24)), id="no-rule"),
    ],
)
def test_a_rule_keeps_the_newest_of_each_of_its_periods(policy: dict[str, int], stay: list[int]) -> None:
    # One a day from Sunday the 1st at 03:00; on the last day two more, two hours apart.
    history = [entry(number) for number in range(22)]
    history += [entry(22, at=FIRST + timedelta(days=22, hours=2)), entry(23, at=FIRST + timedelta(days=22, hours=4))]
    assert numbers(history, plan(Chains(history), Policy(**policy), NOW)) == stay


def test_what_is_not_good_takes_no_place_and_stays_as_long_as_it_would_if_it_were() -> None:
    suspicion = Suspicion(key=2000, why="CBT forgot", run="r", at=NOW)
    history = [
        entry(0),
        entry(1, level="sample"),
        entry(2, suspect=Suspect(disks=(suspicion,))),
        entry(3, verified=at_rest(22, passed=False)),
        entry(4),
        entry(5, level="metadata"),
        entry(6),
    ]
    decided = plan(Chains(history), Policy(keep_last=3), NOW)
    assert numbers(history, decided) == [0, 3, 4, 5, 6]
    assert decided.decisions[1].reasons == ("not good",)
    assert decided.decisions[3].reasons == ("damaged, remove it yourself: verification at rest failed on 2026-11-23",)
    assert decided.decisions[5].reasons == ("last, but not good: it takes no place",)


def test_the_last_good_one_stays_whatever_came_after_it() -> None:
    history = [entry(0), entry(1), *(entry(number, level="sample") for number in range(2, 9))]
    decided = plan(Chains(history), Policy(keep_last=1), NOW)
    assert numbers(history, decided) == [1, *range(2, 9)]
    assert "the last good one" in decided.decisions[1].reasons


def test_without_a_good_point_nothing_goes() -> None:
    history = [entry(number, level="sample") for number in range(4)]
    assert numbers(history, plan(Chains(history), Policy(keep_last=1), NOW)) == [0, 1, 2, 3]


def test_a_good_point_on_one_that_is_not_is_not_good_unless_all_of_it_was_read_later() -> None:
    read = at_rest(22)
    below = entry(0, level="sample")
    history = [below, entry(1, parents={2000: below.point}), entry(2, parents={2000: below.point}, verified=read)]
    assert [Chains(history).good(one) for one in history] == [False, False, True]


def test_a_point_of_which_every_block_was_compared_when_it_was_made_is_good_on_one_that_was_sampled() -> None:
    below = entry(0, level="sample")
    above = entry(1, parents={2000: below.point}, whole=True)
    history = [below, above, entry(2, parents={2000: above.point}), entry(3, parents={2000: below.point})]
    assert [Chains(history).good(one) for one in history] == [False, True, True, False]


@pytest.mark.parametrize(
    ("day", "good"),
    [pytest.param(10, [True, False, False], id="later"), pytest.param(4, [True, False, True], id="before")],
)
def test_what_was_found_wrong_below_counts_unless_all_of_it_was_read_since(day: int, good: list[bool]) -> None:
    full = entry(1, verified=at_rest(day, passed=False))
    history = [entry(0), full, entry(2, parents={2000: full.point}, verified=at_rest(5))]
    assert [Chains(history).good(one) for one in history] == good
    assert (history[0].point in plan(Chains(history), Policy(keep_last=1), NOW).drops) is good[2]


FULL, LOW, MIDDLE, TOP, BESIDE, ELSE = range(6)


@pytest.mark.parametrize(
    ("known", "good"),
    [
        pytest.param({TOP: {"verified": at_rest(9, passed=False)}}, [ELSE], id="at rest"),
        pytest.param({MIDDLE: {"verified": at_rest(9, passed=False)}}, [ELSE], id="at rest, in the middle"),
        pytest.param({TOP: {"against_source": against_source(passed=False)}}, [ELSE], id="against the source"),
        pytest.param({BESIDE: {"verified": at_rest(9, passed=False)}}, [ELSE], id="at rest, in another on it"),
        pytest.param(
            {TOP: {"verified": at_rest(9, passed=False)}, LOW: {"verified": at_rest(8)}}, [ELSE], id="read before"
        ),
        pytest.param(
            {TOP: {"verified": at_rest(9, passed=False)}, FULL: {"verified": at_rest(10)}},
            [FULL, ELSE],
            id="the full was read since",
        ),
        pytest.param(
            {TOP: {"verified": at_rest(9, passed=False)}, LOW: {"verified": at_rest(10)}},
            [LOW, BESIDE, ELSE],
            id="one in the middle was read since",
        ),
        pytest.param(
            {TOP: {"against_source": against_source(passed=False)}, LOW: {"verified": at_rest(10)}},
            [ELSE],
            id="reading at rest says nothing of the source",
        ),
        pytest.param(
            {MIDDLE: {"verified": at_rest(9, passed=False)}, TOP: {"verified": at_rest(10)}},
            [TOP, ELSE],
            id="one above was read since",
        ),
    ],
)
def test_what_was_found_in_a_point_speaks_against_what_it_is_built_on_until_that_was_read(
    known: dict[int, dict[str, Any]], good: list[int]
) -> None:
    names = [one.point for one in (entry(number) for number in range(6))]
    below = {LOW: names[FULL], MIDDLE: names[LOW], TOP: names[MIDDLE], BESIDE: names[LOW]}
    history = [entry(number, parents={2000: below.get(number)}, **known.get(number, {})) for number in range(6)]
    chains = Chains(history)
    assert [number for number, one in enumerate(history) if chains.good(one)] == good


def test_the_one_point_that_can_be_relied_on_stays_when_a_chain_after_it_is_damaged() -> None:
    history = [entry(0), *(entry(number) for number in range(1, 4))]
    for number in (2, 3):
        history[number] = entry(number, parents={2000: history[number - 1].point})
    history[3] = entry(3, parents={2000: history[2].point}, verified=at_rest(9, passed=False))
    decided = plan(Chains(history), Policy(keep_last=1), NOW)
    assert (numbers(history, decided), decided.moves) == ([0, 1, 2, 3], ())
    doubt = Chains(history).doubt(history[1], 2000)
    assert doubt is not None
    assert doubt.seen_from(history[1].point) == (
        f"carries {history[3].point}, which failed verification at rest: blocks differ, the first at offset 0"
    )
    assert doubt.seen_from("another").startswith(f"is backed by {history[1].point}, which carries ")


@pytest.mark.parametrize(
    ("until", "stays"),
    [pytest.param(NOW + timedelta(hours=1), True, id="yet"), pytest.param(NOW, False, id="no longer")],
)
def test_a_protected_point_stays_until_its_day(until: datetime, stays: bool) -> None:
    history = [entry(0, protected=Protection(until=until, reason="audit", at=FIRST)), entry(1)]
    assert plan(Chains(history), Policy(keep_last=1), NOW).decisions[0].keep is stays


def test_a_point_that_an_unfinished_run_stands_on_stays() -> None:
    history = [entry(0), entry(1)]
    decided = plan(Chains(history), Policy(keep_last=1), NOW, {history[0].point: "run r is built on it"})
    assert (
        decided.decisions[0]
        == keep(Chains(history), Policy(keep_last=1), NOW, {history[0].point: "run r is built on it"})[0]
    )
    assert decided.drops == ()


def test_a_middle_point_goes_by_putting_its_child_on_what_it_lies_on() -> None:
    history = chain(4)
    decided = plan(Chains(history), Policy(keep_last=2, keep_weekly=2), NOW)
    assert numbers(history, decided) == [0, 2, 3]
    assert moves(history, decided) == [(2, 0)]


def test_the_oldest_full_goes_by_making_one_of_what_is_kept_above_it() -> None:
    history = chain(5)
    decided = plan(Chains(history), Policy(keep_last=2), NOW)
    assert moves(history, decided) == [(3, None)]
    assert decided.moves[0].root == history[0].point
    assert decided.drops == tuple(one.point for one in history[:3])


def test_a_full_that_two_chains_would_need_a_copy_of_stays() -> None:
    full = entry(0)
    history = [full, entry(1, parents={2000: full.point}), entry(2, parents={2000: full.point})]
    decided = plan(Chains(history), Policy(keep_last=2), NOW)
    assert (numbers(history, decided), decided.moves) == ([0, 1, 2], ())
    assert "both backed by it" in decided.decisions[0].reasons[0]


def test_chains_are_of_disks() -> None:
    first = entry(0, parents={2000: None, 2001: None})
    second = entry(1, parents={2000: first.point, 2001: None})
    third = entry(2, parents={2000: second.point, 2001: second.point})
    decided = plan(Chains([first, second, third]), Policy(keep_last=1), NOW)
    assert [(move.key, move.onto, move.root) for move in decided.moves] == [
        (2001, None, second.point),
        (2000, None, first.point),
    ]


def test_a_broken_chain_is_left_as_it_is() -> None:
    whole = chain(3)
    history = [*whole[:1], *whole[2:], entry(3)]
    decided = plan(Chains(history), Policy(keep_last=1), NOW)
    assert numbers(history, decided) == [1, 2]
    assert "damaged, remove it yourself: disk 2000 is backed by" in decided.decisions[1].reasons[0]
    assert decided.moves == ()


def test_a_chain_is_no_longer_than_it_may_be() -> None:
    history = chain(8)
    assert moves(history, plan(Chains(history), Policy(max_chain=3), NOW)) == [(3, None), (6, None)]


@pytest.mark.parametrize(
    ("number", "day", "said"),
    [
        pytest.param(
            0, 0, "damaged, but {1} is backed by it, so do not remove it: verification", id="others lie on it"
        ),
        pytest.param(1, 9, "damaged, remove it yourself once its parent was verified: ", id="on others"),
        pytest.param(1, 5, "damaged, remove it yourself: verification", id="on others that were verified since"),
        pytest.param(2, 9, "damaged, remove it yourself: verification", id="by itself"),
    ],
)
def test_what_is_to_be_done_with_a_damaged_point_is_said(number: int, day: int, said: str) -> None:
    below = entry(0, verified=at_rest(6))
    history = [below, entry(1, parents={2000: below.point}), entry(2)]
    parents = {2000: below.point} if number == 1 else None
    history[number] = entry(number, parents=parents, verified=at_rest(day, passed=False))
    reasons = plan(Chains(history), Policy(keep_last=1), NOW).decisions[number].reasons
    assert reasons[0].startswith(said.format(*(one.point for one in history)))


def test_a_chain_that_something_damaged_is_built_on_is_not_cut() -> None:
    history = chain(6)
    history[4] = entry(4, parents={2000: history[3].point}, verified=at_rest(9, passed=False))
    assert moves(history, plan(Chains(history), Policy(max_chain=3), NOW)) == []


# The same for every history: points, failures and policies are drawn at random.


@dataclass
class World:
    """What a repository holds of one VM: the bytes that each image adds, and what it is backed by."""

    images: dict[tuple[str, int], tuple[dict[int, int], str | None]]

    def content(self, point: str, key: int) -> dict[int, int]:
        own, parent = self.images[(point, key)]
        return own if parent is None else {**self.content(parent, key), **own}

    def bottom(self, point: str, key: int) -> str:
        """The full that the image is read down to."""
        parent = self.images[(point, key)][1]
        return point if parent is None else self.bottom(parent, key)

    def apply(self, decided: Plan) -> None:
        for move in decided.moves:
            assert move.root == self.bottom(move.point, move.key), "what becomes a full is a copy of the one it lies on"
            whole = self.content(move.point, move.key)
            self.images[(move.point, move.key)] = (whole, move.onto)
        self.images = {at: image for at, image in self.images.items() if at[0] not in decided.drops}


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Entry], World]:
    made: list[Entry] = []
    images: dict[tuple[str, int], tuple[dict[int, int], str | None]] = {}
    at = FIRST
    for number in range(draw(st.integers(0, 14))):
        at += timedelta(hours=draw(st.sampled_from((1, 5, 24, 24, 24, 24 * 9, 24 * 40))))
        keys = draw(st.sampled_from(((2000,), (2000,), (2000, 2001), (2001,))))
        parents: dict[int, str | None] = {}
        for key in keys:
            below = [one for one in made if one.disk(key) is not None]
            # The newest mostly, now and then another, or a full.
            choice = draw(st.sampled_from((-1, -1, -1, -1, -2, None)))
            parents[key] = None if choice is None or len(below) < -choice else below[choice].point
        level = draw(st.sampled_from(("full",) * 5 + ("sample",)))
        whole = draw(st.integers(0, 5)) == 0
        one = entry(number, at=at, parents=parents, level=level, whole=whole, **draw(marks()))
        made.append(one)
        for key in keys:
            images[(one.point, key)] = ({draw(st.integers(0, 5)): number, 9: number}, parents[key])
    if len(made) > 2 and draw(st.integers(0, 5)) == 0:  # somebody deleted one by hand
        gone = made.pop(draw(st.integers(0, len(made) - 1)))
        images = {at: image for at, image in images.items() if at[0] != gone.point}
    return made, World(images)


@st.composite
def marks(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {}
    kind = draw(st.integers(0, 11))
    if kind == 0:
        found["suspect"] = Suspect(disks=(Suspicion(key=2000, why="w", run="r", at=NOW),))
    if kind in (1, 2, 5, 6):
        found["verified"] = at_rest(
            draw(st.sampled_from((0.5, 5, 40, 90))),
            passed=kind in (2, 6),
            key=draw(st.sampled_from((2000, 2000, 2001))),
        )
    if kind in (6, 7):
        found["against_source"] = against_source(passed=draw(st.booleans()), key=draw(st.sampled_from((2000, 2001))))
    if kind in (3, 4):
        until = NOW + timedelta(days=1 if kind == 3 else -1)
        found["protected"] = Protection(until=until, reason="audit", at=NOW)
    return found


def policies() -> st.SearchStrategy[Policy]:
    count = st.none() | st.integers(1, 4)
    return st.builds(
        Policy,
        keep_last=count,
        keep_hourly=count,
        keep_daily=count,
        keep_weekly=count,
        keep_monthly=count,
        keep_yearly=count,
        max_chain=st.none() | st.integers(2, 5),
    )


def after(history: History, world: World, decided: Plan) -> list[Entry]:
    """The history once the plan was carried out."""
    left = []
    for one in history:
        if one.point in decided.drops:
            continue
        disks = tuple(
            disk.model_copy(update={"parent": world.images[(one.point, disk.key)][1]}) for disk in one.manifest.disks
        )
        left.append(Entry(one.path, one.manifest.model_copy(update={"disks": disks}), one.marks))
    return left


def is_damaged(one: Entry) -> bool:
    return any(found is not None and not found.passed for found in (one.marks.verified, one.marks.against_source))


def below_damage(history: History) -> set[str]:
    chains = Chains(history)
    return {
        below.point
        for one in history
        if is_damaged(one) or chains.broken(one) is not None
        for disk in one.manifest.disks
        for below in chains.of(one, disk.key)
    }


def is_good(chains: Chains, one: Entry) -> bool:
    """As it is said, of one point after the other."""
    return chains.broken(one) is None and all(
        is_compared(chains.of(one, disk.key), disk.key) and not is_doubtful(chains, chains.of(one, disk.key), disk.key)
        for disk in one.manifest.disks
    )


def is_compared(chain: list[Entry], key: int) -> bool:
    """Newest first."""
    for below in chain:
        if read_whole(below, key):
            return True
        if below.manifest.level != "full":
            return False
        (disk,) = (one for one in below.manifest.disks if one.key == key)
        if disk.compared == disk.blocks:
            return True
    return True


def is_doubtful(chains: Chains, chain: list[Entry], key: int) -> bool:
    """Newest first."""
    for number, below in enumerate(chain):
        if below.marks.suspect is not None and any(one.key == key for one in below.marks.suspect.disks):
            return True
        since = [at for one in chain[: number + 1] if (at := read_whole(one, key)) is not None]
        for one in (other for other in chains.history if other.disk(key) and below in chains.of(other, key)):
            compared = one.marks.against_source and one.marks.against_source.disk(key)
            if compared is not None and not compared.passed:
                return True
            failed = one.marks.verified and one.marks.verified.disk(key)
            if failed is not None and not failed.passed and not any(at > failed.at for at in since):
                return True
    return False


def read_whole(one: Entry, key: int) -> datetime | None:
    found = one.marks.verified and one.marks.verified.disk(key)
    return found.at if found is not None and found.passed and found.level == "chain" else None


@settings(max_examples=120, deadline=None)
@given(histories(), policies(), st.data())
def test_whatever_the_history_and_the_policy(
    made: tuple[list[Entry], World], policy: Policy, data: st.DataObject
) -> None:
    history, world = made
    chains = Chains(history)
    pinned = {one.point: "run r" for one in history if data.draw(st.integers(0, 9)) == 0}
    decided = plan(Chains(history), policy, NOW, pinned)
    drops = set(decided.drops)
    good = [one.point for one in history if chains.good(one)]
    whole = [one for one in history if one.point not in drops and chains.broken(one) is None]
    before = {(one.point, disk.key): world.content(one.point, disk.key) for one in whole for disk in one.manifest.disks}

    assert good == [one.point for one in history if is_good(chains, one)], (
        "all that is known counts, wherever in a chain"
    )
    assert [decision.point for decision in decided.decisions] == [one.point for one in history]
    assert drops == {decision.point for decision in decided.decisions if not decision.keep}
    assert all(decision.reasons for decision in decided.decisions)
    assert not drops & set(pinned), "an unfinished run stands on it"
    assert not any(one.marks.protected and one.marks.protected.until > NOW for one in history if one.point in drops)
    assert not drops or (good and good[-1] not in drops), "the last good one stays"
    assert not drops & {one.point for one in history if good and one.point > good[-1]}
    assert not drops & set(good[-(policy.keep_last or 0) :] if policy.keep_last else ()), "verified points only count"
    assert policy.keeps or not drops

    world.apply(decided)
    assert {at: world.content(*at) for at in before} == before, "every kept point reads as it did"
    assert not any(parent in drops for _, parent in world.images.values()), "no parent in use is gone"

    left = after(history, world, decided)
    if policy.max_chain:
        now, fixed = Chains(left), below_damage(left)
        assert all(
            len(now.of(one, disk.key)) <= policy.max_chain or fixed & {below.point for below in now.of(one, disk.key)}
            for one in left
            for disk in one.manifest.disks
        )
    again = plan(Chains(left), policy, NOW, pinned)
    # What was rewritten and compared may be good now, though it was backed by what was not: then it takes a place.
    if [one.point for one in left if Chains(left).good(one)] == [point for point in good if point not in drops]:
        assert (again.drops, again.moves) == ((), ()), "what was carried out is not to be done again"
