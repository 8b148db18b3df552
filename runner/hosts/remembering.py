"""A host as it is at one moment: a look at many things of it asks for each once."""

from __future__ import annotations

import threading
from typing import Any, cast

from runner.hosts.host import Host

READING = frozenset({"run", "stat", "exists", "listdir", "read", "free_bytes", "reach"})
"""Verbs whose answers are remembered, of a host that nothing is changed on meanwhile."""


def remembering(host: Host, answers: dict[object, Any]) -> Host:
    """`host`, for a look at it that ends with `answers` and in which nothing is changed. That something is
    absent is not remembered, since what is waited for comes; nor is what
    is raised. What starts something makes
    all forgotten."""
    return cast("Host", _Remembering(host, answers))


def known_beforehand(host: Host, key: tuple[object, ...]) -> Any | None:
    """What was put into the answers of a look at `host`, under its name and `key`, before it began; None of a
    host that acts."""
    return host._answers.get((host.name, *key)) if isinstance(host, _Remembering) else None


class _Remembering:
    """Hands every verb on as it is called, so that none can drift from the host's own."""

    def __init__(self, host: Host, answers: dict[object, Any]) -> None:
        self._host = host
        self._answers = answers

    def until(self, stop: threading.Event) -> Host:
        return remembering(self._host.until(stop), self._answers)

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._host, name)
        if not callable(verb):
            return verb

        def ask(*args: Any, **more: Any) -> Any:
            if name not in READING:
                self._answers.clear()
                return verb(*args, **more)
            key = (self._host.name, name, _hashable(args), _hashable(sorted(more.items())))
            if (known := self._answers.get(key)) is not None:
                return known
            answer = verb(*args, **more)
            if answer:
                self._answers[key] = answer
            return answer

        return ask


def _hashable(asked: object) -> object:
    """A step may well give its argv as a list."""
    return tuple(map(_hashable, asked)) if isinstance(asked, list | tuple) else asked
