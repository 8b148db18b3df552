from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from runner.units import KiB, MiB
from steps.prune import Prune, Pruned
from steps.repository import layout
from steps.repository.retention import Policy
from tests.chain import FIRST, Chain
from tests.hub import Hub

NOW = FIRST + timedelta(days=30)


def chain(hub: Hub, count: int = 4, keys: tuple[int, ...] = (2000,)) -> Chain:
    """A full and incrementals: data, a piece of a block, zeroes over data."""
    made = Chain(Path(hub.root))
    made.add(dict.fromkeys(keys), dict.fromkeys(keys, ((0, 3 * MiB, 1),)))
    changes = [
        ((MiB, 200 * KiB, 2),),
        ((0, 64 * KiB, 3), (2 * MiB, MiB, 0)),
        ((MiB + 64 * KiB, 512, 4),),
        ((0, 512, 0),),
    ]
    for number in range(1, count):
        writes = changes[(number - 1) % len(changes)]
        made.add(dict.fromkeys(keys, number - 1), dict.fromkeys(keys, writes))
    return made


def prune(hub: Hub, made: Chain, **policy: Any) -> Pruned:
    inputs = Prune.In(repository="main", vm=made.instance, policy=Policy(**policy), now=NOW)
    context = hub.context()
    with context.closing:
        return Prune().run(context, inputs, Prune.Live())


def kept(made: Chain, *numbers: int) -> set[str]:
    return {made.points[number] for number in numbers}


def left(made: Chain) -> list[str]:
    """What is there beside points and locks."""
    return [
        path.name
        for path in made.directory.rglob("*")
        if path.name.endswith((layout.REBUILT, layout.DROPPED)) or path.name == layout.MOVING
    ]


def test_middle_and_oldest_points_go_and_what_stays_reads_as_it_did(any_hub: Hub) -> None:
    made = chain(any_hub, 5, keys=(2000, 2001))
    pruned = prune(any_hub, made, keep_last=1, keep_weekly=2)
    assert made.whole() == kept(made, 0, 4)
    pruned = prune(any_hub, made, keep_last=1)
    assert made.whole() == kept(made, 4)
    assert pruned.dropped == (made.points[0],)
    assert pruned.rebuilt == tuple(
        f"disk {key} of {made.points[4]} stands alone now, not on {made.points[0]}" for key in (2000, 2001)
    )
    assert (left(made), any_hub.warnings) == ([], [])
