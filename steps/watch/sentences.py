"""What a drill came to, in words: sentences without a full stop, in which what the guest said is quoted."""

from __future__ import annotations

from collections.abc import Sequence

from runner.base.units import MINUTE, human_seconds
from steps.values.drill import Expectation
from steps.watch.expectations import Awaited
from steps.watch.recognised import quoted

IS_STILL = 30.0
"""Seconds without a change of the screen that are worth telling."""


def spoken(seconds: float) -> str:
    """``14 s``, ``4 min``, ``4 min 05 s``."""
    if round(seconds) < MINUTE:
        return f"{max(1, round(seconds))} s"
    return human_seconds(seconds).removesuffix(" 00 s").removesuffix(" 00 min")


def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def passed(all_: Sequence[Awaited]) -> str:
    """``the guest showed 'login:' on its serial port after 14 s``"""
    return listed([_seen(one) for one in sorted(all_, key=lambda one: one.after or 0.0)])


def _seen(one: Awaited) -> str:
    wanted, seen, after = one.expectation, quoted(one.seen or ""), spoken(one.after or 0.0)
    if wanted.serial is not None:
        return f"the guest showed {seen} on its serial port after {after}"
    if wanted.port is not None:
        return f"port {wanted.port} answered with {seen} after {after}"
    return f"the guest agent answered after {after} ({seen})"


def before(missing: Sequence[Awaited]) -> str:
    """``, before port 22 answered with 'SSH-'``; empty where nothing was missing."""
    return f", before {listed([_past(one.expectation) for one in missing])}" if missing else ""


def _past(wanted: Expectation) -> str:
    if wanted.serial is not None:
        return f"its serial port said {quoted(wanted.serial)}"
    if wanted.port is not None:
        return f"port {wanted.port} answered with {quoted(wanted.banner)}"
    return "the guest agent answered"


def missed(all_: Sequence[Awaited]) -> str:
    """What was not seen in time, and what was."""
    missing = [one for one in all_ if one.after is None]
    seen = [one for one in all_ if one.after is not None]
    if not all_:
        return "nothing was expected of the guest, and nothing that is a failure was seen"
    same = len({one.within for one in missing}) == 1
    lead = f"within {spoken(missing[0].within)} " if same else ""
    lead += "nothing of what was expected was seen: " if len(missing) > 1 and not seen else ""
    words = lead + listed([_not(one) + ("" if same else f" within {spoken(one.within)}") for one in missing])
    return f"{words}; {passed(seen)}" if seen else words


def _not(one: Awaited) -> str:
    wanted = one.expectation
    instead = f" ({one.source.instead})" if one.source.instead else ""
    if wanted.serial is not None:
        return f"its serial port did not say {quoted(wanted.serial)}"
    if wanted.port is not None:
        return f"port {wanted.port} did not answer with {quoted(wanted.banner)}{instead}"
    return "the guest agent did not answer"


def serial(last: Sequence[str], total: int) -> str:
    if not total:
        return "its serial port said nothing"
    return (
        f"the last line on its serial port was {quoted(last[-1])}" if last else "its serial port said no text"
    )


def screen(lines: Sequence[str] | None, still_for: float, unreadable: str) -> str:
    """What was looked at, and for how long it has not changed."""
    if unreadable:
        return f"its screen could not be looked at ({quoted(unreadable)})"
    still = f" and has not changed for {spoken(still_for)}" if still_for >= IS_STILL else ""
    if lines is None:
        return f"the screen shows graphics, whose text is not read,{still}".removesuffix(",")
    return f"the screen {f'ends with {quoted(lines[-1])}' if lines else 'is blank'}{still}"
