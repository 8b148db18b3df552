"""Job files as they are elsewhere: in a commit of their git repository, or in another directory. Contents are
read, nothing is checked out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from runner.base.errors import CommandError, UsageError
from runner.hosts import process
from runner.hosts.process import Completed
from runner.job.sources import content_of

NOT_FOUND = 127
"""The exit code for a program that is not installed (POSIX, 2.8.2)."""


class VersionError(UsageError):
    """There is nothing to compare with."""


class Version(Protocol):
    name: str
    """As it was given, for sentences."""

    def has(self, path: Path) -> bool: ...

    def names(self, directory: Path) -> list[str]:
        """Of the files in it; none where it is none there."""

    def changed(self, path: Path) -> bool:
        """Whether the file at `path` is not as it is there; not of one outside of what there are versions
        of."""

    def read(self, path: Path) -> bytes:
        """What stands there in the place of the file at `path` (absolute, without links). Raises OSError."""


def version_of(job: Path, given: str) -> Version:
    """`given` is a directory or a file that is there, else a git reference. Raises VersionError."""
    path = Path(given)
    if path.is_dir():
        return Elsewhere(given, root=_root(job), other=path.resolve(), job=job)
    if path.exists():
        return Elsewhere(
            given, root=job.resolve().parent, other=path.resolve().parent, job=job, file=path.resolve()
        )
    return Commit(given, job)


class Commit:
    """The files of the git repository around `job` in the commit that `name` stands for; files outside of it,
    and those that git does not know, as they are now."""

    def __init__(self, name: str, job: Path) -> None:
        self.name = name
        self._root = _toplevel(job)
        found = _git(self._root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{tree}}")
        if found.exit_code != 0:
            raise VersionError(
                f"--against {name}: git in {self._root} knows no such branch, tag or commit, and no file has "
                f"that name; a shallow clone may lack it: fetch it first (`git fetch origin {name}`)"
            )
        self._tree = found.stdout.decode().strip()

    def has(self, path: Path) -> bool:
        return self._within(path) is not None and self._blob(path) is not None

    def names(self, directory: Path) -> list[str]:
        """Entries of `ls-tree` are ``MODE TYPE OBJECT<TAB>NAME`` (git-ls-tree(1), OUTPUT FORMAT)."""
        within = self._within(directory)
        if within is None:
            return []
        done = _git(self._root, "ls-tree", "-z", f"{self._tree}:{'' if within == '.' else within}")
        entries = done.stdout.decode(errors="surrogateescape").split("\0") if done.exit_code == 0 else []
        return [name for kind, _, name in (one.partition("\t") for one in entries) if " blob " in kind]

    def changed(self, path: Path) -> bool:
        try:
            return self._within(path) is not None and self.read(path) != _content(path)
        except OSError:
            return path.is_file()

    def read(self, path: Path) -> bytes:
        within = self._within(path)
        if within is None:
            return content_of(path)
        if (content := self._blob(path)) is not None:
            return content
        if path.exists() and _git(self._root, "ls-files", "--error-unmatch", "--", within).exit_code != 0:
            return content_of(path)
        raise FileNotFoundError(2, f"{self.name} has no such file")

    def _within(self, path: Path) -> str | None:
        return str(path.relative_to(self._root)) if path.is_relative_to(self._root) else None

    def _blob(self, path: Path) -> bytes | None:
        """As it is stored: `git show` would run what the checkout's attributes and configuration say.
        Answers of `cat-file` are a line `NAME blob SIZE` and the content, else a line of other words
        (git-cat-file(1), BATCH OUTPUT)."""
        within = self._within(path)
        if within is None or "\n" in within:
            return None
        asked = f"{self._tree}:{within}\n".encode(errors="surrogateescape")
        done = _git(self._root, "cat-file", "--batch", "--follow-symlinks", stdin=asked)
        first, _, content = done.stdout.partition(b"\n")
        match first.split(b" "):
            case [_, b"blob", size] if done.exit_code == 0 and size.isdigit():
                return content[: int(size)]
        return None


class Elsewhere:
    """Below `other` what stands below `root` here; `file` in the place of `job`."""

    def __init__(self, name: str, *, root: Path, other: Path, job: Path, file: Path | None = None) -> None:
        self.name = name
        self._root = root
        self._other = other
        self._job = job.resolve()
        self._file = file

    def has(self, path: Path) -> bool:
        return self._there(path).is_file()

    def names(self, directory: Path) -> list[str]:
        there = self._there(directory)
        return [one.name for one in there.iterdir() if one.is_file()] if there.is_dir() else []

    def changed(self, path: Path) -> bool:
        return path.is_relative_to(self._root) and _content(path) != _content(self._there(path))

    def read(self, path: Path) -> bytes:
        there = self._there(path)
        return content_of(there if there.exists() or path == self._job else path)

    def _there(self, path: Path) -> Path:
        if self._file is not None and path == self._job:
            return self._file
        return Path(os.path.normpath(self._other / os.path.relpath(path, self._root)))


def _content(path: Path) -> bytes | None:
    """None where there is no file."""
    return content_of(path) if path.is_file() else None


def _root(job: Path) -> Path:
    """Of all that belongs to the job: its git repository, else the working directory where that is above it,
    else its own."""
    try:
        return _toplevel(job)
    except VersionError:
        here = Path.cwd()
        return here if job.resolve().is_relative_to(here) else job.resolve().parent


def _toplevel(job: Path) -> Path:
    directory = next(parent for parent in job.resolve().parents if parent.is_dir())
    done = _git(directory, "rev-parse", "--show-toplevel")
    if done.exit_code != 0:
        why = done.stderr.strip().removeprefix("fatal: ").partition("\n")[0]
        raise VersionError(
            f"--against needs a git repository around {job}: {why}; or name a file or a directory"
        )
    return Path(done.stdout.decode(errors="surrogateescape").rstrip("\n"))


def _git(directory: Path, *arguments: str, stdin: bytes | None = None) -> Completed:
    """Raises VersionError where git is not installed, or does not answer."""
    argv: Sequence[str] = ("git", "-C", str(directory), *arguments)
    try:
        done = process.run(argv, stdin=stdin, ok=None)
    except CommandError as error:
        raise VersionError(f"--against: {error.message}") from error
    if done.exit_code == NOT_FOUND:
        raise VersionError(
            "--against with a git reference needs git: install git, or name a file or a directory"
        )
    return done
