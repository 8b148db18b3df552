"""A lab and jobs on it, for tests of the whole: runs in this process, on real parts, with their traces looked for."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from runner.app.options import Options
from runner.app.runs import Result, run_job
from runner.events.events import Event, NodeFailed, NodeFinished, NodeKept, NodeStarted, RunFinished, RunStarted
from steps.lab.lab import Lab
from tests.eventually import eventually

Listener = Callable[[Event], None]


def disk(key: int, size: str, unit: int, pattern: int, controller: int = 1000) -> dict[str, Any]:
    return {"key": key, "controller": controller, "unit": unit, "size": size, "content": {"pattern": pattern}}


def inventory(*vms: dict[str, Any]) -> dict[str, Any]:
    datacenter = {
        "name": "DC1",
        "datastores": [{"name": "datastore1", "kind": "vmfs", "capacity": "4 TiB"}],
        "networks": ["VM Network"],
        "vms": [{"datastore": "datastore1", "controllers": [{"key": 1000, "kind": "pvscsi"}], **vm} for vm in vms],
    }
    return {"datacenters": [datacenter]}


@dataclass
class Ran:
    """One execution."""

    result: Result
    events: list[Event]

    @property
    def exit_code(self) -> int:
        return self.result.exit_code

    @property
    def error(self) -> str:
        return next(event.error or "" for event in self.events if isinstance(event, RunFinished))

    def acted(self) -> set[str]:
        """The KEEP and JOB nodes that ran."""
        return {event.node for event in self.events if isinstance(event, NodeStarted) and event.lifetime != "process"}

    def kept(self) -> set[str]:
        return {event.node for event in self.events if isinstance(event, NodeKept)}

    def failures(self) -> dict[str, str]:
        return {event.node: event.error for event in self.events if isinstance(event, NodeFailed)}

    def output(self, node: str) -> dict[str, Any]:
        """Of its last run, or as it was kept."""
        found = [e.output for e in self.events if isinstance(e, NodeFinished | NodeKept) and e.node == node]
        return found[-1]

    def points(self) -> list[Path]:
        return [
            Path(e.output["path"])
            for e in self.events
            if isinstance(e, NodeFinished | NodeKept) and e.node == "publish"
        ]


@dataclass
class Site:
    """The lab's directory holds the hub's repository and the job files."""

    lab: Lab
    state: Path
    events: list[Event] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        return self.lab.directory

    @property
    def repository(self) -> Path:
        return Path(self.lab.record.repository)

    def job(self, vm: str) -> Path:
        return Path(self.lab.record.vm(vm).job)

    def write_job(self, name: str, steps: list[dict[str, Any]], **more: Any) -> Path:
        """A job of the lab's site, written out."""
        path = self.directory / "jobs" / f"{name}.yaml"
        document = {"version": 1, "name": name, "include": "../site.yaml", "steps": steps, **more}
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    def run(
        self,
        job: Path | str,
        *listeners: Listener,
        fresh: bool = False,
        stop: threading.Event | None = None,
        state: Path | None = None,
        parallel: int = 4,
        **settings: str,
    ) -> Ran:
        """In this process. Raises what keeps a run from beginning."""
        path = job if isinstance(job, Path) else self.job(job)
        events: list[Event] = []
        options = Options(overrides=settings, state=state or self.state, fresh=fresh, nodes=parallel)
        result = run_job(path, options, stop or threading.Event(), [events.append, *listeners])
        self.events += events
        return Ran(result, events)

    def points(self) -> list[Path]:
        """What the repository has under a final name, by VM, oldest first: names tell seconds only, and `vm` never changes."""
        manifests = self.repository.glob("*/*/manifest.json")
        points = [path.parent for path in manifests if not path.parent.name.endswith(".partial")]
        return sorted(points, key=lambda point: (point.parent, (point / "vm").stat().st_mtime_ns))

    def partials(self) -> list[Path]:
        return sorted(self.repository.glob("*/*.partial"))

    def snapshots(self) -> list[str]:
        return [name for names in self.lab.status()["snapshots"].values() for name in names]

    def source(self, vm: str, key: int) -> Path:
        return Path(self.lab.record.vm(vm).disk(key).file)

    def images_equal_sources(self, vm: str, point: Path, keys: tuple[int, ...]) -> bool:
        return all(same(self.source(vm, key), point / f"disk-{key}.qcow2") for key in keys)

    def left_over(self) -> list[str]:
        """Sockets, temporary directories and processes of the runs so far that are still there."""
        directories = {word for event in self.events for word in _temporary(event)}
        return [path for path in directories if Path(path).exists()] + [
            line for line in (" ".join(argv) for _, argv in processes()) if any(path in line for path in directories)
        ]

    def assert_nothing_left(self) -> None:
        # sshd needs a moment to end the sessions of a connection that was closed.
        assert eventually(lambda: not self.left_over()), self.left_over()


class Pause:
    """Holds a run at the moment a node starts, until told to go on."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.run = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.run = event.run
        if isinstance(event, NodeStarted) and event.node == self.node:
            self.reached.set()
            assert self.go_on.wait(60)


def same(raw: Path, qcow2: Path) -> bool:
    """Byte by byte, by another program than ours."""
    argv = ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", str(raw), str(qcow2)]
    return subprocess.run(argv, capture_output=True, timeout=120, check=False).returncode == 0


def _temporary(event: Event) -> set[str]:
    if not isinstance(event, NodeFinished):
        return set()
    sockets = [event.output.get("socket"), *(uri.partition("socket=")[2] for uri in event.output.get("uris", ()))]  # type: ignore[union-attr]
    return {str(Path(str(socket)).parent) for socket in sockets if socket}


def processes() -> list[tuple[int, list[str]]]:
    """Pid and arguments of everything that runs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append((int(path.parent.name), path.read_bytes().decode(errors="replace").split("\0")))
        except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
            continue
    return found
