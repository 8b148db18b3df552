"""All VMs of a vCenter with what they stand on, by one pass over one view: names, places and states, never
devices.

One container view of several types, read with several property specs, a page of objects at a time; what a
page holds is made into small values before the next one is asked for. vCenter pages at 100 objects though
nobody asked (ManageIQ issue 8211, govmomi issue 1893), and a client that ignores the token loses VMs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from steps.vsphere import attributes, vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import VSphereError
from steps.vsphere.find import Place as Located
from steps.vsphere.properties import Properties, Wanted, contents, properties_of, specs_of, view
from steps.vsphere.session import Session

DOING = "reading the names and places of all VMs"

MACHINE = (
    "name",
    "parent",
    "parentVApp",
    "resourcePool",
    "datastore",
    "customValue",
    "summary.config.template",
    "summary.config.instanceUuid",
    "summary.config.uuid",
    "runtime.host",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.faultToleranceState",
    "config.flags",
    "config.ftInfo",
)
"""Cheap ones only: ``config.hardware``, ``layoutEx`` and ``guest`` of thousands of VMs take minutes."""

PLACE = ("name", "parent")

_OUT_OF_REACH = ("inaccessible", "orphaned", "invalid")
"""Connection states of a VM whose files or host vCenter has lost. A disconnected one comes back with its
host."""

_POWER = {"poweredOn": "on", "poweredOff": "off", "suspended": "suspended"}

DEEPEST = 100
"""Levels between anything and the root folder."""

FT_SECONDARY = 2
"""FaultToleranceConfigInfo.role (API reference)."""


@dataclass(slots=True)
class Place:
    """A folder, datacenter, cluster, host, pool, vApp or datastore."""

    moref: str
    kind: str
    """The API's type: ``ClusterComputeResource``."""
    name: str | None
    """As the API gives it, escaped; None where the account may not read it."""
    above: str | None
    """The moref of its parent."""
    folder: str | None = None
    """Of a vApp: the moref of the folder that it is shown in."""
    summary: Any = None
    """Of a datastore: how full it is, as the API gives it."""


@dataclass(slots=True)
class Seen:
    """A VM. What it has not is None or empty; what could not be read is in `unread` besides."""

    moref: str
    name: str
    """Escaped; empty if it could not be read."""
    instance_uuid: str
    bios_uuid: str
    parent: str | None
    vapp: str | None
    pool: str | None
    host: str | None
    datastores: tuple[str, ...]
    power: str
    why_not: str
    """Why no job can take it, in words: ``template``; empty if one can."""
    attributes: Mapping[int, str] = field(default_factory=dict)
    """Values by the key of the definition."""
    unread: frozenset[str] = frozenset()
    """The paths of `MACHINE` that the account may not read."""


@dataclass(frozen=True)
class Survey:
    """By moref, what the account can see."""

    root: str
    machines: tuple[Seen, ...]
    places: Mapping[str, Place]

    def chain(self, moref: str | None) -> Iterator[Place]:
        """The place and all above it below the root folder, upwards. Ends early where the account sees no
        more."""
        for _ in range(DEEPEST):
            place = None if moref is None or moref == self.root else self.places.get(moref)
            if place is None:
                return
            yield place
            moref = place.above

    def path(self, moref: str | None) -> str | None:
        """Its inventory path, without a leading slash, names escaped; empty for the root folder. None where a
        part of it cannot be read."""
        names = []
        above = moref
        for place in self.chain(moref):
            if place.name is None:
                return None
            names.append(place.name)
            above = place.above
        return "/".join(reversed(names)) if above == self.root else None

    def located(self, seen: Seen) -> Located | None:
        """None where a part of its path cannot be read."""
        above = self.path(seen.parent or seen.vapp)
        if above is None or not seen.name:
            return None
        chain = self.chain(seen.parent or seen.vapp)
        datacenter = next((one.moref for one in chain if one.kind == "Datacenter"), None)
        return Located(f"{above}/{seen.name}", self.path(datacenter) or "" if datacenter else "")


def survey(client: Client) -> Survey:
    """Raises VSphereError; what of one VM cannot be read is in its `unread`."""

    def work(session: Session) -> Survey:
        machines: list[Seen] = []
        places: dict[str, Place] = {}
        kept: dict[object, Any] = {}  # thousands of VMs name the same few datastores
        wanted = _wanted()
        with view(session, wanted) as objects:
            for content in contents(session, objects, wanted):
                if isinstance(content.obj, vmomi.vim.VirtualMachine):
                    machines.append(_machine(content, kept))
                else:
                    place = _place(content)
                    places[place.moref] = place
        return Survey(str(session.service("rootFolder")._moId), tuple(machines), places)

    found = client.call(DOING, work)
    if len({machine.moref for machine in found.machines}) != len(found.machines):
        raise VSphereError(f"{DOING} failed: vCenter answered twice for one VM; run again")
    return found


