"""`sendense run` of a set of toy jobs: what becomes of each, at what exit code, and what is remembered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.events.events import RunStarted
from runner.events.journal import read_events
from tests.eventually import eventually, is_gone
from tests.runner.toy_plugin import install, job_text

NAMES = {"id-a": "apple", "id-b": "beech", "id-c": "cedar"}


class Estate:
    """A directory of items, a root for each, and the set of them."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.env = install(base / "packages") | {"XDG_STATE_HOME": str(base / "home"), "COLUMNS": "200"}
        self.garden, self.roots = base / "garden", base / "roots"
        self.garden.mkdir()
        for key, name in NAMES.items():
            self.add(key, name)
        self.job = base / "gold.yaml"
        self.write()

    def write(self, **more: Any) -> None:
        select = {"from": "gardens.main", **more.pop("select", {})}
        told = {"gardens": {"main": {"path": str(self.garden)}}, "state": {"path": str(self.base / "state")}}
        self.job.write_text(job_text(f"{self.roots}/${{{{ vars.vm }}}}", "gold", select=select, **told, **more))

    def add(self, key: str, name: str) -> None:
        (self.garden / key).write_text(name)
        (self.roots / key).mkdir(parents=True, exist_ok=True)
        (self.roots / key / "items").write_text("1=a 2=b")

    def go(self, *keys: str, why: str = "") -> None:
        for key in keys or NAMES:
            (self.roots / key / "go").write_text(why)

    def hold(self, *keys: str) -> None:
        for key in keys or NAMES:
            (self.roots / key / "go").unlink(missing_ok=True)

    def waits(self, *keys: str) -> bool:
        """Until these are at work."""
        traces = [self.roots / key / "trace" for key in keys]
        return eventually(lambda: all(one.exists() and "wait wait" in one.read_text() for one in traces), 60)

    def moments(self) -> set[str]:
        """Of which items something is held."""
        return {path.parent.name for path in self.roots.glob("*/moment-*")}

    def start(self, *words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-P", "-m", "runner.cli", *words]
        return subprocess.Popen(
            argv, cwd=self.base, env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def call(self, *words: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        with self.start(*words) as process:
            out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def run(self, *words: str) -> tuple[int, str]:
        code, _, err = self.call("run", "gold.yaml", *words)
        return code, err

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.base / "state" / "gold" / "set.json").read_text())
        return found

    def outcomes(self) -> dict[str, str]:
        return {item["name"]: item["outcome"] for item in self.record()["items"]}

    def runs(self) -> list[dict[str, Any]]:
        records = [json.loads(path.read_text()) for path in self.base.glob("state/*/*/run.json")]
        return sorted(records, key=lambda record: str(record["id"]))


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    return Estate(tmp_path)


def test_each_item_has_a_run_of_its_own_and_a_failure_is_its_alone(estate: Estate) -> None:
    estate.go()
    estate.go("id-b", why="no room")
    code, out, err = estate.call(
        *("run", "gold.yaml", "--parallel", "2", "--json", "--events", "events.jsonl", "--report", "report")
    )
    assert code == 4, err
    assert err.splitlines()[-1].startswith("✗ 1 of 3 items is not done, 2 done, ")
    assert err.splitlines()[-1].endswith("to resume: sendense run gold.yaml --unfinished")
    (cause,) = [line for line in err.splitlines() if line.startswith("1 item")]
    assert cause.split("  ") == ["1 item", "no room", "beech"]
    assert estate.outcomes() == {"apple": "done", "beech": "failed", "cedar": "done"}
    document = json.loads(out)
    assert {run["name"]: run["exit_code"] for run in document["runs"]} == {"apple": 0, "beech": 1, "cedar": 0}
    assert [(one["set"], one["chosen"], one["run"]) for one in document["sets"]] == [("gold", 3, 3)]
    # One file has the events of all.
    started = {
        event.child: event for event in read_events(estate.base / "events.jsonl") if isinstance(event, RunStarted)
    }
    assert {key: event.job for key, event in started.items()} == {
        f"gold@{key}": f"gold/{name}-{key}" for key, name in NAMES.items()
    }
    assert started["gold@id-b"].resume == "sendense run gold.yaml --only=beech"
    index = (estate.base / "report" / "index.html").read_text()
    for run in document["runs"]:
        assert f"{run['name']}-{run['run']}/report.html" in index
        assert (estate.base / "report" / f"{run['name']}-{run['run']}" / "report.html").exists()
    assert index.index(">beech<") < index.index(">apple<")
    assert 'failures="1"' in (estate.base / "report" / "junit.xml").read_text()


def test_the_same_command_resumes_what_failed_and_a_renamed_item_is_the_same_run(estate: Estate) -> None:
    estate.go("id-a", "id-c")
    estate.go("id-b", why="no room")
    assert estate.run()[0] == 4
    estate.go()
    (estate.garden / "id-b").write_text("birch")
    code, err = estate.run("--only", "birch")
    assert code == 0 and "✓ Done: 1 item" in err
    assert estate.outcomes() == {"apple": "done", "birch": "done", "cedar": "done"}
    assert [record["phase"] for record in estate.runs()] == ["finished"] * 3


@pytest.mark.parametrize(
    ("name", "ran"),
    [
        pytest.param("cedar", {"cedar"}, id="name"),
        pytest.param("id-a", {"apple"}, id="id"),
        pytest.param("/beech/id-b", {"beech"}, id="path"),
        pytest.param("*e*d*", {"cedar"}, id="pattern"),
        pytest.param("ceder", set(), id="unknown"),
    ],
)
def test_only_some_run_by_what_names_them(estate: Estate, name: str, ran: set[str]) -> None:
    estate.go()
    code, err = estate.run("--only", name)
    assert code == (0 if ran else 2), err
    assert {record["job"].split("/")[1].split("-")[0] for record in estate.runs()} == ran
    unknown = "sendense: --only ceder: the set selects none that is called so; did you mean 'cedar'?"
    assert ran or err.splitlines() == [unknown]


def test_fewer_than_at_least_are_an_error_and_nothing_runs(estate: Estate) -> None:
    estate.write(select={"at-least": 4})
    code, err = estate.run()
    assert code == 1 and "at least 4 are expected" in err
    assert not estate.runs()


def test_a_stop_ends_all_in_order_and_what_waited_does_not_begin(estate: Estate) -> None:
    with estate.start("run", "gold.yaml", "--parallel", "2") as process:
        assert estate.waits("id-a", "id-b")
        process.send_signal(signal.SIGTERM)
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 130, err
    assert "✗ 3 of 3 items are not done, 1 not started" in err
    assert ["2 items", "interrupted", "apple, beech"] in [line.split("  ") for line in err.splitlines()]
    assert estate.outcomes() == {"apple": "interrupted", "beech": "interrupted", "cedar": ""}
    assert len(estate.runs()) == 2
    estate.go()
    assert estate.run()[0] == 0
    assert [record["phase"] for record in estate.runs()] == ["finished"] * 3


def test_a_controller_that_is_killed_takes_its_children_along_and_the_next_one_resumes_each(estate: Estate) -> None:
    with estate.start("run", "gold.yaml", "--parallel", "3") as process:
        assert estate.waits(*NAMES)
        children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        process.kill()
        process.communicate(timeout=60)
    assert len(children) >= 3 and eventually(lambda: all(map(is_gone, children)), 60)
    began = {record["id"] for record in estate.runs()}
    estate.go()
    code, err = estate.run("--parallel", "3")
    assert code == 0, err
    assert {record["id"] for record in estate.runs()} == began and len(began) == 3


def test_a_child_that_is_killed_is_told_and_resumed(estate: Estate) -> None:
    estate.go("id-a", "id-c")
    with estate.start("run", "gold.yaml", "--parallel", "3") as process:
        assert estate.waits("id-b")
        lock = (next(estate.base.glob("state/gold-id-b-*")) / ".lock").read_text()
        os.kill(int(lock.partition("pid ")[2].partition(",")[0]), signal.SIGKILL)
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 4, err
    assert "beech  unfinished: the process that ran it was killed by signal 9" in err
    estate.go()
    assert estate.run()[0] == 0 and len([one for one in estate.runs() if "beech" in one["job"]]) == 1


def test_two_controllers_of_one_set_do_not_work_at_once(estate: Estate) -> None:
    with estate.start("run", "gold.yaml") as process:
        assert estate.waits("id-a")
        code, err = estate.run()
        assert code == 3 and "the set gold is locked by another run" in err
        estate.go()
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_of_an_item_that_is_no_longer_there_it_is_named_and_what_its_run_holds_is_released(estate: Estate) -> None:
    estate.go("id-a", "id-c")
    estate.go("id-b", why="no room")
    assert estate.run()[0] == 4 and estate.moments() == {"id-b"}
    (estate.garden / "id-b").unlink()
    code, err = estate.run()
    assert code == 0, err
    assert "! beech: it is no longer found" in err and "released" in err
    assert estate.moments() == set()
    # Data that was copied is nobody's garbage.
    assert (estate.roots / "id-b" / "made-1").exists()


def test_of_an_item_that_is_no_longer_selected_what_its_run_holds_stays_for_its_time(estate: Estate) -> None:
    estate.go("id-a", "id-c")
    estate.go("id-b", why="no room")
    estate.run()
    estate.write(select={"not": [{"name": "beech"}]})
    code, err = estate.run()
    assert code == 0, err
    assert "! beech: it is no longer selected" in err and estate.moments() == {"id-b"}
    (estate.roots / "id-b" / "hold-over").touch()
    assert estate.run()[0] == 0 and estate.moments() == set()
    assert estate.call("status", "gold.yaml")[0] == 0


def test_a_set_that_cannot_be_read_is_no_other_jobs_fault(estate: Estate) -> None:
    estate.go()
    (estate.base / "bad.yaml").write_text("version: 1\nname: bad\nsteps: [{id: a, uses: nothing}]\n")
    (estate.base / "one.yaml").write_text(job_text(estate.roots / "id-a", "one"))
    code, err = estate.call("run", "bad.yaml", "gold.yaml", "one.yaml")[::2]
    assert code == 4, err
    assert "unknown step 'nothing'" in err or "nothing" in err
    assert set(estate.outcomes().values()) == {"done"}
    ends = [record["phase"] for record in json_records(estate.base / "home")]
    assert ends == ["finished"]


def json_records(base: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in base.glob("sendense/*/*/run.json")]


def test_nobody_can_name_items_of_several_sets(estate: Estate) -> None:
    (estate.base / "one.yaml").write_text(job_text(estate.roots / "id-a", "one"))
    code, _, err = estate.call("run", "one.yaml", "--only", "apple")
    assert code == 2 and "--only names VMs of one set" in err


def test_a_sweep_of_the_set_releases_what_is_over_its_time_and_discards_a_run_that_is_named(estate: Estate) -> None:
    estate.go("id-a")
    estate.go("id-b", "id-c", why="no room")
    estate.run()
    assert estate.moments() == {"id-b", "id-c"}
    (estate.roots / "id-b" / "hold-over").touch()
    code, _, err = estate.call("sweep", "gold.yaml", "--dry-run")
    assert code == 0 and "beech: would be released:" in err and estate.moments() == {"id-b", "id-c"}
    code, _, err = estate.call("sweep", "gold.yaml")
    assert code == 0, err
    assert "beech: released" in err and "cedar: run " in err and estate.moments() == {"id-c"}
    (run,) = [record["id"] for record in estate.runs() if record["item"] == "id-c"]
    assert f"`sendense sweep gold.yaml --abandon {run}`" in err
    assert estate.call("sweep", "gold.yaml", "--abandon", run)[0] == 0
    assert estate.moments() == set() and not (estate.roots / "id-c" / "made-1").exists()
    assert estate.call("sweep", "gold.yaml", "--abandon", run)[0] == 2


@pytest.mark.torture
def test_a_run_of_a_job_file_that_was_deleted_is_found_by_its_records_and_released_at_its_hold(estate: Estate) -> None:
    estate.go("id-a", "id-c")
    estate.go("id-b", why="no room")
    estate.run()
    alone = {"state": {"path": str(estate.base / "state")}}
    estate.add("id-z", "alone")
    estate.go("id-z", why="no room")
    (estate.base / "alone.yaml").write_text(job_text(estate.roots / "id-z", "alone", **alone))
    assert estate.call("run", "alone.yaml")[0] == 1
    assert estate.moments() == {"id-b", "id-z"}
    (estate.base / "alone.yaml").unlink()
    estate.job.unlink()
    (estate.base / "site.yaml").write_text(json.dumps({"version": 1, **alone}))
    code, _, err = estate.call("sweep", "site.yaml")
    assert code == 2, err
    code, _, err = estate.call("sweep", "site.yaml", "--all")
    assert code == 0, err
    assert "alone: run " in err and "gold/beech-id-b: run " in err and estate.moments() == {"id-b", "id-z"}
    for key in ("id-b", "id-z"):
        (estate.roots / key / "hold-over").touch()
    assert "would be released:" in estate.call("sweep", "site.yaml", "--all", "--dry-run")[2]
    assert estate.moments() == {"id-b", "id-z"}
    code, out, err = estate.call("sweep", "site.yaml", "--all", "--json")
    assert code == 0 and estate.moments() == set(), err
    assert {one["job"] for one in json.loads(out)["jobs"] if one["released"]} == {"alone", "gold/beech-id-b"}
    # Data that was copied stays until that run is discarded by its id.
    (run,) = [record["id"] for record in estate.runs() if record["job"] == "alone"]
    assert (estate.roots / "id-z" / "made-1").exists()
    assert estate.call("sweep", "site.yaml", "--all", "--abandon", run)[0] == 0
    assert not (estate.roots / "id-z" / "made-1").exists() and (estate.roots / "id-b" / "made-1").exists()


def test_a_sweep_by_records_leaves_a_run_alone_that_lives(estate: Estate) -> None:
    (estate.base / "site.yaml").write_text(json.dumps({"version": 1, "state": {"path": str(estate.base / "state")}}))
    with estate.start("run", "gold.yaml", "--parallel", "3") as process:
        assert estate.waits(*NAMES)
        (estate.roots / "id-a" / "hold-over").touch()
        code, _, err = estate.call("sweep", "site.yaml", "--all")
        assert code == 3 and "is locked by another run" in err
        assert estate.moments() == set(NAMES)
        estate.go()
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_the_status_of_a_set_is_a_row_for_each_item_and_of_one_of_them_all_of_it(estate: Estate) -> None:
    assert "no runs yet" in estate.call("status", "gold.yaml")[1]
    estate.go("id-a", "id-c")
    estate.go("id-b", why="no room")
    estate.run()
    code, out, err = estate.call("status", "gold.yaml")
    assert code == 0, err
    rows = {line.split("  ")[0]: line for line in out.splitlines()[2:5]}
    assert next(iter(rows)) == "beech" and "failed; resumable" in rows["beech"] and "no room" in rows["beech"]
    assert "done" in rows["apple"] and out.splitlines()[-1] == "2 done, 1 failed; resumable"
    document = json.loads(estate.call("status", "gold.yaml", "--json")[1])
    assert {one["name"]: one["phase"] for one in document["children"]} == {
        "apple": "finished",
        "beech": "working",
        "cedar": "finished",
    }
    code, out, err = estate.call("status", "gold.yaml", "--only", "beech")
    assert code == 0 and "moment-" in out and "resumable" in out, err
    assert estate.call("status", "gold.yaml", "--only", "elm")[0] == 2


def test_the_status_of_a_site_is_of_all_jobs_with_records_there(estate: Estate) -> None:
    estate.go()
    estate.run()
    (estate.base / "one.yaml").write_text(
        job_text(estate.roots / "id-a", "one", state={"path": str(estate.base / "state")})
    )
    assert estate.call("run", "one.yaml")[0] == 0
    (estate.base / "site.yaml").write_text(json.dumps({"version": 1, "state": {"path": str(estate.base / "state")}}))
    code, out, err = estate.call("status", "site.yaml")
    assert code == 0, err
    rows = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert set(rows) == {"one", "gold"} and "3 done" in rows["gold"] and "done" in rows["one"]
    document = json.loads(estate.call("status", "site.yaml", "--json")[1])
    assert [one["name"] for one in document["jobs"]] == ["one"]
    assert [len(one["children"]) for one in document["sets"]] == [3]


def test_the_command_that_the_last_line_names_tries_again_what_is_not_done(estate: Estate) -> None:
    estate.go("id-a", "id-c")
    estate.go("id-b", why="no room")
    assert estate.run()[1].splitlines()[-1].endswith("to resume: sendense run gold.yaml --unfinished")
    estate.go()
    estate.add("id-n", "new")
    estate.go("id-n")
    code, err = estate.run("--unfinished")
    assert code == 0 and "✓ Done: 2 items" in err, err
    assert sorted(record["item"] for record in estate.runs()) == ["id-a", "id-b", "id-c", "id-n"]
    assert estate.outcomes() == dict.fromkeys(("apple", "beech", "cedar", "new"), "done")


def test_reports_and_events_that_cannot_be_written_are_told_before_anything_runs_or_change_nothing(
    estate: Estate,
) -> None:
    estate.go()
    (estate.base / "file").touch()
    assert estate.run("--events", "file/events.jsonl")[0] == 2 and not estate.runs()
    # A child's directory that is none: of its own report alone.
    report = estate.base / "report"
    report.mkdir()
    (report / "index.html").mkdir()
    code, err = estate.run("--report", "report")
    assert code == 0, err
    assert "! cannot write the index to report: Is a directory" in err
    assert len(list(report.glob("*/report.html"))) == 3


def test_items_of_one_name_are_told_apart_by_their_paths(estate: Estate) -> None:
    estate.add("id-d", "cedar")
    estate.go()
    estate.go("id-d", why="no room")
    code, err = estate.run()
    assert code == 4 and "✗ /cedar/id-d  failed" in err, err
    estate.go("id-d")
    assert estate.run("--only", "/cedar/id-d")[0] == 0


def test_a_set_that_was_killed_is_resumed_and_what_was_done_is_not_done_twice(estate: Estate) -> None:
    """Though it had no time to remember what came of its items; another job's settings are another order."""
    estate.go("id-a")
    with estate.start("run", "gold.yaml") as process:
        assert estate.waits("id-b", "id-c")
        assert eventually(lambda: "finished" in [run["phase"] for run in estate.runs()], 60)
        process.kill()
        process.communicate(timeout=60)
    assert eventually(lambda: not any(estate.base.glob("roots/*/socket-*")), 30)
    estate.go()
    assert eventually(lambda: estate.run()[0] == 0, 60)
    assert sorted(run["item"] for run in estate.runs()) == sorted(NAMES)
    assert estate.outcomes() == dict.fromkeys(NAMES.values(), "done")
    assert estate.run()[0] == 0
    assert len(estate.runs()) == 2 * len(NAMES), "the next night's"


@pytest.mark.torture
def test_of_two_sets_of_one_name_none_takes_what_the_other_holds_for_gone(estate: Estate) -> None:
    estate.go("id-a", "id-c")
    estate.go("id-b", why="no room")
    assert estate.run()[0] == 4 and estate.moments() == {"id-b"}
    other = estate.base / "other-garden"
    other.mkdir()
    (other / "id-a").write_text("apple")
    (estate.base / "other.yaml").write_text(estate.job.read_text().replace(str(estate.garden), str(other)))
    for _ in range(2):
        code, _, err = estate.call("run", "other.yaml")
        assert code == 0, err
        assert "selected it elsewhere" in err and estate.moments() == {"id-b"}
    (estate.roots / "id-b" / "hold-over").touch()
    assert estate.call("run", "other.yaml")[0] == 0 and estate.moments() == set()


def test_a_rule_that_fits_nothing_is_told_though_others_fit_enough(estate: Estate) -> None:
    estate.write(select={"any": [{"name": "apple"}, {"name": "oak-*"}]})
    estate.go()
    code, out, err = estate.call("run", "gold.yaml", "--json")
    assert code == 0 and "! the rule 'name oak-*' of gold fits no item: no item has it" in err, err
    assert json.loads(out)["warnings"] == ["the rule 'name oak-*' of gold fits no item: no item has it"]


def test_one_that_is_named_runs_now_and_an_execution_that_was_cut_short_is_still_resumed(estate: Estate) -> None:
    estate.go("id-a")
    with estate.start("run", "gold.yaml", "--parallel", "1") as process:
        assert estate.waits("id-b")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 130
    estate.go()
    begun = estate.record()["id"]
    code, err = estate.run("--only", "apple")
    assert code == 0, err
    assert [record["item"] for record in estate.runs()].count("id-a") == 2
    assert estate.record()["id"] == begun and estate.record()["ended"] is None
    assert estate.run()[0] == 0
    assert [record["item"] for record in estate.runs()].count("id-b") == 1
    # Of one that answers, what its run took is known as before.
    assert all(item["seconds"] for item in estate.record()["items"])


@pytest.mark.torture
def test_what_was_chosen_before_is_told_of_though_others_were_named_in_between(estate: Estate) -> None:
    estate.go()
    assert estate.run()[0] == 0
    (estate.garden / "id-b").unlink()
    code, err = estate.run("--only", "apple")
    assert code == 0 and "beech" not in err
    assert "! beech: it is no longer found" in estate.run()[1]
    assert "beech" not in estate.run()[1]
