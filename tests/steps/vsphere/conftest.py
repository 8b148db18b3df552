from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.vcenter import Starts, starts


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starts]:
    with ExitStack() as stack:
        yield starts(tmp_path, stack)
