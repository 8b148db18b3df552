"""An image as a file of its host."""

from __future__ import annotations

from runner.hosts.host import Host

_SECTOR = 512
"""What stat(1) counts blocks in, unless it says otherwise (%B)."""


def on_disk(host: Host, path: str) -> int:
    """Bytes that a file takes; 0 if there is none."""
    done = host.run(("stat", "--format=%b", path), ok=None)
    return int(done.stdout) * _SECTOR if done.exit_code == 0 else 0
