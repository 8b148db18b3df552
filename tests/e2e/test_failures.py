"""Each step in turn fails, on real parts: the cause in one sentence, nothing left running, and the next run does only the rest."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from runner.app.options import Options, read_job
from runner.events.events import Event, NodeFinished, NodeStarted, RunStarted
from runner.job.writer import write_out
from tests.e2e.site import Site, disk, inventory, processes

INVENTORY = inventory({"name": "vm", "disks": [disk(2000, "5 MiB", 0, 1), disk(2001, "3 MiB", 1, 2)]})

ALL = {"discover", "snapshot", "publish", "cleanup"} | {
    f"{step}[{key}]" for step in ("parent", "image", "transfer", "verify") for key in (2000, 2001)
}
REST = {"transfer[2000]", "verify[2000]", "publish", "cleanup"}


class Saboteur:
    """Breaks something real at the moment a node starts, once; `repair` puts it right."""

    def __init__(self, site: Site, node: str, harm: Callable[[Saboteur], None]) -> None:
        self.site = site
        self.node = node
        self.harm = harm
        self.run = ""
        self.sockets: dict[str, str] = {}
        self.created = ""
        self.repairs: list[Callable[[], object]] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.run = event.run
        if isinstance(event, NodeFinished) and "socket" in event.output:
            self.sockets[event.node] = str(event.output["socket"])
        if isinstance(event, NodeFinished) and event.node == "snapshot":
            self.created = str(event.output["created"])
        if isinstance(event, NodeStarted) and event.node == self.node:
            self.harm(self)

    @property
    def partial(self) -> Path:
        (vm,) = [path for path in self.site.repository.iterdir() if path.is_dir()]
        return vm / f"{self.run}.partial"

    def repair(self) -> None:
        for repair in reversed(self.repairs):
            repair()


def hide(path: Path, saboteur: Saboteur) -> None:
    path.rename(path.with_name(path.name + ".hidden"))
    saboteur.repairs.append(lambda: path.with_name(path.name + ".hidden").rename(path))


def block(path: Path, saboteur: Saboteur) -> None:
    """Somebody's directory stands where a file should go."""
    path.mkdir(parents=True)
    (path / "in the way").touch()
    saboteur.repairs += [path.rmdir, (path / "in the way").unlink]


def no_image(saboteur: Saboteur) -> None:
    """What stands there is no qcow2 any more."""
    path = saboteur.partial / "disk-2000.qcow2"
    before = path.read_bytes()[:8]
    with path.open("r+b") as file:
        file.write(b"\0" * 8)

    def restore() -> None:
        with path.open("r+b") as file:
            file.write(before)

    saboteur.repairs.append(restore)


def kill_exporter(node: str, saboteur: Saboteur) -> None:
    (pid,) = [pid for pid, argv in processes() if argv[0] == "qemu-nbd" and saboteur.sockets[node] in " ".join(argv)]
    os.kill(pid, signal.SIGKILL)


def take_the_name(saboteur: Saboteur) -> None:
    """Another point has the name that this one is to get."""
    created = datetime.fromisoformat(saboteur.created)
    name = f"{created:%Y%m%dT%H%M%SZ}-{saboteur.run.rpartition('-')[2][:4]}"
    block(saboteur.partial.parent / name, saboteur)


@dataclass(frozen=True)
class Case:
    node: str
    harm: Callable[[Saboteur], None]
    says: str
    again: set[str]
    """The nodes that the next run acts on."""
    held: bool = True


CASES = [
    Case("discover", lambda s: s.site.lab.fault("invalid-login"), "vCenter", ALL, held=False),
    Case("reserve", lambda s: hide(s.site.repository / "repository.json", s), "init", ALL, held=False),
    Case("snapshot", lambda s: s.site.lab.fault("no-space"), "datastore1", ALL, held=False),
    Case(
        "parent[2000]", lambda s: hide(s.site.repository / "repository.json", s), "init", ALL - {"discover", "snapshot"}
    ),
    Case("image[2000]", lambda s: block(s.partial / "disk-2000.qcow2", s), "disk-2000", REST | {"image[2000]"}),
    Case("export[2000]", no_image, "qcow2", REST),
    Case("tunnel[2000]", lambda s: Path(s.sockets["export[2000]"]).unlink(), "store", REST),
    Case("source[2000]", lambda s: s.site.lab.fault("http-404", parameters={"method": "HEAD"}), "404", REST),
    Case("transfer[2000]", lambda s: kill_exporter("export[2000]", s), "2000", REST),
    Case("verify[2000]", no_image, "qcow2", REST - {"transfer[2000]"}),
    Case("publish", take_the_name, "move it away", {"publish", "cleanup"}),
    Case(
        "cleanup",
        lambda s: s.site.lab.fault("fail-task", parameters={"method": "RemoveSnapshot_Task"}),
        "snapshot",
        {"cleanup"},
    ),
]


@pytest.fixture
def job(site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The standard backup, written out, without second tries: a transient fault is then a failure too."""
    monkeypatch.setattr(
        "steps.nbd.exporter.REACH_TIMEOUT", 3.0
    )  # where nothing will ever answer, all of it is waited for
    document = yaml.safe_load(write_out(read_job(site.job("vm"), Options())))
    for step in document["steps"]:
        step["retries"] = 0
    path = site.directory / "jobs" / "once.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.node)
def test_a_step_that_fails_says_why_and_the_next_run_does_only_the_rest(site: Site, job: Path, case: Case):
    points = site.points()
    saboteur = Saboteur(site, case.node, case.harm)
    first = site.run(job, saboteur, parallel=1)
    assert first.exit_code == 1
    (said,) = [text for node, text in first.failures().items() if node == case.node]
    assert case.says in said, said
    assert "\n" not in said
    assert "Traceback" not in said
    site.assert_nothing_left()
    assert len(site.snapshots()) == int(case.held)
    assert site.points() == points if case.node != "cleanup" else len(site.points()) == len(points) + 1

    saboteur.repair()
    second = site.run(job)
    assert second.exit_code == 0, second.error
    assert second.result.run == first.result.run
    assert second.acted() == case.again
    if case.held:
        assert second.output("snapshot") == first.output("snapshot")
    (point,) = second.points()
    assert set(site.points()) == {*points, point}
    assert site.images_equal_sources("vm", point, (2000, 2001))
    assert site.snapshots() == []
    assert site.partials() == []
