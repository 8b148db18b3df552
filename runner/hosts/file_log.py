"""A file on a host that only grows: a ledger."""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Iterator

from runner.hosts.host import Host


class FileLog:
    """A file on a host that only grows. Several threads may append to it, by one object."""

    def __init__(self, host: Host, path: str, *, new: bool = False) -> None:
        """`new`: its directory is there and it is not, and nobody else makes it."""
        self._host = host
        self.path = path
        self._has_directory = new
        self._is_absent = new
        self._appending = threading.Lock()

    def read(self) -> bytes | None:
        return None if self._is_absent else read_if_there(self._host, self.path)

    def pieces(self) -> Iterator[bytes]:
        if self._is_absent:
            return
        try:
            yield from self._host.read_chunks(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return

    def append(self, content: bytes) -> None:
        """Durable when it returns. Raises NoSpaceError."""
        with self._appending:  # a host appends where the file ended when it looked
            if not self._has_directory:
                # Not its parents: where they are gone, a disk was unmounted, and another must not fill
                # instead.
                self._host.mkdir(posixpath.dirname(self.path))
                self._has_directory = True
            self._is_absent = False
            self._host.append(self.path, content)

    def cut(self, length: int) -> None:
        """Of a file that is there. In place: the ledger of a large disk has tens of MiB, which a slow line
        would take minutes to send back and forth."""
        self._host.run(("truncate", "--no-create", f"--size=<{length}", "--", self.path))
        self._host.sync(self.path)

    def remove(self) -> None:
        """Durably: a power cut must not bring back what tells of a file that is another one by then."""
        if not self._is_absent and self._host.exists(self.path):
            self._host.remove(self.path)
            self._host.sync(posixpath.dirname(self.path))


def read_if_there(host: Host, path: str) -> bytes | None:
    try:
        return host.read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
