"""sendense coverage over whole vCenters and repositories."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.cli import main
from runner.hosts.local import LocalHost
from steps.coverage import view
from steps.coverage.document import Coverage
from steps.repository import layout, verification_records
from steps.repository.manifest import dump
from steps.repository.verification_records import Drill
from tests.bench.counted import counting
from tests.chain import manifest_of
from tests.drill_records import NO_DEVICE, drill
from tests.estate import Estate, disk, estate, inventory, machine
from tests.hub import VCENTER

pytestmark = pytest.mark.slow

Captured = pytest.CaptureFixture[str]


def vms(*names: str, **more: Any) -> Any:
    machines = [machine(disk(2000, "1 MiB"), name=name) for name in names]
    return inventory(*machines, **{"instance-uuid": VCENTER}, **more)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Estate]:
    with estate(tmp_path, {"prod": vms("db1", "db2", "web1", "web2", "a-tmp")}) as found:
        (tmp_path / "jobs").mkdir()
        yield found


def say(site: Estate, **keys: Any) -> None:
    path = site.directory / "site.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **keys}, sort_keys=False))


def gold(site: Estate, *names: str, name: str = "gold", **keys: Any) -> Path:
    """A set of the VMs with these names."""
    path = site.directory / "jobs" / f"{name}.yaml"
    rules = [{"name": each} for each in names]
    document = {
        "version": 1,
        "name": name,
        "include": "../site.yaml",
        "template": "backup",
        "select": {"from": "vcenters.prod", "any": rules},
        "vars": {"repository": "main"},
        **keys,
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def point(site: Estate, vm: str, age: timedelta, *, called: str | None = None, **changes: Any) -> None:
    """A full of that VM, by hand, as what it was `called` then; the job that made it is its name's `-nightly`."""
    moment, uuid = datetime.now(UTC) - age, uuid_of(site, vm)
    made = manifest_of(1, moment, {2000: None}, vm=called or vm, instance=uuid, **changes)
    directory = site.repository() / layout.vm_directory(called or vm, uuid) / made.point
    directory.mkdir(parents=True)
    (directory / layout.MANIFEST).write_bytes(dump(made))
    for file in (layout.image(2000), layout.digests(2000)):
        (directory / file).write_bytes(b"-")


def drilled(site: Estate, vm: str, mark: Drill) -> None:
    """Its only point was."""
    (path,) = site.repository().glob(f"{vm}-*/*Z-????")
    verification_records.write(LocalHost("hub"), str(path), mark)


def uuid_of(site: Estate, vm: str) -> str:
    code, told = asked(site.directory / "site.yaml", site.directory / "jobs")
    assert code in (0, 1, 6)
    return next(one["id"] for one in told["vms"] if one["vm"] == vm)


def asked(*words: object) -> tuple[int, dict[str, Any]]:
    """Exit code and document."""
    with redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit) as left:
        main(["coverage", *map(str, words), "--json"])
    return int(left.value.code or 0), json.loads(out.getvalue())


def shown(capsys: Captured, *words: object) -> tuple[int, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["coverage", *map(str, words)])
    return int(left.value.code or 0), capsys.readouterr().out


def states(told: dict[str, Any]) -> dict[str, str]:
    return {one["vm"]: one["state"] for one in told["vms"]}


