"""What was saved of the VM beside its configuration, and which of it the vCenter has now."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from runner.base.errors import Interrupted, SendenseError, StateError
from runner.hosts.host import Host
from steps.repository import layout
from steps.vsphere import attributes, tags
from steps.vsphere.client import Client
from steps.vsphere.vm_inventory import VmInventory
from steps.vsphere.vm_spec import Change


@dataclass(frozen=True)
class SavedInventory:
    saved: VmInventory
    attributes: Sequence[str] = ()
    """Names of the custom attributes that are there."""
    tags: Sequence[str] = ()
    """Those of the saved tags that are there."""
    unread: str = ""
    """Why tags could not be looked at; empty if they could."""

    @property
    def kept_attributes(self) -> dict[str, str]:
        return {name: value for name, value in self.saved.attributes.items() if name in self.attributes}

    @property
    def changes(self) -> tuple[Change, ...]:
        """What becomes of each; of the values nothing is told."""
        gone = "the vCenter has no custom attribute of that name"
        found = [
            _change(f"custom attribute {name}", name in self.attributes, gone)
            for name in sorted(self.saved.attributes)
        ]
        gone = self.unread or "the vCenter has no such tag"
        found += [_change(f"tag {tag}", tag in self.tags, gone) for tag in self.saved.tags]
        if self.saved.unread:
            why = f"they could not be read at the backup: {self.saved.unread}"
            found.append(
                Change(what="tags", was="not saved", becomes="", why=why, kind="left out", warn=True)
            )
        return tuple(found)


def _change(what: str, there: bool, gone: str) -> Change:
    if there:
        return Change(what=what, was="set", becomes="set", kind="kept")
    return Change(what=what, was="set", becomes="", why=gone, kind="left out", warn=True)


def saved_in(host: Host, point: str) -> VmInventory:
    """Of the restore point in that directory; nothing of one that was made before it was saved. Raises
    StateError for a damaged file."""
    path = posixpath.join(point, layout.VM_FILES, layout.VM_INVENTORY)
    try:
        return VmInventory.model_validate_json(host.read(path))
    except FileNotFoundError:
        return VmInventory()
    except ValidationError:
        raise StateError(f"{path} on {host.name} is damaged") from None


def look(client: Client, saved: VmInventory) -> SavedInventory:
    """Raises Unreachable, VSphereError."""
    names = [name for name, _ in attributes.fields(client) or ()] if saved.attributes else []
    try:
        return SavedInventory(saved, names, tags.there(client, saved.tags))
    except Interrupted:
        raise
    except SendenseError as error:
        return SavedInventory(saved, names, (), error.message)
