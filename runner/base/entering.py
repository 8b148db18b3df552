"""Two contexts, neither of which waits for the other: what takes its time to open."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

FirstT = TypeVar("FirstT")
SecondT = TypeVar("SecondT")


@contextmanager
def enter_both(
    first: AbstractContextManager[FirstT], second: AbstractContextManager[SecondT]
) -> Iterator[tuple[FirstT, SecondT]]:
    """Enters the second in a thread meanwhile, and leaves it first. Where one cannot be entered, the other is
    left, and what kept it is raised; the first one's, where neither can."""
    with ExitStack() as entered:
        with ThreadPoolExecutor(1, thread_name_prefix="beside") as pool:
            other = pool.submit(second.__enter__)
            try:
                one = entered.enter_context(first)
            finally:
                if other.exception() is None:
                    entered.push(second)
        yield one, other.result()
