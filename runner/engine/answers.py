"""What many looks have learnt, one after the other: what concerns all of them is asked once, what concerns
one is forgotten with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.step.context import Answers


class SharedAnswers:
    """`known`: put in before the first look; it stays, whatever is started meanwhile.

    Which of the things that a look asks concern all is not told. What the first look asked stays, and what a
    second one asks again: a host's programs, the free space of a disk."""

    def __init__(self) -> None:
        self.known: Answers = {}
        self._kept: Answers = {}
        self._asked: set[int] = set()
        """Hashes of what one look has asked: 10,000 looks ask for a hundred things each."""
        self._is_first = True

    def of_one(self, more: Mapping[object, Any]) -> Answers:
        """For the next look, with what is known of its item beforehand."""
        return _Layered(more, self.known, self._kept)

    def after(self, answers: Answers) -> None:
        """What a look with these answers, made by `of_one`, has learnt."""
        for key, answer in answers.items():
            if self._is_first or hash(key) in self._asked:
                self._kept[key] = answer
            self._asked.add(hash(key))
        self._is_first = False


class _Layered(dict[object, Any]):
    """Its own answers are those that were learnt; those below are found too."""

    def __init__(self, *below: Mapping[object, Any]) -> None:
        super().__init__()
        self._below = below

    def __bool__(self) -> bool:
        return True

    def get(self, key: object, default: Any = None) -> Any:
        found = super().get(key)
        if found is None:
            found = next((one[key] for one in self._below if key in one), default)
        return found

    def clear(self) -> None:
        """Nothing: what is started to try a way (an exporter of nothing) changes none of what was asked, and
        all would be asked again of each item."""

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or any(key in one for one in self._below)

    def __missing__(self, key: object) -> Any:
        for one in self._below:
            if key in one:
                return one[key]
        raise KeyError(key)
