"""Whether a node's record still stands: pure, and always with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from runner.engine.checkpoint import NodeRecord
from runner.job.inputs import Inputs

STANDS = "completed earlier"
"""Why a node is reused without a check: the run's work is out in the world."""


@dataclass(frozen=True)
class Weighing:
    """What a record says before the world is asked. `ask`: ``recorded`` — the record stands if `check`
    agrees; ``adopt`` — a crash came between doing and recording, `check` may find the work done; ``no`` — it
    must run."""

    ask: Literal["recorded", "adopt", "no"]
    recorded: JsonValue
    why: str
    """Why it runs, if the world does not answer."""


def weigh(record: NodeRecord | None, inputs: Inputs, version: int) -> Weighing:
    if record is None:
        return Weighing("no", None, "not done yet")
    if record.state == "forgotten":
        return Weighing("no", None, record.error or "a later step rejected its result")
    if record.step_version != version:
        return Weighing("no", None, f"step {record.step} changed (version {record.step_version} → {version})")
    changed = sorted(
        name
        for name in record.fields.keys() | inputs.fields.keys()
        if record.fields.get(name) != inputs.fields.get(name)
    )
    if changed:
        return Weighing("no", None, f"input changed: {', '.join(changed)}")
    if record.state == "done":
        return Weighing("recorded", record.out, "its result no longer exists")
    if record.state == "intent":
        return Weighing("adopt", None, "was interrupted")
    return Weighing("no", None, "failed before")


def why_kept(weighing: Weighing) -> str:
    return (
        "done before"
        if weighing.ask == "recorded"
        else "completed before the interruption, which kept it from being recorded"
    )
