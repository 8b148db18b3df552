"""Where it is remembered what was told."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence

from runner.base.errors import SendenseError
from runner.base.sealed import Damaged, seal, unseal
from runner.base.units import MiB
from runner.hosts.host import Host
from steps.notices import told
from steps.notices.told import Open, Told

LIMIT = 4 * MiB
"""A few lines for each VM in trouble."""

Place = tuple[Host, str]


class Record:
    """In the first of `places` that can be reached: a repository host that is away is the very thing to tell
    of, and to tell of once."""

    def __init__(self, places: Sequence[Place], warn: Callable[[str], None]) -> None:
        self._places = places
        self._warn = warn

    def read(self) -> Told:
        """Of all places that can be read."""
        found: dict[str, Open] = {}
        for each in self._readable():
            found = {**each.open, **found}
        return Told(open=found)

    def write(self, now: Told) -> None:
        """Raises SendenseError if no place takes it."""
        refused: SendenseError | None = None
        written = False
        for host, directory in self._places:
            path = posixpath.join(directory, told.NAME)
            try:
                if written or not now.open:
                    host.remove(path)
                else:
                    host.mkdir(directory, parents=True)
                    host.write(path, seal(now.to_json_value()))
                    written = True
            except SendenseError as error:
                refused = error
        if refused is not None and not written and now.open:
            raise refused

    def _readable(self) -> Iterator[Told]:
        for host, directory in self._places:
            path = posixpath.join(directory, told.NAME)
            try:
                yield unseal(host.read(path, limit=LIMIT), Told, told.SCHEMA_VERSION)
            except (FileNotFoundError, SendenseError):
                continue  # a host that cannot be reached: to say it again is better than not to say it
            except Damaged as error:
                self._warn(f"{path} on {host.name} {error}: what was told before is told again")
