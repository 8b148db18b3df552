"""The run as a picture: where the boxes of its graph stand, and the curve of its throughput. Pure geometry,
in pixels.

Time runs to the right, level by level; what fans out runs in lanes, one a key, so that one disk's way is one
line. The template draws what stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from runner.base.units import human_bytes, human_seconds
from runner.events.flow import Throughput
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
    """`x`, `y`: its upper left corner. `title` is the whole name, for who points at it."""

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
    wires = _reduced(
        members,
        {(spots[a], spots[b]) for a, b in edges if a in spots and b in spots and spots[a] != spots[b]},
    )
    levels = _levels(members, wires)
    return _place(members, wires, levels, tuple(dict.fromkeys(lanes.values())))


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
    troubled = {_key(node.node) for node in nodes if node.state in ("failed", "alarm", "stopped", "running")}
    shown = [key for key in keys if key in troubled][: MAX_LANES - 1]
    rest = f"{len(keys) - len(shown)} {'others' if shown else 'keys'}"
    return {key: key for key in shown} | {key: rest for key in keys if key not in shown}


def _reduced(spots: Iterable[_Spot], edges: set[tuple[_Spot, _Spot]]) -> list[tuple[_Spot, _Spot]]:
    """Without the edges that a longer way says as well: a lock has one to nearly every node."""
    after: dict[_Spot, list[_Spot]] = {spot: [] for spot in spots}
    for before, behind in edges:
        after[before].append(behind)
    reach: dict[_Spot, set[_Spot]] = {}
    for spot in reversed(_sorted(after)):
        reach[spot] = set(after[spot]).union(*(reach[behind] for behind in after[spot]))
    return [
        (before, behind)
        for before, followers in after.items()
        for behind in followers
        if not any(behind in reach[other] for other in followers if other != behind)
    ]


def _sorted(after: dict[_Spot, list[_Spot]]) -> list[_Spot]:
    """Topological; the graph has no cycles, `validate` saw to it."""
    waiting = dict.fromkeys(after, 0)
    for followers in after.values():
        for spot in followers:
            waiting[spot] += 1
    ready = [spot for spot, count in waiting.items() if count == 0]
    for spot in ready:  # grows while it is walked
        for behind in after[spot]:
            waiting[behind] -= 1
            if waiting[behind] == 0:
                ready.append(behind)
    return ready


def _levels(spots: Iterable[_Spot], wires: list[tuple[_Spot, _Spot]]) -> dict[_Spot, int]:
    """Longest way from the start; then each moved right, beside what it is for."""
    after: dict[_Spot, list[_Spot]] = {spot: [] for spot in spots}
    for before, behind in wires:
        after[before].append(behind)
    order = _sorted(after)
    level = dict.fromkeys(order, 0)
    for spot in order:
        for behind in after[spot]:
            level[behind] = max(level[behind], level[spot] + 1)
    for spot in reversed(order):
        if after[spot]:
            level[spot] = min(level[behind] for behind in after[spot]) - 1
    return level


def _place(
    members: dict[_Spot, list[NodeSummary]],
    wires: list[tuple[_Spot, _Spot]],
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


CURVE_WIDTH, CURVE_HEIGHT = 1000, 180
_SPANS = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
)  # seconds
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True)
class Tick:
    """`at`: pixels from the left, or from the top."""

    at: float
    label: str


@dataclass(frozen=True)
class Curve:
    phase: str
    line: str
    area: str
    """SVG path data, both."""
    mean: str


@dataclass(frozen=True)
class Chart:
    curves: tuple[Curve, ...]
    times: tuple[Tick, ...]
    speeds: tuple[Tick, ...]


def draw_throughput(measured: Throughput) -> Chart | None:
    """None if nothing moved."""
    top = max((max(speeds) for speeds in measured.phases.values()), default=0.0)
    if top <= 0:
        return None
    step = _nice_speed(top)
    ceiling = step * (int(top / step) + 1)
    bins = max(len(speeds) for speeds in measured.phases.values())
    seconds = bins * measured.bin_seconds
    span = next((span for span in _SPANS if seconds / span <= 8), 86400 * (1 + int(seconds / 86400 / 8)))
    return Chart(
        curves=tuple(
            _curve(phase, speeds, ceiling) for phase, speeds in measured.phases.items() if max(speeds) > 0
        ),
        times=tuple(
            Tick(at=span * index / seconds * CURVE_WIDTH, label=human_seconds(span * index) if index else "0")
            for index in range(int(seconds / span) + 1)
        ),
        speeds=tuple(
            Tick(at=CURVE_HEIGHT * (1 - step * index / ceiling), label=f"{human_bytes(step * index)}/s")
            for index in range(1, round(ceiling / step) + 1)
        ),
    )


def _nice_speed(top: float) -> float:
    """The distance of the speed's ticks, so that there are at most four below `top`."""
    unit = 1.0
    while True:
        for step in _STEPS:
            if top / (step * unit) <= 4:
                return step * unit
        unit *= 1024


def _curve(phase: str, speeds: tuple[float, ...], ceiling: float) -> Curve:
    width = CURVE_WIDTH / len(speeds)
    points = [
        f"{(index + 0.5) * width:.1f} {CURVE_HEIGHT * (1 - speed / ceiling):.1f}"
        for index, speed in enumerate(speeds)
    ]
    moving = [speed for speed in speeds if speed > 0]
    return Curve(
        phase=phase,
        line="M" + "L".join(points),
        area=f"M{0.5 * width:.1f} {CURVE_HEIGHT}L"
        + "L".join(points)
        + f"L{CURVE_WIDTH - 0.5 * width:.1f} {CURVE_HEIGHT}Z",
        mean=f"{human_bytes(sum(moving) / len(moving))}/s",
    )