def with_hidden(client: Client, found: Survey, morefs: Iterable[str]) -> Survey:
    """With those of `morefs` that exist all the same, as VMs of which nothing can be read: something else
    names them, such as a tag. Those that are gone stay out."""
    unseen = sorted(set(morefs) - {machine.moref for machine in found.machines})
    if not unseen:
        return found

    def work(session: Session) -> list[Seen]:
        specs = specs_of(session, vmomi.vim.VirtualMachine, unseen)
        wanted: Wanted = {vmomi.vim.VirtualMachine: MACHINE}
        return [_machine(content, {}) for content in contents(session, specs, wanted, skip_gone=True)]

    return replace(found, machines=(*found.machines, *client.call(DOING, work)))


def attribute_keys(client: Client) -> dict[str, tuple[int, ...]]:
    """Of the custom attributes that VMs may have, by name in small letters."""
    found = attributes.fields(client)
    if found is None:
        raise VSphereError(
            "reading the names of custom attributes failed: an ESXi host by itself has none; select its VMs "
            "by name, datastore or pool"
        )
    keys: dict[str, tuple[int, ...]] = {}
    for name, key in found:
        keys[name.casefold()] = (*keys.get(name.casefold(), ()), key)
    return keys


def _wanted() -> Wanted:
    vim = vmomi.vim
    return {
        vim.VirtualMachine: MACHINE,
        vim.Folder: PLACE,
        vim.Datacenter: PLACE,
        vim.ComputeResource: PLACE,
        vim.HostSystem: PLACE,
        vim.ResourcePool: PLACE,
        vim.VirtualApp: (*PLACE, "parentFolder", "parentVApp"),
        vim.Datastore: (*PLACE, "summary"),
    }


def _place(content: Any) -> Place:
    seen = properties_of(content)
    above = seen.get("parentFolder") or seen.get("parentVApp")
    return Place(
        str(content.obj._moId),
        type(content.obj).__name__.rpartition(".")[2],
        seen.get("name"),
        _moref(seen.get("parent")),
        _moref(above),
        seen.get("summary"),
    )


def _machine(content: Any, kept: dict[object, Any]) -> Seen:
    seen = properties_of(content)
    stores = tuple(str(store._moId) for store in seen.get("datastore", ()))
    unread = frozenset(missing.path for missing in content.missingSet or ())
    return Seen(
        moref=str(content.obj._moId),
        name=str(seen.get("name", "")),
        instance_uuid=str(seen.get("summary.config.instanceUuid") or "").lower(),
        bios_uuid=str(seen.get("summary.config.uuid") or "").lower(),
        parent=_moref(seen.get("parent")),
        vapp=_moref(seen.get("parentVApp")),
        pool=_moref(seen.get("resourcePool")),
        host=_moref(seen.get("runtime.host")),
        datastores=kept.setdefault(stores, stores),
        power=_POWER.get(str(seen.get("runtime.powerState", "")), ""),
        why_not=_why_not(seen, unread),
        attributes={int(one.key): str(one.value) for one in seen.get("customValue", ())},
        unread=kept.setdefault(unread, unread),
    )


def _why_not(seen: Properties, unread: frozenset[str]) -> str:
    """What passes by itself, such as a question to be answered, is no reason: the job fails and says it."""
    if seen.get("summary.config.template"):
        return "template"
    state = str(seen.get("runtime.connectionState", "connected"))
    if state in _OUT_OF_REACH:
        return state
    fault_tolerance = seen.get("config.ftInfo")
    if fault_tolerance is not None and fault_tolerance.role == FT_SECONDARY:
        return "fault tolerance secondary"
    if str(seen.get("runtime.faultToleranceState", "notConfigured")) != "notConfigured":
        return "cannot be snapshotted: fault tolerance"
    flags = seen.get("config.flags")
    if flags is None and "config.flags" not in unread:
        return "vCenter has no configuration of it"
    if flags is not None and (flags.snapshotDisabled or flags.snapshotLocked):
        return f"cannot be snapshotted: {'disabled' if flags.snapshotDisabled else 'locked'}"
    return ""


def _moref(reference: Any) -> str | None:
    return None if reference is None else str(reference._moId)
