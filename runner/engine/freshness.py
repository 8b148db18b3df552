"""Whether a node's record still stands: pure, and always with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from runner.engine.checkpoint import NodeRecord
from runner.job.inputs import Inputs

STANDS = "done by an earlier execution, for good"
"""Why a node is kept that is not looked at any more: the run's work is out in the world."""


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
        return Weighing("no", None, "was not done before")
    if record.state == "forgotten":
        return Weighing("no", None, record.error or "its result was refused")
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
        return Weighing("recorded", record.out, "its result is no longer there")
    if record.state == "intent":
        return Weighing("adopt", None, "was interrupted")
    return Weighing("no", None, "failed before")


def why_kept(weighing: Weighing) -> str:
    return (
        "done before"
        if weighing.ask == "recorded"
        else "was done, though not recorded, before the interruption"
    )
