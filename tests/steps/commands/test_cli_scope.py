"""Commands that delete are about what was named, and do nothing that nobody agreed to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.cli import main
from runner.engine.job_state import JobState
from runner.hosts.local import LocalHost
from steps.repository import layout
from steps.repository.manifest import dump, parse
from tests.chain import Chain
from tests.hub import INSTANCE, Hub, hub_on, tree
from tests.terminal import on_a_terminal

pytestmark = pytest.mark.slow

OTHER = "77777777-9f10-4a5e-8b32-0123456789ab"
RULES = ("--keep-last=1",)

JOB = """\
version: 1
name: {name}
include: site.yaml
vars: {{vm: {vm}, vms: [pgtest1, other]}}
steps:
{steps}
"""
DISCOVER = '  - {id: discover, uses: discover, with: {vcenter: prod, vm: "${{ vars.vm }}"}}'
EACH = '  - {id: discover, uses: discover, each: {vm: "${{ vars.vms }}"}, with: {vcenter: prod, vm: "${{ vm }}"}}'
NOTHING = "  - {id: cleanup, uses: cleanup}"
VCENTER = "vcenters: {prod: {server: vc, username: u, password: {env: P}, tls: {ca: ca.pem}}}"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_on(LocalHost("hub"), str(tmp_path / "repository"), tmp_path) as opened:
        yield opened


@pytest.fixture
def site(hub: Hub) -> Path:
    path = Path(hub.root).with_name("site.yaml")
    path.write_text(
        f"version: 1\nhosts: {{hub: local}}\nrepositories: {{main: {{host: hub, path: {hub.root}}}}}\n{VCENTER}\n"
    )
    return path


def chain_of(hub: Hub, vm: str, instance: str, *, count: int = 2) -> Chain:
    """Fulls, of which `--keep-last=1` keeps the last."""
    made = Chain(Path(hub.root), vm, instance)
    for _ in range(count):
        made.add({2000: None}, {})
    return made


@pytest.fixture
def mine(hub: Hub) -> Chain:
    return chain_of(hub, "pgtest1", INSTANCE)


@pytest.fixture
def other(hub: Hub) -> Chain:
    return chain_of(hub, "other", OTHER)


def job(site: Path, vm: str = "pgtest1", *, name: str = "pgtest1-nightly", steps: str = DISCOVER) -> Path:
    path = site.with_name("job.yaml")
    path.write_text(JOB.format(name=name, vm=vm, steps=steps))
    return path


def sendense(command: str, file: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main((command, f"--state={file.with_name('state')}", str(file), *arguments))
    return int(left.value.code or 0)


def there(made: Chain) -> int:
    return len(list(made.directory.glob(f"*/{layout.MANIFEST}")))


@pytest.mark.parametrize(
    "vm",
    ["pgtest1", INSTANCE, "DC0/vm/pgtest1", "42130000-0000-0000-0000-000000000001"],
    ids=["name", "uuid", "path", "bios"],
)
def test_the_job_of_one_vm_prunes_that_one(site: Path, mine: Chain, hub: Hub, vm: str) -> None:
    second = Chain(Path(hub.root), "other", OTHER)
    second.add({2000: None}, {})
    _with(second, bios_uuid="42130000-0000-0000-0000-00000000000f")
    assert sendense("prune", job(site, vm), *RULES, "--yes") == 0
    assert (there(mine), there(second)) == (1, 1)


@pytest.mark.parametrize(
    ("steps", "arguments", "left"),
    [
        pytest.param(DISCOVER, (), (1, 2), id="its own"),
        pytest.param(DISCOVER, ("other",), (2, 1), id="named beside it"),
        pytest.param(DISCOVER, (OTHER[:6],), (2, 1), id="by the beginning of a uuid"),
        pytest.param(DISCOVER, ("--all-vms",), (1, 1), id="all"),
        pytest.param(EACH, (), (1, 1), id="several in a job"),
        pytest.param(NOTHING, (), (1, 2), id="by the points that the job made"),
        pytest.param("", (), (1, 1), id="a site"),
    ],
)
def test_what_is_pruned_is_what_was_named(
    site: Path, mine: Chain, other: Chain, steps: str, arguments: tuple[str, ...], left: tuple[int, int]
) -> None:
    file = job(site, steps=steps) if steps else site
    assert sendense("prune", file, *arguments, *RULES, "--yes") == 0
    assert (there(mine), there(other)) == left


@pytest.mark.parametrize(
    ("vm", "name", "steps", "arguments", "why"),
    [
        pytest.param(
            "nobody", "nobody-nightly", DISCOVER, (), "there are no points of 'nobody'", id="a VM without points"
        ),
        pytest.param(
            "new", "other-nightly", DISCOVER, (), f"are of other (DC0/vm/other, {OTHER})", id="another VM's job"
        ),
        pytest.param("x", "hourly", NOTHING, (), "names no VM", id="no VM named"),
        pytest.param("x", "x", DISCOVER, ("pgtest1", "--all-vms"), "leave out pgtest1, or --all-vms", id="all and one"),
    ],
)
def test_what_is_not_clear_is_refused(
    site: Path,
    mine: Chain,
    other: Chain,
    capsys: pytest.CaptureFixture[str],
    vm: str,
    name: str,
    steps: str,
    arguments: tuple[str, ...],
    why: str,
) -> None:
    assert sendense("prune", job(site, vm, name=name, steps=steps), *arguments, *RULES, "--yes") == 2
    assert why in capsys.readouterr().err
    assert (there(mine), there(other)) == (2, 2)


def test_of_two_vms_of_one_name_each_is_shown_and_named_by_what_tells_it_apart(
    hub: Hub, site: Path, mine: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = chain_of(hub, "pgtest1", OTHER)
    _with(twin, inventory_path="DC0/vm/test/pgtest1")
    labels = (f"pgtest1 (DC0/vm/pgtest1, {INSTANCE})", f"pgtest1 (DC0/vm/test/pgtest1, {OTHER})")
    assert sendense("points", site) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("pgtest1")] == [*labels]
    file = job(site, name="by-hand")
    for command, arguments in (("prune", RULES), ("verify", ("pgtest1/latest",)), ("verify", ("--all",))):
        assert sendense(command, file, *arguments) == 2
        said = capsys.readouterr().err
        assert all(label in said for label in labels)
    point = twin.points[0]
    assert sendense("restore", file, f"pgtest1/{point}", "--to", str(site.parent)) == 2
    assert f"{OTHER}/{point} (DC0/vm/test/pgtest1)" in capsys.readouterr().err
    for name in (OTHER, OTHER[:8], "DC0/vm/test/pgtest1"):
        assert sendense("verify", file, f"{name}/{point}", "--level=metadata") == 0
    assert sendense("prune", file, "DC0/vm/test/pgtest1", *RULES, "--yes") == 0
    assert (there(mine), there(twin)) == (2, 1)


def test_of_two_vms_of_one_name_a_job_means_the_one_that_it_backs_up(hub: Hub, site: Path, mine: Chain) -> None:
    twin = chain_of(hub, "pgtest1", OTHER)
    _with(twin, job="elsewhere")
    assert sendense("prune", job(site), *RULES, "--yes") == 0
    assert (there(mine), there(twin)) == (1, 2)


def test_without_a_terminal_it_says_what_would_go_and_the_command_that_deletes_it(
    site: Path, mine: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(mine.root)
    assert sendense("prune", site, *RULES) == 2
    said = capsys.readouterr()
    assert f"{mine.points[0]}  delete  no rule keeps it" in said.out
    command = f"sendense prune --state={site.with_name('state')} {site} {' '.join(RULES)} --yes"
    assert said.err == (
        f"sendense: nothing was deleted: there is no terminal to ask on; to go ahead without a question: {command}\n"
    )
    assert tree(mine.root) == before


@pytest.mark.parametrize(
    ("answer", "code", "left"),
    [(b"y\n", 0, 1), (b"\n", 2, 2), (b"\x04", 2, 2)],
    ids=["yes", "nothing", "the end of the input"],
)
def test_on_a_terminal_what_would_go_is_shown_and_asked_about(
    site: Path, mine: Chain, answer: bytes, code: int, left: int
) -> None:
    argv = ("prune", str(site), *RULES, f"--state={site.with_name('state')}")
    found, shown = on_a_terminal(answer, *argv)
    assert found == code, shown
    assert shown.index(f"{mine.points[0]} delete no rule keeps it") < shown.index("Delete 1 point of pgtest1? [y/N]")
    assert ("nothing was deleted" in shown) is (code != 0)
    assert there(mine) == left


def test_what_went_is_listed_point_by_point(site: Path, mine: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    mine.add({2000: None}, {})
    gone = mine.points[:2]
    assert sendense("prune", site, *RULES, "--yes", "--json") == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    (pruned,) = told["vms"]
    assert (told["schema_version"], told["dry_run"], told["exit_code"]) == (2, False, 0)
    assert [(point["point"], point["why"]) for point in pruned["dropped"]] == [
        (point, "no rule keeps it") for point in gone
    ]
    assert pruned["instance_uuid"] == INSTANCE
    assert all(f"pgtest1/{point}" in said.err for point in gone)


def test_what_was_not_shown_does_not_go(hub: Hub, site: Path, mine: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = list(mine.points)

    def meanwhile(*_: Any, **__: Any) -> None:
        """A backup, while the question stands there: now the second point would go too."""
        mine.add({2000: None}, {})

    monkeypatch.setattr("steps.commands.prune.agree", meanwhile)
    assert sendense("prune", site, *RULES) == 0
    assert {path.parent.name for path in mine.directory.glob("*/manifest.json")} == {shown[1], mine.points[2]}


def test_a_prune_that_was_cut_short_is_decided_anew_by_the_same_command(
    site: Path, mine: Chain, other: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    file = job(site)
    held = LocalHost("hub").lock(str(mine.directory / layout.LOCK), "a backup")
    assert sendense("prune", file, *RULES, "--yes") == 3
    held.release()
    capsys.readouterr()
    mine.add({2000: None}, {})
    assert sendense("prune", file, *RULES, "--yes", "--json") == 0
    (pruned,) = json.loads(capsys.readouterr().out)["vms"]
    assert [point["point"] for point in pruned["dropped"]] == mine.points[:2]
    assert there(other) == 2
    (commands,) = site.with_name("state").glob(".commands/prune-*.yaml")
    assert JobState(LocalHost(), str(site.with_name("state")), commands.stem).runs().unfinished is None


def test_verify_all_is_of_the_vm_that_the_job_is_about(
    site: Path, mine: Chain, other: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sendense("verify", job(site), "--all", "--level=metadata", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [Path(point["path"]).name for point in told["points"]] == mine.points
    assert sendense("verify", site, "--all", "--level=metadata", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["points"]) == len(mine.points) + len(other.points)


def test_verify_all_fails_for_a_point_that_cannot_be_read(
    site: Path, mine: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    (mine.path(1) / layout.MANIFEST).write_bytes(b"{")
    assert sendense("verify", site, "--all", "--level=metadata") == 1
    assert f"{mine.points[1]}/{layout.MANIFEST}" in capsys.readouterr().err


def _with(made: Chain, **changes: str) -> None:
    """In the manifests of all its points."""
    for number in range(len(made.points)):
        path = made.path(number) / layout.MANIFEST
        manifest = parse(path.read_bytes(), str(path))
        vm = {name: value for name, value in changes.items() if name != "job"}
        updated = manifest.model_copy(update={"vm": manifest.vm.model_copy(update=vm)})
        path.write_bytes(dump(updated.model_copy(update={"job": changes.get("job", manifest.job)})))


def test_a_set_is_about_the_vms_that_its_children_backed_up(
    site: Path, mine: Chain, other: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = site.with_name("gold.yaml")
    select = "select: {from: vcenters.prod, any: [{tag: backup/gold}]}"
    gold.write_text(f"version: 1\nname: gold\ninclude: site.yaml\n{select}\nsteps:\n{DISCOVER}\n")
    _with(other, job=f"golden/other-{OTHER}")
    assert sendense("prune", gold, *RULES, "--yes") == 2
    assert "no VM's newest point is of the set 'gold'" in capsys.readouterr().err
    _with(mine, job=f"gold/pgtest1-{INSTANCE}")
    assert sendense("prune", gold, *RULES, "--yes") == 0
    assert (there(mine), there(other)) == (1, 2)
