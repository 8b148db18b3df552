"""/folder: a datastore's files over HTTPS, as the Web Services SDK Programming Guide has it ("Datastore
Access").

``/folder/dir/x-flat.vmdk?dcPath=DC1&dsName=datastore1``. Without path, dsName or dcPath it lists files,
datastores or datacenters. Both parameters may be escaped once or twice, dcPath may start with a slash:
clients do all of these.
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

from steps.lab.simulator.authorization import AuthorizationManager
from steps.lab.simulator.datastore import Datastore
from steps.lab.simulator.entities import Entity
from steps.lab.simulator.machine import Machine
from steps.lab.simulator.objects import World
from steps.lab.simulator.rawfile import RawFile
from steps.lab.simulator.tree import Datacenter

PRIVILEGES = ("Datastore.Browse", "Datastore.FileManagement")
EXTENT_ENDINGS = ("-flat.vmdk", "-delta.vmdk", "-rdmp.vmdk")


E = TypeVar("E", bound=Entity)


class Refused(Exception):
    """The request is answered with an HTTP error status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Listing:
    page: bytes


class Datastores:
    """What /folder finds in the inventory. `locked_status`: the answer for a file that a running VM writes.
    It takes `PRIVILEGES` on the datacenter and the datastore (SDK Programming Guide, "Privilege Requirements
    for HTTP Access"); without them the answer is 401, which was seen (packer-builder-vsphere issue 121)."""

    def __init__(
        self, world: World, root: Entity, locked_status: int, authorization: AuthorizationManager
    ) -> None:
        self._world = world
        self._root = root
        self._locked_status = locked_status
        self._authorization = authorization

    def read(self, target: str, *, as_host: bool) -> RawFile | Listing:
        """An open file, to be closed by the caller, or a listing; `as_host`: dcPath may be left out. Raises
        Refused."""
        with self._world.lock:
            datacenter, datastore, path = self._resolve(target, as_host)
            if datacenter is None:
                found = (entity for entity in self._root.descendants() if isinstance(entity, Datacenter))
                return _listing(
                    "Datacenters",
                    (
                        (entity.inventory_path, f"/folder?dcPath={_escape(entity.inventory_path)}")
                        for entity in found
                    ),
                )
            parameters = f"dcPath={_escape(datacenter.inventory_path)}"
            if datastore is None:
                stores = datacenter.folders["datastore"].children
                return _listing(
                    datacenter.inventory_path,
                    ((store.name, f"/folder?{parameters}&dsName={_escape(store.name)}") for store in stores),
                )
            if path.is_dir():
                inside = sorted(path.iterdir())
                links = (
                    (one.name, f"/folder/{quote(str(one.relative_to(datastore.directory)))}")
                    for one in inside
                )
                parameters += f"&dsName={_escape(datastore.name)}"
                return _listing(datastore.name, ((name, f"{link}?{parameters}") for name, link in links))
            return self._open(datastore, path)

    def _resolve(self, target: str, as_host: bool) -> tuple[Datacenter | None, Datastore | None, Path]:
        parts = urlsplit(target)
        names = [name for name in unquote(parts.path.removeprefix("/folder")).split("/") if name]
        query = parse_qs(parts.query)
        datacenter_path, store_name = query.get("dcPath", [""])[0], query.get("dsName", [""])[0]
        if not datacenter_path and as_host:
            datacenter_path = self._datacenter_of(store_name)
        if not datacenter_path:
            if names or store_name:
                raise Refused(404)
            return None, None, Path()
        datacenter = self._find(self._root, datacenter_path, Datacenter)
        self._admit(datacenter, as_host)
        if not store_name:
            if names:
                raise Refused(404)
            return datacenter, None, Path()
        datastore = self._find(datacenter.folders["datastore"], store_name, Datastore)
        self._admit(datastore, as_host)
        if any(name in (".", "..") or "\0" in name for name in names):
            raise Refused(404)
        return datacenter, datastore, datastore.directory.joinpath(*names)

    def _admit(self, entity: Entity, as_host: bool) -> None:
        """A ticket is for its own request, which was asked for when it was given out. Raises Refused."""
        if not as_host and not all(self._authorization.grants(privilege, entity) for privilege in PRIVILEGES):
            raise Refused(401)

    def _datacenter_of(self, store_name: str) -> str:
        found = [store for store in self._world.all(Datastore) if store.name == store_name]
        return found[0].datacenter.inventory_path if found else ""

    @staticmethod
    def _find(start: Entity, path: str, kind: type[E]) -> E:
        for spelling in (path, unquote(path)):
            found = start.below(spelling)
            if isinstance(found, kind):
                return found
        raise Refused(404)

    def _open(self, datastore: Datastore, path: Path) -> RawFile:
        if path.name.endswith(EXTENT_ENDINGS) and not datastore.serves_flat_files:
            raise Refused(404)
        machines: list[Machine] = list(self._world.all(Machine))
        if any(path in machine.locked_files() for machine in machines):
            raise Refused(self._locked_status)
        for machine in machines:
            for disk in machine.stored_disks:
                for layer in disk.layers:
                    if layer.raw.path == path:
                        return layer.raw.duplicate()
        if not path.is_file():
            raise Refused(404)
        return RawFile(path, path.stat().st_size)

    def writable(self, target: str, *, as_host: bool) -> Path:
        """Where a PUT or DELETE goes. Raises Refused for anything that is not in a directory of a datastore,
        with 405 as a user met it (pyvmomi-community-samples issue 732), and for the files of a VM's disks."""
        with self._world.lock:
            _, datastore, path = self._resolve(target, as_host)
            if datastore is None or not path.parent.is_dir() or path.is_dir():
                raise Refused(405)
            for machine in self._world.all(Machine):
                if any(layer.raw.path == path for disk in machine.stored_disks for layer in disk.layers):
                    raise Refused(self._locked_status)
            return path


def store(path: Path, chunks: Iterable[bytes]) -> bool:
    """Writes a file whole; True if it is a new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        fresh = not path.exists()
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return fresh


def _escape(text: str) -> str:
    return quote(text, safe="")


def _listing(title: str, links: Iterable[tuple[str, str]]) -> Listing:
    rows = "".join(
        f'<tr><td><a href="{html.escape(link)}">{html.escape(name)}</a></td></tr>' for name, link in links
    )
    head = f"<html><head><title>Index of {html.escape(title)}</title></head>"
    return Listing(f"{head}<body><table>{rows}</table></body></html>".encode())
