"""An endpoint over NBD: one or more connections to the same bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from runner.base.waiting import NEVER
from steps.copy.endpoint import ConnectFailed
from steps.copy.nbd import CLOSE_TIMEOUT, OPEN_TIMEOUT, NbdChannel


class NbdEndpoint:
    """One channel for each URI, all of the same bytes. On a writable export without multi_conn only the first
    is used: a FLUSH there says nothing of other connections. Raises ConnectFailed, Interrupted once `stop` is
    set."""

    def __init__(
        self,
        uris: Sequence[str],
        name: str,
        *,
        timeout: float = OPEN_TIMEOUT,
        stop: threading.Event = NEVER,
    ) -> None:
        self.name = name
        self.channels: list[NbdChannel] = []
        """Grows while it is used, see `add`."""
        self._changing = threading.Lock()
        self._closed = False
        try:
            for number, uri in enumerate(uris, 1):
                channel = NbdChannel(uri, name, f"connection {number} of {len(uris)}", timeout, stop)
                self.channels.append(channel)
                if channel.abilities.size != self.channels[0].abilities.size:
                    raise ConnectFailed(name, uri, f"its size is not the one that {uris[0]} has")
                if not (channel.abilities.read_only or channel.abilities.multi_conn):
                    break
        except BaseException:
            self.close()
            raise
        every = [channel.abilities for channel in self.channels]
        self.abilities = replace(every[0], can_extents=all(one.can_extents for one in every))

    @property
    def takes_several(self) -> bool:
        """Whether more than one connection is of use: for reading, or with multi_conn."""
        return self.abilities.read_only or self.abilities.multi_conn

    def add(self, uri: str, *, timeout: float = OPEN_TIMEOUT, stop: threading.Event = NEVER) -> None:
        """One more connection to the same bytes, from any thread; requests that start from now on may take
        it. Only where it `takes_several`. Raises ConnectFailed, Interrupted once `stop` is set."""
        channel = NbdChannel(uri, self.name, f"connection {len(self.channels) + 1}", timeout, stop)
        if channel.abilities != self.channels[0].abilities:
            channel.close()
            raise ConnectFailed(self.name, uri, f"its export is not the one at {self.channels[0].uri}")
        with self._changing:
            if not self._closed:
                self.channels.append(channel)
                return
        channel.close()

    def close(self) -> None:
        """Says goodbye on all of them before it waits: a server that hangs keeps us but once."""
        with self._changing:
            self._closed = True
        for channel in self.channels:
            channel.say_goodbye()
        deadline = time.monotonic() + CLOSE_TIMEOUT
        for channel in self.channels:
            channel.hang_up(deadline)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()
