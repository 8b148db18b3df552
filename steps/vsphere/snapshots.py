"""Snapshots of a VM: listed, taken, removed by exact reference, and merged where the removal left
something."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue

from runner.base.units import HOUR, MINUTE
from runner.base.waiting import again
from steps.vsphere import datastores, hardware, rolled_back, vmomi
from steps.vsphere.client import Client
from steps.vsphere.configuration import as_json
from steps.vsphere.errors import Busy, Gone, VSphereError
from steps.vsphere.inventory import FrozenDisk
from steps.vsphere.machine import consolidation_needed, delta_files
from steps.vsphere.names import unescape
from steps.vsphere.properties import read, read_all
from steps.vsphere.rolled_back import RolledBack
from steps.vsphere.session import Session
from steps.vsphere.tasks import finish, running
from steps.vsphere.unset import given

CREATE_DEADLINE = 45 * MINUTE
"""Quiescing a Windows guest may take 15 minutes by default, and a snapshot waits behind other work of the
host."""

MERGE_DEADLINE = 24 * HOUR
"""Merging 500 GB takes hours (Broadcom KB 316414)."""

BUSY_DEADLINE = 30 * MINUTE
BUSY_PAUSE = 2.0

_CREATE_TASKS = ("VirtualMachine.createSnapshot", "VirtualMachine.createSnapshotEx")
_MERGE_TASKS = ("Snapshot.remove", "VirtualMachine.removeAllSnapshots", "VirtualMachine.consolidateDisks")
"""Ends of TaskInfo.descriptionId, like ``VirtualMachine.createSnapshot`` and ``vm.Snapshot.remove``."""


@dataclass(frozen=True)
class Snapshot:
    """`created` by the vCenter's clock; `quiesced` as vSphere says: false also where it ignored the
    request."""

    moref: str
    name: str
    description: str
    created: datetime
    quiesced: bool


@dataclass(frozen=True)
class Contents:
    """The VM at the snapshot: of its configuration only what a backup is steered by."""

    disks: tuple[FrozenDisk, ...]
    nvram: str | None


def listed(client: Client, vm: str) -> tuple[Snapshot, ...]:
    """All of the VM's, parents first. Raises Gone if there is no such VM."""
    seen = read(client, vmomi.vim.VirtualMachine, vm, ("snapshot",), f"reading the snapshots of VM {vm}")
    tree = seen.get("snapshot")  # unset where there are none
    return tuple(_walk(tree.rootSnapshotList)) if tree is not None else ()


def find(client: Client, vm: str, name: str) -> Snapshot | None:
    """By exact name. Raises VSphereError if several have it."""
    named = [snapshot for snapshot in listed(client, vm) if snapshot.name == name]
    if len(named) > 1:
        morefs = ", ".join(snapshot.moref for snapshot in named)
        raise VSphereError(
            f"VM {vm} has {len(named)} snapshots called {name} ({morefs}): delete all but the right one"
        )
    return named[0] if named else None


def named(client: Client, prefix: str) -> Iterator[tuple[str, str, Snapshot]]:
    """All snapshots in the vCenter whose names begin so, each with its VM's moref and name."""
    machines = read_all(
        client, vmomi.vim.VirtualMachine, ("name", "snapshot"), f"looking for snapshots called {prefix}…"
    )
    for moref, seen in machines.items():
        tree = seen.get("snapshot")
        for snapshot in _walk(tree.rootSnapshotList) if tree is not None else ():
            if snapshot.name.startswith(prefix):
                yield moref, unescape(str(seen.get("name", moref))), snapshot


def settle(client: Client, vm: str) -> None:
    """Waits for a snapshot that is being created, maybe by us before a crash. Raises Busy while one is being
    merged: a snapshot taken meanwhile has corrupted copies."""
    doing = f"waiting for another task of VM {vm}"
    for task, name in running(client, vm, doing):
        if name.endswith(_CREATE_TASKS):
            _wait_out(client, task, doing)
        elif name.endswith(_MERGE_TASKS):
            raise Busy(
                f"disks of VM {vm} are being merged after a snapshot's removal ({task}): wait until it has "
                "ended"
            )


def create(client: Client, vm: str, name: str, description: str, *, quiesce: bool) -> str:
    """Without memory; returns the moref. Raises QuiesceFailed, SnapshotRefused, Busy, PermissionMissing …;
    after Unreachable or Gone it may exist all the same: look for the name."""
    doing = f"creating the snapshot {name}"

    def work(session: Session) -> str:
        machine = session.object(vmomi.vim.VirtualMachine, vm)
        task = machine.CreateSnapshot_Task(name=name, description=description, memory=False, quiesce=quiesce)
        return str(task._moId)

    task = client.act(doing, work, repeatable=False)
    made = {"info.result": finish(client, task, doing, CREATE_DEADLINE)}
    return str(given(made, "info.result", task)._moId)


def contents(client: Client, vm: str, snapshot: str) -> Contents:
    """Of the snapshot's own config: the live one points to deltas by now. Raises Gone."""
    config = _config(client, snapshot)
    devices = given(config, "hardware.device", f"snapshot {snapshot}")
    tracking = bool(config.changeTrackingEnabled)
    put_back = rolled_back.among(config.extraConfig or ())
    return Contents(_frozen(client, devices, put_back, tracking=tracking), _nvram(client, vm, config))


FORESEEN = ("config.hardware.device", rolled_back.PATH)


def foreseen(client: Client, vm: str) -> tuple[FrozenDisk, ...]:
    """The disks as a snapshot taken now would freeze them: each file that is written now is the one it would
    keep."""
    return client.recall(("disks to freeze of", vm), lambda: _foreseen(client, vm))


