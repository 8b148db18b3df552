"""Scratch VMs that a certify left, because it was killed: found by their mark, removed with their disks.

A VM counts as one only if it has the mark and the name that goes with it: a clone that somebody made of it
copies the mark alone. One whose certify may still be at work is left alone.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from runner.base.units import MINUTE
from runner.base.waiting import again
from steps.certify.outcomes import DEADLINE
from steps.vsphere import creation, machine, marks, vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import Busy, Gone
from steps.vsphere.marks import Mark, Marked
from steps.vsphere.properties import read
from steps.vsphere.session import Session
from steps.vsphere.tasks import finish

PREFIX = "sendense-certify-"
"""Of the names of scratch VMs; the run's id follows."""

_RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]+", re.ASCII)

LONGEST = timedelta(hours=2)
"""A certify that began longer ago is at work no more; each takes minutes."""

BUSY_DEADLINE = 6 * MINUTE
"""What a killed certify was importing is held until its lease ends, after five minutes."""


def holder() -> str:
    """Who a mark says that it is of."""
    return f"{platform.node()} pid {os.getpid()}"


def found(client: Client, folder: str = "") -> Iterator[Marked]:
    """Those in the folder (moref), or anywhere. Raises VSphereError."""
    for marked in marks.find(client, marks.CERTIFY):
        mark = marked.mark
        if mark is None or not _RUN.fullmatch(mark.run) or not marked.name.startswith(PREFIX + mark.run):
            continue
        with suppress(Gone):
            if not folder or _folder_of(client, marked.moref) == folder:
                yield marked


def _folder_of(client: Client, vm: str) -> str:
    seen = read(client, vmomi.vim.VirtualMachine, vm, ("parent",), "reading where a scratch VM is")
    return str(getattr(seen.get("parent"), "_moId", ""))


def why_it_stays(mark: Mark) -> str:
    """Empty if nobody is at work with it any more."""
    began = datetime.strptime(mark.run[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if datetime.now(UTC) - began > LONGEST or _has_ended(mark.holder):
        return ""
    return f"`sendense certify` may still be at work with it ({mark.holder}, since {began:%H:%M} UTC)"


def _has_ended(who: str) -> bool:
    """Of this machine, where that can be told."""
    node, _, pid = who.partition(" pid ")
    if node != platform.node() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def remove(client: Client, marked: Marked) -> None:
    """Switched off first, once what holds it has ended. Looks again at that moment whether it is what was
    found; absent is fine. Raises VSphereError."""
    again(
        lambda number: _remove(client, marked),
        on=lambda error: isinstance(error, Busy),
        stop=client.stop,
        timeout=BUSY_DEADLINE,
        longest=3.0,
    )


def _remove(client: Client, marked: Marked) -> None:
    doing = f"removing the scratch VM {marked.name}"
    if not any(one == marked for one in found(client)):
        return
    with suppress(Gone):
        if machine.powered_on(client, marked.moref):
            _switch_off(client, marked.moref, doing)
        creation.destroy(client, marked.moref, doing)


def _switch_off(client: Client, vm: str, doing: str) -> None:
    def work(session: Session) -> str:
        return str(session.object(vmomi.vim.VirtualMachine, vm).PowerOffVM_Task()._moId)

    finish(client, client.act(doing, work), doing, DEADLINE)
