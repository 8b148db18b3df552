"""What a node's work is *of*, as a digest: step, version and inputs, without what only says how the work is
done.

A changed digest makes a record stale, so it must hold neither sockets nor logins nor tunings: fields marked
``HOW`` stay out, a host counts by its server, a section's entry by its own unmarked fields, a PROCESS node by
its inputs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from pydantic import BaseModel, JsonValue

from runner.base.model import HOST, HOW, SectionName, dump_value, marks_of

HostIdentity = Callable[[str], str]
SectionEntry = Callable[[str, str], BaseModel]


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Identities:
    """Turns inputs into what they are of. `host` and `section` look names up in the job."""

    def __init__(self, host: HostIdentity, section: SectionEntry) -> None:
        self._host = host
        self._section = section

    def of(self, model: BaseModel) -> dict[str, JsonValue]:
        """Field name → what it is of, as JSON."""
        found: dict[str, JsonValue] = {}
        for name in type(model).model_fields:
            marks = marks_of(type(model), name)
            if HOW not in marks:
                found[name] = self._value(getattr(model, name), marks)
        return found

    def _value(self, value: object, marks: tuple[object, ...]) -> JsonValue:
        if isinstance(value, str) and HOST in marks:
            return {"host": self._host(value)}
        if isinstance(value, str):
            for mark in marks:
                if isinstance(mark, SectionName):
                    return dict(self.of(self._section(mark.section, value)))
        if isinstance(value, BaseModel):
            return dict(self.of(value))
        if isinstance(value, tuple | list):
            return [self._value(item, marks) for item in value]
        return dump_value(value)


def digest(value: JsonValue) -> str:
    """SHA-256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def canonical(value: JsonValue) -> str:
    """JSON that is the same for equal values."""
    return _ENCODER.encode(value)
