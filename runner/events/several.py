"""What came of many jobs, in words: by cause, since one cause may have stopped hundreds."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_NAMED = 3


@dataclass(frozen=True)
class Cause:
    """Why some are not done."""

    why: str
    """With `BLANK` for the name where several have it."""
    names: tuple[str, ...]

    def counted(self, noun: str) -> str:
        return many(len(self.names), noun)

    @property
    def which(self) -> str:
        """``web-1, web-2, web-3 and 385 more``"""
        named = ", ".join(self.names[:MOST_NAMED])
        left = len(self.names) - MOST_NAMED
        return f"{named} and {left:,} more" if left > 0 else named


class Causes:
    """Gathers them: sentences that differ in the name alone are one."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, why: str, name: str) -> int:
        """How many have it by now."""
        names = self._names.setdefault(alike(why, name), [])
        names.append(name)
        return len(names)

    @property
    def found(self) -> list[Cause]:
        """The commonest first."""
        causes = [
            Cause(why if len(names) > 1 else why.replace(BLANK, names[0]), tuple(sorted(names)))
            for why, names in self._names.items()
        ]
        return sorted(causes, key=lambda cause: -len(cause.names))


BLANK = "…"
"""In the place of a name, in a sentence that many share."""


def alike(text: str, name: str) -> str:
    """The sentence without the name, where that stands as a word."""
    return re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", BLANK, text) if name else text


def many(count: int, noun: str) -> str:
    """``1 VM``, ``1,000 VMs``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def headline(done: int, count: int, noun: str) -> str:
    """``Done: 1,000 VMs``, ``388 of 1,000 VMs are not done``."""
    if done == count:
        return f"Done: {many(count, noun)}"
    left = count - done
    return f"{left:,} of {many(count, noun)} {'is' if left == 1 else 'are'} not done"
