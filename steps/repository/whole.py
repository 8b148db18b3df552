"""All of a repository as one look found it, for a look at many VMs: what each of their nodes would ask of its
directory is asked of this instead.

What was read stays as it came; a VM's points are made of it when they are asked for, and not kept: of 10,000
VMs the models would take gigabytes.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Container, Iterator
from functools import lru_cache
from typing import Any

from runner.base.errors import StateError
from runner.hosts.host import Host
from runner.hosts.lock_file import LockText, read_lock
from runner.step.items import Kept
from steps.repository import identities, layout, listing, marker, reader
from steps.repository.listing import Listing
from steps.repository.vm_directory import VmDirectory

AT_ONCE = 8
"""VMs whose points are kept as models: nodes of one ask one after the other."""


class Whole:
    """`listed`: of the repository at `root` on `host`; `locks`: contents of the locks in it that say
    something."""

    def __init__(self, host: Host, root: str, listed: Listing, locks: Listing) -> None:
        self.host = host
        self.root = root
        self._vms = _by_vm(listed)
        self._locks = {posixpath.dirname(path): content for path, content in locks.contents.items()}
        self._unread_locks = {posixpath.dirname(path) for path in locks.failed}
        self._named: dict[str, list[str]] = {}
        self._adopted: dict[str, list[str]] = {}
        self._doubtful: list[str] = []
        """Directories of which it cannot be read for whom they were adopted."""
        for name in sorted(self._vms):
            if uuid := layout.uuid_of_vm_directory(name):
                self._named.setdefault(uuid, []).append(name)
                self._read_adoption(name)
        self.vm = lru_cache(maxsize=AT_ONCE)(self._vm)

    def names(self, instance_uuid: str) -> list[str]:
        """Of the directories with that uuid in their names."""
        return self._named.get(instance_uuid.lower(), [])

    def adopted_as(self, instance_uuid: str) -> str | None:
        """As `identities.adopted_as`."""
        if self._doubtful:
            path = f"{self._doubtful[0]}/{layout.IDENTITIES}"
            raise listing.UnreadableError(self.root, self.host.name, f"{path}: it is not readable")
        found = [posixpath.join(self.root, name) for name in self._adopted.get(instance_uuid.lower(), ())]
        if len(found) > 1:
            raise identities.AdoptedTwiceError(instance_uuid, found)
        return found[0] if found else None

    def lock(self, name: str) -> LockText | None:
        """Of the VM's directory of that name; None where it must be asked for."""
        return None if name in self._unread_locks else read_lock(self._locks.get(name, b""))

    def kept(self, but: Container[str], made_by: str) -> Iterator[Kept]:
        """As its newest point by name says: of thousands that other jobs made no more is read."""
        for name in sorted(self._vms):
            uuid = layout.uuid_of_vm_directory(name)
            if uuid is None or uuid in but or any(one in but for one in self._goes_by(name)):
                continue
            if not self._newest_job(name).startswith(made_by):
                continue
            seen = self._vm(name)
            if seen.newest is not None:
                made = seen.newest.manifest
                item = (self._goes_by(name) or [uuid])[-1]
                yield Kept(item, seen.vm_name, made.job, len(seen.entries), made.moment)

    def _newest_job(self, name: str) -> str:
        """Empty where it cannot be told."""
        manifests = [path for path in self._vms[name].contents if path.endswith(f"/{layout.MANIFEST}")]
        try:
            found = json.loads(self._vms[name].contents[max(manifests)]) if manifests else {}
        except ValueError:
            return ""
        job = found.get("job", "") if isinstance(found, dict) else ""
        return job if isinstance(job, str) else ""

    def _goes_by(self, name: str) -> list[str]:
        return [uuid for uuid, names in self._adopted.items() if name in names] if self._adopted else []

    def _vm(self, name: str) -> VmDirectory:
        directory = posixpath.join(self.root, name)
        listed = self._vms.get(name)
        if listed is None or (name not in listed.found and listing.is_gone(listed.failed.get(name, ""))):
            return VmDirectory(directory)
        # Contents are taken out as they are parsed.
        copied = Listing(listed.found, dict(listed.contents), listed.failed)
        return reader.contents_of(self.root, copied).vms.get(name) or VmDirectory(directory)

    def _read_adoption(self, name: str) -> None:
        listed, path = self._vms[name], f"{name}/{layout.IDENTITIES}"
        if path in listed.failed:
            self._doubtful.append(name)
        elif (content := listed.contents.get(path)) is not None:
            try:
                uuid = identities.current_uuid(identities.parse(content, path))
            except StateError:
                self._doubtful.append(name)
            else:
                self._adopted.setdefault(uuid or "", []).append(name)


def take(host: Host, root: str) -> Whole:
    """By one listing, and one archive of small files. Raises NotARepositoryError, UnreadableError,
    CommandError, HostError."""
    marker.require(host, root)
    listed = reader.listed(host, root)
    listing.refuse_unknown(host, root, listed)
    locks = Listing()
    held = (one for one in listed.found.values() if one.path.endswith(f"/{layout.LOCK}") and one.size)
    listing.read_files(host, root, locks, (one.path for one in held if one.path.count("/") == 1))
    return Whole(host, root, listed, locks)


def _by_vm(listed: Listing) -> dict[str, Listing]:
    found: dict[str, Listing] = {}
    for part in ("found", "contents", "failed"):
        of: dict[str, Any] = getattr(listed, part)
        for path, value in of.items():
            name = path.partition("/")[0]
            getattr(found.setdefault(name, Listing()), part)[path] = value
    return found
