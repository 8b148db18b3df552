"""What a run keeps survives a power cut as it was left."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.checkpoint import FileLog
from runner.hosts.local import LocalHost


class Noting(LocalHost):
    """Remembers what was made durable, and what was there then."""

    def __init__(self) -> None:
        super().__init__()
        self.synced: list[tuple[str, list[str]]] = []

    def sync(self, *paths: str) -> None:
        super().sync(*paths)
        self.synced += [(path, self.listdir(path)) for path in paths]


@pytest.mark.parametrize("there", [True, False], ids=["there", "absent"])
def test_a_log_that_was_removed_does_not_come_back_after_a_power_cut(tmp_path: Path, there: bool) -> None:
    host = Noting()
    log = FileLog(host, str(tmp_path / "ledger" / "disk-2000"))
    if there:
        log.append(b"line")
    log.remove()
    assert log.read() is None
    assert host.synced == ([(str(tmp_path / "ledger"), [])] if there else [])
