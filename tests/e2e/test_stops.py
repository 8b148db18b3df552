"""SIGTERM ends a run wherever it waits: soon, with nothing left over, and the next run completes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from steps.lab.sshd import Sshd
from tests.e2e.site import Site, disk, inventory, processes, same
from tests.eventually import eventually
from tests.programs import Programs

INVENTORY = inventory({"name": "a", "disks": [disk(2000, "4 MiB", 0, 1)]})

IN_TIME = 5.0
"""Seconds from the signal to the end of what waited."""

CLEANUP = 2.5
"""Seconds for a run to close what it has open: 1 to 2 from the signal, measured on two busy cores."""


FROZEN = """\
for word; do case $word in --pid-file=*) ready=${word#*=} ;; esac; done
qemu-nbd "$@" & while [ ! -e "$ready" ]; do :; done; kill -STOP $!; wait
"""
"""It listens, takes connections, and says nothing."""

SLOW_READS = """\
#!/bin/sh
case " $* " in *" --version "* | *" --dump-plugin "*) exec /usr/bin/nbdkit "$@" ;; esac
exec /usr/bin/nbdkit --filter=delay "$@" rdelay=3600
"""
"""What reads the source waits until it is ended."""


@dataclass
class Scene:
    """Runs of sendense as processes. Programs that the repository's host starts are looked for in `programs` first."""

    site: Site
    directory: Path
    programs: Programs
    job: Path
    environment: dict[str, str]
    runs: list[Path] = field(default_factory=list)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "runner.cli", *words, "--state", str(self.directory / "state")],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> subprocess.Popen[str]:
        self.runs.append(self.directory / f"events-{len(self.runs)}")
        return self.start("run", str(self.job), *words, "--events", str(self.runs[-1]))

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Of the last run, so far."""
        return [event for event in lines_of(self.runs[-1]) if event["type"] == kind]

    def stopped(self, run: subprocess.Popen[str], begun: Callable[[], object]) -> float:
        """Seconds from SIGTERM, which comes once it has begun, to its end as one that was interrupted."""
        assert eventually(lambda: begun() or run.poll() is not None, 60)
        assert run.poll() is None, run.communicate()[0]
        asked = time.monotonic()
        run.send_signal(signal.SIGTERM)
        said, _ = run.communicate(timeout=60)
        assert run.returncode == 130, said
        return time.monotonic() - asked

    def left_over(self) -> list[str]:
        """Shells and temporary directories that have the mark of one of the runs."""
        runs = {f"sendense:{line['run']}:" for file in self.runs for line in lines_of(file) if "run" in line}
        shells = [" ".join(argv) for _, argv in processes()]
        owners = [read(path) for path in Path("/tmp").glob("sd-*/.owner")]
        return [text for text in (*shells, *owners) for run in runs if run in text]

    def complete(self, *words: str) -> None:
        """The next run does what is left of it."""
        run = self.run(*words)
        said, _ = run.communicate(timeout=120)
        assert run.returncode == 0, said
        (started,) = self.events("run-started")
        assert started["resumed"]
        assert self.site.snapshots() == []
        assert self.site.partials() == []
        assert same(self.site.source("a", 2000), self.site.points()[-1] / "disk-2000.qcow2")


def lines_of(events: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read(events).splitlines() if line.endswith("}")]


def read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def make_scene(site: Site, tmp_path: Path, host: dict[str, Any] | str, programs: Programs, **more: str) -> Scene:
    document = yaml.safe_load((site.directory / "site.yaml").read_text())
    if isinstance(host, dict):
        document["hosts"]["near"] = host
    for entry in document["repositories"].values():
        entry["host"] = "near" if isinstance(host, dict) else host
    (site.directory / "jobs" / f"{tmp_path.name}-site.yaml").write_text(yaml.safe_dump(document))
    job = site.directory / "jobs" / f"{tmp_path.name}.yaml"
    settings = {
        "vm": "a",
        "vcenter": next(iter(document["vcenters"])),
        "repository": next(iter(document["repositories"])),
    }
    job.write_text(
        yaml.safe_dump({"version": 1, "include": f"{tmp_path.name}-site.yaml", "template": "backup", "vars": settings})
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **more}
    return Scene(site, tmp_path, programs, job, environment)


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path / "bin")


@pytest.fixture
def here(site: Site, tmp_path: Path, programs: Programs) -> Iterator[Scene]:
    """The repository is on the runner's machine."""
    scene = make_scene(site, tmp_path, "local", programs, PATH=programs.path)
    yield scene
    assert eventually(lambda: not scene.left_over()), scene.left_over()


@pytest.fixture
def apart(site: Site, tmp_path: Path, programs: Programs) -> Iterator[Scene]:
    """The repository is behind sshd."""
    server = Sshd(tmp_path / "sshd", {"SetEnv": f"SHLVL=2 PATH={programs.path}"})
    server.start()
    spec = server.spec
    assert spec.identity is not None
    host = {"ssh": spec.ssh, "port": spec.port, "identity": {"file": spec.identity.file}, "host-key": spec.host_key}
    scene = make_scene(site, tmp_path, host, programs)
    yield scene
    assert eventually(lambda: not scene.left_over()), scene.left_over()
    server.stop()


