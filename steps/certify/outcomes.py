"""What calls and tasks end with, and the faults that are expected of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner.base.units import MINUTE
from steps.vsphere import vmomi
from steps.vsphere.client import Client
from steps.vsphere.faults import text_of
from steps.vsphere.session import Session
from steps.vsphere.tasks import Outcome, outcome

DEADLINE = 10 * MINUTE
"""For a task of a VM that has next to nothing on its disk; it waits behind other work of the host."""


class NotTried(Exception):
    """`str` says why, after a colon."""


def called(client: Client, doing: str, work: Callable[[Session], Any]) -> Outcome:
    """What the call returned or threw. A session that had ended is replaced first."""

    def caught(session: Session) -> Outcome:
        try:
            return Outcome(result=work(session))
        except vmomi.vim.fault.NotAuthenticated:
            raise
        except vmomi.vmodl.MethodFault as fault:
            return Outcome(fault=fault)

    return client.act(doing, caught, repeatable=False)


def ended(client: Client, doing: str, work: Callable[[Session], Any]) -> Outcome:
    """As `called`, of a call that gives a task: what that ended with."""
    started = called(client, doing, work)
    if started.fault is not None:
        return started
    task: Any = started.result
    return outcome(client, str(task._moId), doing, DEADLINE)


@dataclass(frozen=True)
class Expected:
    """A fault. `kind` is the API's name, such as InvalidArgument; one that derives from it will do."""

    kind: str
    property: str = ""
    key: str = ""
    """Of its first message, at the end: ``cbt.noTrack``."""
    text: str = ""
    """A regular expression for the whole of what is said, without a full stop."""

    def difference(self, seen: Outcome) -> str | None:
        """None where it is the fault that is expected."""
        fault: Any = seen.fault
        if fault is None:
            return f"it was done, without the fault {self.kind}"
        kinds = {_name(kind) for kind in type(fault).__mro__}
        if self.kind not in kinds:
            return f"{_name(type(fault))} instead of {self.kind}: {text_of(fault)}"
        if self.property and (found := getattr(fault, "invalidProperty", "")) != self.property:
            return f"{_name(type(fault))} of {found or 'no property'} instead of {self.property}"
        keys = [str(message.key) for message in fault.faultMessage or ()]
        if self.key and not any(key.endswith(self.key) for key in keys):
            told = ", ".join(key.rpartition(".")[2] for key in keys)
            wanted = self.key.rpartition(".")[2]
            return f"{_name(type(fault))} with the key {told or '(none)'} instead of {wanted}"
        if self.text and not re.fullmatch(self.text, text_of(fault)):
            return f"{_name(type(fault))} with another text: {text_of(fault)}"
        return None


def failed(seen: Outcome) -> str | None:
    """What is said where nothing should have failed; None where nothing did."""
    return None if seen.fault is None else f"it failed with {_name(type(seen.fault))}: {text_of(seen.fault)}"


def _name(kind: type) -> str:
    return kind.__name__.rpartition(".")[2]
