"""The numbers and words that several steps and commands tell of one thing, each defined once.

copied      bytes of the 1 MiB blocks that a point's image holds itself and that are not all zero: what came
            from the source
            into it, in however many attempts. Not the disk's size, nor what is the parent's
read speed  bytes that came from the source in the last attempt, a second of that attempt; the live display
            and `status`
            count the same bytes (`NodeProgress.read`) by the same clock
verified    how far the blocks were compared with what was read at the source when they were copied. Of an
            incremental a
            backup compares every new block; those that it inherits were compared when its parents were made
"""

from __future__ import annotations

from runner.base.units import counted
from runner.events.step_report import Cell
from steps.repository.manifest import Level


def speed_of(seconds: float, read: int) -> dict[str, Cell]:
    """Of a copy, the last time it went on."""
    return {
        "Copy time": Cell(value=seconds, unit="seconds"),
        "Read speed": Cell(value=read / max(seconds, 0.001), unit="bytes/s"),
    }


def digested_by(tools: str, reread: int) -> str:
    """Of blocks that were read back on their own host, with what; `reread` of them over the wire too."""
    if not tools:
        return ""
    return f", digested on that host by {tools} ({counted(reread, 'block')} of them read over the wire too)"


def verified(level: Level, compared: int, blocks: int) -> str:
    """Of a disk, or of all of a point; `compared` of its `blocks` of 1 MiB were read back by the backup that
    made it."""
    if blocks and compared == blocks:
        return "every block"
    match level:
        case "full":
            return "every new block"
        case "sample":
            return f"a sample ({compared} of {blocks} blocks)"
        case "metadata":
            return "tables only"
