"""Children on other machines: a Dask cluster carries orders to its workers, and what comes of them back.

Dask decides nothing here. No task is submitted to it: its scheduler would run a lost one again by itself,
leave one that is pinned to a worker's former address pending for ever, and can neither cancel one that runs
nor remember any after its own end. What is used of it are its membership, its mutual TLS, calls to a worker,
and events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runner.base.errors import UsageError


@contextmanager
def its_extra() -> Iterator[None]:
    """Around imports of what stands here. Raises UsageError where Dask is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("dask", "distributed"):
            raise
        raise UsageError("Dask is not installed here: pip install 'sendense[dask]'") from error
