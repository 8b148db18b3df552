"""All of a repository as one look found it, for a look at many VMs: what each of their nodes would ask of its
directory is asked of this instead.

What was read stays packed, and a VM's points are made of it when they are asked for, and not kept: of 10,000
VMs with three points each the listing takes 300 MB, and the models would take gigabytes.
"""

from __future__ import annotations

import json
import marshal
import posixpath
import zlib
from collections.abc import Container, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from runner.base.errors import StateError
from runner.hosts.host import Host
from runner.hosts.lock_file import LockText, read_lock
from runner.step.items import Kept
from steps.repository import identities, layout, listing, marker, reader
from steps.repository.listing import Found, Listing
from steps.repository.vm_directory import VmDirectory

PORTION = 10_000
"""Files of one archive: 30 MB of manifests."""

AT_ONCE = 8
"""VMs whose points are kept as models: nodes of one ask one after the other."""


class Whole:
    """Of the repository at `root` on `host`; `locks`: contents of the locks in it that say something."""

    def __init__(self, host: Host, root: str, locks: Listing) -> None:
        self.host = host
        self.root = root
        self._packed: dict[str, bytes] = {}
        self._jobs: dict[str, str] = {}
        """By directory, the job that made its newest point."""
        self._locks = {posixpath.dirname(path): content for path, content in locks.contents.items()}
        self._unread_locks = {posixpath.dirname(path) for path in locks.failed}
        self._named: dict[str, list[str]] = {}
        self._adopted: dict[str, list[str]] = {}
        self._current: dict[str, str] = {}
        """By directory, the instance uuid under which its VM was adopted last."""
        self._doubtful: list[str] = []
        """Directories of which it cannot be read for whom they were adopted."""
        self.vm = lru_cache(maxsize=AT_ONCE)(self._vm)

    def add(self, name: str, listed: Listing) -> None:
        """What is in the directory of that name."""
        if uuid := layout.uuid_of_vm_directory(name):
            self._named.setdefault(uuid, []).append(name)
            self._read_adoption(name, listed)
            self._jobs[name] = _newest_job(listed)
            self._packed[name] = _packed(listed)

    def directories(self) -> dict[str, str]:
        """Names in order, each with the instance uuid in it."""
        return {name: layout.uuid_of_vm_directory(name) or "" for name in sorted(self._packed)}

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
        for name, job in sorted(self._jobs.items()):
            uuid = layout.uuid_of_vm_directory(name)
            if uuid is None or uuid in but or self._current.get(name) in but:
                continue
            if job.startswith(made_by) and (seen := self._vm(name)).newest is not None:
                made = seen.newest.manifest
                yield Kept(
                    self._current.get(name, uuid), seen.vm_name, made.job, len(seen.entries), made.moment
                )

    def newest_good(self) -> Mapping[str, datetime]:
        """The moment of each VM's newest good point, by its instance uuid in lower case."""
        found: dict[str, datetime] = {}
        for name, uuid in self.directories().items():
            if (good := self._vm(name).chains.newest_good) is not None:
                key = self._current.get(name, uuid).lower()
                found[key] = max(good.moment, found.get(key, good.moment))
        return found

    def _vm(self, name: str) -> VmDirectory:
        directory = posixpath.join(self.root, name)
        listed = _unpacked(self._packed[name]) if name in self._packed else None
        if listed is None or (name not in listed.found and listing.is_gone(listed.failed.get(name, ""))):
            return VmDirectory(directory)
        return reader.contents_of(self.root, listed).vms.get(name) or VmDirectory(directory)

    def _read_adoption(self, name: str, listed: Listing) -> None:
        path = f"{name}/{layout.IDENTITIES}"
        if path in listed.failed:
            self._doubtful.append(name)
        elif (content := listed.contents.get(path)) is not None:
            try:
                uuid = identities.current_uuid(identities.parse(content, path))
            except StateError:
                self._doubtful.append(name)
            else:
                if uuid is not None:
                    self._adopted.setdefault(uuid, []).append(name)
                    self._current[name] = uuid


def take(host: Host, root: str) -> Whole:
    """By one listing, and an archive of small files for each `PORTION` of them. Raises NotARepositoryError,
    UnreadableError, CommandError, HostError."""
    marker.require(host, root)
    for _ in range(listing.ATTEMPTS):
        listed = listing.find(host, root)
        locks = Listing()
        held = (one for one in listed.found.values() if one.path.endswith(f"/{layout.LOCK}") and one.size)
        listing.read_files(host, root, locks, (one.path for one in held if one.path.count("/") == 1))
        made = Whole(host, root, locks)
        # A run that publishes or deletes meanwhile moved something: what was read is of no one moment.
        if not _read(host, root, listed, made):
            break
    return made


def _read(host: Host, root: str, listed: Listing, into: Whole) -> bool:
    """Whether something vanished meanwhile."""
    vms, vanished = _by_vm(listed), False
    wanted = {name: reader.to_be_read(of_vm) for name, of_vm in vms.items()}
    portion: list[str] = []
    count = 0
    for number, name in enumerate(sorted(vms), 1):
        portion.append(name)
        count += len(wanted[name])
        if count >= PORTION or number == len(vms):
            read = Listing()
            listing.read_files(host, root, read, (path for one in portion for path in wanted[one]))
            vanished |= listing.vanished(read, None)
            for of_vm in _by_vm(read).items():
                vms[of_vm[0]].contents.update(of_vm[1].contents)
                vms[of_vm[0]].failed.update(of_vm[1].failed)
            for one in portion:
                into.add(one, vms.pop(one))
            portion, count = [], 0
    return vanished


def _by_vm(listed: Listing) -> dict[str, Listing]:
    """Emptied as they are taken out of `listed`."""
    found: dict[str, Listing] = {}
    for part in ("found", "contents", "failed"):
        of: dict[str, Any] = getattr(listed, part)
        for path, value in of.items():
            name = path.partition("/")[0]
            getattr(found.setdefault(name, Listing()), part)[path] = value
        of.clear()
    return found


def _packed(listed: Listing) -> bytes:
    found = {path: tuple(one) for path, one in listed.found.items()}
    return zlib.compress(marshal.dumps((found, listed.contents, listed.failed)), 1)


def _unpacked(packed: bytes) -> Listing:
    found, contents, failed = marshal.loads(zlib.decompress(packed))
    return Listing({path: Found(*one) for path, one in found.items()}, contents, failed)


def _newest_job(listed: Listing) -> str:
    """Empty where it cannot be told."""
    manifests = [path for path in listed.contents if path.endswith(f"/{layout.MANIFEST}")]
    try:
        found = json.loads(listed.contents[max(manifests)]) if manifests else {}
    except ValueError:
        return ""
    job = found.get("job", "") if isinstance(found, dict) else ""
    return job if isinstance(job, str) else ""
