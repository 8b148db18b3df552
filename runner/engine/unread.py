"""A run of a job whose record this program cannot read: it is named and passed over, never taken for
absent."""

from __future__ import annotations

import json
from dataclasses import dataclass

from runner.base.sealed import Damaged

UNFINISHED = ("working", "unwinding")


@dataclass(frozen=True)
class UnreadRun:
    """`foreign`: the record is whole, and of another version of this program; `unfinished`: what it says of
    that all the same, None where it does not."""

    run: str
    path: str
    why: str
    foreign: bool
    unfinished: bool | None

    @property
    def sentence(self) -> str:
        return f"the record {self.path} {self.why}"

    @property
    def is_to_be_discarded(self) -> bool:
        """Nobody can resume it: the version that could would find records of ours beside its own."""
        return self.foreign and self.unfinished is True


def unread(run: str, path: str, content: bytes, why: Damaged) -> UnreadRun:
    return UnreadRun(run, path, str(why), why.foreign, _unfinished(content))


def _unfinished(content: bytes) -> bool | None:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    phase = document.get("phase") if isinstance(document, dict) else None
    return phase in UNFINISHED if isinstance(phase, str) else None
