"""What somebody meant who wrote a word that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    # Reversed, so that of two that fold alike the first known one stays.
    folded = {choice.lower().replace("_", "-"): choice for choice in reversed(list(known))}
    close = difflib.get_close_matches(word.lower().replace("_", "-"), list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'port'?``, or nothing if no known word is close."""
    meant = closest(word, known)
    return "" if meant is None else f"; did you mean '{meant}'?"
