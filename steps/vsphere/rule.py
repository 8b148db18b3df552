"""One rule of ``select:`` for VMs, as people write it. It asks nobody: what a VM is like, `survey` tells."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from runner.base.model import JobModel
from steps.vsphere.names import unescape

Pattern = Annotated[str, Field(min_length=1)]
"""A name in which `*` stands for any characters and `?` for one."""

Power = Literal["on", "off", "suspended"]


class Rule(JobModel):
    """Which VMs are meant. All keys of one rule must hold.

    Names are compared without regard to case, as vSphere's own search does. In them `*` stands for any
    characters and `?` for one; brackets are themselves, since names have them. Names with a slash are written
    with it, but as `%2f` where a path is meant."""

    tag: Pattern | None = None
    """`category/tag`, or the tag's name alone if only one category has it, which takes longer to find. Of the
    VM itself: a tag of its folder, host, cluster or datastore is not the VM's, as in vSphere."""
    folder: Pattern | None = None
    """Inventory path of a VM folder, such as `/DC1/vm/production`, with all that is below it. The VMs of a
    vApp are in its folder. `*` stands for one level at most: `/*/vm/production`."""
    name: Pattern | None = None
    """The VM's whole name: `web-*`."""
    regex: str | None = None
    """A regular expression (Python's) that the VM's whole name must match: `web-[0-9]+`. `(?-i:…)` minds the
    case."""
    cluster: Pattern | None = None
    """Name of the cluster whose host runs it, or its inventory path."""
    host: Pattern | None = None
    """Name of the ESXi host that it is on, as vCenter shows it, or its inventory path."""
    datastore: Pattern | None = None
    """Name of a datastore on which it has a file, or of the datastore cluster that this is in."""
    pool: Pattern | None = None
    """Name of the resource pool or vApp that it is in, or its inventory path; with those below it."""
    attribute: Annotated[dict[str, str], Field(min_length=1)] | None = None
    """Custom attributes of the VM, all of them: `{backup: gold}`. The value may have `*` and `?`; `"*"` is
    any value but an empty one."""
    power: Power | None = None
    """`on`, `off` or `suspended`."""

    @field_validator("regex")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"is no regular expression: {error}") from None
        return value

    @field_validator("folder")
    @classmethod
    def _leads_to_folders(cls, value: str | None) -> str | None:
        if value is not None and not value.strip("/"):
            raise ValueError("write a path such as /DC1/vm/production; without `any` all VMs are meant")
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.keys:
            raise ValueError(f"a rule needs a key: {', '.join(type(self).model_fields)}")
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """Those that are written."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)

    def only(self, key: str) -> Rule:
        """The rule that has this key alone."""
        return Rule(**{key: getattr(self, key)})

    def __str__(self) -> str:
        """``tag backup/gold, power on``"""
        return ", ".join(_words(key, getattr(self, key)) for key in self.keys)


def _words(key: str, value: str | dict[str, str]) -> str:
    if isinstance(value, str):
        return f"{key} {value}"
    return ", ".join(f"{key} {name}: {text}" for name, text in value.items())


def is_pattern(text: str) -> bool:
    return "*" in text or "?" in text


def like(pattern: str, name: str) -> bool:
    """Whether the whole of `name` fits; either may be escaped as vSphere does (%2f)."""
    return _glob(unescape(pattern)).fullmatch(unescape(name)) is not None


def matches(expression: str, name: str) -> bool:
    """Whether the whole of `name` matches the regular expression."""
    return _expression(expression).fullmatch(name) is not None


def within(pattern: str, path: str) -> bool:
    """Whether the inventory path `path` is the one that `pattern` names, or below it, level by level."""
    wanted, levels = pattern.strip("/").split("/"), path.split("/")
    return len(levels) >= len(wanted) and all(map(like, wanted, levels))


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    signs = {"*": ".*", "?": "."}
    return re.compile(
        "".join(signs.get(sign) or re.escape(sign) for sign in pattern), re.IGNORECASE | re.DOTALL
    )


@lru_cache(maxsize=1024)
def _expression(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)
