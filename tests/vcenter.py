"""A simulated vCenter for tests, and contexts for the steps that talk to it. `RUN` is the run's id in all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from runner.base.errors import UsageError
from runner.events.events import Event, Warned
from runner.hosts.file_log import FileLog
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.step.context import Context, Run
from steps.backup.discover import Discover, DiscoverIn
from steps.backup.open_source import OpenSource, OpenSourceIn
from steps.backup.snapshot import Snapshot, SnapshotIn
from steps.lab.simulator import Inventory, Simulator
from steps.repository.section import Repository
from steps.values.discovered import Discovered
from steps.values.snapshot import SnapshotTaken
from steps.values.source import Source
from steps.vsphere.client import Client, vcenter
from steps.vsphere.section import VCenter

RUN = "20261123T170000Z-3f9a0c1e"
NAME = f"sendense-{RUN}"
USER = "backup@vsphere.local"
PASSWORD = "correct horse: battery"

PVSCSI = {"key": 1000, "kind": "pvscsi"}


def disk(key: int = 2000, unit: int = 0, **more: Any) -> dict[str, Any]:
    return {"key": key, "controller": 1000, "unit": unit, "size": "1 MiB", **more}


def machine(name: str = "pgtest1", **more: Any) -> dict[str, Any]:
    return {"name": name, "datastore": "ds1", "controllers": [PVSCSI], "disks": [disk()], **more}


def inventory(*machines: dict[str, Any], **more: Any) -> Inventory:
    stores = [{"name": "ds1"}, {"name": "vsan1", "kind": "vsan"}, {"name": "vvol1", "kind": "vvol"}]
    datacenter = {"name": "DC1", "datastores": stores, "vms": list(machines), **more.pop("datacenter", {})}
    return Inventory.from_json_value({"datacenters": [datacenter], **more})


@dataclass
class Lab:
    """`host` is what steps know as every host, `repository` the path of the one called `main` there."""

    simulator: Simulator
    scratch: Path
    host: Host = field(default_factory=LocalHost)
    repository: Path | None = None
    section: VCenter = field(init=False)
    shared: dict[object, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        (self.scratch / "password").write_text(f"{PASSWORD}\n")
        self.section = self.vcenter()

    def vcenter(self, **changes: Any) -> VCenter:
        return VCenter.from_json_value(
            {
                "server": "127.0.0.1",
                "port": self.simulator.port,
                "username": USER,
                "password": {"file": str(self.scratch / "password")},
                "tls": {"ca": str(self.simulator.ca_path)},
                **changes,
            }
        )

    def share(self, key: object, factory: Callable[[], Any]) -> Any:
        if key not in self.shared:
            self.shared[key] = self.stack.enter_context(factory())
        return self.shared[key]

    def entry(self, section: str, name: str) -> VCenter | Repository:
        if (section, name) == ("repositories", "main") and self.repository is not None:
            return Repository(host="hub", path=str(self.repository))
        if (section, name) != ("vcenters", "prod"):
            raise UsageError(f"no {section} {name}")
        return self.section

    def context(self, node: str = "node", *, run: str = RUN) -> Context:
        return Context(
            run=Run(run, "pgtest1-nightly", "0" * 64, "c0ffee"),
            node=node,
            emit=self.events.append,
            host=lambda name: self.host,
            section=self.entry,
            shared=self.share,
            scratch=self.scratch,
            stop=self.stop,
            unwind=tuple,
            log=lambda name: FileLog(LocalHost(), str(self.scratch / "ledger" / name)),
        )

    @property
    def client(self) -> Client:
        return vcenter(self.context(), "prod")

    @property
    def warnings(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Warned)]

    def discover(self, vm: str = "pgtest1", **more: Any) -> Discovered:
        inputs = DiscoverIn.from_json_value({"vcenter": "prod", "vm": vm, **more})
        return Discover().run(self.context("discover"), inputs, Discover.Live())

    def snapshot_in(self, found: Discovered, **more: Any) -> SnapshotIn:
        return SnapshotIn.from_json_value({"vm": found.vm.to_json_value(), **more})

    def snapshot(self, found: Discovered, **more: Any) -> SnapshotTaken:
        return Snapshot().run(self.context("snapshot"), self.snapshot_in(found, **more), Snapshot.Live())

    def undo(self, found: Discovered, taken: SnapshotTaken, **more: Any) -> None:
        Snapshot().undo(self.context("snapshot"), self.snapshot_in(found, **more), taken)

    @contextmanager
    def source(self, found: Discovered, taken: SnapshotTaken, key: int = 2000, **more: Any) -> Iterator[Opened]:
        """Open until the block is left."""
        chosen = next(one for one in found.disks if one.key == key)
        inputs = OpenSourceIn.from_json_value(
            {"snapshot": taken.to_json_value(), "disk": chosen.to_json_value(), "connections": 2, **more}
        )
        ctx = self.context("source")
        with ctx.closing:
            yield Opened(ctx, OpenSource().run(ctx, inputs, OpenSource.Live()))


@dataclass
class Opened:
    ctx: Context
    source: Source


@contextmanager
def lab(directory: Path, content: Inventory, **options: Any) -> Iterator[Lab]:
    """`options` are the simulator's."""
    options = {"username": USER, "password": PASSWORD, **options}
    with Simulator(content, directory / "vcenter", **options) as simulator, ExitStack() as stack:
        made = Lab(simulator, directory, stack=stack)
        yield made


Starts = Callable[..., Lab]
"""`start_vcenter(*machines, **more)`: a lab with these VMs, ended with the test. `simulator` holds the simulator's options, the
rest goes to `inventory`."""


def starts(directory: Path, stack: ExitStack) -> Starts:
    numbers = count(1)

    def start(*machines: Mapping[str, Any], simulator: Mapping[str, Any] | None = None, **more: Any) -> Lab:
        chosen = [dict(one) for one in machines] or [machine()]
        own = directory / f"lab-{next(numbers)}"
        own.mkdir()
        return stack.enter_context(lab(own, inventory(*chosen, **more), **(simulator or {})))

    return start


@pytest.fixture
def vcenters(tmp_path: Path) -> Iterator[Starts]:
    """A test module takes it as ``start_vcenter = vcenters``."""
    with ExitStack() as stack:
        yield starts(tmp_path, stack)
