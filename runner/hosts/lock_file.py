"""What stands in a lock file: who holds the lock in words, and below that who took it last, for programs.

    run 20261123T170000Z-3f9a0c1e of nightly on ci-7, pid 4711, since 2026-11-23 17:00:00 UTC
    20261123T170000Z-3f9a0c1e:9c41aa02 4711 183344 0b6f8bd4-… 5ce0c0f4e1a2b3d4

The first line is emptied when the lock is released, the second stays: its next holder sees by
its token whether another had it meanwhile. Behind the token stands the identity of the process whose life the
lock hangs on: the holder itself, or on an SSH host the shell there.
"""

from __future__ import annotations

from dataclasses import dataclass

from runner.hosts.identity import Identity, parse

NOBODY = "-"

ATTEMPTS = 5
"""To lock a file that is removed or replaced meanwhile."""


@dataclass(frozen=True)
class LockText:
    holder: str
    """Empty if it was given back."""
    token: str
    """Of its last holder; empty if that is unknown."""
    process: Identity | None


def compose(holder: str, token: str, process: Identity) -> bytes:
    return f"{holder}\n{token or NOBODY} {process}\n".encode()


def read_lock(content: bytes) -> LockText:
    holder, _, rest = content.decode(errors="replace").partition("\n")
    token, _, process = rest.partition("\n")[0].partition(" ")
    return LockText(holder, "" if token == NOBODY else token, parse(process))