def test_sets_and_single_jobs_cover_vms_and_the_others_are_named(site: Estate, capsys: Captured) -> None:
    say(site, rpo="26h", unprotected=[{"from": "vcenters.prod", "any": [{"name": "*-tmp"}], "reason": "scratch"}])
    gold(site, "db*")
    site.job("jobs/web", vm="web1").rename(site.directory / "jobs" / "web.yaml")
    web = yaml.safe_load((site.directory / "jobs" / "web.yaml").read_text())
    (site.directory / "jobs" / "web.yaml").write_text(yaml.safe_dump({**web, "name": "web", "include": "../site.yaml"}))
    point(site, "db1", timedelta(hours=3))
    point(site, "db2", timedelta(hours=40))
    point(site, "web1", timedelta(hours=1), level="metadata", compared=0)
    code, told = asked(site.directory / "site.yaml", site.directory / "jobs")
    assert (code, told["exit_code"]) == (6, 6)
    assert [(one["vm"], one["state"]) for one in told["vms"]] == [
        ("web2", "uncovered"),
        ("web1", "no-point"),
        ("db2", "too-old"),
        ("db1", "good"),
        ("a-tmp", "excused"),
    ]
    jobs = {one["vm"]: (one["jobs"], one["rpo"]) for one in told["vms"]}
    assert jobs["db1"] == (["gold"], 26 * 3600) and jobs["web1"][0] == ["web"]
    code, text = shown(capsys, site.directory / "site.yaml", site.directory / "jobs")
    lines = text.splitlines()
    assert lines[0] == "In no job: 1"
    assert lines[-1] == "5 VMs: 1 in no job, 1 no good point, 1 too old, 1 covered, 1 excused"
    assert "db1" not in text, "what is in order is counted alone"
    assert "db1" in shown(capsys, site.directory / "site.yaml", site.directory / "jobs", "--all")[1]


def test_what_came_of_drills_is_read_from_the_points_and_changes_no_exit_code(
    site: Estate, tmp_path: Path, capsys: Captured
) -> None:
    say(site, rpo="26h")
    gold(site, "*")
    for vm in ("db1", "db2", "web1", "web2", "a-tmp"):
        point(site, vm, timedelta(hours=3))
    drilled(site, "db1", drill("passed", hours=72))
    drilled(site, "db2", drill("failed", hours=2, passed=240))
    next(site.repository().glob("web1-*/*Z-????")).joinpath(verification_records.DRILLED).write_bytes(b"{")
    metrics = tmp_path / "coverage.prom"
    words = (site.directory / "site.yaml", site.directory / "jobs")
    code, told = asked(*words, "--metrics", metrics)
    assert code == 0
    found = {one["vm"]: one for one in told["vms"]}
    assert found["db2"]["drilled"]["verdict"] == "failed"
    assert found["db2"]["drilled"]["why"] == NO_DEVICE
    assert found["db2"]["drilled"]["point"] == found["db2"]["point"]
    assert found["db2"]["drill_passed"] < found["db1"]["drill_passed"]
    assert (found["web2"]["drilled"], found["web2"]["drill_unknown"]) == (None, False)
    assert found["web1"]["drill_unknown"]
    assert "drilled.json is damaged: it is not JSON" in found["web1"]["notes"][0]
    assert 'sendense_coverage_last_drill_passed{job="gold"' in metrics.read_text()
    for shape in ("text", "html", "md"):
        code, text = shown(capsys, *words, "--all", "--format", shape)
        assert code == 0
        assert "the newest drill failed: db2" in text
    code, text = shown(capsys, *words, "--all")
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith(("db", "web"))}
    assert "10 d ago, FAILED 2 h ago" in lines["db2"]
    assert NO_DEVICE in text
    assert "never" in lines["web2"]
    assert "unknown" in lines["web1"]


def test_a_vm_that_was_renamed_is_still_covered_by_the_job_of_its_old_name(site: Estate) -> None:
    job = site.job("was-db1-nightly", vm="was-db1")
    gold(site, "none")
    assert states(asked(site.directory / "site.yaml", job)[1])["db1"] == "uncovered"
    point(site, "db1", timedelta(hours=1), called="was-db1")
    told = asked(site.directory / "site.yaml", job)[1]
    assert states(told)["db1"] == "good" and told["notes"] == []


@pytest.mark.parametrize("what", ["vcenter", "repository", "job"])
def test_what_cannot_be_read_is_never_all_covered(site: Estate, what: str, capsys: Captured) -> None:
    gold(site, "*")
    for vm in ("db1", "db2", "web1", "web2", "a-tmp"):
        point(site, vm, timedelta(hours=1))
    assert asked(site.directory / "site.yaml", site.directory / "jobs")[0] == 0
    match what:
        case "vcenter":
            entries = yaml.safe_load((site.directory / "site.yaml").read_text())["vcenters"]
            say(site, vcenters={**entries, "dr": {**entries["prod"], "port": 1}})
        case "repository":
            (site.repository() / "repository.json").unlink()
        case "job":
            (site.directory / "jobs" / "bad.yaml").write_text("version: 1\nname: bad\ninclude: nosuch.yaml\n")
    code, told = asked(site.directory / "site.yaml", site.directory / "jobs")
    assert code == 1 and len(told["unread"]) == 1
    assert {"vcenter": "vCenter dr: ", "repository": "repository main: ", "job": "bad.yaml:3"}[what] in told["unread"][
        0
    ]
    assert set(states(told).values()) == ({"unknown"} if what == "repository" else {"good"})
    _, text = shown(capsys, site.directory / "site.yaml", site.directory / "jobs")
    assert text.splitlines()[-1].endswith("; 1 thing could not be read")


