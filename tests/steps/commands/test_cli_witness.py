"""A repository is compared with what was witnessed of it, and its log is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.base.errors import UsageError
from runner.cli import main
from runner.cli import witness as written
from runner.hosts.local import LocalHost
from steps.repository import layout, manifest, marker
from steps.repository.manifest import Manifest, Origin
from steps.trail import witness, witness_file
from steps.trail.log import Log
from steps.values.published import Published
from tests.chains import manifest_of
from tests.hub import OTHER_RUN, Hub, hub_on
from tests.points import publish
from tests.trails import lines

pytestmark = pytest.mark.slow

HOST = LocalHost("hub")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_on(HOST, str(tmp_path / "repository"), tmp_path) as opened:
        yield opened


@pytest.fixture
def site(hub: Hub) -> Path:
    path = Path(hub.root).with_name("site.yaml")
    path.write_text(f"version: 1\nhosts: {{hub: local}}\nrepositories: {{main: {{host: hub, path: {hub.root}}}}}\n")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "witness.jsonl"


def keep(file: Path, *points: Published) -> None:
    """As `run --witness` does."""
    written.require(file)
    documents = [{"witness": [point.witness.to_json_value()]} for point in points if point.witness is not None]
    assert len(documents) == len(points)
    written.write(file, documents)


def exit_code(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def verify(site: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = exit_code("verify", site, "--witness", file, "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == code
    return code, document["repositories"][0]


def states(found: dict[str, Any]) -> dict[str, str]:
    return {point["point"]: point["state"] for point in found["points"]}


def test_what_was_witnessed_and_is_there_is_the_same(hub: Hub, site: Path, file: Path, capsys: Any):
    made = publish(hub)
    keep(file, made)
    keep(file, made)
    assert len(file.read_bytes().splitlines()) == 1, "a resumed run witnesses what it made once"
    code, found = verify(site, file, capsys)
    assert (code, states(found), found["problems"]) == (0, {made.point: "same"}, [])
    assert exit_code("verify", site, "--witness", file) == 0
    assert "1 point as witnessed" in capsys.readouterr().out


def forge(path: Path, **changes: Any) -> Manifest:
    """A manifest that is whole, and says something else of the disks' content."""
    made = manifest_of(path)
    disks = tuple(disk.model_copy(update={"digest": "00" * 32}) for disk in made.disks)
    forged = made.model_copy(update={"disks": disks, **changes})
    (path / layout.MANIFEST).write_bytes(manifest.dump(forged))
    return forged


def test_a_repository_that_was_rewritten_whole_is_found_out(hub: Hub, site: Path, file: Path, capsys: Any):
    """Images, digests and manifests, each right by all others, and a log written anew."""
    made = publish(hub)
    keep(file, made)
    root = Path(hub.root)
    (root / layout.LOG).unlink()
    shutil.rmtree(made.path)
    again = publish(hub)
    assert again.point == made.point
    forge(Path(again.path))
    code, found = verify(site, file, capsys)
    assert (code, states(found)) == (5, {made.point: "changed"})
    assert found["problems"] == ["entry 1 of the log is not the one that it was"]


def test_with_another_uuid_it_is_found_out_as_well(hub: Hub, site: Path, file: Path, capsys: Any):
    keep(file, publish(hub))
    (Path(hub.root) / layout.MARKER).unlink()
    (Path(hub.root) / layout.MARKER).write_text(marker.Marker(uuid="another").model_dump_json())
    code, found = verify(site, file, capsys)
    assert code == 5
    assert found["problems"] == [f"{file} has no line of this repository, whose uuid is another"]


def test_what_was_witnessed_of_a_point_holds_for_its_copies_whatever_they_say_of_where_they_are_from(
    hub: Hub, site: Path, file: Path, capsys: Any
):
    """Also for a copy of a copy, from which a repository that was lost has come back."""
    made = publish(hub)
    keep(file, made)
    path = Path(made.path)
    (Path(hub.root) / layout.MARKER).write_text(marker.Marker(uuid="another").model_dump_json())
    origin = Origin(repository="a third", at=datetime.now(UTC), run=OTHER_RUN)
    (path / layout.MANIFEST).write_bytes(manifest.dump(manifest_of(path).model_copy(update={"copied": origin})))
    code, found = verify(site, file, capsys)
    assert (code, states(found), found["problems"]) == (0, {made.point: "same"}, [])
    added = publish(hub, run=OTHER_RUN)
    assert states(verify(site, file, capsys)[1])[added.point] == "not witnessed"
    shutil.rmtree(added.path)
    forge(path)
    code, found = verify(site, file, capsys)
    assert (code, states(found)) == (5, {made.point: "changed"})


def test_a_rebuilt_image_and_a_mark_change_nothing_of_what_was_witnessed(hub: Hub):
    made = publish(hub)
    found = manifest_of(Path(made.path))
    before = witness.digest(found)
    disks = tuple(disk.model_copy(update={"parent": None, "written": 1, "compared": 1}) for disk in found.disks)
    assert witness.digest(found.model_copy(update={"disks": disks})) == before
    assert witness.digest(found.model_copy(update={"git_commit": "another"})) != before


def test_a_point_that_is_gone_is_told_unless_the_log_says_who_deleted_it(hub: Hub, site: Path, file: Path, capsys: Any):
    made = publish(hub)
    keep(file, made)
    shutil.rmtree(made.path)
    code, found = verify(site, file, capsys)
    assert (code, states(found)) == (5, {made.point: "gone"})
    pruned = Log(HOST, hub.root, "night", lambda text: pytest.fail(text))
    pruned.note("prune", vm=str(Path(made.path).parent), points=(made.point,), text="no rule keeps it")
    code, found = verify(site, file, capsys)
    assert (code, states(found)) == (0, {made.point: "deleted"})
    assert "(no rule keeps it)" in found["points"][0]["why"]


