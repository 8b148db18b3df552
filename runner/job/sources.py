"""The files of a job: read, merged along `include`, with what each value's place is kept."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Collection
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass
from pathlib import Path

from runner.base.errors import JobFileError, Problem
from runner.base.suggestion import did_you_mean
from runner.base.units import MiB
from runner.base.yaml_nodes import (
    Entry,
    Location,
    Mapping,
    Node,
    Scalar,
    Sequence,
    compose,
    kind_of,
    position,
)
from runner.job.selection import given_by
from runner.job.variables import Unsettled, Variables, variables_in

MAX_BYTES = 4 * MiB
"""A job of 2,000 steps has about 400 KiB."""

MAX_INCLUDES = 20
"""One below the other."""

VERSION = 1

ONCE = {
    "steps": "a job has them in one place",
    "slots": "all who share limits name the same place, so keep it in the file that they include",
    "unprotected": "what is in no job is said in one place",
}
"""Keys of which no file may have another value than the one that it includes, and why."""

KEYS = {
    "version": "Of this language: 1.",
    "name": "What its runs and their records go by.",
    "include": "A file, or a list of files, whose entries count unless this one has them. Paths are relative "
    "to the file they stand in.",
    "template": "A standard job in the place of steps; `sendense templates` shows which there are, and their "
    "variables.",
    "vars": "Plain values, for `${{ vars.… }}` and for the template. `--set` sets them too.",
    "hosts": "Where commands run, by name: ssh, and how it is known to be the right host. `local` is always "
    "there.",
    "state": "Where records of runs are kept, so that a run can be resumed: a host and a path, or `in:` an "
    "entry of a section.",
    "steps": "The work. Steps that refer to each other make a graph.",
    "select": "Makes the job a set: it runs once for each VM that the rules find.",
    "priority": "Who of those that wait for their turn goes first.",
    "rpo": "How old the newest good point of a VM may be: `26h`.",
    "schedule": "When the job runs.",
    "slots": "Where runners tell each other what they take of the limits: a host and a path, or `in:` an "
    "entry of a section.",
    "fleet": "Which machines run the children of a set, where others than this one do.",
    "notify": "Where failures, recoveries and breached rpo are told.",
    "unprotected": "Which VMs may be in no job, and why.",
}
"""The keys that a job file can have beside those of the installed sections, and what they mean."""


@dataclass(frozen=True)
class Part:
    """One file's top level, with what it includes already below it."""

    entries: dict[str, Entry]
    at: Location


