"""What speaks against a point is said before it is restored, served or read, and agreed to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.cli import main
from runner.hosts.local import LocalHost
from steps.repository import layout, verification_records
from steps.repository.verification_records import DiskCompared, DiskVerified
from tests.chain import Chain
from tests.hub import Hub, hub_on
from tests.terminal import on_a_terminal

pytestmark = pytest.mark.slow

HOST = LocalHost("hub")
AT = datetime(2026, 11, 20, tzinfo=UTC)


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
def chain(hub: Hub) -> Chain:
    """A full of two disks; another one, and an incremental on that."""
    made = Chain(Path(hub.root))
    made.add({2000: None, 2001: None}, {})
    made.add({2000: None, 2001: None}, {})
    made.add({2000: 1, 2001: 1}, {2000: ((0, 512, 1),)})
    return made


def suspect(chain: Chain, number: int) -> None:
    verification_records.suspect(
        HOST,
        str(chain.path(number)),
        verification_records.Suspicion(key=2000, why="tracking missed a write", run="r", at=AT),
    )


def failed_at_rest(chain: Chain, number: int) -> None:
    disk = DiskVerified(key=2000, at=AT, level="chain", blocks=4, compared=4, different=(0,))
    verification_records.write(HOST, str(chain.path(number)), verification_records.Verification(disks=(disk,)))


def differed(chain: Chain, number: int) -> None:
    disk = DiskCompared(key=2000, at=AT, blocks=4, compared=4, changed=0, different=(0,))
    verification_records.write(HOST, str(chain.path(number)), verification_records.Comparison(disks=(disk,)))


def unreadable(chain: Chain, number: int) -> None:
    (chain.path(number) / verification_records.VERIFIED).mkdir()


def digests_lost(chain: Chain, number: int) -> None:
    (chain.path(number) / layout.digests(2000)).unlink()


def sendense(command: str, site: Path, *arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main((command, f"--state={site.with_name('state')}", str(site), *map(str, arguments)))
    return int(left.value.code or 0)


@pytest.mark.parametrize(
    ("harm", "number", "good", "why"),
    [
        pytest.param(suspect, 2, 1, "disk 2000 is suspect: tracking missed a write", id="suspect"),
        pytest.param(failed_at_rest, 2, 0, "disk 2000 failed verification at rest", id="failed at rest"),
        pytest.param(differed, 2, 0, "disk 2000 differed from the VM", id="differed from the VM"),
        pytest.param(suspect, 1, 0, "is backed by {1}, which is suspect", id="built on a suspect one"),
        pytest.param(digests_lost, 1, 0, "has lost disk-2000.blake3", id="of a broken chain"),
        pytest.param(unreadable, 2, 1, "verified.json cannot be read", id="its marks cannot be read"),
        pytest.param(unreadable, 1, 0, "is backed by {1}, which cannot be read", id="those below cannot be read"),
    ],
)
def test_a_point_that_is_not_to_be_relied_on_is_refused_with_the_one_that_is(
    site: Path,
    chain: Chain,
    capsys: pytest.CaptureFixture[str],
    harm: Any,
    number: int,
    good: int,
    why: str,
    tmp_path: Path,
) -> None:
    harm(chain, number)
    for command, arguments in (("restore", ("--to", tmp_path / "to")), ("serve", ()), ("files", ("ls",))):
        assert sendense(command, site, chain.path(2), *arguments) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"! pgtest1/{chain.points[2]} is not trusted: " in said
        assert why.format(*chain.points) in said
        assert f"the newest good point of this VM is {chain.points[good]}" in said
        assert "nothing was done: there is no terminal to ask on; to go ahead without a question: sendense" in said
        assert said.endswith("--accept-suspect")
    assert not (tmp_path / "to").exists()


def test_a_disk_that_nothing_speaks_against_is_restored(site: Path, chain: Chain, tmp_path: Path) -> None:
    suspect(chain, 2)
    assert sendense("restore", site, chain.path(2), "--to", tmp_path / "to", "--disk", 2001, "--format", "raw") == 0


def test_once_it_was_accepted_it_is_restored_and_its_end_says_what_it_is(
    site: Path, chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suspect(chain, 2)
    words = (chain.path(2), "--to", tmp_path / "to", "--format", "raw", "--accept-suspect", "--json")
    assert sendense("restore", site, *words) == 5
    said = capsys.readouterr()
    assert "✓" not in said.err
    assert f"! point: it is from pgtest1/{chain.points[2]}, which is not trusted: disk 2000 is suspect" in said.err
    last = said.err.splitlines()[-1]
    assert last.startswith("! Alarm: ")
    assert last.endswith(", from a point that is not trusted")
    told = json.loads(said.out)
    assert (told["outcome"], told["exit_code"], told["vm"]) == ("alarm", 5, "pgtest1")
    assert told["doubts"] == ["disk 2000 is suspect: tracking missed a write"]
    assert sorted(Path(file).name for file in told["files"]) == ["pgtest1-disk-2000.raw", "pgtest1-disk-2001.raw"]
    assert (tmp_path / "to" / "pgtest1-disk-2000.raw").read_bytes() == chain.reference[(chain.points[2], 2000)]


def test_on_a_terminal_it_is_asked(site: Path, chain: Chain, tmp_path: Path) -> None:
    suspect(chain, 2)
    words = ("restore", str(site), str(chain.path(2)), "--to", str(tmp_path / "to"), f"--state={tmp_path / 'state'}")
    code, shown = on_a_terminal(b"n\n", *words)
    assert code == 2, shown
    assert shown.index("is suspect: tracking missed a write") < shown.index("Restore it anyway? [y/N]")
    assert not (tmp_path / "to").exists()
    code, shown = on_a_terminal(b"y\n", *words)
    assert code == 5, shown
    assert (tmp_path / "to" / "pgtest1-disk-2000.qcow2").exists()


@pytest.mark.parametrize("accepted", [False, True])
def test_in_a_job_it_is_a_variable(
    site: Path, chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str], accepted: bool
) -> None:
    suspect(chain, 2)
    values = {"repository": "main", "point": str(chain.path(2)), "directory": str(tmp_path / "to"), "format": "raw"}
    job = {"version": 1, "name": "back", "include": "site.yaml", "template": "restore", "vars": values}
    if accepted:
        values["accept_suspect"] = True
    file = site.with_name("restore.yaml")
    file.write_text(yaml.safe_dump(job))
    assert sendense("run", file) == (5 if accepted else 2)
    said = " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "to").exists() is accepted
    assert ("`accept_suspect: true` in the job's vars" in said) is not accepted


@pytest.mark.parametrize("name", ["pgtest1", "pgtest1/latest", "latest"])
def test_the_newest_is_the_newest_good_one_and_that_is_said(
    site: Path, chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    suspect(chain, 2)
    assert sendense("restore", site, name, "--to", tmp_path / "to", "--format", "raw", "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["point"] == chain.points[1]
    assert f"! using {chain.points[1]}, the newest good point of pgtest1 ({chain.points[2]} is not good: " in said.err
    values = {"repository": "main", "points": [name], "level": "metadata"}
    file = site.with_name("verify.yaml")
    file.write_text(
        yaml.safe_dump({"version": 1, "name": "v", "include": "site.yaml", "template": "verify", "vars": values})
    )
    assert sendense("run", file) == 0
    assert f"using {chain.points[1]}, the newest good point" in capsys.readouterr().err


def test_where_no_point_is_good_the_newest_is_taken_and_asked_about(
    site: Path, chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        suspect(chain, number)
    assert sendense("restore", site, "latest", "--to", tmp_path / "to") == 2
    said = capsys.readouterr().err
    assert f"no point of pgtest1 is good; using the newest, {chain.points[2]}" in said
    assert "no point of this VM is good" in said


def test_an_unfinished_restore_of_the_newest_stays_with_its_point(
    site: Path, chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "to"
    place.mkdir()
    (place / "pgtest1-disk-2001.raw").write_text("mine")
    words = ("latest", "--to", place, "--format", "raw")
    assert sendense("restore", site, *words) == 1
    begun = chain.points[2]
    chain.add({2000: None, 2001: None}, {2000: ((0, 512, 7),)})
    (place / "pgtest1-disk-2001.raw").unlink()
    assert sendense("restore", site, *words) == 0
    assert f"is restored from {begun}" in capsys.readouterr().err
    assert (place / "pgtest1-disk-2000.raw").read_bytes() == chain.reference[(begun, 2000)]
