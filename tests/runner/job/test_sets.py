"""Job files that are sets: what `select` and the other keys of sets may be, and what a child is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.base.errors import JobFileError
from runner.job import template
from runner.job.children import child
from runner.job.load import load
from runner.job.model import ChildOf, StateIn, StateSpec
from runner.job.writer import settings, write_out
from runner.step.items import Item
from runner.step.registry import Registry
from tests.runner.job_language import JOB, SET, WITH_SHELVES, Rule, loaded, problems, write

ITEM = Item(id="4213-17", name="Zürich db/1", path="/a/Zürich db%2f1")
SITE = """\
vcenters:
  prod: {server: v.example.com, username: u, password: {env: P}, tls: {ca: ca.pem}}
repositories:
  main: {host: local, path: /srv/repository}
"""


INSTALLED = Registry.installed()
BACKUPS = "version: 1\nname: gold\ninclude: site.yaml\ntemplate: backup\nselect: {from: vcenters.prod}\n"


def of_set(directory: Path, select: str) -> list[str]:
    return problems(directory, SET.replace("{from: stores.main, as: thing, any: [{name: a*}]}", select))


def test_a_set_says_what_it_selects(tmp_path: Path) -> None:
    job = loaded(tmp_path, SET)
    assert job.select is not None
    assert (job.select.section, job.select.entry, job.select.variable) == ("stores", "main", "thing")
    assert job.select.where.any == (Rule(name="a*"),)
    assert job.select.at_least == 1
    assert not job.vars.keys() & {"thing", "store"}


@pytest.mark.parametrize(
    ("select", "problem"),
    [
        pytest.param("{any: [{name: a}]}", "3:9: select: from is missing", id="no-from"),
        pytest.param("{from: store.main}", "did you mean 'stores.main'?", id="section-misspelt"),
        pytest.param("{from: stores.mian, as: thing}", "3:16: select: from: there is no 'stores.mian'", id="no-entry"),
        pytest.param("{from: [a]}", "3:16: select: from should be text, not a list", id="from-a-list"),
        pytest.param(
            "{from: stores.main, as: thing, any: [{nmae: a}]}",
            "3:47: select: unknown key 'nmae'; did you mean 'name'?",
            id="rule-misspelt",
        ),
        pytest.param(
            "{from: stores.main, as: thing, not: [{name: a}, {colour: rde}]}",
            "3:66: select: not[1].colour should be 'red' or 'green', not 'rde'; did you mean 'red'?",
            id="a-rule's-value",
        ),
        pytest.param(
            "{from: stores.main, as: thing, any: []}", "3:45: select: any is wrong: it has no rule", id="no-rules"
        ),
        pytest.param("{from: stores.main, as: thing, any: {name: a}}", "3:45: select: any should be a list", id="rule"),
        pytest.param("{from: stores.main, as: thing, atleast: 3}", "did you mean 'at-least'?", id="key-misspelt"),
        pytest.param("{from: stores.main, as: thing, at-least: -1}", "at-least should be greater than", id="negative"),
        pytest.param("{from: stores.main, as: thong}", "3:33: no step uses ${{ vars.thong }}", id="variable-unused"),
        pytest.param("{from: stores.main, as: threads}", "given by select (line 3): remove it here", id="set-twice"),
        pytest.param(
            "{from: stores.main, as: thing, any: [{name: '${{ vars.thing }}'}]}",
            "${{ vars.thing }} differs from run to run of a set: it can stand in steps only, not in select",
            id="of-itself",
        ),
    ],
)
def test_each_mistake_of_select_has_its_place(tmp_path: Path, select: str, problem: str) -> None:
    found = of_set(tmp_path, select)
    assert any(problem in each for each in found), found


def test_what_lists_nothing_is_no_set(tmp_path: Path) -> None:
    text = SET.replace("from: stores.main", "from: shelves.a") + "shelves: {a: {size: 2}}\n"
    with pytest.raises(JobFileError, match=r"'shelves\.a' lists nothing that could be selected; write stores\.…"):
        load(write(tmp_path, text), WITH_SHELVES, {})


def test_the_variable_of_a_set_is_not_set_from_outside(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, SET, {"thing": "x"})
    assert found == "--set thing: a set gives thing to each of its runs: name the ones to run with --only"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("name: test", "name: x-${{ vars.thing }}", id="name"),
        pytest.param("host: hub", "host: '${{ vars.thing }}'", id="section"),
        pytest.param("version: 1", "version: 1\ninclude: '${{ vars.thing }}.yaml'", id="include"),
        pytest.param("version: 1", "version: 1\nstate: {path: '/${{ vars.thing }}'}", id="state"),
    ],
)
def test_what_is_read_once_for_all_children_does_not_hang_on_the_item(tmp_path: Path, old: str, new: str) -> None:
    found = problems(tmp_path, SET.replace(old, new))
    assert [each for each in found if "differs from run to run of a set" in each], found


def test_a_set_of_a_template_needs_a_name_of_its_own_and_no_vm(tmp_path: Path) -> None:
    write(tmp_path, SITE, "site.yaml")
    registry = INSTALLED
    job = load(write(tmp_path, BACKUPS + "vars: {repository: main}\n"), registry, {})
    assert job.name == "gold"
    assert job.vars["repository"] == "main"
    with pytest.raises(JobFileError, match=r":4:1: a set needs a name") as caught:
        load(write(tmp_path, BACKUPS.replace("name: gold\n", "") + "vars: {repository: main}\n"), registry, {})
    assert len(caught.value.problems) == 1
    with pytest.raises(JobFileError, match=r":6:8: vars\.vm is given by select \(line 5\): remove it here"):
        load(write(tmp_path, BACKUPS + "vars: {vm: pgtest1, repository: main}\n"), registry, {})


def test_what_a_site_has_for_its_other_jobs_a_set_overrides(tmp_path: Path) -> None:
    write(tmp_path, SITE + "vars: {vcenter: other, repository: main}\n", "site.yaml")
    job = load(write(tmp_path, BACKUPS), INSTALLED, {})
    assert child(job, ITEM).vars["vcenter"] == "prod"
    assert "vcenter" not in job.vars


def _names_it(text: str, vm: str) -> str:
    return text.replace('vm: "${{ vars.vm }}"', f'vm: "{vm}"')


def _leaves_a_step_out(text: str, vm: str) -> str:
    return text.replace("needs: [reserve]", "") if vm.startswith("each") else text


@pytest.mark.parametrize("change", [_names_it, _leaves_a_step_out], ids=["its-id-in-a-step", "other-steps"])
def test_a_template_whose_steps_hang_on_the_item_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[str, str], str]
) -> None:
    rendered = template.render_template
    monkeypatch.setattr(template, "render_template", lambda name, values: change(rendered(name, values), values["vm"]))
    write(tmp_path, SITE, "site.yaml")
    with pytest.raises(JobFileError, match=r":4:11: the template 'backup' makes other steps of other items"):
        load(write(tmp_path, BACKUPS + "vars: {repository: main}\n"), INSTALLED, {})


def test_a_child_is_the_job_with_the_items_variables(tmp_path: Path) -> None:
    job = loaded(tmp_path, SET)
    made = child(job, ITEM)
    assert made.name == "test/Zurich-db-1-4213-17"
    assert made.key == "test@4213-17"
    assert made.child_of == ChildOf("test", "4213-17")
    assert made.vars == {**job.vars, "thing": "4213-17", "store": "main"}
    assert made.given >= {"thing", "store"}
    assert made.select is None
    assert made.steps is job.steps
    assert made.sections is job.sections


def test_a_child_written_out_is_read_again_as_the_same_job(tmp_path: Path) -> None:
    made = child(loaded(tmp_path, SET + "rpo: 26h\npriority: {level: 3}\n"), ITEM)
    again = loaded(tmp_path, write_out(made))
    assert (again.name, again.vars, again.hosts, again.sections) == (made.name, made.vars, made.hosts, made.sections)
    assert [(step.id, step.with_, step.each) for step in again.steps] == [
        (step.id, step.with_, step.each) for step in made.steps
    ]
    assert again.select is None
    assert again.rpo is None


KEYS = """\
priority: {level: 2, age: ignore}
rpo: 26h
schedule: {cron: "30 1 * * *", timezone: Europe/Berlin}
slots: {in: repositories.main}
fleet: {dask: {scheduler: "tls://s.example.com:8786", ca: ca.pem, cert: c.pem, key: k.pem}}
notify: {to: [{env: NOTIFY}]}
unprotected:
  - {from: vcenters.prod, any: [{name: "scratch-*"}], reason: "recreated each night"}
