"""A datastore's browser: which files lie in a directory, or below it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from steps.lab.simulator.datastore import Datastore
from steps.lab.simulator.objects import Managed, World, operation, provides
from steps.lab.simulator.soap import Call
from steps.lab.simulator.tasks import Tasks
from steps.lab.simulator.vmodl import fault, vim

_browser: Any = vim.host.DatastoreBrowser

_PATH = re.compile(r"\[([^\]]+)\]\s*(.*)")
_EXTENT = re.compile(r"-(flat|delta|rdmp|ctk|sesparse)\.vmdk$")

KINDS: dict[str, tuple[Any, Any]] = {
    ".vmdk": (_browser.VmDiskQuery, _browser.VmDiskInfo),
    ".vmx": (_browser.VmConfigQuery, _browser.VmConfigInfo),
    ".nvram": (_browser.VmNvramQuery, _browser.VmNvramInfo),
    ".log": (_browser.VmLogQuery, _browser.VmLogInfo),
    ".iso": (_browser.IsoImageQuery, _browser.IsoImageInfo),
}
"""By the file's ending: the query that asks for such files, and what it is told."""


class DatastoreBrowser(Managed):
    """Without a query every file is told of, also a disk's extents; a query for disks gives their descriptors
    alone (API reference, VmDiskFileQuery; that extents are told of otherwise was not found)."""

    kind = _browser

    def __init__(self, world: World, tasks: Tasks, store: Datastore) -> None:
        super().__init__(world, f"datastoreBrowser-{store.moid}")
        self._tasks = tasks
        self._store = store
        store.browser_ref = self.ref

    @provides("datastore")
    def datastores(self) -> list[Any]:
        return [self._store.ref]

    @operation("SearchDatastore_Task")
    def search(self, call: Call) -> Any:
        return self._start(call, lambda folder, spec: self._results(folder, spec))

    @operation("SearchDatastoreSubFolders_Task")
    def search_below(self, call: Call) -> Any:
        """Its result is an array, one element for each folder."""

        def work(folder: Path, spec: Any) -> Any:
            below = sorted(path for path in folder.rglob("*") if path.is_dir())
            return _browser.SearchResults.Array([self._results(one, spec) for one in (folder, *below)])

        return self._start(call, work)

    def _start(self, call: Call, work: Callable[[Path, Any], Any]) -> Any:
        self.world.authorization.require(("Datastore.Browse", self._store))
        asked, spec = call.arguments.datastorePath, call.arguments.searchSpec or _browser.SearchSpec()
        return self._tasks.start(
            call, self._store, self._store.name, lambda: work(self._folder(asked), spec), lambda: None
        )

    def _folder(self, path: str) -> Path:
        """Raises InvalidDatastorePath, InvalidDatastore, FileNotFound."""
        match = _PATH.fullmatch(path.strip())
        if match is None:
            raise fault(
                vim.fault.InvalidDatastorePath, f"Invalid datastore path '{path}'.", datastorePath=path
            )
        if match[1] != self._store.name:
            raise fault(vim.fault.InvalidDatastore, f"Invalid datastore '{match[1]}'.", name=match[1])
        names = [name for name in match[2].split("/") if name]
        folder = self._store.directory.joinpath(*names)
        if ".." in names or not folder.is_dir():
            raise fault(vim.fault.FileNotFound, f"File {path} was not found", file=path)
        return folder

    def _results(self, folder: Path, spec: Any) -> Any:
        inside = folder.relative_to(self._store.directory)
        path = f"[{self._store.name}]" if inside == Path() else f"[{self._store.name}] {inside}/"
        return _browser.SearchResults(
            datastore=self._store.ref, folderPath=path, file=list(_found(folder, spec))
        )


def _found(folder: Path, spec: Any) -> Iterator[Any]:
    inside = sorted(folder.iterdir())
    if spec.sortFoldersFirst:
        inside.sort(key=lambda path: not path.is_dir())
    for path in inside:
        if _matches(path.name, spec.matchPattern, ignoring_case=bool(spec.searchCaseInsensitive)):
            made = _information(path, spec)
            if made is not None:
                yield made


def _matches(name: str, patterns: list[str], *, ignoring_case: bool) -> bool:
    if ignoring_case:
        name, patterns = name.lower(), [pattern.lower() for pattern in patterns]
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _information(path: Path, spec: Any) -> Any:
    """None of what no query asks for."""
    if path.is_dir():
        query, kind = _browser.FolderQuery, _browser.FolderInfo
    else:
        query, kind = KINDS.get(path.suffix, (None, _browser.FileInfo))
    asked = next((one for one in spec.query if query is not None and isinstance(one, query)), None)
    if spec.query and (asked is None or _EXTENT.search(path.name)):
        return None
    made = (kind if spec.query or path.is_dir() else _browser.FileInfo)(path=path.name)
    details, status = spec.details, path.stat()
    if details is not None and details.fileSize:
        made.fileSize = status.st_size
    if details is not None and details.modification:
        made.modification = datetime.fromtimestamp(status.st_mtime, UTC)
    if isinstance(asked, _browser.VmDiskQuery) and asked.details is not None:
        _describe_disk(path, asked.details, made)
    return made


def _describe_disk(path: Path, details: Any, made: Any) -> None:
    extents = re.findall(r'^RW (\d+) \S+ "([^"]+)"', path.read_text(), re.MULTILINE)
    if details.capacityKb:
        made.capacityKb = sum(int(sectors) for sectors, _ in extents) // 2
    if details.diskExtents:
        made.diskExtents = [name for _, name in extents]
    if details.thin:
        made.thin = True
