"""What is done only when a person agrees: asked on a terminal, answered beforehand by an option, and else
refused."""

from __future__ import annotations

import sys

from runner.base.errors import UsageError
from runner.cli.options import typed
from runner.console.asking import ask
from steps.repository.standing import Standing


class Declined(UsageError):
    """The person who was asked said no: nothing was changed."""


def agree(question: str, *, given: bool, option: str, untouched: str) -> None:
    """Returns where it was agreed to: by `option`, which was `given`, or by the person who is asked.
    `untouched` says what was not done. Raises Declined, and UsageError, with the command that would work,
    where nobody can be asked."""
    if given:
        return
    answer = ask(question)
    if answer is None:
        raise UsageError(
            f"{untouched}: there is no terminal to ask on; to go ahead without a question: {typed(option)}"
        )
    if not answer:
        raise Declined(untouched)


def accept_suspect(known: Standing, what: str, *, given: bool) -> bool:
    """Whether the point is suspect or damaged; that is said first, and agreed to. `what` is the question.
    Raises as `agree`."""
    for doubt in known.doubts:
        print(f"! {known.vm}/{known.point} is not trusted: {doubt}", file=sys.stderr)
    if not known.doubts:
        return False
    print(f"! {known.remedy}", file=sys.stderr)
    agree(what, given=given, option="--accept-suspect", untouched="nothing was done")
    return True
