"""What the models of a repository's small files have in common: a file may come from elsewhere, and must not
say what cannot be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Annotated, TypeVar

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field

from runner.base.model import Model

LARGEST = 2**63 - 1
"""Bytes, as file systems count them; more blocks or seconds there cannot be either."""


class Recorded(Model):
    """No number in it is infinite or none."""

    model_config = ConfigDict(allow_inf_nan=False)


def _in_utc(value: datetime) -> datetime:
    if MINYEAR < value.year < MAXYEAR:
        return value
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise ValueError("it is before the first year or after the last one") from None
    return value


UtcTime = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""With its time zone: without one it names no moment, and cannot be compared with others."""

Amount = Annotated[int, Field(ge=0, le=LARGEST)]
"""Of bytes or blocks."""

_T = TypeVar("_T")


def different(*names: str) -> Callable[[Sequence[_T]], Sequence[_T]]:
    """A validator: of a list no two have the same in one of these fields. That there is any is another's to
    ask."""

    def check(items: Sequence[_T]) -> Sequence[_T]:
        if len(items) < 2:
            return items
        for name in names:
            values = [getattr(item, name) for item in items]
            if len(set(values)) < len(values):
                twice = next(value for value in values if values.count(value) > 1)
                raise ValueError(f"it lists the {name} {twice} twice")
        return items

    return check
