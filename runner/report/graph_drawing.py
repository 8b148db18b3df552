"""The graph of a run as a picture: where its boxes stand. Pure geometry, in pixels.

Time runs to the right, level by level; what fans out runs in lanes, one a key, so that one disk's way is one
line. The template draws what stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from runner.base.dag import Dag
from runner.base.units import human_seconds
from runner.events.outcomes import NODES, NodeState, Tone
from runner.events.summary import NodeSummary

BOX_WIDTH, BOX_HEIGHT = 86, 40
PITCH_X, PITCH_Y = 106, 50
LANE_GAP = 14
LABEL_WIDTH = 62
NAME_LENGTH = 11  # characters of 12 px that fit in a box beside its mark
MAX_LANES = 7  # a page; the lanes where all went well are drawn as one beyond it
MAX_BOXES = 240  # more than anyone can look at, and the limit of a quadratic layout

WORST_FIRST: tuple[NodeState, ...] = (
    "failed",
    "alarm",
    "stopped",
    "skipped",
    "running",
    "waiting",
    "unneeded",
    "kept",
    "done",
)


@dataclass(frozen=True)
class Box:
    """`x`, `y`: its upper left corner. `title` is the whole name, shown as a tooltip."""

    x: float
    y: float
    name: str
    title: str
    state: NodeState
    note: str

    @property
    def tone(self) -> Tone:
        return NODES[self.state].tone


@dataclass(frozen=True)
class Lane:
    y: float
    height: float
    label: str


@dataclass(frozen=True)
class Graph:
    width: float
    height: float
    lanes: tuple[Lane, ...]
    boxes: tuple[Box, ...]
    wires: tuple[str, ...]
    """SVG path data."""


@dataclass(frozen=True)
class _Spot:
    """One box before it has a place: a step in a lane ("" for steps that do not fan out)."""

    step: str
    lane: str


def draw_graph(nodes: Sequence[NodeSummary], edges: Iterable[tuple[str, str]]) -> Graph | None:
    """None where there is nothing to draw, or too much to look at."""
    lanes = _lanes(nodes)
    spots = {node.node: _Spot(_step(node.node), lanes.get(_key(node.node), "")) for node in nodes}
    members: dict[_Spot, list[NodeSummary]] = {}
    for node in nodes:
        members.setdefault(spots[node.node], []).append(node)
    if not members or len(members) > MAX_BOXES:
        return None
    dag = Dag(members)
    dag.add((spots[a], spots[b]) for a, b in edges if a in spots and b in spots and spots[a] != spots[b])
    # Reduced, since a lock has an edge to nearly every node; as late as possible, so that what serves a disk
    # stands beside what it serves.
    return _place(members, dag.reduced(), dag.levels(), tuple(dict.fromkeys(lanes.values())))


def _step(node: str) -> str:
    return node.partition("[")[0]


def _key(node: str) -> str:
    return node.partition("[")[2].removesuffix("]")


def _lanes(nodes: Sequence[NodeSummary]) -> dict[str, str]:
    """The lane of each key: its own, or, where there are too many, one for all in which everything went
    well."""
    keys = list(dict.fromkeys(_key(node.node) for node in nodes if "[" in node.node))
    if len(keys) <= MAX_LANES:
        return {key: key for key in keys}
    # What went wrong keeps a lane of its own: it is what the picture is looked at for.
    troubled = {_key(node.node) for node in nodes if node.state in ("failed", "alarm", "stopped", "running")}
    shown = [key for key in keys if key in troubled][: MAX_LANES - 1]
    rest = f"{len(keys) - len(shown)} {'others' if shown else 'keys'}"
    return {key: key for key in shown} | {key: rest for key in keys if key not in shown}


def _place(
    members: dict[_Spot, list[NodeSummary]],
    wires: Iterable[tuple[_Spot, _Spot]],
    levels: dict[_Spot, int],
    lanes: tuple[str, ...],
) -> Graph:
    stacks: dict[tuple[str, int], list[_Spot]] = {}
    for spot in members:
        stacks.setdefault((spot.lane, levels[spot]), []).append(spot)
    crowded = {level for lane, level in stacks if lane}
    y = 0.0
    tops: dict[str, float] = {}
    heights: dict[str, float] = {}
    # What does not fan out stands in the middle, or above the lanes where a lane has a box at its level.
    above = max(
        (len(stack) for (lane, level), stack in stacks.items() if not lane and level in crowded), default=0
    )
    y += above * PITCH_Y + (LANE_GAP if above else 0)
    first = y
    for lane in lanes:
        heights[lane] = max(len(stack) for (name, _), stack in stacks.items() if name == lane) * PITCH_Y
        tops[lane] = y
        y += heights[lane] + LANE_GAP
    single = max(
        (len(stack) for (lane, level), stack in stacks.items() if not lane and level not in crowded),
        default=0,
    )
    bottom = max(y - (LANE_GAP if lanes else 0), first + (0 if lanes else single * PITCH_Y))
    boxes: dict[_Spot, Box] = {}
    for (lane, level), stack in stacks.items():
        if lane:
            top = tops[lane] + (heights[lane] - len(stack) * PITCH_Y) / 2
        else:
            top = 0.0 if level in crowded else (first + bottom - len(stack) * PITCH_Y) / 2
        for index, spot in enumerate(stack):
            x = (LABEL_WIDTH if lanes else 4) + level * PITCH_X
            box = _box(spot, members[spot])
            boxes[spot] = replace(box, x=x, y=top + index * PITCH_Y + (PITCH_Y - BOX_HEIGHT) / 2 + 3)
    return Graph(
        width=max(box.x for box in boxes.values()) + BOX_WIDTH + 8,
        height=bottom + 10,
        lanes=tuple(Lane(y=tops[lane], height=heights[lane] + 6, label=lane) for lane in lanes),
        boxes=tuple(boxes.values()),
        wires=tuple(_wire(boxes[before], boxes[behind]) for before, behind in wires),
    )


def _box(spot: _Spot, nodes: list[NodeSummary]) -> Box:
    # Of a lane that stands for many the worst is shown: green must mean that all of them are.
    state = min((node.state for node in nodes), key=WORST_FIRST.index)
    times = [node.seconds for node in nodes if node.seconds is not None]
    note = human_seconds(times[0]) if times and state in ("done", "alarm", "failed") else NODES[state].word
    if len(nodes) > 1:
        note = f"{sum(node.state == state for node in nodes)} {NODES[state].word}"
    name = spot.step if len(spot.step) <= NAME_LENGTH else spot.step[: NAME_LENGTH - 1] + "…"
    titles = f"{nodes[0].node} … {nodes[-1].node}" if len(nodes) > 1 else nodes[0].node
    return Box(x=0, y=0, name=name, title=f"{titles}: {NODES[state].word}", state=state, note=note)


def _wire(before: Box, behind: Box) -> str:
    x1, y1 = before.x + BOX_WIDTH, before.y + BOX_HEIGHT / 2
    x2, y2 = behind.x, behind.y + BOX_HEIGHT / 2
    gap = PITCH_X - BOX_WIDTH
    if y2 < y1:  # up to the band above the lanes, where there is room to run level
        return f"M{x1:g} {y1:g}C{x1 + gap:g} {y1:g} {x1:g} {y2:g} {x1 + gap:g} {y2:g}H{x2:g}"
    return f"M{x1:g} {y1:g}H{x2 - gap:g}C{x2:g} {y1:g} {x2 - gap:g} {y2:g} {x2:g} {y2:g}"
