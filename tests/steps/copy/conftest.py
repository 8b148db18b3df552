from __future__ import annotations

import pytest

from steps.copy import buffers, compare, engine
from steps.copy.extents import BLOCK


@pytest.fixture(autouse=True)
def used_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small copies seldom use a buffer twice: each holds the bytes of another block from the start."""

    def used(count: int) -> list[memoryview]:
        many = buffers.buffers(count)
        for buffer in many:
            buffer[:] = b"\x5a" * BLOCK
        return many

    monkeypatch.setattr(engine, "buffers", used)
    monkeypatch.setattr(compare, "buffers", used)
