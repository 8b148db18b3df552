"""What a plan settles and a later run must find again: what was chosen, and what it was chosen for."""

from __future__ import annotations

from collections.abc import Iterable

from runner.base.model import Model


class Decision(Model):
    """Of one subject. A saved plan holds it, and is refused once anything but `why` is another: never what is
    to be copied, which each hour changes."""

    subject: str
    """``disk 2000``; what several nodes say of one subject belongs together."""
    choice: str = ""
    """In a word: ``full``, ``incremental``. Empty where nothing is chosen."""
    facts: dict[str, str] = {}
    """What is found, or stood on, by name: ``capacity: 40.0 GiB``, ``chain: 20261123T170000Z-3f9a``."""
    why: str = ""
    """In words, for people; nothing that is compared."""


def together(found: Iterable[Decision]) -> dict[str, Decision]:
    """One of each subject, in the order of the first."""
    by_subject: dict[str, Decision] = {}
    for one in found:
        known = by_subject.get(one.subject)
        by_subject[one.subject] = (
            one
            if known is None
            else Decision(
                subject=one.subject,
                choice=known.choice or one.choice,
                facts={**known.facts, **one.facts},
                why=known.why or one.why,
            )
        )
    return by_subject
