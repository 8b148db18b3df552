"""Bytes and seconds, the only units of this code base, and how a person reads them."""

from __future__ import annotations

import re

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB
TiB = 1024 * GiB

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)", re.ASCII)
_SECONDS = {"s": 1.0, "m": MINUTE, "min": MINUTE, "h": HOUR, "d": DAY}


_TERM = re.compile(r"\s*(\d+)\s*(B|KiB|MiB|GiB|TiB)?\s*", re.ASCII)
_BYTES = {"": 1, "B": 1, "KiB": KiB, "MiB": MiB, "GiB": GiB, "TiB": TiB}


def counted(count: int, one: str) -> str:
    """``1 point``, ``3 points``."""
    return f"{count} {one}" if count == 1 else f"{count} {one}s"


def human_bytes(count: float) -> str:
    """``human_bytes(1536)`` is ``"1.5 KiB"``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1024 or unit == "TiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def amount(count: int, noun: str) -> str:
    """``amount(1536, "bytes")`` is ``"1.5 KiB"``, ``amount(3, "point")`` is ``"3 points"``,
    ``amount(90, "second")`` is ``"1 min 30 s"``."""
    if noun == "second":
        return human_seconds(count)
    return human_bytes(count) if noun == "bytes" else counted(count, noun)


def human_seconds(seconds: float) -> str:
    """``human_seconds(3725)`` is ``"1 h 02 min"``, ``human_seconds(9.87)`` is ``"9.9 s"``."""
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24:02d} h"


def parse_duration(text: object) -> float:
    """Seconds from ``12h``, ``1h30m``, ``90s`` or a bare number of seconds; raises ValueError for anything
    else."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    if not isinstance(text, str):
        raise ValueError("a duration is written as 90s, 30m, 12h or 1d")
    if text.strip().isdecimal():
        return float(text)
    compact = text.replace(" ", "")
    parts = _DURATION.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f"'{text}' is not a duration; write for example 90s, 30m, 12h or 1d")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def written_duration(seconds: float) -> str:
    """As people write it, and exactly: ``26h``, ``90s``, ``0.5s``; see `parse_duration`."""
    unit = next((unit for unit in "hm" if seconds % _SECONDS[unit] == 0), "s")
    return f"{seconds / _SECONDS[unit]:.15g}{unit}"


def parse_size(text: object) -> int:
    """Bytes from ``96 MiB``, ``5 GiB + 512 B`` or a bare number of bytes; raises ValueError for anything
    else."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    terms = [_TERM.fullmatch(term) for term in text.split("+")] if isinstance(text, str) else []
    found = [int(term[1]) * _BYTES[term[2] or ""] for term in terms if term]
    if not found or len(found) != len(terms):
        raise ValueError(f"'{text}' is not a size; write for example 96 MiB or 5 GiB + 512 B")
    return sum(found)


def parse_percent(value: object) -> object:
    """10 from ``10%`` or 10; raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        return value
    try:
        return float(value.strip().removesuffix("%"))
    except ValueError:
        raise ValueError(f"'{value}' is not a percentage; write for example 10%") from None
