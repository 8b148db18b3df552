"""A host that writes nothing unless the run's locks are held at that moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from runner.hosts import Child, Host
from runner.process import Completed


def guarded(host: Host, hold: Callable[[], None]) -> Host:
    """`hold` raises if a lock is lost. A moment remains between its look and the write; who was frozen in it long enough to
    lose the lock has lost its sessions too, by which it would write."""
    return cast("Host", _Guarded(host, hold))


def bare(host: Host) -> Host:
    """The host itself: for whoever takes the locks."""
    return host._host if isinstance(host, _Guarded) else host


class _Guarded:
    """The verbs that change something; all others are the host's own."""

    def __init__(self, host: Host, hold: Callable[[], None]) -> None:
        self._host = host
        self._hold = hold

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float = 60.0,
        ok: Sequence[int] | None = (0,),
    ) -> Completed:
        self._hold()
        return self._host.run(argv, stdin=stdin, timeout=timeout, ok=ok)

    def popen(self, argv: Sequence[str]) -> Child:
        self._hold()
        return self._host.popen(argv)

    def mkdir(self, path: str, *, mode: int = 0o700, parents: bool = False) -> None:
        self._hold()
        self._host.mkdir(path, mode=mode, parents=parents)

    def write(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        self._hold()
        self._host.write(path, content, mode=mode)

    def write_sparse(self, path: str, size: int, pieces: Iterable[tuple[int, bytes]], *, mode: int = 0o600) -> None:
        self._hold()
        self._host.write_sparse(path, size, pieces, mode=mode)

    def append(self, path: str, content: bytes) -> None:
        self._hold()
        self._host.append(path, content)

    def rename(self, old: str, new: str) -> None:
        self._hold()
        self._host.rename(old, new)

    def remove(self, *paths: str, recursive: bool = False) -> None:
        self._hold()
        self._host.remove(*paths, recursive=recursive)
