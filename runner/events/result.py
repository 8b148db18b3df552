"""What a run was for and what came of it, as one line and as values: the last line on a terminal, the head of
a report, and what `run --json` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import JsonValue

from runner.base.model import Model
from runner.base.units import amount, counted, human_seconds


class Amount(Model):
    """A number with its unit, and what it is a number of: ``2.0 MiB copied``, ``3 points deleted``."""

    value: int
    noun: str
    """``bytes``, or the singular of what is counted."""
    label: str = ""
    always: bool = True
    """Whether 0 is told."""

    @property
    def text(self) -> str:
        return f"{amount(self.value, self.noun)} {self.label}".rstrip()


class Result(Model):
    """Of one subject. `act`: what was done; results of one act are told as one, as amounts are summed and
    words kept that all of them have."""

    act: str
    subject: str
    """``pgtest1``"""
    noun: str
    """What `subject` is, in the singular: ``VM``"""
    parts: tuple[Amount | str, ...]
    """In the order in which they are told."""
    made: str = ""
    """What there is now: ``point pgtest1/20261123T170000Z-3f9a``"""
    bytes: int | None = None
    """That were copied, restored, compared or freed."""
    warns: bool = False
    """Whether somebody must look at it, though the run is done."""
    lists: dict[str, tuple[JsonValue, ...]] = {}
    """What a program gets of it, under keys that the step declares in `Step.makes`:
    ``{"points": ("pgtest1/20261123T170000Z-3f9a",)}``."""

    @property
    def text(self) -> str:
        return ", ".join((self.subject, *map(_text, filter(_is_told, self.parts))))


def _is_told(part: Amount | str) -> bool:
    return isinstance(part, str) or part.always or part.value != 0


def in_a_line(results: Sequence[Result], seconds: float) -> str:
    """``pgtest1, incremental, 2.0 MiB copied, …, 3.4 s, point pgtest1/…``; `results` is not empty."""
    merged = [
        _merged([one for one in results if one.act == act])
        for act in dict.fromkeys(one.act for one in results)
    ]
    made = [one.made for one in merged if one.made]
    return ", ".join(["; ".join(one.text for one in merged), human_seconds(seconds), *made])


def in_brief(results: Sequence[Result]) -> str:
    """``full, 2.0 MiB copied, 1 disk of 2.0 MiB, every block verified; 3 points deleted``: beside the name of
    their only subject. Of what else was done, nothing that came to nothing is told."""
    acts = dict.fromkeys(one.act for one in results)
    first, *others = (_merged([one for one in results if one.act == act]) for act in acts)
    told = [first.parts, *(tuple(part for part in one.parts if not _is_zero(part)) for one in others)]
    return "; ".join(filter(None, (", ".join(map(_text, filter(_is_told, parts))) for parts in told)))


def _is_zero(part: Amount | str) -> bool:
    return isinstance(part, Amount) and part.value == 0


def _text(part: Amount | str) -> str:
    return part if isinstance(part, str) else part.text


def _merged(results: Sequence[Result]) -> Result:
    first = results[0]
    subjects = dict.fromkeys(one.subject for one in results)
    if len(results) == 1:
        return first
    subject = first.subject if len(subjects) == 1 else counted(len(subjects), first.noun)
    made = (
        ", ".join(dict.fromkeys(one.made for one in results if one.made))
        if len(results) <= MOST_NAMED
        else ""
    )
    return first.model_copy(update={"subject": subject, "parts": tuple(_summed(results)), "made": made})


MOST_NAMED = 3
"""Of several subjects, what was made of so many fits in a line."""


def _summed(results: Sequence[Result]) -> Iterable[Amount | str]:
    amounts: dict[tuple[str, str], Amount] = {}
    words: dict[str, int] = {}
    for part in (part for one in results for part in one.parts):
        if isinstance(part, str):
            words[part] = words.get(part, 0) + 1
        else:
            key = (part.noun, part.label)
            before = amounts[key].value if key in amounts else 0
            amounts[key] = part.model_copy(update={"value": before + part.value})
    # In the order of the first; a word that not all say would be untrue of some.
    for part in results[0].parts:
        if not isinstance(part, str):
            yield amounts.pop((part.noun, part.label), part)
        elif words[part] == len(results):
            yield part
    yield from amounts.values()


def document(results: Sequence[Result], makes: Iterable[str] = ()) -> dict[str, JsonValue]:
    """What a program gets: `results`, and of all of them together each list of `makes` (the keys of all
    installed steps, so that an empty list is there too). `bytes` is that of what the run was for, the first
    act of it."""
    # A backup that also prunes is judged by what it copied.
    main = [one for one in results if one.act == results[0].act] if results else []
    known = [one.bytes for one in main if one.bytes is not None]
    return {
        **{key: _joined(results, key) for key in makes},
        "bytes": sum(known) if known else None,
        "results": [
            {
                "act": one.act,
                one.noun: one.subject,
                "bytes": one.bytes,
                **{key: _joined([one], key) for key in makes},
            }
            for one in results
        ],
    }


def _joined(results: Sequence[Result], key: str) -> list[JsonValue]:
    """Each thing once."""
    found: list[JsonValue] = []
    for thing in (thing for one in results for thing in one.lists.get(key, ())):
        if thing not in found:
            found.append(thing)
    return found