def test_a_point_that_nobody_witnessed_is_told(hub: Hub, site: Path, file: Path, capsys: Any):
    keep(file, publish(hub))
    forged = publish(hub, run=OTHER_RUN)
    code, found = verify(site, file, capsys)
    assert code == 5
    assert states(found)[forged.point] == "not witnessed"


def test_an_end_that_was_cut_from_the_log_is_told(hub: Hub, site: Path, file: Path, capsys: Any):
    keep(file, publish(hub), publish(hub, run=OTHER_RUN))
    log = Path(hub.root) / layout.LOG
    log.write_bytes(lines(hub.root)[0])
    code, found = verify(site, file, capsys)
    assert code == 5
    assert found["problems"] == ["the log ends with entry 1, and had entry 2 once: its end is gone"]


def test_a_line_that_a_full_disk_tore_spoils_no_other(hub: Hub, file: Path):
    first, second = publish(hub), publish(hub, run=OTHER_RUN)
    keep(file, first)
    with file.open("ab") as torn:
        torn.write(b'{"digest":"00')
    keep(file, second)
    with pytest.raises(UsageError, match=":2 is no witness of a restore point"):
        witness_file.read(file)
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[::2]))
    assert [one.point for one in witness_file.read(file)] == [first.point, second.point]


def test_what_the_log_says_rules_no_terminal(hub: Hub, site: Path, capsys: Any):
    publish(hub)
    Log(HOST, hub.root, "night", print).note("publish", vm="/r/web-1", points=("\x07",))
    assert exit_code("log", site) == 5
    told = capsys.readouterr()
    assert "\x07" not in told.out + told.err and "is gone, and the log does not say" in told.err


def test_a_log_that_is_gone_is_told_in_one_sentence(hub: Hub, site: Path, file: Path, capsys: Any):
    keep(file, publish(hub), publish(hub, run=OTHER_RUN))
    (Path(hub.root) / layout.LOG).unlink()
    assert verify(site, file, capsys)[1]["problems"] == [
        "the log ends with entry 0, and had entry 2 once: its end is gone"
    ]


def test_a_log_that_cannot_be_read_keeps_no_point_from_being_compared(hub: Hub, site: Path, file: Path, capsys: Any):
    made = publish(hub)
    keep(file, made)
    forge(Path(made.path))
    log = Path(hub.root) / layout.LOG
    log.unlink()
    log.mkdir()
    code, found = verify(site, file, capsys)
    assert (code, states(found)) == (5, {made.point: "changed"})
    assert found["problems"] == [
        f"{log} on hub is a directory, not a regular file, and is not read: put the file itself there"
    ]


def test_a_line_that_is_no_witness_is_named(hub: Hub, site: Path, file: Path, capsys: Any):
    keep(file, publish(hub))
    with file.open("a") as more:
        more.write("{}\n")
    assert exit_code("verify", site, "--witness", file) == 2
    assert f"{file}:2 is no witness of a restore point" in capsys.readouterr().err


def test_the_log_is_shown_and_what_is_missing_in_it_is_said(hub: Hub, site: Path, capsys: Any):
    made, other = publish(hub), publish(hub, run=OTHER_RUN)
    assert exit_code("log", site) == 0
    shown = capsys.readouterr().out
    assert made.point in shown
    assert "publish" in shown
    assert exit_code("log", site, "pgtset1") == 0
    assert capsys.readouterr().out.endswith("log.jsonl on hub has no entries of pgtset1\n")
    (Path(hub.root) / layout.LOG).write_bytes(lines(hub.root)[1])
    assert exit_code("log", site, "--json") == 5
    told = capsys.readouterr()
    (repository,) = json.loads(told.out)["repositories"]
    unexplained = f"{Path(made.path).parent.name}/{made.point} is there, and the log does not say who made it"
    assert repository["problems"] == ["entry 1 of the log is missing", unexplained]
    assert "log.jsonl on hub: entry 1 of the log is missing" in told.err
    assert [entry["points"] for entry in repository["entries"]] == [[other.point]]


def test_points_that_the_log_knows_nothing_of_are_said(hub: Hub, site: Path, capsys: Any):
    """Deleted, and put in, by somebody who left the log as it was."""
    made, other = publish(hub), publish(hub, run=OTHER_RUN)
    assert exit_code("log", site) == 0
    vm = Path(made.path).parent
    Path(other.path).rename(vm / "20261124T170003Z-beef")
    capsys.readouterr()
    assert exit_code("log", site) == 5
    assert [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines()] == [
        f"{vm.name}/{other.point} is gone, and the log does not say who deleted it",
        f"{vm.name}/20261124T170003Z-beef is there, and the log does not say who made it",
    ]


def test_points_from_before_there_was_a_log_are_nothing_to_say(hub: Hub, site: Path, capsys: Any):
    path = Path(publish(hub).path)
    log = Path(hub.root) / layout.LOG
    log.unlink()
    assert exit_code("log", site) == 5, "it was made since there are logs"
    assert "is there, and the log does not say who made it" in capsys.readouterr().err
    (path / layout.MANIFEST).write_bytes(manifest.dump(manifest_of(path).model_copy(update={"saved": {}})))
    assert exit_code("log", site) == 0
    publish(hub, run=OTHER_RUN)
    assert exit_code("log", site) == 0