"""


def test_all_keys_are_read_and_written_out_again(tmp_path: Path) -> None:
    write(tmp_path, SITE, "site.yaml")
    registry = INSTALLED
    path = write(tmp_path, BACKUPS + "vars: {repository: main}\n" + KEYS)
    job = load(path, registry, {})
    assert job.priority is not None
    assert (job.priority.level, job.priority.age) == (2, "ignore")
    assert job.rpo == 26 * 3600
    assert job.schedule is not None
    assert job.slots == StateIn(in_="repositories.main")
    assert job.fleet is not None
    assert job.fleet.dask is not None
    assert job.fleet.dask.ca == str(tmp_path / "ca.pem")
    assert job.notify is not None
    (excuse,) = job.unprotected
    assert (excuse.section, excuse.entry, excuse.reason) == ("vcenters", "prod", "recreated each night")
    assert "\nrpo: 26h\n" in write_out(job)
    again = load(write(tmp_path, write_out(job), "again.yaml"), registry, {})
    assert settings(again) == settings(job)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        pytest.param("rpo: soon", "rpo", id="rpo"),
        pytest.param("priority: {age: newest}", "priority: age should be", id="priority"),
        pytest.param("schedule: {cron: '61 1 * * *'}", "'61' is no minute", id="schedule"),
        pytest.param("slots: {in: stores.mian}", "slots: in: there is no 'stores.mian'", id="slots"),
        pytest.param("slots: {host: hub, path: rel}", "slots: path is on the host hub", id="slots-path"),
        pytest.param("fleet: {dusk: {}}", "unknown key 'dusk'; did you mean 'dask'?", id="fleet"),
        pytest.param("notify: {to: [https://token@x]}", "notify: to[0] should be", id="a-secret-in-the-open"),
        pytest.param("unprotected: {from: stores.main}", "unprotected should be a list", id="unprotected"),
        pytest.param(
            "unprotected: [{from: stores.main, any: [{nmae: x}], reason: r}]",
            "16:42: unprotected[0]: unknown key 'nmae'",
            id="unprotected-rule",
        ),
        pytest.param("unprotected: [{from: stores.main, any: [{name: x}]}]", "reason is missing", id="no-reason"),
        pytest.param("prioritty: 1", "unknown key 'prioritty'; did you mean 'priority'?", id="misspelt"),
    ],
)
def test_mistakes_of_the_other_keys(tmp_path: Path, line: str, problem: str) -> None:
    found = problems(tmp_path, JOB + line + "\n")
    assert any(problem in each for each in found), found


@pytest.mark.parametrize(
    ("key", "site", "job", "wins"),
    [
        pytest.param("rpo", "26h", "4h", 4 * 3600, id="rpo"),
        pytest.param("slots", "{path: /a}", None, StateSpec(path="/a"), id="slots-of-the-site"),
    ],
)
def test_what_a_job_says_wins_over_what_it_includes(
    tmp_path: Path, key: str, site: str, job: str | None, wins: object
) -> None:
    write(tmp_path, f"{key}: {site}\n", "site.yaml")
    own = "" if job is None else f"{key}: {job}\n"
    assert getattr(loaded(tmp_path, "include: site.yaml\n" + JOB + own), key) == wins


@pytest.mark.parametrize("line", ["slots: {path: /b}", "unprotected: []"], ids=["slots", "unprotected"])
def test_what_all_share_is_said_once(tmp_path: Path, line: str) -> None:
    key = line.partition(":")[0]
    write(tmp_path, line + "\n", "site.yaml")
    (found,) = problems(tmp_path, "include: site.yaml\n" + JOB + line + "\n")
    assert found.startswith(f"17:1: `{key}` stands in site.yaml:1 too")
