"""Simulated vCenters in this process and repositories on this machine: for runs that follow each other over a VM's life.

No hub behind sshd: what travels is the same, and the disks can be changed, grown, added and reverted between two runs.
"""

from __future__ import annotations

import random
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from runner.app.inspection import plan_job
from runner.app.options import Options
from runner.app.runs import run_job
from runner.base.units import KiB, MiB
from runner.engine.plan import Plan
from runner.events.events import Event
from runner.hosts.local import LocalHost
from steps.lab.simulator import Inventory, Simulator
from steps.repository import manifest, marker, reader
from steps.repository.manifest import Manifest, PointDisk
from tests.e2e.site import Ran

PASSWORD = "correct horse"
PASSWORD_FILE = "password"
USER = "backup@vsphere.local"
VM = "db"


def disk(key: int, size: str = "48 MiB", unit: int = 0, **more: Any) -> dict[str, Any]:
    return {"key": key, "controller": 1000, "unit": unit, "size": size, **more}


def machine(*disks: dict[str, Any], name: str = VM, **more: Any) -> dict[str, Any]:
    controllers = [{"key": 1000, "kind": "pvscsi"}]
    return {"name": name, "datastore": "ds1", "controllers": controllers, "disks": list(disks), **more}


def inventory(*machines: dict[str, Any], **more: Any) -> Inventory:
    datacenter = {"name": "DC1", "datastores": [{"name": "ds1"}], "vms": list(machines)}
    return Inventory.from_json_value({"datacenters": [datacenter], **more})


@dataclass
class Estate:
    directory: Path
    vcenters: dict[str, Simulator]
    references: dict[tuple[str, int], Path] = field(default_factory=dict)
    """Copies of disks as they were when a point was made, by point and disk key."""

    @property
    def vcenter(self) -> Simulator:
        (only,) = self.vcenters.values()
        return only

    def repository(self, name: str = "main") -> Path:
        return self.directory / name

    def job(self, name: str = "nightly", /, vm: str = VM, **settings: Any) -> Path:
        """A job of the standard template, reading over HTTPS."""
        values = {"vm": vm, "vcenter": next(iter(self.vcenters)), "repository": "main", "transport": "https"}
        path = self.directory / f"{name}.yaml"
        document = {"version": 1, "include": "site.yaml", "template": "backup", "name": name, "vars": values | settings}
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    def run(
        self, job: Path, *listeners: Callable[[Event], None], stop: threading.Event | None = None, **options: Any
    ) -> Ran:
        events: list[Event] = []
        chosen = Options(state=self.directory / "state", **options)
        result = run_job(job, chosen, stop or threading.Event(), [events.append, *listeners])
        return Ran(result, events)

    def plan(self, job: Path) -> Plan:
        return plan_job(job, Options(state=self.directory / "state"), offline=False)

    def backup(
        self,
        job: Path,
        *listeners: Callable[[Event], None],
        exit_code: int = 0,
        vcenter: str = "",
        moment: Mapping[int, bytes] | None = None,
        **options: Any,
    ) -> Path:
        """Runs it, and keeps a copy of every disk in the point as the guest has it now, or as `moment` says; the point's
        directory."""
        ran = self.run(job, *listeners, **options)
        assert ran.exit_code == exit_code, (ran.exit_code, ran.error, ran.failures())
        (point,) = ran.points()
        made = read(point)
        simulator = self.vcenters[vcenter or next(iter(self.vcenters))]
        for one in made.disks:
            copy = self.directory / "references" / f"{point.parent.parent.name}-{point.name}-{one.key}"
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes((moment or {}).get(one.key) or simulator.read(VM, one.key, 0, one.capacity))
            self.references[str(point), one.key] = copy
        return point

    def assert_all_equal(self) -> None:
        """Every disk of every point against its copy, by qemu-img alone."""
        for (point, key), copy in self.references.items():
            assert restored(Path(point), key, self.directory / "restored") == copy.read_bytes(), f"{point} disk {key}"


def restored(point: Path, key: int, to: Path) -> bytes:
    """As README says."""
    argv = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(point / f"disk-{key}.qcow2"), str(to)]
    subprocess.run(argv, check=True, capture_output=True, timeout=120)
    content = to.read_bytes()
    to.unlink()
    return content


def read(point: Path) -> Manifest:
    return manifest.parse((point / "manifest.json").read_bytes(), str(point))


def of(point: Path, key: int) -> PointDisk:
    return next(one for one in read(point).disks if one.key == key)


def suspects(point: Path) -> set[int]:
    """The keys of disks that are marked suspect in that point."""
    (entry,) = [one for one in reader.read(LocalHost(), str(point.parent)).entries if one.point == point.name]
    return {one.key for one in entry.marks.suspect.disks} if entry.marks.suspect else set()


def scribble(simulator: Simulator, key: int, capacity: int, seed: int) -> None:
    """What a guest does in a day: writes of 64 KiB to 8 MiB anywhere, the first and the last sector, and zeroing."""
    chance = random.Random(seed)
    for _ in range(6):
        length = min(chance.choice((512, 4 * KiB, 64 * KiB, 300 * KiB, 2 * MiB, 8 * MiB)), capacity)
        offset = chance.randrange(0, capacity - length + 512, 512)
        content = bytes(length) if chance.random() < 0.3 else chance.randbytes(length)
        simulator.write(VM, key, offset, content)
    simulator.write(VM, key, 0, chance.randbytes(512))
    simulator.write(VM, key, capacity - 512, chance.randbytes(512))


@contextmanager
def estate(
    directory: Path, vcenters: Mapping[str, Inventory], repositories: tuple[str, ...] = ("main",)
) -> Iterator[Estate]:
    with ExitStack() as stack:
        running: dict[str, Simulator] = {}
        entries: dict[str, Any] = {}
        (directory / PASSWORD_FILE).write_text(f"{PASSWORD}\n")
        for name, content in vcenters.items():
            simulator = Simulator(content, directory / name, username=USER, password=PASSWORD)
            running[name] = stack.enter_context(simulator)
            entries[name] = {
                "server": "127.0.0.1",
                "port": simulator.port,
                "username": USER,
                "password": {"file": str(directory / PASSWORD_FILE)},
                "tls": {"ca": str(simulator.ca_path)},
            }
        for name in repositories:
            marker.init(LocalHost(), str(directory / name))
        site = {
            "version": 1,
            "vcenters": entries,
            "repositories": {name: {"host": "local", "path": str(directory / name)} for name in repositories},
        }
        (directory / "site.yaml").write_text(yaml.safe_dump(site, sort_keys=False))
        yield Estate(directory, running)
