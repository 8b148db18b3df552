"""The head of a plan: the settings that a reviewer of the job must see, as its steps tell them."""

from __future__ import annotations

from collections.abc import Iterable

from runner.base.model import Model


class Setting(Model):
    """One of them in words: ``Setting(name="retention", text="keep-daily 30")``."""

    name: str
    """One or two words; what several steps say under one name shares one line."""
    text: str
    """As it is now, for a person."""
    change: str = ""
    """What a change of it may do that nobody can undo, in a sentence; empty for nothing."""
    fallback: bool = False
    """Holds only where no step says anything else under this name: that there is no retention is worth a line
    too."""


def merged(found: Iterable[Setting]) -> tuple[Setting, ...]:
    """One of each name, in the order of their first."""
    by_name: dict[str, list[Setting]] = {}
    for one in found:
        by_name.setdefault(one.name, []).append(one)
    return tuple(_one(several) for several in by_name.values())


def _one(several: list[Setting]) -> Setting:
    said = [one for one in several if not one.fallback] or several
    texts = ", ".join(dict.fromkeys(one.text for one in said))
    change = next((one.change for one in several if one.change), "")
    return Setting(name=said[0].name, text=texts, change=change)
