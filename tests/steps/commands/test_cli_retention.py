from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.base.sealed import seal
from runner.base.units import MiB
from runner.cli import main
from runner.hosts.local import LocalHost
from steps.points import retention_plan, sharing
from steps.repository import layout, parent
from steps.repository.verification_records import Suspicion
from tests.chain import FIRST, Chain
from tests.hub import INSTANCE, Hub, hub_on, tree
from tests.trails import entries

pytestmark = pytest.mark.slow


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_on(LocalHost("hub"), str(tmp_path / "repository"), tmp_path) as opened:
        yield opened


@pytest.fixture
def chain(hub: Hub) -> Chain:
    """A full and three incrementals, and the part of a job that names the repository."""
    root = Path(hub.root)
    hosts = f"hosts: {{hub: local}}\nrepositories: {{main: {{host: hub, path: {root}}}}}\n"
    root.with_name("site.yaml").write_text(f"version: 1\n{hosts}")
    made = Chain(root)
    made.add({2000: None}, {2000: ((0, MiB, 1),)})
    for number in range(3):
        made.add({2000: number}, {2000: ((number * 512, 512, 2),)})
    return made


def sendense(chain: Chain, command: str, *arguments: str) -> int:
    site, state = chain.root.with_name("site.yaml"), chain.root.with_name("state")
    with pytest.raises(SystemExit) as left:
        main((command, f"--state={state}", str(site), *arguments))
    return int(left.value.code or 0)


