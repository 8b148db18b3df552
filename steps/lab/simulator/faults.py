"""Faults on demand: each is armed with a count and taken by the calls that it hits."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.base.errors import UsageError


@dataclass(frozen=True)
class FaultKind:
    """`sentence` says what happens; `parameters` are optional, by name with their defaults (which give the
    type)."""

    sentence: str
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    """The values of its one parameter, where there are but a few."""


FAULTS: Mapping[str, FaultKind] = {
    "invalid-login": FaultKind("a login fails although user name and password are right"),
    "session-expire": FaultKind(
        "every session has expired when the next call (of method, if given) or HTTP request arrives",
        {"method": ""},
    ),
    "fail-call": FaultKind(
        "a call (of method, if given) fails with the named fault of the API",
        {"method": "", "fault": "SystemError"},
    ),
    "lost-answer": FaultKind(
        "a call (of method, if given) is done and the connection breaks before its answer", {"method": ""}
    ),
    "slow-task": FaultKind("a task (of method, if given) takes some seconds", {"method": "", "seconds": 5.0}),
    "fail-task": FaultKind(
        "a task (of method, if given) ends with the named fault of the API",
        {"method": "", "fault": "SystemError"},
    ),
    "quiesce-fault": FaultKind(
        "quiescing the guest fails; fault is application or filesystem",
        {"fault": "application"},
        ("application", "filesystem"),
    ),
    "no-space": FaultKind("a snapshot, or making or extending a disk, fails with NoDiskSpace"),
    "merge-failure": FaultKind(
        "removing a snapshot or consolidating leaves the disks on their deltas; answer is success or error",
        {"answer": "success"},
        ("success", "error"),
    ),
    "snapshot-gone": FaultKind("somebody else has removed the VM's snapshots when the next call names one"),
    "cbt-lie": FaultKind("QueryChangedDiskAreas leaves out every second area"),
    "cbt-extra": FaultKind("QueryChangedDiskAreas reports the whole page as changed"),
    "cbt-reset": FaultKind("changed block tracking starts over with another UUID at the next snapshot"),
    "cbt-keep": FaultKind(
        "extending a disk leaves its change tracking as it is (whether it does is not documented)"
    ),
    "cbt-locked": FaultKind("QueryChangedDiskAreas fails with a FileFault that names no reason"),
    "cbt-no-epoch": FaultKind('QueryChangedDiskAreas with changeId "*" fails for want of an epoch'),
    "power-on-question": FaultKind(
        "turning a VM on waits for the answer to a question", {"text": "Continue without it?"}
    ),
    "power-on-late": FaultKind(
        "PowerOnMultiVM_Task succeeds, and its VMs are on some seconds later, or never where seconds is 0",
        {"seconds": 0.0},
    ),
    "http-401": FaultKind(
        "an HTTP request (of method, if given) for a file is refused as not logged in", {"method": ""}
    ),
    "http-404": FaultKind("an HTTP request (of method, if given) for a file finds nothing", {"method": ""}),
    "http-503": FaultKind(
        "an HTTP request (of method, if given) for a file is answered with 503", {"method": ""}
    ),
    "rest-login": FaultKind("a login at the REST interface is refused with 401"),
    "rest-busy": FaultKind("a request to the REST interface is put off with this status", {"status": 429}),
    "rest-expire": FaultKind("the sessions of the REST interface have ended when the next request arrives"),
    "rest-forbidden": FaultKind("a request about tags is refused with 403"),
    "rest-partial": FaultKind("an answer about several tags leaves out the last one"),
    "lease-timeout": FaultKind("a lease has timed out when its next Progress arrives"),
    "lease-idle": FaultKind(
        "a lease has timed out when a Progress arrives and no byte did since the last one"
    ),
    "upload-timeout": FaultKind("a lease times out when more bytes of an upload have come in", {"after": 0}),
    "upload-cut": FaultKind(
        "the connection closes when more bytes of an upload have come in, without an answer", {"after": 65536}
    ),
    "upload-no-space": FaultKind(
        "the datastore is full when more bytes of an uploaded disk are to be written", {"after": 0}
    ),
    "upload-slow": FaultKind("an upload waits some seconds before its first byte is read", {"seconds": 5.0}),
    "upload-wrong": FaultKind(
        "an upload is answered as good, and stored otherwise: changed by a byte, or short of a grain",
        {"kind": "changed"},
        ("changed", "short"),
    ),
    "http-cut": FaultKind(
        "the connection closes in an HTTP answer after some bytes of its body", {"after": 65536}
    ),
}


@dataclass
class _Armed:
    name: str
    left: int
    parameters: dict[str, Any]


class Faults:
    """The faults armed now, the oldest first; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []

    def arm(self, name: str, count: int, parameters: Mapping[str, Any]) -> None:
        """The next `count` calls that it hits take it. Raises UsageError for a name or parameter that is
        unknown."""
        kind = FAULTS.get(name)
        if kind is None:
            raise UsageError(f"there is no fault '{name}'; there are {', '.join(FAULTS)}")
        if count < 1:
            raise UsageError(f"the count of the fault {name} must be at least 1, not {count}")
        known = dict(kind.parameters)
        for key, value in parameters.items():
            if key not in known:
                raise UsageError(
                    f"the fault {name} has no parameter '{key}'; it has {', '.join(known) or 'none'}"
                )
            try:
                known[key] = type(known[key])(value)
            except ValueError as error:
                raise UsageError(
                    f"the parameter {key} of the fault {name} cannot be '{value}': {error}"
                ) from error
            number = known[key]
            if isinstance(number, int | float) and not 0 <= number < math.inf:
                raise UsageError(
                    f"the parameter {key} of the fault {name} is a number from 0 on, not '{value}'"
                )
            if kind.choices and known[key] not in kind.choices:
                raise UsageError(
                    f"the parameter {key} of the fault {name} is one of {', '.join(kind.choices)}"
                )
        with self._lock:
            self._armed.append(_Armed(name, count, known))

    def take(self, name: str, method: str = "") -> dict[str, Any] | None:
        """The parameters of an armed fault that hits `method`, one less of it left; None where there is
        none."""
        with self._lock:
            for armed in self._armed:
                if armed.name == name and armed.parameters.get("method", "") in ("", method):
                    armed.left -= 1
                    if armed.left == 0:
                        self._armed.remove(armed)
                    return armed.parameters
        return None

    def hits(self, name: str, method: str = "") -> bool:
        """Whether an armed fault hits `method`, which takes one of it."""
        return self.take(name, method) is not None

    def armed(self) -> dict[str, int]:
        """How often each fault will still hit."""
        with self._lock:
            left: dict[str, int] = {}
            for armed in self._armed:
                left[armed.name] = left.get(armed.name, 0) + armed.left
            return left
