"""Texts of a vCenter without what tells whose it is."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TELLING = re.compile(
    r"""
    '[^']*' | "[^"]*" | \[[^\]]*\]\s?\S*        # what is quoted, and files: [datastore] dir/name
    | \S*[/\\@]\S*                              # paths, accounts, URLs
    | \b[0-9a-f]{2}(?:[ :-][0-9a-f]{2}){3,}\b   # changeIds, thumbprints, MAC addresses
    | \b[0-9a-f]{8}-[0-9a-f-]{9,}\b             # uuids
    | \b\d+\.\d+\.\d+\.\d+\b | [0-9a-f]*:[0-9a-f]*:[0-9a-f:]*
    | \b(?:[\w-]+\.)+[\w-]+\b                   # host names
    | \b[a-z-]+-\d+\b                           # morefs
    """,
    re.VERBOSE | re.IGNORECASE,
)
LONGEST = 300


def nameless(text: str, names: Iterable[str]) -> str:
    """`names`: what is known to tell, such as the names of the scratch VM, its folder and its datastore."""
    for name in sorted((name for name in names if name), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text, flags=re.IGNORECASE)
    return re.sub(r"\s+", " ", _TELLING.sub("…", text)).strip()[:LONGEST]
