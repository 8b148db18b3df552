"""Whether a node's record still stands: pure, and always with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from runner.engine.checkpoint import NodeRecord
from runner.job.inputs import Inputs
from runner.job.nodes import Node
from runner.step.step import Step

STANDS = "completed earlier"
"""Why a node is reused without a check: the run's work is out in the world."""


GONE = "its result is gone or has changed"
EACH_TIME = "runs each time"
"""Why a node that is done runs all the same."""


@dataclass(frozen=True)
class Weighing:
    """What a record says before the world is asked. `ask`: ``recorded`` — the record stands if `check`
    agrees; ``adopt`` — a crash came between doing and recording, `check` may find the work done; ``no`` — it
    must run."""

    ask: Literal["recorded", "adopt", "no"]
    recorded: JsonValue
    why: str
    """Why it runs, if the world does not answer."""


def weigh(record: NodeRecord | None, node: Node, inputs: Inputs) -> Weighing:
    """`record` is the node's, `inputs` are those of now. The digest decides; the rest says what differs."""
    if record is None:
        return Weighing("no", None, "not done yet")
    if record.state == "forgotten":
        return Weighing("no", None, record.error or "a later step rejected its result")
    if record.digest != inputs.digest or record.step != node.spec.uses:
        return Weighing("no", None, _what_changed(record, node, inputs))
    if record.state == "done":
        return Weighing("recorded", record.out, GONE if is_checked(node) else EACH_TIME)
    if record.state == "intent":
        return Weighing("adopt", None, "was interrupted")
    return Weighing("no", None, "failed before")


def is_checked(node: Node) -> bool:
    """Whether its step can find its work done: one that looks at nothing runs in each execution."""
    return type(node.step).check is not Step.check


def another_step(record: NodeRecord, uses: str) -> str | None:
    """Why a record says nothing of a node whose job names another step by now; None if it names the same."""
    return None if record.step == uses else f"the job uses {uses} for it now, not {record.step}"


def _what_changed(record: NodeRecord, node: Node, inputs: Inputs) -> str:
    if another := another_step(record, node.spec.uses):
        return another
    version = node.step.version
    if record.step_version != version:
        return f"step {record.step} changed (version {record.step_version} → {version})"
    names = sorted(record.fields.keys() | inputs.fields.keys())
    changed = [name for name in names if record.fields.get(name) != inputs.fields.get(name)]
    return f"input changed: {', '.join(changed)}" if changed else "its record is of other inputs"


def why_kept(weighing: Weighing) -> str:
    return (
        "completed earlier"
        if weighing.ask == "recorded"
        else "completed before the interruption, which kept it from being recorded"
    )
