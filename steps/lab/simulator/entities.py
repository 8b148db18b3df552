"""Managed entities: what stands in the inventory tree, by escaped name, with a parent and children."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

from steps.lab.simulator.objects import Managed, World, provides
from steps.lab.simulator.vmodl import vim

_NAMESPACE = uuid.UUID("7d1b7e0c-3d0c-4e0a-9a55-9f8a4d2c6b10")
_ESCAPES = {"%": "%25", "/": "%2f", "\\": "%5c"}


def escape(name: str) -> str:
    """The name as the API gives it: a slash is %2f, a backslash %5c, a percent sign %25 unless it starts an
    escape."""
    return re.sub(r"%(?!2f|5c|25)|[/\\]", lambda match: _ESCAPES[match[0]], name, flags=re.IGNORECASE)


def unescape(name: str) -> str:
    plain = {code: sign for sign, code in _ESCAPES.items()}
    return re.sub(r"%(?:2f|5c|25)", lambda match: plain[match[0].lower()], name, flags=re.IGNORECASE)


def stable_uuid(kind: str, identity: str) -> str:
    """The same for the same inventory, so that a restarted simulator has the same VMs and disks."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind}:{identity}"))


class Entity(Managed):
    kind = vim.ManagedEntity

    def __init__(self, world: World, moid: str, name: str, parent: Entity | None) -> None:
        self.name = escape(name)
        self.parent = parent
        self.children: list[Entity] = []
        super().__init__(world, moid)
        if parent is not None:
            parent.children.append(self)

    @provides("name")
    def entity_name(self) -> str:
        return self.name

    @provides("parent")
    def parent_ref(self) -> Any:
        return self.parent.ref if self.parent else None

    @provides("overallStatus")
    def overall_status(self) -> str:
        return "green"

    @provides("configStatus")
    def config_status(self) -> str:
        return "green"

    @provides("effectiveRole")
    def effective_role(self) -> list[int]:
        return [-1]

    @property
    def inventory_path(self) -> str:
        """The inventory path: escaped names from below the root folder, parted by slashes."""
        above = self.parent.inventory_path if self.parent else None
        return "" if above is None else f"{above}/{self.name}".lstrip("/")

    def ancestors(self) -> Iterator[Entity]:
        above = self.parent
        while above is not None:
            yield above
            above = above.parent

    def above(self, kind: Any) -> Entity | None:
        """The nearest one of that kind that it is in."""
        return next((one for one in self.ancestors() if issubclass(one.kind, kind)), None)

    def descendants(self) -> Iterator[Entity]:
        for child in self.children:
            yield child
            yield from child.descendants()

    def below(self, path: str) -> Entity | None:
        """The entity at an inventory path below this one; escapes may be in either case."""
        found: Entity | None = self
        for part in filter(None, path.split("/")):
            if found is None:
                return None
            wanted = unescape(part)
            found = next((child for child in found.children if unescape(child.name) == wanted), None)
        return found


def chain(entity: Entity) -> tuple[str, ...]:
    """Morefs: its own, then of what it is in, up to the root folder."""
    above: Entity | None = entity
    found = []
    while above is not None:
        found.append(above.moid)
        above = above.parent
    return tuple(found)
