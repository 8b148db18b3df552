"""What a look at one VM asks, read of a hundred at once: their devices, and what is made of them.

What vCenter answers is large, and ours is small: each page becomes the values that the look would have made
of it, by the same functions, and is dropped.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.base.errors import Interrupted, SendenseError
from runner.step.context import Answers
from steps.vsphere import allocated, machine, privileges, snapshots, vmomi
from steps.vsphere.client import LOOKS_AT_MANY, Client
from steps.vsphere.errors import Gone
from steps.vsphere.find import Candidate, Place
from steps.vsphere.names import unescape
from steps.vsphere.privileges import BACKUP, FOLDER, VDDK, Wanted
from steps.vsphere.properties import Properties, contents, known_key, properties_of, specs_of
from steps.vsphere.session import Session
from steps.vsphere.survey import Seen, Survey

PAGE = 100
"""VMs in one question: devices of one have some 20 KB, and an answer is read whole."""

BATCH = 1000
"""Objects in one question for privileges."""

_SMALL = (
    "name",
    "config.changeTrackingEnabled",
    "config.instanceUuid",
    "config.files.vmPathName",
    "capability.changeTrackingSupported",
    "datastore",
    "snapshot",
    "runtime.host",
    "runtime.powerState",
    "runtime.consolidationNeeded",
)
"""Kept as they are."""

_LARGE = (*machine.STATE, *machine.DESCRIPTION, *snapshots.FORESEEN, allocated.LAYOUT)
"""Made into values."""


@dataclass(frozen=True, slots=True)
class _Packed:
    """Of one VM: `values` are ours, packed, since thousands wait for their turn; `raw` is what pyVmomi made.
    `disks`: their capacities in bytes, None where it could not be described."""

    values: bytes
    raw: Answers
    disks: tuple[int, ...] | None


class Looks:
    """Answers for looks at VMs of a survey, see `Client.remembering`."""

    def __init__(self, client: Client, survey: Survey) -> None:
        self._client = client
        self._survey = survey
        self._own: dict[str, _Packed] = {}
        """By the VM's moref."""
        self._common: Answers = {}
        self._sets: dict[frozenset[str], frozenset[str]] = {}
        """Privileges, which most VMs have the same of."""

    def read(self, seen: Sequence[tuple[Seen, Place | None]]) -> dict[str, tuple[int, ...]]:
        """The capacities of their disks, by moref, of those that can be described. What cannot be read of
        one VM is told by the look that asks for it again."""
        fresh = [one for one in seen if one[0].moref not in self._own]
        for start in range(0, len(fresh), PAGE):
            self._read_page(fresh[start : start + PAGE])
        if fresh:
            self._read_privileges([one.moref for one, _ in fresh])
        return {one.moref: known for one, _ in seen if (known := self._own[one.moref].disks) is not None}

    def answers(self, moref: str) -> Answers:
        """For a look at that VM; empty if it was not read."""
        if moref not in self._own:
            return {}
        own = self._own[moref]
        return {**self._common, **pickle.loads(zlib.decompress(own.values)), **own.raw}

    def _named(self, key: object) -> object:
        return (self._client.name, key)

    def _read_page(self, page: Sequence[tuple[Seen, Place | None]]) -> None:
        morefs = [one.moref for one, _ in page]
        paths = tuple(dict.fromkeys((*_SMALL, *_LARGE)))

        def work(session: Session) -> list[Any]:
            specs = specs_of(session, vmomi.vim.VirtualMachine, morefs)
            return list(contents(session, specs, {vmomi.vim.VirtualMachine: paths}, skip_gone=True))

        answered = self._client.call(f"reading the devices of {len(morefs)} VMs", work)
        raw = {str(one.obj._moId): _known(one, paths) for one in answered}
        stores = self._datastores()
        for one, place in page:
            self._own[one.moref] = self._packed(
                one.moref, *self._made(one, place, raw.get(one.moref), stores)
            )

    def _packed(self, moref: str, values: Answers, raw: Answers) -> _Packed:
        described = values.get(self._named(("description of", moref)))
        disks = None if described is None else tuple(disk.capacity for disk in described.disks)
        return _Packed(zlib.compress(pickle.dumps(values)), raw, disks)

    def _made(
        self, seen: Seen, place: Place | None, raw: Properties | None, stores: Answers
    ) -> tuple[Answers, Answers]:
        """Values, by the functions that a look uses and with nothing left to ask; and what is kept as it
        is."""
        vm = vmomi.vim.VirtualMachine
        kept: Answers = {self._named(LOOKS_AT_MANY): True}
        if place is not None:
            candidate = Candidate(place.path, seen.moref, seen.instance_uuid)
            kept[self._named(("VMs called", seen.instance_uuid))] = (candidate,)
            kept[self._named(("place of", seen.moref))] = place
        if raw is None:
            return kept, {}
        small = {path: raw[path] for path in _SMALL if path in raw}
        for store in raw.get("datastore") or ():
            # One that the account does not see has no name, for every VM on it alike.
            stores.setdefault(self._named(known_key(vmomi.vim.Datastore, store._moId)), _of_store(None, None))
        from_page: Answers = {**stores, **kept, self._named(known_key(vm, seen.moref)): raw}
        bound = self._client.remembering(from_page)
        for network in raw.get("network") or ():
            # Names of port groups are for the manifest of a backup, which asks for them.
            from_page[self._named(known_key(type(network), network._moId))] = {"key": None, "name": None}
        for key, make in _values(seen.moref):
            try:
                kept[self._named(key)] = make(bound)
            except Interrupted:
                raise
            except SendenseError:
                continue  # the look asks again, and says it
        return kept, {self._named(known_key(vm, seen.moref)): small}

    def _datastores(self) -> Answers:
        """And hosts: by name, as the survey saw them; the same for all looks."""
        if not self._common:
            vim = vmomi.vim
            for place in self._survey.places.values():
                if place.kind == "Datastore":
                    key = known_key(vim.Datastore, place.moref)
                    self._common[self._named(key)] = _of_store(place.name, place.summary)
                elif place.kind == "HostSystem":
                    self._common[self._named(known_key(vim.HostSystem, place.moref))] = {"name": place.name}
                elif place.kind == "Datacenter" and (path := self._survey.path(place.moref)):
                    self._common[self._named(("datacenter at", path))] = place.moref
        return self._common

    def _read_privileges(self, morefs: Sequence[str]) -> None:
        vim = vmomi.vim
        places = self._survey.places.values()
        kinds = {"Datastore": vim.Datastore, "Datacenter": vim.Datacenter}
        on_files = [
            Wanted(
                kinds[place.kind], place.moref, f"{place.kind} {unescape(place.name or place.moref)}", FOLDER
            )
            for place in places
            if place.kind in kinds
        ]
        on_root = Wanted(vim.Folder, self._survey.root, "the vCenter's root folder", VDDK)
        there = [
            moref
            for moref in morefs
            if self._named(known_key(vim.VirtualMachine, moref)) in self._own[moref].raw
        ]
        on_vms = [Wanted(vim.VirtualMachine, moref, f"VM {moref}", BACKUP) for moref in there]
        first = self._named(privileges.granted_key(self._survey.root, VDDK)) not in self._common
        for group in _batches(on_files if first else (), (on_root,) if first else (), on_vms):
            try:
                granted_on = privileges.granted_on(self._client, group)
            except Gone:
                continue  # one of them, just now, and vSphere answers for none then: each look asks
            for moref, granted in granted_on.items():
                granted = self._sets.setdefault(granted, granted)
                into = self._own[moref].raw if moref in self._own else self._common
                into[self._named(privileges.granted_key(moref, group[0].privileges))] = granted


def _values(moref: str) -> tuple[tuple[object, Callable[[Client], Any]], ...]:
    return (
        (("readiness of", moref), lambda client: machine.readiness(client, moref)),
        (("description of", moref), lambda client: machine.describe(client, moref)),
        (("disks to freeze of", moref), lambda client: snapshots.foreseen(client, moref)),
        (("allocated of", moref), lambda client: allocated.allocated(client, moref)),
        (("datastores of", moref), lambda client: privileges.datastores_of(client, moref)),
    )


def _batches(*groups: Sequence[Wanted]) -> Iterator[Sequence[Wanted]]:
    for group in groups:
        for start in range(0, len(group), BATCH):
            yield group[start : start + BATCH]


def _known(content: Any, paths: Sequence[str]) -> Properties:
    """With None for what is unset; what may not be read is absent, and asked for by who needs it."""
    unread = {missing.path for missing in content.missingSet or ()}
    seen = properties_of(content)
    return {path: seen.get(path) for path in paths if path not in unread}


def _of_store(name: str | None, summary: Any) -> Mapping[str, Any]:
    return {"name": name, "summary": summary, "summary.type": getattr(summary, "type", None)}
