from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.errors import StateError
from runner.hosts.local import LocalHost
from steps.repository import marks

HOST = LocalHost("hub")
AT = datetime(2026, 11, 23, tzinfo=UTC)
MARKS = {
    marks.SUSPECT: marks.Suspect(disks=(marks.Suspicion(key=2000, why="it lied", run="r", at=AT),)),
    marks.VERIFIED: marks.Verification(
        at=AT, level="chain", against_source=False, disks=(marks.DiskVerified(key=2000, blocks=9, compared=9),)
    ),
    marks.PROTECTED: marks.Protection(until=AT, reason="audit 2025", at=AT),
}
HARMS = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "flipped": lambda content: content.replace(b"2026", b"2027", 1),
    "future": lambda content: content.replace(b'"schema_version": 1', b'"schema_version": 2'),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
@pytest.mark.parametrize("name", MARKS)
def test_a_mark_that_went_bad_is_refused_with_its_path(tmp_path: Path, name: str, harm) -> None:
    marks.write(HOST, str(tmp_path), MARKS[name])
    assert MARKS[name] in (read := marks.read(HOST, str(tmp_path))).__dict__.values(), read
    path = tmp_path / name
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(StateError, match=rf"^{path} on hub (is damaged|was written by a newer version)"):
        marks.read(HOST, str(tmp_path))