def git(directory: Path, *words: str) -> None:
    argv = ["git", "-C", str(directory), "-c", "user.name=x", "-c", "user.email=x@example.com", *words]
    subprocess.run(argv, check=True, capture_output=True)


def test_a_merge_that_takes_vms_out_of_every_job_is_told(site: Estate, capsys: Captured) -> None:
    say(site, rpo="26h")
    gold(site, "db*", "web1")
    gold(site, "web*", name="silver")
    git(site.directory, "init", "-q")
    git(site.directory, "add", "site.yaml", "jobs")
    git(site.directory, "commit", "-qm", "before")
    arguments = (site.directory / "site.yaml", site.directory / "jobs", "--against", "HEAD")
    assert shown(capsys, *arguments) == (0, "This merge changes nothing of what is backed up.\n")
    gold(site, "web1", rpo="7d")
    (site.directory / "jobs" / "silver.yaml").unlink()
    gold(site, "a-*", name="new")
    code, told = asked(*arguments)
    assert code == 6
    assert [(one["vm"], one["kind"]) for one in told["changes"]] == [
        ("db1", "out"),
        ("db2", "out"),
        ("web2", "out"),
        ("web1", "weaker"),
        ("a-tmp", "in"),
    ]
    assert [Path(one).name for one in (*told["deleted"], *told["added"])] == ["silver.yaml", "new.yaml"]
    code, text = shown(capsys, *arguments, "--format", "md")
    assert text.startswith("**This merge takes 3 VMs out of every job, adds 1 VM, weakens the rpo of 1 VM.**\n")
    assert "| web1 | DC1/vm/web1 | gold, silver | gold | rpo 26 h, then 7 d |" in text
    say(site, unprotected=[{"from": "vcenters.prod", "any": [{"name": "db*"}, {"name": "web2"}], "reason": "gone"}])
    code, text = shown(capsys, *arguments)
    assert code == 0 and "takes 3 VMs out of every job that `unprotected:` excuses" in text


def test_a_branch_cannot_send_the_password_to_a_server_of_its_own(site: Estate, tmp_path: Path) -> None:
    gold(site, "db*")
    git(site.directory, "init", "-q")
    git(site.directory, "add", "site.yaml", "jobs")
    git(site.directory, "commit", "-qm", "before")
    (tmp_path / "foreign").mkdir()
    with estate(tmp_path / "foreign", {"prod": vms("db1")}) as foreign:
        entries = yaml.safe_load((site.directory / "site.yaml").read_text())["vcenters"]
        say(site, vcenters={"prod": {**entries["prod"], "port": foreign.vcenter.port}})
        code, told = asked(site.directory / "site.yaml", site.directory / "jobs", "--against", "HEAD")
        assert foreign.vcenter.calls == {} and code == 1
    assert "is not asked before" in told["unread"][0]


