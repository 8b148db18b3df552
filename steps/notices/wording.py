"""A notice as it is read on a telephone: the first line says what, how many and of which job."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from runner.base.printable import printable
from runner.base.units import counted
from steps.notices.told import Kind, Line, counts

SHOWN = 20
"""Lines of one kind in a notice: services cut longer ones (Telegram at 4,096 characters)."""
LONGEST = 300
"""Characters of one line."""

_TITLES: Mapping[tuple[Kind, bool], str] = {
    ("failed", False): "failed",
    ("too-old", False): "too old for the rpo",
    ("drill", False): "did not pass a drill",
    ("brake", False): "on hold, as if being encrypted",
    ("failed", True): "recovered",
    ("too-old", True): "young enough again",
    ("drill", True): "passed a drill again",
    ("brake", True): "no longer on hold",
}


@dataclass(frozen=True)
class Notice:
    title: str
    body: str
    good: bool
    """It tells of recoveries alone."""


def notice(job: str, lines: Sequence[Line], *, of: int | None, look: str) -> Notice:
    """`lines` is not empty. `of`: how many VMs a set has; None: the job is no set. `look`: the command line
    that shows more."""
    found = counts(lines)
    told = [(key, title) for key, title in _TITLES.items() if found.get(key)]
    if of is None:
        summary = ", ".join(title for _, title in told)
    else:
        summary = ", ".join(f"{found[key]} {title}" for key, title in told) + f", of {counted(of, 'VM')}"
    body = [line for key, title in told for line in _part(key, title, lines, is_set=of is not None)]
    good = all(line.is_end for line in lines)
    text = "\n".join([*body, f"Look at it on {host()}: {look}"])
    return Notice(printable(f"sendense: {job}: {summary}"), text, good)


def host() -> str:
    """The machine that tells: a notice is read elsewhere."""
    return socket.gethostname()


def _part(key: tuple[Kind, bool], title: str, lines: Sequence[Line], *, is_set: bool) -> Iterator[str]:
    kind, ended = key
    mine = [line for line in lines if (line.kind, line.is_end) == (kind, ended)]
    if not is_set:
        yield from (_line(_sentence(line, title)) for line in mine)
        return
    yield f"{title.capitalize()}:"
    causes: dict[str, list[Line]] = {}
    for line in mine:
        causes.setdefault(line.text, []).append(line)
    # One cause of many is told once, the most frequent first.
    for text, of_it in sorted(causes.items(), key=lambda one: -len(one[1]))[:SHOWN]:
        names = ", ".join(line.name for line in of_it[:SHOWN])
        if len(of_it) > SHOWN:
            names += f" and {len(of_it) - SHOWN} more"
        count = f"{len(of_it)} VMs, one cause: " if len(of_it) > 1 and text else ""
        yield _line(f"- {count}{text} ({names})" if count else f"- {_sentence(of_it[0], title, names)}")
    if len(causes) > SHOWN:
        yield f"- and {len(causes) - SHOWN} other causes"


def _sentence(line: Line, title: str, names: str | None = None) -> str:
    name = line.name if names is None else names
    if line.since is None:
        return f"{name}: {line.text}"
    return f"{name}: {title}; told {_time(line.since)}"


def _line(text: str) -> str:
    text = printable(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
