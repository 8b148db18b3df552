"""The throughput of a run as a picture: curves and their ticks. Pure geometry, in pixels."""

from __future__ import annotations

from dataclasses import dataclass

from runner.base.units import human_bytes, human_seconds
from runner.events.flow import Throughput

CURVE_WIDTH, CURVE_HEIGHT = 1000, 180
_SPANS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
"""Seconds between the ticks of time."""
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
    # Ticks at round numbers, and one above the top, so that no curve touches the frame.
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
    # Without the time in which the phase had not begun or was over: its own speed, not that of the run.
    moving = [speed for speed in speeds if speed > 0]
    return Curve(
        phase=phase,
        line="M" + "L".join(points),
        area=f"M{0.5 * width:.1f} {CURVE_HEIGHT}L"
        + "L".join(points)
        + f"L{CURVE_WIDTH - 0.5 * width:.1f} {CURVE_HEIGHT}Z",
        mean=f"{human_bytes(sum(moving) / len(moving))}/s",
    )
