"""Tags and their categories: what the REST interface tells, which the API of SOAP does not.

Ids read ``urn:vmomi:InventoryServiceTag:<uuid>:GLOBAL`` (govmomi, vapi/simulator).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from steps.lab.simulator.entities import stable_uuid


@dataclass
class Category:
    id: str
    name: str


@dataclass
class Tag:
    id: str
    name: str
    category: Category
    objects: dict[str, str] = field(default_factory=dict)
    """Type by moref: ``VirtualMachine`` of ``vm-16``."""


class Tagging:
    """Read and written under the world's lock."""

    def __init__(self) -> None:
        self.categories: dict[str, Category] = {}
        self.tags: dict[str, Tag] = {}
        """Both by id."""

    def make(self, text: str) -> Tag:
        """The tag ``category/name``, made where it is not there."""
        of, _, name = text.partition("/")
        category_id = f"urn:vmomi:InventoryServiceCategory:{stable_uuid('category', of)}:GLOBAL"
        category = self.categories.setdefault(category_id, Category(category_id, of))
        tag_id = f"urn:vmomi:InventoryServiceTag:{stable_uuid('tag', text)}:GLOBAL"
        return self.tags.setdefault(tag_id, Tag(tag_id, name, category))

    def attach(self, text: str, reference: Any) -> None:
        self.make(text).objects[reference._moId] = type(reference).__name__.rpartition(".")[2]

    def detach(self, text: str, reference: Any) -> None:
        self.make(text).objects.pop(reference._moId, None)

    def rename(self, text: str, name: str) -> None:
        """The tag keeps its id, as vCenter's does."""
        self.make(text).name = name

    def delete(self, text: str) -> None:
        del self.tags[self.make(text).id]