def test_the_dry_run_is_what_the_run_does(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    rules = ("--keep-last=1", "--keep-weekly=2", "--max-chain=3")
    before = tree(chain.root)
    assert sendense(chain, "prune", *rules, "--dry-run", "--json") == 0
    assert tree(chain.root) == before
    (planned,) = json.loads(capsys.readouterr().out)["vms"]
    assert sendense(chain, "prune", *rules, "--yes") == 0
    stay = {decision["point"] for decision in planned["plan"]["decisions"] if decision["keep"]}
    assert chain.whole() == stay == set(chain.points) - set(planned["plan"]["drops"])
    for move in planned["plan"]["moves"]:
        manifest = json.loads((chain.directory / move["point"] / "manifest.json").read_bytes())
        assert [disk["parent"] for disk in manifest["disks"]] == [move["onto"]]


def test_json_tells_of_a_vm_that_is_left_alone(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    (chain.path(1) / "verified.json").mkdir()
    assert sendense(chain, "prune", "--keep-last=1", "--yes", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == 1
    assert chain.whole() == set(chain.points)
    (refused,) = told["refused"]
    assert (told["vms"], refused["instance_uuid"]) == ([], INSTANCE)
    assert "verified.json cannot be read" in refused["why"]


def test_a_dry_run_writes_nothing_into_the_repository_not_even_for_a_moment(chain: Chain) -> None:
    def times() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in (chain.root, *chain.root.rglob("*"))}

    before = times()
    assert sendense(chain, "prune", "--keep-last=1", "--dry-run") == 0
    assert times() == before


@pytest.mark.parametrize("shares", [True, False], ids=["blocks shared", "copied"])
def test_the_dry_run_asks_for_room_as_the_run_does(
    chain: Chain, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, shares: bool
) -> None:
    monkeypatch.setattr(sharing, "may_share", lambda host, root: shares)
    monkeypatch.setattr(sharing, "can_share", lambda host, directory: shares)
    monkeypatch.setattr(LocalHost, "free_bytes", lambda self, path: retention_plan.SPARE + 3 * MiB // 2)
    code = 0 if shares else 1
    assert sendense(chain, "prune", "--max-chain=2", "--dry-run") == code
    assert ("a full copy of" in capsys.readouterr().out) is not shares
    assert sendense(chain, "prune", "--max-chain=2", "--yes") == code


def test_a_protected_point_is_shown_and_stays_until_that_is_lifted(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    first = chain.points[0]
    assert sendense(chain, "protect", "pgtest1/20261101", "--until=2199-12-31", "--reason=audit") == 0
    assert sendense(chain, "points", "pgtest1") == 0
    assert "protected until 2199-12-31" in capsys.readouterr().out
    assert sendense(chain, "prune", "--keep-last=1", "--yes") == 0
    assert chain.whole() == {first, chain.points[3]}
    assert sendense(chain, "protect", first, "--lift") == 0
    assert sendense(chain, "prune", "--keep-last=1", "--yes") == 0
    assert chain.whole() == {chain.points[3]}
    done = [one for one in entries(chain.root) if first in one.points]
    assert [one.act for one in done] == ["protect", "lift", "prune"]
    assert [one.text for one in done] == ["until 2199-12-31: audit", "", "no rule keeps it"]


def test_what_is_locked_is_kept_whatever_is_lifted_and_says_until_when(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root says what is locked")
    first = chain.points[0]
    told = {"schema_version": 1, "points": {first: "2199-12-23T17:00:00Z"}}
    (chain.directory / layout.LOCKED).write_bytes(seal(told))
    assert sendense(chain, "protect", first, "--until=2199-12-01", "--reason=audit") == 0
    assert sendense(chain, "protect", first, "--lift") == 0
    assert f"{first} is no longer protected; it is locked until 2199-12-23 all the same" in capsys.readouterr().out
    assert sendense(chain, "prune", "--keep-last=1", "--dry-run") == 0
    assert re.search(rf"{first} +keep +locked until 2199-12-23\n", capsys.readouterr().out)
    assert sendense(chain, "prune", "--keep-last=1", "--yes") == 0
    assert chain.whole() == {first, chain.points[3]}


@pytest.mark.parametrize(
    ("command", "arguments", "why"),
    [
        ("prune", (), "say what to keep"),
        ("prune", ("nobody", "--keep-last=1"), "no points of a VM called nobody"),
        ("protect", ("20261101", "--until=2026-13-31", "--reason=x"), "is not a date"),
        ("protect", ("20261101", "--until=2020-01-01", "--reason=x"), "is in the past"),
        ("protect", ("20261101", "--until=2199-01-01"), "--reason TEXT, or --lift only"),
        ("protect", ("20261101", "--lift", "--reason=x"), "--reason TEXT, or --lift only"),
        ("verify", ("2026",), "is ambiguous"),
        ("verify", ("20261101", "--against-source"), "does not say which vCenter has the VM"),
        ("points", ("nobody",), "there are no points of nobody"),
    ],
)
def test_bad_usage_is_a_sentence(
    chain: Chain, capsys: pytest.CaptureFixture[str], command: str, arguments: tuple[str, ...], why: str
) -> None:
    before = tree(chain.root)
    assert (
        sendense(
            chain, command, *arguments, *(("--dry-run",) if arguments[:1] == ("nobody",) and command == "prune" else ())
        )
        == 2
    )
    assert why in " ".join(capsys.readouterr().err.split())
    assert tree(chain.root) == before


def test_a_point_that_is_damaged_ends_in_5_and_counts_no_longer(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    image = chain.image(0)
    image.write_bytes(image.read_bytes().replace(bytes([1]) * 4096, bytes([9]) * 4096))
    assert sendense(chain, "verify", chain.points[0]) == 5
    assert sendense(chain, "points", "--json") == 0
    (repository,) = json.loads(capsys.readouterr().out)["repositories"]
    assert [point["good"] for point in repository["points"]] == [False] * 4


def test_what_was_verified_when_it_was_made_is_not_what_is_believed_now(
    hub: Hub, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    suspicion = Suspicion(key=2000, why="tracking missed a write", run=hub.run, at=FIRST)
    parent.mark_suspect(hub.host, str(chain.directory), chain.points[1], suspicion)
    chain.add({2000: None}, {})
    assert sendense(chain, "points") == 0
    rows = {row.split()[-1 if "full" in row else 0]: row for row in capsys.readouterr().out.splitlines()}
    told = {point: next(row for row in rows.values() if point in row) for point in chain.points}
    assert "when made: every block" in told[chain.points[0]]
    assert "when made: every new block" in told[chain.points[1]]
    assert "NOT TRUSTED" in told[chain.points[1]]
    assert "when made" not in told[chain.points[4]]
    assert "every block (last good)" in told[chain.points[4]]


def test_the_last_line_of_a_prune_and_of_a_verification_says_what_it_did(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sendense(chain, "verify", chain.points[-1]) == 0
    assert re.search(
        rf"^✓ Done: pgtest1/{chain.points[-1]}, every block compared, 4 blocks equal, [\d.]+ s$",
        capsys.readouterr().err.splitlines()[-1],
    )
    assert sendense(chain, "prune", "--keep-last=2", "--yes") == 0
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"^✓ Done: pgtest1, 2 points deleted, [\d.]+ \wiB freed, 1 image rebuilt, [\d.]+ s$", line), line
    assert sendense(chain, "prune", "--keep-last=2", "--yes") == 0
