"""The same restore point in two repositories is one point: a command takes the first that is not damaged, and says so."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.base.units import MiB
from runner.cli import main
from runner.hosts.local import LocalHost
from steps.repository import layout, marker, verification_records
from steps.repository.manifest import Origin, dump, parse
from tests.chain import Chain, qemu
from tests.hub import Hub, hub_on

pytestmark = pytest.mark.slow

HOST = LocalHost("hub")
AT = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_on(HOST, str(tmp_path / "main"), tmp_path) as opened:
        yield opened


@pytest.fixture
def chain(hub: Hub) -> Chain:
    """A full and an incremental on it."""
    made = Chain(Path(hub.root))
    made.add({2000: None}, {2000: ((0, 512, 1),)})
    made.add({2000: 0}, {2000: ((512, 512, 2),)})
    return made


@pytest.fixture
def offsite(chain: Chain) -> Path:
    """A repository with copies of all points."""
    root = chain.root.with_name("offsite")
    marker.init(HOST, str(root))
    copy = root / chain.directory.name
    shutil.copytree(chain.directory, copy)
    uuid = marker.require(HOST, str(chain.root)).uuid
    for file in copy.glob(f"*/{layout.MANIFEST}"):
        made = parse(file.read_bytes(), str(file))
        origin = Origin(repository=uuid, at=AT, run="20261120T000000Z-00000000")
        file.write_bytes(dump(made.model_copy(update={"copied": origin})))
    return root


@pytest.fixture
def site(chain: Chain, offsite: Path) -> Path:
    path = chain.root.with_name("site.yaml")
    places = f"main: {{host: hub, path: {chain.root}}}, offsite: {{host: hub, path: {offsite}}}"
    path.write_text(f"version: 1\nhosts: {{hub: local}}\nrepositories: {{{places}}}\n")
    return path


def sendense(command: str, site: Path, *arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main((command, f"--state={site.with_name('state')}", str(site), *map(str, arguments)))
    return int(left.value.code or 0)


def restored(site: Path, chain: Chain, number: int, *name: str) -> bool:
    to = site.with_name("restored")
    code = sendense("restore", site, *(name or (chain.points[number],)), "--to", to, "--format", "raw")
    return code == 0 and (to / "pgtest1-disk-2000.raw").read_bytes() == chain.reference[(chain.points[number], 2000)]


def suspect(chain: Chain) -> None:
    doubt = verification_records.Suspicion(key=2000, why="tracking missed a write", run="r", at=AT)
    verification_records.suspect(HOST, str(chain.path(1)), doubt)


def manifest_damaged(chain: Chain) -> None:
    (chain.path(1) / layout.MANIFEST).write_bytes(b"{")


def below_is_gone(chain: Chain) -> None:
    shutil.rmtree(chain.path(0))


def image_of_another_size(chain: Chain) -> None:
    chain.image(1).write_bytes(b"not a qcow2")


def unmounted(chain: Chain) -> None:
    shutil.rmtree(chain.root)
    chain.root.mkdir()


def test_a_sound_point_is_taken_from_the_first_and_nothing_is_said(
    site: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restored(site, chain, 1)
    said = capsys.readouterr().err
    assert "offsite" not in said and "! " not in said


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        pytest.param(suspect, "is not trusted: disk 2000 is suspect: tracking missed a write", id="suspect"),
        pytest.param(manifest_damaged, "manifest.json", id="its manifest is damaged"),
        pytest.param(below_is_gone, "is not trusted: disk 2000", id="what it stands on is gone"),
        pytest.param(image_of_another_size, "is not trusted: ", id="its image is no image"),
        pytest.param(unmounted, "repository main cannot be read: ", id="its disk is not mounted"),
    ],
)
@pytest.mark.parametrize("name", ["the point", "latest"])
def test_a_point_that_is_damaged_in_one_repository_is_taken_from_the_other(
    site: Path,
    chain: Chain,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[Chain], None],
    why: str,
    name: str,
) -> None:
    harm(chain)
    assert restored(site, chain, 1, *(() if name == "the point" else ("pgtest1/latest",)))
    said = capsys.readouterr().err
    assert why in said
    assert f"using {chain.points[1]} in offsite" in said


def test_rot_that_nobody_knows_of_is_found_by_the_restore_which_starts_over_from_the_other(
    site: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    qemu("qemu-io", "-f", "qcow2", "-c", f"write -P 9 {MiB} 512", str(chain.image(1)))
    assert restored(site, chain, 1)
    said = capsys.readouterr().err
    assert f"main does not have pgtest1/{chain.points[1]} as it was read at the source: it is restored from off" in said
    assert not list(site.with_name("restored").glob("*.partial"))


def test_rot_in_a_copy_is_found_and_the_original_is_taken(
    site: Path, chain: Chain, offsite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it is asked for first: a site may name the nearest one there."""
    image = offsite / chain.image(1).relative_to(chain.root)
    qemu("qemu-io", "-f", "qcow2", "-c", f"write -P 9 {MiB} 512", str(image))
    main, other = re.findall(r"\w+: {host: hub, path: [^}]+}", site.read_text())
    site.write_text(site.read_text().replace(f"{main}, {other}", f"{other}, {main}"))
    assert restored(site, chain, 1)
    said = capsys.readouterr().err
    assert (
        f"offsite does not have pgtest1/{chain.points[1]} as it was read at the source: it is restored from main"
        in said
    )
    assert sendense("verify", site, chain.points[1], "--repository", "offsite") == 5
    assert sendense("points", site, "--repository", "offsite") == 0
    assert f"blocks differ, the first at offset {MiB}" in capsys.readouterr().out


