from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sink import Sink, sink


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    """What is sent to ``{env: CHAT}`` arrives there."""
    with sink() as found:
        monkeypatch.setenv("CHAT", found.url)
        yield found
