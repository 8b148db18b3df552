"""Limits of this machine that a run meets: what they are called, what they are now, and what raises them.

Python and libnbd tell of them by an error number, or by a RuntimeError of a thread that did not start: none
is a bug of ours, and none is a fault of what was being done.
"""

from __future__ import annotations

import errno
import resource
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from runner.base.errors import SendenseError
from runner.base.units import human_bytes

MANY_FILES = 65536
"""Open files that a run may want: a disk over SSH takes about thirty, and a login's soft limit is 1024 for
programs that use select(2), which none of what we start does."""

_NO_THREAD = "can't start new thread"


class LimitError(SendenseError):
    """The run stays resumable."""


def raise_soft_limits() -> None:
    """What may be taken without asking anybody is taken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit_of(error: BaseException) -> LimitError | None:
    """The limit behind `error` or behind what caused it; None if it is something else."""
    for one in _chain(error):
        if isinstance(one, LimitError):
            return one
        if (sentence := _sentence(one)) is not None:
            found = LimitError(sentence)
            found.__cause__ = error
            return found
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _sentence(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return _memory()
    if isinstance(error, RuntimeError) and _NO_THREAD in str(error):
        return _processes("thread")
    # nbd.Error is no OSError and tells its number as `errnum`.
    match getattr(error, "errnum", None) or getattr(error, "errno", None):
        case errno.EMFILE:
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            return (
                f"this process has {soft} files open, which is its limit (RLIMIT_NOFILE): raise it with "
                f"`ulimit -n {MANY_FILES}`, or LimitNOFILE={MANY_FILES} in its systemd unit, or do less at "
                "once (--nodes)"
            )
        case errno.ENFILE:
            return "this machine has no more open files to give (fs.file-max): raise that with sysctl(8)"
        case errno.ENOMEM:
            return _memory()
        case errno.EAGAIN if isinstance(error, OSError) and error.filename is None and _is_of_a_fork(error):
            return _processes("process")
    return None


def _is_of_a_fork(error: BaseException) -> bool:
    """Reading and writing without waiting fail by that number too."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_name == "_execute_child" for frame, _ in frames)  # of subprocess.Popen


def _processes(what: str) -> str:
    limits = [
        *_limit("RLIMIT_NPROC", resource.RLIMIT_NPROC, "ulimit -u", str),
        *_group("pids.max", str),
        *_memory_limits(),
    ]
    return (
        f"no new {what} can be started here: the user, the container or the machine has as many processes "
        f"and threads, or as much memory, as it may{_now(limits)}: raise what is too low, or do less at once "
        "(--nodes)"
    )


def _memory() -> str:
    return (
        f"there is not enough memory for this process{_now(_memory_limits())}: give it more, or do less at "
        "once (--nodes)"
    )


def _memory_limits() -> list[str]:
    return [
        *_limit("RLIMIT_AS", resource.RLIMIT_AS, "ulimit -v", human_bytes),
        *_group("memory.max", human_bytes),
    ]


def _now(limits: list[str]) -> str:
    return f" ({', '.join(limits)})" if limits else ""


def _limit(name: str, number: int, command: str, show: Callable[[int], str]) -> list[str]:
    """Empty without a limit, as `_group`."""
    soft, _ = resource.getrlimit(number)
    return [] if soft == resource.RLIM_INFINITY else [f"{name}, `{command}`, is {show(soft)}"]


def _group(name: str, show: Callable[[int], str]) -> list[str]:
    """Of the process's own group in the unified hierarchy, cgroups(7)."""
    try:
        group = next(
            line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")
        )
        text = (Path("/sys/fs/cgroup") / group[3:].lstrip("/") / name).read_text().strip()
        return [] if text == "max" else [f"{name} of the cgroup is {show(int(text))}"]
    except (OSError, StopIteration, ValueError):
        return []
