"""Files of a run and of a repository that went bad: each command refuses them with a sentence, and believes nothing of them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.cli import main
from runner.events.events import Event, NodeStarted
from steps.copy.ledger import head_line, read_ledger
from tests.e2e.site import Site, disk, inventory

INVENTORY = inventory({"name": "vm", "disks": [disk(2000, "5 MiB", 0, 1), disk(2001, "3 MiB", 1, 2)]})


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def empty(content: bytes) -> bytes:
    return b""


def flipped(content: bytes) -> bytes:
    """One bit of the last digit: what stays is JSON, with another number in it. Not of a fraction, whose seventeenth digit may
    be another one and the number the same."""
    at = max(match.end() for match in re.finditer(rb"(?<![.\d])\d+(?![.\d])", content[: len(content) * 3 // 4])) - 1
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def torn_apart(content: bytes) -> bytes:
    """One bit of what frames the first line."""
    return bytes([content[0] ^ 1]) + content[1:]


def of_the_future(content: bytes) -> bytes:
    return re.sub(rb'"schema_version": ?\d+', b'"schema_version": 99', content, count=1)


def future_ledger(content: bytes) -> bytes:
    reading = read_ledger(content, "ledger")
    assert reading is not None
    head = reading.segments[0].head
    return head_line(type(head)(**{**head.__dict__, "schema_version": 99}))


BROKEN = (truncated, empty, flipped)
JSON_HARMS = (*BROKEN, of_the_future)


@dataclass(frozen=True)
class Row:
    """`file` is a pattern below the lab's directory; `harm` is what becomes of its content; `commands` name it, and end with these
    exit codes: 0 where it is not needed for what they do."""

    file: str
    harm: Callable[[bytes], bytes]
    commands: Mapping[str, int]

    def __str__(self) -> str:
        return f"{Path(self.file).name}-{self.harm.__name__}"


POINT = "store/repository/*/*T*Z-????"
ROWS = (
    *(Row("state/*/*/run.json", harm, {"status": 1, "plan": 1, "sweep": 1}) for harm in BROKEN),
    Row("state/*/*/run.json", of_the_future, {"status": 1, "plan": 0, "sweep": 1}),
    *(Row("state/*/*/nodes/snapshot.json", harm, {"plan": 1, "sweep": 1, "run": 1}) for harm in BROKEN),
    *(Row("state/*/*/nodes/transfer[[]i2000].json", harm, {"plan": 1, "sweep": 1, "run": 1}) for harm in BROKEN),
    Row("state/*/*/nodes/snapshot.json", of_the_future, {"plan": 0, "sweep": 1}),
    Row("state/*/*/nodes/transfer[[]i2000].json", of_the_future, {"plan": 0, "sweep": 1}),
    *(Row("state/*/*/ledger/disk-2001", harm, {"run": 1}) for harm in (torn_apart, future_ledger)),
    *(Row("state/*/*/events.jsonl", harm, {"status": 0}) for harm in (torn_apart, of_the_future)),
)


@pytest.fixture(scope="module")
def unfinished(lab: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A point, and a run that copied one disk and a part of the other."""
    site = Site(lab, tmp_path_factory.mktemp("state"))  # type: ignore[arg-type]
    assert site.run("vm").exit_code == 0
    for record in site.directory.glob("state/*/*"):
        if record.is_dir():
            record.rename(site.state / record.name)  # so that each pattern means one file
    stop = threading.Event()

    def break_off(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node == "verify[2001]":
            stop.set()

    assert site.run("vm", break_off, stop=stop, parallel=1).exit_code == 130
    (record,) = site.directory.glob("state/*/*/nodes/transfer[[]i2001].json")
    record.unlink()  # as if it had been killed before it could tell: its ledger is what counts
    (marker,) = site.directory.glob("store/repository/*/*.partial/disk-2001.copied.json")
    marker.unlink()
    yield site
    ran = site.run("vm")
    assert ran.exit_code == 0, ran.error
    assert site.images_equal_sources("vm", ran.points()[0], (2000, 2001))


def sendense(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_went_bad_is_named_and_refused_where_it_is_needed(
    unfinished: Site, row: Row, capfd: pytest.CaptureFixture[str]
) -> None:
    (path,) = unfinished.directory.glob(row.file)
    good = path.read_bytes()
    harmed = row.harm(good)
    assert harmed != good
    ended: dict[str, int] = {}
    for command in row.commands:
        path.write_bytes(harmed)
        try:
            ended[command] = sendense(command, str(unfinished.job("vm")))
        finally:
            path.write_bytes(good)
        said = "".join(capfd.readouterr())
        assert "Traceback" not in said
        assert "bug:" not in said
        assert re.search(r"is damaged|newer version|version 99|not an event of this version", said), said
        assert path.name in "".join(said.split()), said
    assert ended == row.commands


def test_a_damaged_point_is_named_by_the_list_and_not_listed_and_stops_no_backup(
    unfinished: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    (path,) = unfinished.directory.glob(f"{POINT}/manifest.json")
    good = path.read_bytes()
    for harm in JSON_HARMS:
        path.write_bytes(harm(good))
        try:
            sendense("points", str(unfinished.job("vm")))
            listed = capfd.readouterr()
            assert sendense("plan", str(unfinished.job("vm"))) == 0
            planned = capfd.readouterr()
        finally:
            path.write_bytes(good)
        assert path.parent.name not in listed.out
        assert path.parent.name in "".join(listed.err.split())
        assert f"{path.parent}cannotberead" in "".join(planned.out.split())
