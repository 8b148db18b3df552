"""Runs as lists of events, as the engine emits them for a backup; for tests of what is made of events."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from runner.base.units import GiB, MiB
from runner.events.events import (
    Event,
    GraphKnown,
    Held,
    NodeFailed,
    NodeFinished,
    NodeKept,
    NodeProgress,
    NodeRetrying,
    NodeSkipped,
    NodeStarted,
    NodeUndone,
    RunFinished,
    RunStarted,
    Warned,
)
from runner.events.result import Amount, Result
from runner.events.step_report import Cell, Command, Row, Statement, StepReport

RUN = "20261123T170000Z-3f9a0c1e"
START = datetime(2026, 11, 23, 17, 0, 0, tzinfo=UTC)
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
POINT = "/backup/repository/pgtest1-5029a7c1-0d3c-4a8e-9b55-6f2f5c1d7e11/20261123T170003Z-3f9a"
TOOLS = {
    "sendense": "0.1.0",
    "qemu-img (hub)": "7.2.22",
    "nbdkit (node)": "1.32.5",
    "libnbd": "1.14.2",
    "OpenSSH": "9.2p1",
    "vSphere API": "8.0.3.0",
}
DISKS = {"2000": 40 * GiB, "2001": 12 * GiB + 512, "16000": 6 * GiB}
HEAD = ("discover", "reserve", "snapshot")
PER_DISK = ("image", "export", "tunnel", "source", "transfer", "verify")
TAIL = ("publish", "cleanup")
KINDS = {
    "parent": ("choose-parent", "keep"),
    "image": ("create-qcow2", "keep"),
    "export": ("start-nbd", "process"),
    "tunnel": ("open-tunnel", "process"),
    "source": ("open-source", "process"),
    "reserve": ("reserve", "process"),
    "snapshot": ("snapshot", "job"),
}
EDGES_PER_DISK = (
    ("discover", "image"),
    ("image", "export"),
    ("export", "tunnel"),
    ("snapshot", "source"),
    ("source", "transfer"),
    ("tunnel", "transfer"),
    ("transfer", "verify"),
    ("verify", "publish"),
    ("reserve", "image"),
    ("reserve", "transfer"),
)


class Story:
    """Events with a clock of their own; times are seconds since START."""

    def __init__(self, disks: Mapping[str, int] = DISKS, *, resumed: bool = False, at: float = 0.0) -> None:
        self.disks = dict(disks)
        self.now = at
        self.begun = at
        self.events: list[Event] = [
            RunStarted(
                at=self._at(),
                run=RUN,
                job="pgtest1-nightly",
                resumed=resumed,
                job_file="jobs/pgtest1.yaml",
                job_digest="0" * 64,
                files={"jobs/pgtest1.yaml": DIGEST, "template backup": DIGEST[::-1]},
                settings={"retention": "{}"},
                git_commit="c0ffee",
                by="backup@ci-3",
                tools=TOOLS,
            )
        ]
        self.tell(GraphKnown, nodes=(*HEAD, *PER_DISK, *TAIL), edges=())

    def _at(self) -> datetime:
        return START + timedelta(seconds=self.now)

    def tell(self, kind: Callable[..., Event], *, after: float = 0.0, **fields: object) -> None:
        self.now += after
        self.events.append(kind(at=self._at(), **fields))

    def fan_out(self) -> None:
        def node(step: str, key: str) -> str:
            return f"{step}[{key}]" if step in PER_DISK else step

        nodes = [*HEAD, *(node(step, key) for step in PER_DISK for key in self.disks), *TAIL]
        edges = {(node(a, key), node(b, key)): None for key in self.disks for a, b in EDGES_PER_DISK}
        edges |= {("discover", "reserve"): None, ("reserve", "snapshot"): None, ("publish", "cleanup"): None}
        edges |= {("discover", "snapshot"): None, ("snapshot", "publish"): None}
        self.tell(GraphKnown, nodes=tuple(nodes), edges=tuple(edges))

    def kind(self, node: str) -> tuple[str, str]:
        return KINDS.get(node.partition("[")[0], (node.partition("[")[0], "keep"))

    def begin(self, node: str, *, why: str = "not done yet", attempt: int = 1) -> None:
        step, lifetime = self.kind(node)
        self.tell(NodeStarted, node=node, step=step, lifetime=lifetime, why=why, attempt=attempt)

    def finish(self, node: str, seconds: float, output: dict[str, JsonValue] | None = None) -> None:
        self.tell(NodeFinished, node=node, step=self.kind(node)[0], seconds=seconds, output=output or {})

    def quick(self, node: str, seconds: float, output: dict[str, JsonValue] | None = None) -> None:
        self.begin(node)
        self.now += seconds
        self.finish(node, seconds, output)

    def keep(self, node: str, output: dict[str, JsonValue] | None = None) -> None:
        self.tell(NodeKept, node=node, step=self.kind(node)[0], why="its record stands", output=output or {})

    def close(self, node: str, why: str = "no longer needed") -> None:
        step, lifetime = self.kind(node)
        self.tell(NodeUndone, after=0.02, node=node, step=step, lifetime=lifetime, why=why)

    def bytes(
        self, step: str, phase: str, speeds: Mapping[str, float], *, until: float = 1.0, tick: float = 0.5
    ) -> None:
        """All disks side by side, `speeds` in bytes a second, up to that share of each."""
        done = dict.fromkeys(speeds, 0)
        wobble = itertools.cycle((1.0, 1.08, 0.93, 1.12, 1.03, 0.7, 0.96, 1.05, 0.88))
        while any(done[key] < int(self.disks[key] * until) for key in speeds):
            self.now += tick
            for key, speed in speeds.items():
                end = int(self.disks[key] * until)
                if done[key] >= end:
                    continue
                done[key] = min(end, done[key] + int(speed * tick * next(wobble)))
                self.progress(step, phase, key, done[key])

    def progress(self, step: str, phase: str, key: str, done: int) -> None:
        data = done // 8 * 5
        self.tell(
            NodeProgress,
            node=f"{step}[{key}]",
            label=f"disk {key}",
            phase=phase,
            done=done,
            total=self.disks[key],
            data=data,
            zero=done - data,
            read=done,
        )

    def end(self, outcome: str, exit_code: int, error: str | None = None) -> list[Event]:
        seconds = self.now - self.begun
        self.tell(RunFinished, run=RUN, outcome=outcome, exit_code=exit_code, seconds=seconds, error=error)
        return self.events

    def head(self) -> None:
        self.quick("discover", 0.84, {"vm": "pgtest1", "uncovered": [2002]})
        self.fan_out()
        self.quick("reserve", 0.21, {"lock": ".lock"})
        self.quick("snapshot", 2.4, {"name": f"sendense-{RUN}", "quiesced": "failed: the guest did not answer"})
        self.tell(
            Warned,
            node="snapshot",
            text="the guest could not be quiesced (the guest did not answer): the point is crash-consistent",
        )
        for step in ("image", "export", "tunnel", "source"):
            for key in self.disks:
                self.quick(f"{step}[{key}]", 0.31)


def copied(key: str, size: int, seconds: float) -> dict[str, JsonValue]:
    return {"key": key, "size": size, "data": size // 8 * 5, "zero": size - size // 8 * 5, "seconds": seconds}


def done_run(disks: Mapping[str, int] = DISKS, *, speed: float = 240 * MiB) -> list[Event]:
    story = Story(disks)
    story.head()
    for key in disks:
        story.begin(f"transfer[{key}]")
    began = story.now
    story.bytes("transfer", "copy", {key: speed / (1 + index) for index, key in enumerate(disks)})
    for key, size in disks.items():
        story.finish(f"transfer[{key}]", story.now - began, copied(key, size, story.now - began))
        for step in ("source", "tunnel", "export"):
            story.close(f"{step}[{key}]")
    for key in disks:
        story.begin(f"verify[{key}]")
    began = story.now
    story.bytes("verify", "compare", {key: 2.1 * speed / (1 + index) for index, key in enumerate(disks)})
    for key, size in disks.items():
        story.finish(f"verify[{key}]", story.now - began, {"key": key, "blocks": -(-size // MiB)})
    story.quick(
        "publish", 1.2, {"vm": "pgtest1", "point": POINT.rpartition("/")[2], "path": POINT, "disks": list(disks)}
    )
    story.quick("cleanup", 1.9)
    story.close("snapshot", "the run is done")
    story.close("reserve", "the run ends")
    return story.end("done", 0)


FAILURE = (
    "reading disk 2001 at 7.1 GiB failed: nbdkit on node said: curl: (22) The requested URL returned error: 503, "
    "5 times in 2 min 04 s; look at the ESXi host's hostd, then run the same command again"
)


def failed_run(*, at: float = 0.0) -> list[Event]:
    """Disk 2001's source fails for good after a retry; the others are copied, and the snapshot is held."""
    story = Story(at=at)
    story.head()
    for key in DISKS:
        story.begin(f"transfer[{key}]")
    began = story.now
    story.bytes("transfer", "copy", dict.fromkeys(DISKS, 300 * MiB), until=0.6)
    story.tell(NodeRetrying, node="transfer[2001]", error="the source closed the connection", wait=4.0, attempt=1)
    story.now += 4
    story.begin("transfer[2001]", why="tried again", attempt=2)
    story.bytes("transfer", "copy", {"2001": 220 * MiB}, until=0.59)
    story.tell(
        NodeFailed, node="transfer[2001]", step="transfer", seconds=story.now - began, error=FAILURE, exit_code=1
    )
    for key in ("2000", "16000"):
        story.progress("transfer", "copy", key, DISKS[key])
        story.finish(f"transfer[{key}]", story.now - began, copied(key, DISKS[key], story.now - began))
    for key in ("2000", "16000"):
        story.quick(f"verify[{key}]", 0.3)
    for node in ("verify[2001]", "publish"):
        step = story.kind(node)[0]
        story.tell(NodeSkipped, node=node, step=step, because="transfer[2001] failed")
    story.quick("cleanup", 0.1)
    for key in DISKS:
        for step in ("source", "tunnel", "export"):
            story.close(f"{step}[{key}]", "the run ends")
    story.close("reserve", "the run ends")
    story.tell(
        Held,
        node="snapshot",
        what=f"snapshot sendense-{RUN} of VM pgtest1 (taken 17:00:03, at most 12 h)",
        command=f"sendense sweep jobs/pgtest1.yaml --abandon {RUN}",
    )
    story.tell(
        Held,
        node="image[2000]",
        what=f"the unfinished point {RUN}.partial in repository main, 58.0 GiB",
        command=f"sendense sweep jobs/pgtest1.yaml --abandon {RUN}",
    )
    return story.end("failed", 1, "1 of 3 disks failed")