class Sources:
    """Reads files; `problems` gathers what is wrong with them. `merged` names the keys that are merged entry
    by entry (`vars`, `hosts`, the sections), `known` all keys that a job file can have; `content` reads a
    file (absolute, without links) and raises OSError."""

    def __init__(
        self,
        merged: Collection[str],
        known: Collection[str],
        overrides: AbstractMapping[str, str],
        content: Callable[[Path], bytes],
    ) -> None:
        self.problems: list[Problem] = []
        self.files: list[str] = []
        """As messages name them, in the order of reading."""
        self.directories: dict[str, Path] = {}
        """File → what its relative paths are relative to."""
        self.used: set[str] = set()
        """Variables in the paths of includes."""
        self._content = content
        self._merged = merged
        self._known = known
        self._overrides = overrides
        self._parts: dict[Path, Part] = {}
        self._digest = hashlib.sha256()
        self.digests: dict[str, str] = {}
        """SHA-256 (hex) of each file alone, by its name, templates too."""

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def read(self, path: Path) -> Part:
        """Raises JobFileError if nothing more can be said; else look at `problems`."""
        part = self._read(str(path), Location(str(path), 0, 0), ())
        if part is None:
            raise JobFileError(self.problems)
        return part

    def fragment(self, text: str, name: str, directory: Path) -> Part | None:
        """A rendered template; its relative paths are relative to the job's own directory."""
        return self._part(text, name, directory, directory / name, ())

    def add_to_digest(self, name: str, content: bytes) -> None:
        self.digests[name] = hashlib.sha256(content).hexdigest()
        # With its length: else what moves from the end of one file to the start of the next would not show.
        self._digest.update(len(content).to_bytes(8, "big") + content)

    def merge(self, under: Part, over: Part) -> Part:
        """`over` wins, entry by entry where entries have names."""
        entries = dict(under.entries)
        for key, entry in over.entries.items():
            below = entries.get(key)
            # The same entry comes two ways where two files include a third.
            if below is None or below is entry:
                entries[key] = entry
            elif key in ONCE:
                other = below.at
                self._say(entry.at, f"`{key}` stands in {other.file}:{other.line} too: {ONCE[key]}")
            elif key in self._merged and isinstance(below.node, Mapping) and isinstance(entry.node, Mapping):
                both = {**below.node.entries, **entry.node.entries}
                entries[key] = Entry(
                    entry.at, Mapping(entry.node.at, both, below.node.weight + entry.node.weight)
                )
            else:
                entries[key] = entry
        return Part(entries, over.at)

    def _read(self, name: str, asked: Location, chain: tuple[Path, ...]) -> Part | None:
        """`asked` is where the file is asked for. None if it cannot be read."""
        path = Path(name)
        try:
            real = path.resolve()
            if real in chain:
                self._say(asked, f"includes go round: {' → '.join(each.name for each in (*chain, real))}")
                return None
            # What two files include is read, digested and complained of once.
            if real in self._parts:
                return self._parts[real]
            str(real).encode()  # records hold paths as UTF-8
            content = self._content(real)
        except (OSError, RuntimeError, UnicodeEncodeError) as error:
            why = _refusal(error)
            self._say(
                asked, f"cannot be read: {why}" if asked.file == name else f"{name} cannot be read: {why}"
            )
            return None
        self.add_to_digest(name, content)
        text = self._text(content, name)
        return None if text is None else self._part(text, name, real.parent, real, chain)

    def _text(self, content: bytes, name: str) -> str | None:
        if len(content) > MAX_BYTES:
            self._say(
                Location(name, 0, 0),
                f"larger than {MAX_BYTES // MiB} MiB: this is no job file, or one to split",
            )
            return None
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = content[: error.start].decode("utf-8", "replace")
            self._say(
                Location(name, *position(before, len(before))), "not UTF-8 text: save the file as UTF-8"
            )
            return None

    def _part(
        self, text: str, name: str, directory: Path, real: Path, chain: tuple[Path, ...]
    ) -> Part | None:
        self.files.append(name)
        self.directories[name] = directory
        try:
            node = compose(text, name)
        except JobFileError as error:
            self.problems += error.problems
            return None
        if not isinstance(node, Mapping):
            self._say(
                node.at,
                f"a job file is a mapping (version: {VERSION}, name: …, steps: …), not {kind_of(node)}",
            )
            return None
        own = Part({key: entry for key, entry in node.entries.items() if self._is_fine(key, entry)}, node.at)
        part = own
        # The includes are laid one over the other in their order, the last on top, and this file over all.
        below = [self._included(item, path, name, (*chain, real)) for item, path in self._includes(own)]
        for other in reversed([each for each in below if each is not None]):
            part = self.merge(other, part)
        part.entries.pop("include", None)
        self._parts[real] = part
        return part

    def _is_fine(self, key: str, entry: Entry) -> bool:
        node = entry.node
        if key not in self._known:
            hint = did_you_mean(key, self._known) or f"; known are {', '.join(self._known)}"
            self._say(entry.at, f"unknown key '{key}'{hint}")
        elif key == "version" and not (
            isinstance(node, Scalar) and node.value is not True and node.value == VERSION
        ):
            self._say(
                node.at, f"this program reads job files of version {VERSION}: write 'version: {VERSION}'"
            )
        elif key in self._merged and isinstance(node, Scalar) and node.value is None:
            return False  # `vars:` with nothing below it
        elif key in self._merged and not isinstance(node, Mapping):
            self._say(node.at, f"{key} should be a mapping of names, not {kind_of(node)}")
        else:
            return True
        return False

    def _includes(self, part: Part) -> list[tuple[Scalar, str]]:
        """Each with its path, in which variables of the same file and of ``--set`` may stand: no others are
        known yet."""
        if "include" not in part.entries:
            return []
        node = part.entries["include"].node
        items: tuple[Node, ...] = node.items if isinstance(node, Sequence) else (node,)
        self.used |= variables_in(items)
        found = []
        for item in items:
            if not (isinstance(item, Scalar) and isinstance(item.value, str) and item.value):
                self._say(item.at, f"include should be a path or a list of paths, not {kind_of(item)}")
            elif (path := self._settled(item, item.value, part)) is not None:
                found.append((item, path))
        return found

    def _settled(self, item: Scalar, path: str, part: Part) -> str | None:
        """None, and said, if a variable is not known."""
        problems: list[Problem] = []
        variables = Variables(problems)
        vars_ = part.entries["vars"].node if "vars" in part.entries else None
        variables.give(given_by(part.entries))
        variables.set(vars_.entries if isinstance(vars_, Mapping) else {}, self._overrides)
        problems.clear()  # what is wrong with the variables themselves is said where all of them are known
        try:
            settled = variables.settled(item, path, "include")
        except Unsettled:
            self.problems += problems
            return None
        if isinstance(settled, str) and settled:
            return settled
        self._say(item.at, f"{path} is not the path of a file to include: set it to text")
        return None

    def _included(self, item: Scalar, path: str, name: str, chain: tuple[Path, ...]) -> Part | None:
        if len(chain) > MAX_INCLUDES:
            self._say(item.at, f"more than {MAX_INCLUDES} files include each other one below the other")
            return None
        return self._read(beside(Path(name).parent, path), item.at, chain)

    def _say(self, at: Location, message: str) -> None:
        self.problems.append(at.problem(message))


def beside(directory: Path, path: str) -> str:
    """`path` as it reads from a file in `directory`, with `~` for the home directory."""
    # Unlike Path.expanduser, this one leaves an unknown ~user as it is instead of raising.
    return os.path.normpath(directory / os.path.expanduser(path))  # noqa: PTH111


def _refusal(error: Exception) -> str:
    match error:
        case OSError(strerror=str(reason)):
            return reason
        case UnicodeEncodeError():
            return "its path is not UTF-8 text, as records of runs are: rename it"
        case _:
            return "its links go round"


def content_of(path: Path) -> bytes:
    """One byte more than allowed, at most. Raises OSError."""
    # Opened without waiting: a pipe nobody writes to would hold us for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file")
        return file.read(MAX_BYTES + 1)