def test_the_newest_is_that_of_the_repository_that_has_it(site: Path, chain: Chain, offsite: Path) -> None:
    shutil.rmtree(offsite / chain.directory.name / chain.points[1])
    assert restored(site, chain, 1, "pgtest1")


def test_a_repository_that_is_named_is_the_one_that_is_meant(
    site: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    suspect(chain)
    assert not restored(site, chain, 1, chain.points[1], "--repository", "main")
    assert "is not trusted: disk 2000 is suspect" in capsys.readouterr().err


def test_a_point_that_was_rewritten_in_one_of_them_is_taken_from_neither(
    site: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    file = chain.path(1) / layout.MANIFEST
    made = parse(file.read_bytes(), str(file))
    (disk,) = made.disks
    forged = disk.model_copy(update={"digest": "f" * 64})
    file.write_bytes(dump(made.model_copy(update={"disks": (forged,)})))
    assert sendense("restore", site, chain.points[1], "--to", site.with_name("restored")) == 5
    assert "in main and in offsite have different witnesses" in capsys.readouterr().err
    assert not site.with_name("restored").exists()


def test_what_is_done_to_a_point_is_done_in_the_first_repository(site: Path, chain: Chain, offsite: Path) -> None:
    assert sendense("protect", site, chain.points[1], "--until", "2100-01-01", "--reason", "audit") == 0
    assert verification_records.read(HOST, str(chain.path(1))).protected is not None
    assert verification_records.read(HOST, str(offsite / chain.directory.name / chain.points[1])).protected is None


def test_a_list_says_which_points_are_elsewhere_too_and_what_a_copy_is_of(
    site: Path, chain: Chain, offsite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(offsite / chain.directory.name / chain.points[1])
    assert sendense("points", site) == 0
    original, newer, copy = (
        line for line in capsys.readouterr().out.splitlines() if "pgtest1" not in line and "T0" in line
    )
    assert original.rstrip(" │").endswith("also in offsite")
    assert "offsite" not in newer
    assert copy.rstrip(" │").endswith("copied from main")


def test_one_repository_is_listed_though_another_cannot_be_read(
    site: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    unmounted(chain)
    assert sendense("points", site, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert [(one["name"], len(one["points"])) for one in told["repositories"]] == [("offsite", 2)]
    assert "is not a repository" in told["unread"]["main"]


def test_verifying_a_point_verifies_the_one_that_is_damaged(site: Path, chain: Chain) -> None:
    suspect(chain)
    sendense("verify", site, chain.points[1])
    assert verification_records.read(HOST, str(chain.path(1))).verified is not None


def test_a_job_names_the_other_repositories_that_may_have_its_point(
    site: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest_damaged(chain)
    job, to = site.with_name("job.yaml"), site.with_name("restored")
    names = f"repository: main, also: [offsite], point: {chain.points[1]}, directory: {to}, format: raw"
    job.write_text(f"version: 1\ninclude: site.yaml\ntemplate: restore\nvars: {{{names}}}\n")
    assert sendense("run", job) == 0
    assert (to / "pgtest1-disk-2000.raw").read_bytes() == chain.reference[(chain.points[1], 2000)]
    assert f"using {chain.points[1]} in offsite" in " ".join(capsys.readouterr().err.split())


def test_a_point_is_taken_from_the_other_while_the_host_of_the_first_cannot_be_reached(
    site: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else takes it
        away = f"away: {{ssh: nobody@127.0.0.1, port: {closed.getsockname()[1]}, known-hosts: /dev/null}}"
        text = site.read_text().replace("hosts: {hub: local}", f"hosts: {{hub: local, {away}}}")
        site.write_text(text.replace("main: {host: hub", "main: {host: away"))
        assert restored(site, chain, 1, "pgtest1")
    said = capsys.readouterr().err
    assert "repository main cannot be read: " in said and f"using {chain.points[1]} in offsite" in said
