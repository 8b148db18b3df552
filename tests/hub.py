"""A repository on a host, contexts for its steps, and the values that other steps would have given."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.base.units import MiB
from runner.events.events import Event, Warned
from runner.hosts.file_log import FileLog
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.step.context import Context, Run
from steps.backup.create_qcow2 import CreateQcow2, CreateQcow2In
from steps.repository import marker
from steps.repository.section import Repository
from steps.values.image import Image
from steps.vsphere.inventory import VM, Controller, Disk

RUN = "20261123T170000Z-3f9a0c1e"
OTHER_RUN = "20261123T180000Z-aabbccdd"
CREATED = datetime(2026, 11, 23, 17, 0, 3, tzinfo=UTC)
INSTANCE = "5013e3a5-9f10-4a5e-8b32-0123456789ab"
VCENTER = "11111111-2222-3333-4444-555555555555"


def vm(name: str = "pgtest1", **changes: Any) -> VM:
    return VM(
        vcenter="prod",
        vcenter_uuid=VCENTER,
        moref="vm-16",
        name=name,
        inventory_path=f"DC0/vm/{name}",
        instance_uuid=INSTANCE,
        bios_uuid="42130000-0000-0000-0000-000000000001",
        datacenter="DC0",
        firmware="efi",
        cpus=2,
        memory=4096 * MiB,
        guest="debian12_64Guest",
        hardware_version="vmx-19",
        vmx_file=f"[ds1] {name}/{name}.vmx",
        networks=(),
    ).model_copy(update=changes)


def disk(key: int = 2000, capacity: int = 4 * MiB, **changes: Any) -> Disk:
    return Disk(
        key=key,
        label=f"Hard disk {key - 1999}",
        controller=Controller(key=1000, kind="pvscsi", bus=0),
        unit=key - 2000,
        capacity=capacity,
        backing_uuid=f"6000C290-0000-0000-0000-{key:012d}",
        datastore="ds1",
        mode="persistent",
        thin=True,
        change_tracking=True,
    ).model_copy(update=changes)


@dataclass
class Hub:
    """`host` holds the repository `main` at `root`; `context` makes what the executor would make for one node."""

    host: Host
    root: str
    scratch: Path
    run: str = RUN
    shared: dict[object, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    stack: ExitStack = field(default_factory=ExitStack)

    def section(self, section: str, name: str) -> Repository:
        assert (section, name) == ("repositories", "main")
        return Repository(host=self.host.name, path=self.root)

    def share(self, key: object, factory: Any) -> Any:
        if key not in self.shared:
            self.shared[key] = self.stack.enter_context(factory())
        return self.shared[key]

    def context(self, node: str = "node", *, run: str | None = None) -> Context:
        return Context(
            run=Run(run or self.run, "pgtest1-nightly", "0" * 64, "c0ffee"),
            node=node,
            emit=self.events.append,
            host={self.host.name: self.host, "local": LocalHost()}.__getitem__,
            section=self.section,
            shared=self.share,
            scratch=self.scratch,
            stop=self.stop,
            unwind=lambda: ("snapshot sendense-1",),
            log=lambda name: FileLog(LocalHost(), str(self.scratch / "ledger" / name)),
            pictures=self.scratch / "pictures",
        )

    @property
    def warnings(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Warned)]

    def image(self, of: Disk | None = None, *, machine: VM | None = None, run: str | None = None) -> Image:
        """As create-qcow2 makes it."""
        inputs = CreateQcow2In(disk=of or disk(), vm=machine or vm(), repository="main")
        step = CreateQcow2()
        return step.run(self.context(run=run), inputs, step.Live())


@contextmanager
def read_only(root: str) -> Iterator[None]:
    """As its host shows the repository there to an account that only reads it. Skips the test where nobody mounts."""
    done = subprocess.run(["mount", "--bind", "-o", "ro", root, root], capture_output=True, check=False, timeout=30)
    if done.returncode:
        pytest.skip("nobody but root mounts")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", root], check=True, timeout=30)


@contextmanager
def hub_on(host: Host, root: str, scratch: Path) -> Iterator[Hub]:
    marker.init(host, root)
    with ExitStack() as stack:
        yield Hub(host, root, scratch, stack=stack)


def tree(path: Path) -> Mapping[str, bytes]:
    """Every file below `path` and its content, directories with an empty one: equal trees have not been touched."""
    return {
        str(found.relative_to(path)): found.read_bytes() if found.is_file() else b""
        for found in sorted(path.rglob("*"))
    }