@pytest.mark.parametrize("against", ["HEAD", "directory"])
@pytest.mark.parametrize("what", ["ca", "program"])
def test_a_branch_cannot_replace_what_the_vcenter_is_known_or_logged_in_to_by(
    site: Estate, what: str, against: str, tmp_path_factory: pytest.TempPathFactory, capsys: Captured
) -> None:
    entries = yaml.safe_load((site.directory / "site.yaml").read_text())["vcenters"]
    (site.directory / "ca.pem").write_bytes(Path(entries["prod"]["tls"]["ca"]).read_bytes())
    (site.directory / "say").write_text("#!/bin/sh\ncat password\n")
    (site.directory / "say").chmod(0o755)
    password = {"exec": [str(site.directory / "say")]}
    say(site, vcenters={"prod": {**entries["prod"], "tls": {"ca": "ca.pem"}, "password": password}})
    gold(site, "db*")
    git(site.directory, "init", "-q")
    git(site.directory, "add", "site.yaml", "jobs", "ca.pem", "say")
    git(site.directory, "commit", "-qm", "before")
    before = tmp_path_factory.mktemp("before")
    git(site.directory, "worktree", "add", "-q", str(before / "it"), "HEAD")
    ref = "HEAD" if against == "HEAD" else str(before / "it")
    changed = site.directory / {"ca": "ca.pem", "program": "say"}[what]
    changed.write_text(f"{changed.read_text()}\n")
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["coverage", str(site.directory / "site.yaml"), str(site.directory / "jobs"), "--against", ref])
    assert left.value.code == 2 and f"{changed} differs from {ref}" in capsys.readouterr().err
    assert site.vcenter.calls == {}


class Page(HTMLParser):
    """Its tags are closed as they were opened, and nothing of it comes from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script" and not any(name in ("src", "onclick") for name, _ in attrs)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.rows += tag == "tr"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_thousand_vms_take_thirty_requests_and_one_read_of_the_repository(tmp_path: Path) -> None:
    with estate(tmp_path, {"prod": vms(estate={"vms": 1000, "templates": 3})}) as site:
        (tmp_path / "jobs").mkdir()
        gold(site, "db-*", "web-*")
        gold(site, "app-*", name="silver")
        say(site, unprotected=[{"from": "vcenters.prod", "any": [{"name": "cache-*"}], "reason": "rebuilt"}])
        before = site.vcenter.calls.total()
        with counting() as cost:
            code, told = asked(site.directory / "site.yaml", site.directory / "jobs")
        assert code == 6 and len(told["vms"]) == 1000
        assert site.vcenter.calls.total() - before <= 30, dict(site.vcenter.calls)
        assert sum("find" in " ".join(argv) for argv in cost.programs) == 1, cost.programs
        counts = {state: list(states(told).values()).count(state) for state in ("template", "excused", "uncovered")}
        assert counts["template"] == 3 and counts["excused"] > 100 and counts["uncovered"] > 100
        found = Coverage.from_json_value({name: value for name, value in told.items() if name != "exit_code"})
        read = Page()
        read.feed(view.as_html(found))
        assert read.open == [] and read.rows >= 1000
        text = io.StringIO()
        view.print_text(found, text, everything=False)
        assert len(text.getvalue().splitlines()) < 130, "the first rows of each table"


def test_names_from_elsewhere_are_no_markup(tmp_path: Path, capsys: Captured) -> None:
    with estate(tmp_path, {"prod": vms("<b>x</b>|*y*")}) as site:
        (tmp_path / "jobs").mkdir()
        gold(site, "none*")
        _, page = shown(capsys, site.directory / "site.yaml", site.directory / "jobs", "--format", "html")
        assert "<b>x" not in page and "&lt;b&gt;x" in page
        _, text = shown(capsys, site.directory / "site.yaml", site.directory / "jobs", "--format", "md")
        assert r"\<b\>x\</b\>\|\*y\*" in text


def test_a_variable_is_given_to_the_jobs_that_have_it(site: Estate, capsys: Captured) -> None:
    """As of a set whose site is found by one, beside jobs that know of none."""
    path = gold(site, "db*", include="${{ vars.place }}/site.yaml", vars={"repository": "main", "place": "nowhere"})
    gold(site, "web*", name="silver")
    point(site, "db1", timedelta(hours=3))
    words = (site.directory / "site.yaml", site.directory / "jobs")
    assert asked(*words)[1]["unread"][0].startswith(f"{path}:")
    code, told = asked(*words, "--set", f"place={site.directory}")
    assert code == 6 and told["unread"] == []
    assert {one["vm"]: one["jobs"] for one in told["vms"]}["db1"] == ["gold"]
    with pytest.raises(SystemExit) as left:
        main(["coverage", *map(str, words), "--set", f"place={site.directory}", "--set", "plaice=x"])
    assert left.value.code == 2
    assert "no job here has a variable of that name" in capsys.readouterr().err