def _foreseen(client: Client, vm: str) -> tuple[FrozenDisk, ...]:
    doing = f"reading the disks of VM {vm}"
    seen = read(client, vmomi.vim.VirtualMachine, vm, FORESEEN, doing)
    put_back = rolled_back.parse(str(getattr(seen.get(rolled_back.PATH), "value", "")))
    return _frozen(client, seen.get("config.hardware.device") or (), put_back, tracking=None)


def _frozen(
    client: Client, devices: Sequence[Any], put_back: RolledBack, *, tracking: bool | None
) -> tuple[FrozenDisk, ...]:
    controllers = {
        device.key: device for device in devices if isinstance(device, vmomi.vim.vm.device.VirtualController)
    }
    covered = [
        disk for disk in hardware.virtual_disks(devices) if not hardware.not_covered(disk, controllers)
    ]
    stores = datastores.of_disks(client, covered)
    frozen = [hardware.frozen(disk, stores, tracking=tracking) for disk in covered]
    told = (one.model_copy(update={"rolled_back": put_back.run(one.backing_uuid)}) for one in frozen)
    return tuple(sorted(told, key=lambda disk: disk.key))


def configuration(client: Client, snapshot: str) -> dict[str, JsonValue]:
    """All of the VM's configuration at the snapshot, as `as_json`. Raises Gone.

    Guests are given passwords in it (``guestinfo.*`` of extraConfig): it goes nowhere but into a restore
    point."""
    saved = as_json(_config(client, snapshot))
    assert isinstance(saved, dict)
    return saved


def remove(client: Client, vm: str, moref: str) -> None:
    """Returns once the snapshot is gone; absent is fine. A merge that failed has left disks unmerged then:
    `consolidate_if_needed` looks for that."""
    doing = f"removing the snapshot {moref}"

    def start(session: Session) -> str:
        snapshot = session.object(vmomi.vim.vm.Snapshot, moref)
        return str(snapshot.RemoveSnapshot_Task(removeChildren=False, consolidate=True)._moId)

    try:
        _when_free(client, doing, start)
    except Gone:
        pass  # the snapshot, before we came; or the task, when it had ended
    except VSphereError:
        # A failed merge leaves the snapshot gone and the disks on their deltas: the next step of the removal,
        # not its end.
        if any(snapshot.moref == moref for snapshot in listed(client, vm)):
            raise
    if any(snapshot.moref == moref for snapshot in listed(client, vm)):
        raise VSphereError(
            f"{doing} ended, but the snapshot is still there: remove it in vSphere, or run the same "
            "command again"
        )


def consolidate_if_needed(client: Client, vm: str) -> None:
    """Merges what a removal left unmerged, once. Raises VSphereError that names the files if they stay."""
    if not consolidation_needed(client, vm):
        return
    doing = f"consolidating the disks of VM {vm}"

    def start(session: Session) -> str:
        return str(session.object(vmomi.vim.VirtualMachine, vm).ConsolidateVMDisks_Task()._moId)

    cause = ""
    try:
        _when_free(client, doing, start)
    except VSphereError as error:
        cause = f" ({error})"
    if consolidation_needed(client, vm):
        files = ", ".join(delta_files(client, vm)) or "no delta file is named"
        raise VSphereError(
            f"the snapshot is gone but its disks could not be merged{cause}: find out what holds them "
            f"open, then consolidate VM {vm} in vSphere; files: {files}"
        )


def _when_free(client: Client, doing: str, start: Any) -> None:
    """Starts a task and waits for its end, again while another task holds the VM."""
    again(
        lambda number: finish(client, client.act(doing, start), doing, MERGE_DEADLINE),
        on=lambda error: isinstance(error, Busy),
        stop=client.stop,
        timeout=BUSY_DEADLINE,
        first=BUSY_PAUSE,
    )


def _wait_out(client: Client, task: str, doing: str) -> None:
    try:
        finish(client, task, doing, CREATE_DEADLINE)
    except VSphereError:
        pass  # how somebody else's task ended is not our matter; what it made is looked for next


def _walk(trees: Any) -> Iterator[Snapshot]:
    for tree in trees:
        whose = f"snapshot {unescape(tree.name)}"
        yield Snapshot(
            str(given(tree, "snapshot", whose)._moId),
            unescape(tree.name),
            tree.description or "",
            given(tree, "createTime", whose).astimezone(UTC),
            bool(tree.quiesced),
        )
        yield from _walk(tree.childSnapshotList or ())


def _config(client: Client, snapshot: str) -> Any:
    doing = f"reading the configuration at the snapshot {snapshot}"
    return given(
        read(client, vmomi.vim.vm.Snapshot, snapshot, ("config",), doing), "config", f"snapshot {snapshot}"
    )


def _nvram(client: Client, vm: str, config: Any) -> str | None:
    """``[ds] dir/x.nvram``. A VM that never ran has none; where the file list cannot be read, extraConfig
    names the file, without its directory."""
    layout = read(client, vmomi.vim.VirtualMachine, vm, ("layoutEx",), f"reading the files of VM {vm}").get(
        "layoutEx"
    )
    if layout is not None:
        return next((str(file.name) for file in layout.file if file.type == "nvram"), None)
    named = next((str(option.value) for option in config.extraConfig or () if option.key == "nvram"), None)
    directory = str(getattr(config.files, "vmPathName", None) or "").rpartition("/")[0]
    return f"{directory}/{named}" if named and directory else None