def resumed_run() -> list[Event]:
    """The failed run, and the attempt at it that kept what was done."""
    earlier = failed_run()
    story = Story(resumed=True, at=3600.0)
    for node in ("discover", "snapshot"):
        story.keep(node, {"vm": "pgtest1"} if node == "discover" else {"quiesced": "yes"})
    story.fan_out()
    for key in DISKS:
        story.keep(f"image[{key}]")
    for key in ("2000", "16000"):
        story.keep(f"transfer[{key}]", copied(key, DISKS[key], 80.0))
        story.keep(f"verify[{key}]", {"key": key, "blocks": DISKS[key] // MiB})
    story.quick("reserve", 0.2)
    story.begin("transfer[2001]", why="it failed: the source closed the connection")
    story.bytes("transfer", "copy", {"2001": 400 * MiB})
    story.finish("transfer[2001]", 31.0, copied("2001", DISKS["2001"], 31.0))
    story.quick("verify[2001]", 12.0, {"key": "2001", "blocks": -(-DISKS["2001"] // MiB)})
    story.quick(
        "publish", 1.2, {"vm": "pgtest1", "point": POINT.rpartition("/")[2], "path": POINT, "disks": list(DISKS)}
    )
    story.quick("cleanup", 1.9)
    story.close("snapshot", "the run is done")
    return [*earlier, *story.end("done", 0)]


def report_of(step: str, output: Mapping[str, JsonValue]) -> StepReport:
    """As the steps of a backup would say it."""
    key = str(output.get("key", ""))
    if step == "transfer":
        size, data, zero, seconds = (
            int(str(output[name]).partition(".")[0]) for name in ("size", "data", "zero", "seconds")
        )
        cells = {
            "Size": Cell(value=size, unit="bytes"),
            "Data": Cell(value=data, unit="bytes"),
            "Zero": Cell(value=zero, unit="bytes"),
            "Time": Cell(value=float(seconds), unit="seconds"),
            "Speed": Cell(value=size / max(seconds, 1), unit="bytes/s"),
            "BLAKE3": Cell(value=DIGEST[int(key) % 7 :] + DIGEST[: int(key) % 7], unit="digest"),
        }
        return StepReport(rows=(Row(table="Disks", key=key, cells=cells),))
    if step == "verify":
        text = f"Disk {key}: qemu-img check found no damage; all {output['blocks']} blocks of 1 MiB were read back "
        text += "past the page cache and equal the BLAKE3 digests made while reading the source."
        row = Row(table="Disks", key=key, cells={"Verified": Cell(value="every block")})
        return StepReport(rows=(row,), statements=(Statement(about="verified", text=text),))
    if step == "publish":
        made = Statement(about="made", text=f"Restore point 20261123T170003Z-3f9a of pgtest1, at hub:{POINT}")
        commands = tuple(
            Command(
                purpose="Restore its disks as raw images, with qemu-img alone",
                line=f"qemu-img convert -p -f qcow2 -O raw {POINT}/disk-{disk}.qcow2 /restore/disk-{disk}.raw",
                detail=True,
            )
            for disk in (output["disks"] if isinstance(output["disks"], list) else [])
        )
        name = f"pgtest1/{output['point']}"
        result = Result(
            act="backup",
            subject="pgtest1",
            noun="VM",
            parts=("full", Amount(value=4 * GiB, noun="bytes", label="copied"), "every block verified"),
            made=f"point {name}",
            bytes=4 * GiB,
            lists={"points": (name,), "disks": ({"key": 2000, "copied": 4 * GiB},)},
        )
        return StepReport(statements=(made,), commands=commands, result=result)
    if step == "snapshot":
        return StepReport(statements=(Statement(about="noted", text=f"Quiesced: {output['quiesced']}"),))
    if step == "discover" and output.get("uncovered"):
        text = "Disk 2002 (independent, 8.0 GiB) is not covered by a snapshot and was left out, as the job says."
        return StepReport(statements=(Statement(about="noted", text=text),))
    return StepReport()
