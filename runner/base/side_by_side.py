"""Contexts that are entered at once: what takes its time to open, and does not wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

FirstT = TypeVar("FirstT")
SecondT = TypeVar("SecondT")


@contextmanager
def both(
    first: AbstractContextManager[FirstT], second: AbstractContextManager[SecondT]
) -> Iterator[tuple[FirstT, SecondT]]:
    """Enters both, each in a thread, and leaves the second one first. Where one cannot be entered, the other
    is left, and what kept it is raised; the first one's, where neither can."""
    with ExitStack() as entered, ThreadPoolExecutor(2, thread_name_prefix="beside") as pool:
        one, other = pool.submit(first.__enter__), pool.submit(second.__enter__)
        if one.exception() is None:
            entered.push(first)
        if other.exception() is None:
            entered.push(second)
        yield one.result(), other.result()
