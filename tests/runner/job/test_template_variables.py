"""The block at the head of each job template: what it says of the variables is what holds, and it is all there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import pytest

from runner.base.errors import JobFileError
from runner.base.render import job_templates, template_front, template_summary, template_text
from runner.base.yaml_nodes import Location, Scalar
from runner.job.expressions import whole
from runner.job.load import load
from runner.job.model import Job
from runner.job.problems import Written, check_value
from runner.job.template_variables import declared
from runner.step.registry import Registry

REGISTRY = Registry.installed()
SITE = """
hosts: {hub: {ssh: b@hub}}
vcenters: {prod: {server: v, username: u, password: {env: P}, tls: {ca: ca.pem}}}
repositories: {main: {host: hub, path: /backup}, offsite: {host: hub, path: /copies}}
"""
ALL = {
    "backup": "{vm: db, vcenter: prod, repository: main, retention: {keep-last: 3}, drill: {every: 7d}, copies: [{to: offsite, when: weekly}]}",
    "copy": "{repository: main, to: offsite}",
    "drill": "{repository: main, point: db/2026}",
    "prune": "{repository: main, retention: {keep-last: 3}}",
    "restore": "{repository: main, point: db/2026, directory: /restore}",
    "restore-vm": "{repository: main, point: db/2026, vcenter: prod, networks: {a: b}, datastores: {2000: ssd1}}",
    "rollback": "{repository: main, point: db/2026, present: db, vm: 52a7c3b0-0000-4000-8000-000000000001, vcenter: prod}",
    "verify": "{repository: main, points: [db/2026], against_source: true, vm: db, vcenter: prod}",
}
"""With every step that the template can have."""


def read(tmp_path: Path, template: str, vars_: str, overrides: dict[str, str] | None = None) -> Job:
    (tmp_path / "site.yaml").write_text(SITE)
    (tmp_path / "job.yaml").write_text(f"version: 1\ninclude: site.yaml\ntemplate: {template}\nvars: {vars_}\n")
    return load(tmp_path / "job.yaml", REGISTRY, overrides or {})


def refused(tmp_path: Path, template: str, vars_: str, overrides: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(JobFileError) as error:
        read(tmp_path, template, vars_, overrides)
    return [str(problem).replace(f"{tmp_path}/", "") for problem in error.value.problems]


def given_to(value: Any, path: str) -> set[tuple[str, str]]:
    """Variables that are given whole, and to what."""
    if isinstance(value, dict):
        return {found for key, inner in value.items() for found in given_to(inner, f"{path}.{key}")}
    reference = whole(value) if isinstance(value, str) else None
    return {(str(reference.path[0]), path)} if reference is not None and reference.root == "vars" else set()


def test_each_template_is_tried_here() -> None:
    assert tuple(ALL) == job_templates()


@pytest.mark.parametrize("template", job_templates())
def test_the_template_reads_what_is_declared_and_nothing_else(template: str) -> None:
    body = template_text(template).replace(template_front(template), "")
    environment = jinja2.Environment()
    plain = re.sub(r"\$\{\{.*?\}\}", "", body)
    used = jinja2.meta.find_undeclared_variables(environment.parse(plain)) - {"variables"}
    used |= set(re.findall(r"\$\{\{ *vars\.(\w+)", body))
    assert used == declared(template).keys() - {"against_source"} | (used & {"against_source"})
    assert template_summary(template)


@pytest.mark.parametrize("template", job_templates())
def test_a_variable_has_the_type_of_the_field_that_it_is_given_to(tmp_path: Path, template: str) -> None:
    job = read(tmp_path, template, ALL[template])
    given = {found for step in job.steps for found in given_to(dict(step.with_), step.uses)}
    wrong = [one.name for one in declared(template).values() if one.of is not None and (one.name, one.of) not in given]
    by_other_values = {("window", "restore"), ("window", "restore-vm")}  # of a format, and over VDDK
    assert [name for name in wrong if (name, template) not in by_other_values] == []


@pytest.mark.parametrize("template", job_templates())
def test_defaults_are_of_their_types(template: str) -> None:
    for one in declared(template).values():
        if not one.needed:
            at = Written(Scalar(Location("", 0, 0), None, ""), {})
            assert check_value(one.annotation(REGISTRY), one.default, at, one.name)[1] == []


@pytest.mark.parametrize(
    ("template", "old", "new", "problem"),
    [
        pytest.param("verify", "against_source: true", 'against_source: "no"', "job.yaml:4:61: vars.against_source should be true or "
                     "false, not text", id="a text that is no word for false"),
        pytest.param("backup", "{keep-last: 3}", "0", "job.yaml:4:60: vars.retention should be a mapping, not a number", id="nothing"),
        pytest.param("backup", "{keep-last: 3}", "{keep-last: 0}", "job.yaml:4:72: vars.retention: keep-last should be", id="inside"),
        pytest.param("backup", "vm: db", "vm: db, quiesce: trie", "job.yaml:4:25: vars.quiesce should be 'require', 'try' or 'off', "
                     "not 'trie'", id="a word"),
        pytest.param("backup", "vm: db", "vm: db, quiece: try", "job.yaml:4:16: the template 'backup' has no variable 'quiece'; did "
                     "you mean 'quiesce'?", id="a name"),
        pytest.param("backup", "every: 7d", "evry: 7d", "job.yaml:4:84: vars.drill: unknown key 'evry'; did you mean 'every'?",
                     id="a name inside"),
        pytest.param("backup", "every: 7d", "expect: [{port: 22}]", "job.yaml:4:93: vars.drill: expect[0] is wrong: write port and banner "
                     "together", id="half of what is expected"),
        pytest.param("backup", "every: 7d", "host: hab", "job.yaml:4:83: step drill: policy.host: there is no host named 'hab'; did you "
                     "mean 'hub'?", id="a host that the job does not have"),
        pytest.param("prune", "repository: main", "repository: main, vms: db", "job.yaml:4:31: vars.vms should be a list", id="a list"),
        pytest.param("restore", "point: db/2026", "point: 2026", "job.yaml:4:33: vars.point should be text, and this is a number: put "
                     "it in quotes", id="a number"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_once_where_it_is_set(
    tmp_path: Path, template: str, old: str, new: str, problem: str
) -> None:
    (found,) = refused(tmp_path, template, ALL[template].replace(old, new))
    assert problem in found


def test_a_wrong_value_of_the_command_line_is_told_with_its_option(tmp_path: Path) -> None:
    (found,) = refused(tmp_path, "backup", ALL["backup"], {"connections": "many"})
    assert found == "--set connections: vars.connections should be a whole number, not text"
    assert read(tmp_path, "backup", ALL["backup"], {"vddk_plugin": "12"}).vars["vddk_plugin"] == "12"


def test_what_means_something_only_with_another_is_not_there_without_it(tmp_path: Path) -> None:
    job = read(tmp_path, "verify", "{repository: main, points: [db/2026]}")
    assert set(job.vars) == {"repository", "points", "level", "readback", "against_source"}
    (found,) = refused(tmp_path, "verify", "{repository: main, points: [db/2026], against_source: true}")
    assert "needs the variables vm, vcenter" in found


def test_the_other_spelling_is_taken_told_and_is_the_same_job(tmp_path: Path) -> None:
    right = (
        "{vm: db, vcenter: prod, repository: main, full_every: {points: 3}, retention: {keep-daily: 7, max-chain: 9}}"
    )
    wrong = (
        right.replace("full_every", "full-every").replace("keep-daily", "keep_daily").replace("max-chain", "max_chain")
    )
    first, second = read(tmp_path, "backup", right), read(tmp_path, "backup", wrong, {"stall-timeout": "60s"})
    assert (first.vars, first.steps) == (second.vars, second.steps), (
        "an unfinished run of the one is resumed by the other"
    )
    assert first.notes == ()
    assert [str(note).replace(f"{tmp_path}/", "") for note in second.notes] == [
        "--set stall-timeout: 'stall-timeout' is read as 'stall_timeout': write it so",
        "job.yaml:4:49: 'full-every' is read as 'full_every': write it so",
        "job.yaml:4:86: 'keep_daily' is read as 'keep-daily': write it so",
        "job.yaml:4:101: 'max_chain' is read as 'max-chain': write it so",
    ]


def test_fields_of_steps_hosts_sections_and_state_may_be_spelled_with_underscores(tmp_path: Path) -> None:
    def job(sign: str) -> Job:
        (tmp_path / "job.yaml").write_text(
            f"version: 1\nname: a\n{SITE.replace('b@hub', f'b@hub, host{sign}key: ssh-ed25519 AAAA')}"
            "steps:\n  - {id: discover, uses: discover, with: {vcenter: prod, vm: db, "
            f"skip{sign}uncovered: true}}}}\n"
            "  - {id: snapshot, uses: snapshot, with: {vm: '${{ discover.vm }}', "
            f"min{sign}free: 5}}}}\n"
        )
        return load(tmp_path / "job.yaml", REGISTRY, {})

    hyphens, underscores = job("-"), job("_")
    assert (hyphens.steps, hyphens.hosts) == (underscores.steps, underscores.hosts)
    assert hyphens.notes == ()
    assert [note.message.split("'")[1] for note in underscores.notes] == ["host_key", "skip_uncovered", "min_free"]


def test_two_spellings_of_one_key_are_one_too_many(tmp_path: Path) -> None:
    found = refused(
        tmp_path,
        "backup",
        "{vm: db, vcenter: prod, repository: main, full_every: {points: 3}, full-every: {points: 4}}",
    )
    assert "has no variable 'full-every'; did you mean 'full_every'?" in found[0]
