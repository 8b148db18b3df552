"""What a controller and a worker say to each other: one question each second, and one answer."""

from __future__ import annotations

from typing import Any

from runner.base.model import Model
from runner.sets.placement import ChildEnded, Order

PROTOCOL = 1
"""Of both messages; another one is refused with a sentence."""


class Ended(Model):
    """`ChildEnded` on its way."""

    key: str
    order: str
    """`Order.id`"""
    exit_code: int
    document: dict[str, Any] = {}
    error: str = ""
    stopped: bool = False
    """The worker asked it to stop, and nobody else: the worker ends, or had not heard from its controller."""

    @classmethod
    def of(cls, ended: ChildEnded, order: str, *, stopped: bool) -> Ended:
        return cls(
            key=ended.key,
            order=order,
            exit_code=ended.exit_code,
            document=ended.document,
            error=ended.error,
            stopped=stopped,
        )

    def child_ended(self) -> ChildEnded:
        return ChildEnded(self.key, self.exit_code, self.document, self.error)


class Question(Model):
    """From a controller; it is also what its children on that worker live by."""

    protocol: int = PROTOCOL
    controller: str
    """Who asks: another one each time that a controller connects. Its events' topic too."""
    start: tuple[Order, ...] = ()
    stop: tuple[str, ...] = ()
    """Keys."""
    heard: tuple[str, ...] = ()
    """Keys of ended children that need not be told again."""


class Answer(Model):
    """Of a worker, to the controller that asked."""

    protocol: int = PROTOCOL
    hosts: tuple[str, ...]
    """The node hosts that it stands at, as jobs name them."""
    slots: int
    taken: int
    """Of them, by whomever."""
    running: tuple[str, ...] = ()
    """Keys, of this controller's children alone."""
    others: tuple[str, ...] = ()
    """Ids of the orders of other controllers' children here, such as those of one that died: who gives the
    same order has that child."""
    ended: tuple[Ended, ...] = ()
    """This controller's, until it says that it heard of them."""