@pytest.fixture(params=["here", "apart"])
def scene(request: pytest.FixtureRequest) -> Scene:
    found: Scene = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize(
    ("program", "when", "waiting"),
    [
        pytest.param("qemu-img", '" check "*', "verify[2000]", id="check"),
        pytest.param("sync", '".qcow2 "*', "image[2000]", id="sync"),
    ],
)
def test_a_program_that_hangs_is_ended(scene: Scene, program: str, when: str, waiting: str) -> None:
    scene.programs.once(program, when)
    assert scene.stopped(scene.run(), scene.programs.runs) < IN_TIME + CLEANUP
    assert scene.programs.is_gone()
    (failed,) = scene.events("node-failed")
    assert (failed["node"], failed["exit_code"]) == (waiting, 130)
    (held,) = [event for event in scene.events("held") if event["node"] == "snapshot"]
    assert "sendense-" in held["what"]
    scene.complete()


def test_a_snapshot_that_is_being_created_is_not_waited_for_and_not_lost(here: Scene) -> None:
    created = here.site.lab.status()["calls"].get("CreateSnapshot_Task", 0)
    here.site.lab.fault("slow-task", 1, {"method": "CreateSnapshot_Task", "seconds": "12"})
    took = here.stopped(here.run(), lambda: not here.site.lab.status()["armed"])
    assert took < IN_TIME + CLEANUP
    (failed,) = here.events("node-failed")
    assert "while creating the snapshot sendense-" in failed["error"]
    here.complete()
    assert here.site.lab.status()["calls"]["CreateSnapshot_Task"] == created + 1


def test_a_snapshot_that_is_being_removed_is_not_waited_for_and_not_lost(here: Scene) -> None:
    here.site.lab.fault("slow-task", 1, {"method": "RemoveSnapshot_Task", "seconds": "12"})
    took = here.stopped(here.run(), lambda: not here.site.lab.status()["armed"])
    assert took < IN_TIME + CLEANUP
    here.complete()
    acted = {event["node"] for event in here.events("node-started") if event["lifetime"] != "process"}
    assert acted <= {"cleanup"}


def test_a_snapshot_that_may_not_be_held_is_removed_after_the_stop_however_long_it_takes(here: Scene) -> None:
    here.programs.put("nbdkit", SLOW_READS)
    run = here.run("--set", "hold=0s")
    assert eventually(lambda: _is_copying(here) or run.poll() is not None, 60)
    assert run.poll() is None, run.communicate()[0]
    assert here.site.snapshots() != []
    here.site.lab.fault("slow-task", 1, {"method": "RemoveSnapshot_Task", "seconds": "2"})
    run.send_signal(signal.SIGTERM)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert here.site.lab.status()["armed"] == {}
    assert here.site.snapshots() == []
    assert "CLEANUP FAILED" not in said
    assert here.events("undo-failed") == []
    assert [event["node"] for event in here.events("node-undone") if event["lifetime"] == "job"] == ["snapshot"]
    (here.programs.directory / "nbdkit").unlink()
    here.complete("--set", "hold=0s")


def _is_copying(scene: Scene) -> bool:
    return any(event["node"] == "transfer[2000]" for event in scene.events("node-started"))


def test_a_handshake_that_nobody_answers_is_not_waited_for(here: Scene) -> None:
    here.programs.once("qemu-nbd", '"--pid-file="*', FROZEN)
    run = here.run()
    took = here.stopped(run, lambda: any(event["node"] == "tunnel[2000]" for event in here.events("node-started")))
    assert took < IN_TIME + CLEANUP
    assert here.programs.runs()
    assert eventually(here.programs.is_gone)
    here.complete()


def test_a_failure_that_is_to_be_tried_again_is_not(here: Scene) -> None:
    here.programs.put("qemu-img", '#!/bin/sh\n[ "$1" != check ] || kill -KILL $$\nexec /usr/bin/qemu-img "$@"\n')
    run = here.run()
    took = here.stopped(run, lambda: any(event["wait"] > IN_TIME for event in here.events("node-retrying")))
    assert took < IN_TIME + CLEANUP
    (failed,) = here.events("node-failed")
    assert "killed by SIGKILL" in failed["error"]
    (here.programs.directory / "qemu-img").unlink()
    here.complete()


def test_digests_that_do_not_come_are_not_waited_for(apart: Scene) -> None:
    run = apart.run()
    said, _ = run.communicate(timeout=120)
    assert run.returncode == 0, said
    apart.programs.once("dd", '".blake3 "*')
    verify: Sequence[str] = ("verify", str(apart.job), "a/latest")
    assert apart.stopped(apart.start(*verify), apart.programs.runs) < IN_TIME + CLEANUP
    again = apart.start(*verify)
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
