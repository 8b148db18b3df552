"""What keeps many runs on one vCenter from working, as `SendenseError.shared` names it."""

from __future__ import annotations


def login(name: str) -> str:
    """The vCenter that the job calls `name` refuses its account."""
    return f"login vcenter {name}"


def unreached(name: str) -> str:
    """It does not answer, or is not trusted."""
    return f"vcenter {name}"


def no_room(datastore: str) -> str:
    return f"no room on datastore {datastore}"
