"""The pipelines that `sendense ci` prints: YAML, and every command in them is one that the command line takes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from runner import __version__
from runner.cli import cli, main

PRODUCTS = ("github", "gitlab")
WHEEL = "https://pkg.example.com/sendense-0.1.0-py3-none-any.whl"
JOB = """
version: 1
name: {name}
hosts: {{hub: {{ssh: backup@hub.example.com}}}}
vcenters:
  prod: {{server: vc.example.com, username: backup, password: {{env: VC_PASSWORD}}, tls: {{thumbprint: "{print}"}}}}
{state}
steps:
  - {{id: discover, uses: discover, with: {{vcenter: prod, vm: db}}}}
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two jobs, whose root is the working directory."""
    (tmp_path / "jobs").mkdir()
    for name in ("db", "web"):
        text = JOB.format(name=name, print="ab" * 32, state="state: {host: hub, path: /backup/.state}")
        (tmp_path / "jobs" / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["ci", *arguments])
    said = capsys.readouterr()
    return said.out, said.err


def pipeline(capsys: pytest.CaptureFixture[str], product: str) -> tuple[dict[str, Any], str]:
    text, said = printed(capsys, product, "jobs/db.yaml", "jobs/web.yaml", "--install", WHEEL)
    assert said == ""
    document = yaml.safe_load(text)
    return document["jobs"] if product == "github" else document, text


def lines(job: dict[str, Any]) -> list[str]:
    """What the job gives to a shell."""
    scripts = job["script"] if "script" in job else [step["run"] for step in job["steps"] if "run" in step]
    return [line for script in scripts for line in script.splitlines()]


def commands(job: dict[str, Any]) -> Iterator[list[str]]:
    """The arguments of each `sendense` in it."""
    for line in lines(job):
        if re.search(r"\bsendense [a-z]", line):
            words = shlex.split(line.partition("|")[0])
            yield words[words.index("sendense") + 1 :]


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_command_is_one_that_the_command_line_takes(
    checkout: Path, capsys: pytest.CaptureFixture[str], product: str
) -> None:
    document, _ = pipeline(capsys, product)
    taken: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for job in ("plan", "run", "prepare", "run-plan"):
        for words in commands(document[job]):
            command = cli.get_command(click.Context(cli), words[0])
            taken.setdefault(job, []).append((words[0], command.make_context(words[0], words[1:]).params))
    assert [name for name, _ in taken["plan"]] == ["plan", "plan"]
    assert all(given["offline"] and given["shape"] == "md" for _, given in taken["plan"])
    ((name, given),) = taken["run"]
    assert (name, given["jobs"]) == ("run", (Path("jobs/db.yaml"), Path("jobs/web.yaml")))
    saved = [(given["out"], given["job"]) for _, given in taken["prepare"]]
    assert saved == [(given["plan"], *given["jobs"]) for _, given in taken["run-plan"]]
    assert not any(given["offline"] for _, given in taken["prepare"])


def test_a_merge_request_is_compared_with_what_it_began_with_and_that_is_fetched(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    github, gitlab = (pipeline(capsys, product)[0]["plan"] for product in PRODUCTS)
    compared = [words[words.index("--against") + 1] for plan in (github, gitlab) for words in commands(plan)]
    assert compared == ["HEAD^1", "HEAD^1", *["$CI_MERGE_REQUEST_DIFF_BASE_SHA"] * 2]
    (fetched,) = [
        step["with"]["fetch-depth"] for step in github["steps"] if step.get("uses", "").startswith("actions/checkout")
    ]
    assert fetched == 2
    assert gitlab["variables"] == {"GIT_DEPTH": "0"}


@pytest.mark.parametrize("product", PRODUCTS)
def test_only_the_run_gets_secrets_and_it_ends_before_the_limit(
    checkout: Path, capsys: pytest.CaptureFixture[str], product: str
) -> None:
    document, text = pipeline(capsys, product)
    assert "VC_PASSWORD" not in yaml.safe_dump(document["plan"])
    assert "VC_PASSWORD" in text
    (command,) = [line for line in lines(document["run"]) if "sendense run" in line]
    found = re.match(r"timeout --foreground --signal=INT --kill-after=(\d+)m (\d+)m sendense ", command)
    assert found
    limit = document["run"].get("timeout-minutes") or int(document["run"]["timeout"].split()[0])
    assert int(found[1]) + int(found[2]) < limit
    if product == "github":
        assert "env" not in document["run"]
        (got,) = [step["env"] for step in document["run"]["steps"] if "env" in step]
        assert got == {"VC_PASSWORD": "${{ secrets.VC_PASSWORD }}"}
        assert document["plan"]["runs-on"] == "ubuntu-latest"


@pytest.mark.parametrize("product", PRODUCTS)
def test_only_the_default_branch_runs(checkout: Path, capsys: pytest.CaptureFixture[str], product: str) -> None:
    document, _ = pipeline(capsys, product)
    run, prepare, run_plan = (document[name] for name in ("run", "prepare", "run-plan"))
    if product == "github":
        # What a schedule tells of the repository is nothing, and it is always of the default branch.
        dispatched = "github.ref == format('refs/heads/{0}', github.event.repository.default_branch)"
        assert run["if"] == "github.event_name == 'schedule'"
        assert prepare["if"] == f"github.event_name == 'workflow_dispatch' && {dispatched}"
        assert (run_plan["needs"], run_plan["environment"]) == ("prepare", "backup-approved")
        assert run["environment"] == prepare["environment"] == "backup"
    else:
        default = "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"
        assert run["rules"] == [{"if": f'$CI_PIPELINE_SOURCE == "schedule" && {default}'}]
        for job in (prepare, run_plan):
            (rule,) = job["rules"]
            assert rule["if"] == f'$CI_PIPELINE_SOURCE == "web" && {default} && $REVIEW == null'
        assert run_plan["rules"][0]["when"] == "manual"


def due(checkout: Path, **schedules: str) -> None:
    for name, schedule in schedules.items():
        path = checkout / "jobs" / f"{name}.yaml"
        path.write_text(path.read_text() + f"schedule: {schedule}\n")


def test_the_jobs_schedules_are_the_pipeline_s(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    due(checkout, db='{cron: "30 1 * * 5-7", timezone: Europe/Berlin}', web='{cron: "0 3 * * *"}')
    text = pipeline(capsys, "github")[1]
    # `on:` is true in YAML 1.1.
    assert yaml.safe_load(text)[True]["schedule"] == [
        {"cron": "30 1 * * 0,5,6", "timezone": "Europe/Berlin"},
        {"cron": "0 3 * * *", "timezone": "UTC"},
    ]
    (script,) = [step["run"] for step in yaml.safe_load(text)["jobs"]["run"]["steps"] if step.get("name") == "Run"]
    for cron, job in (("30 1 * * 0,5,6", "jobs/db.yaml"), ("0 3 * * *", "jobs/web.yaml")):
        fake = 'timeout() { shift 4; echo "$@"; };'
        said = subprocess.run(
            ["bash", "-ec", fake + script],
            env={"DUE": cron, "PATH": os.environ["PATH"]},
            text=True,
            check=True,
            capture_output=True,
        )
        assert said.stdout == f"sendense run --report report --witness report/witness.jsonl {job}\n"
    text = pipeline(capsys, "gitlab")[1]
    assert "#   30 1 * * 0,5,6  timezone Europe/Berlin, variable JOBS: jobs/db.yaml\n" in text


def test_what_is_due_at_one_cron_in_two_zones_is_refused(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    due(checkout, db='{cron: "30 1 * * *", timezone: Europe/Berlin}', web='{cron: "30 1 * * *"}')
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["ci", "github", "jobs/db.yaml", "jobs/web.yaml"])
    assert "due at '30 1 * * *' in several time zones" in capsys.readouterr().err


@pytest.mark.parametrize("product", PRODUCTS)
def test_coverage_of_a_merge_request_runs_nothing_of_its_branch(
    checkout: Path, capsys: pytest.CaptureFixture[str], product: str
) -> None:
    (checkout / "site.yaml").write_text("version: 1\n")
    assert "coverage" not in pipeline(capsys, product)[0]
    text, _ = printed(capsys, product, "jobs/db.yaml", "jobs/web.yaml", "--site=site.yaml", "--install", WHEEL)
    document = yaml.safe_load(text)
    coverage = document["jobs"]["coverage"] if product == "github" else document["coverage"]
    (words,) = commands(coverage)
    given = (
        cli.get_command(click.Context(cli), "coverage")
        .make_context("coverage", [w.strip(")") for w in words[1:]])
        .params
    )
    # A directory, so that a job file that the branch deletes is seen.
    assert (given["site"], given["jobs"], given["shape"]) == (Path("site.yaml"), (Path("jobs"),), "md")
    if product == "github":
        # The workflow is then that of the branch that it goes into, and `pull_request` gets no secret.
        into_default = "github.base_ref == github.event.repository.default_branch"
        assert coverage["if"] == f"github.event_name == 'pull_request_target' && {into_default}"
        before, merged = (
            step["with"] for step in coverage["steps"] if step.get("uses", "").startswith("actions/checkout")
        )
        assert "ref" not in before and merged["path"] == "merged"
        assert given["against"] == f"../{before['path']}"
    else:
        assert coverage["rules"][0]["if"].endswith("$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH && $REVIEW")
        assert given["against"] == ".."
    assert {line.split()[0].lstrip("(") for line in lines(coverage)} <= {"set", "cd", "git", "rm", "case"}


@pytest.mark.parametrize("product", PRODUCTS)
def test_what_is_installed_is_what_was_said_and_else_is_told(
    checkout: Path, capsys: pytest.CaptureFixture[str], product: str
) -> None:
    document, _ = pipeline(capsys, product)
    before = document["plan"].get("before_script") or lines(document["plan"])
    assert [line.split()[-1] for line in before if "pipx install --" in line] == [WHEEL]
    text, said = printed(capsys, product, "jobs/db.yaml")
    assert f"sendense=={__version__}" in text
    assert "give --install the URL of its wheel" in said


def test_secrets_of_what_no_job_names_are_not_asked_for(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = checkout / "jobs" / "db.yaml"
    other = '  other: {server: o.example.com, username: o, password: {env: OTHER_PASSWORD}, tls: {thumbprint: "%s"}}\n'
    text = site.read_text().replace("vcenters:\n", "vcenters:\n" + other % ("cd" * 32))
    site.write_text(text)
    assert "OTHER_PASSWORD" in text
    assert "OTHER_PASSWORD" not in pipeline(capsys, "github")[1]


@pytest.mark.parametrize("product", PRODUCTS)
def test_it_is_printed_the_same_each_time(checkout: Path, capsys: pytest.CaptureFixture[str], product: str) -> None:
    assert pipeline(capsys, product) == pipeline(capsys, product)


def test_a_state_that_ci_would_forget_is_told(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "jobs" / "local.yaml").write_text(JOB.format(name="local", print="ab" * 32, state=""))
    _, said = printed(capsys, "github", "jobs/local.yaml")
    assert "add state: {in: repositories" in said


def test_a_job_outside_of_the_repository_is_refused(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["ci", "gitlab", str(checkout / "jobs" / "db.yaml")])
    assert "relative to the root" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["completion", shell])
    assert "_SENDENSE_COMPLETE" in capsys.readouterr().out


def helps(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    ctx = click.Context(command, info_name=name, parent=parent, terminal_width=80, max_content_width=80)
    yield ctx.command_path, command.get_help(ctx)
    for each, sub in command.commands.items() if isinstance(command, click.Group) else ():
        yield from helps(sub, each, ctx)


def test_no_help_is_cut_at_80_columns() -> None:
    for path, text in helps(cli, "sendense"):
        assert "..." not in text.replace("[ARGS]...", "").replace("[OPTIONS]", ""), path
        assert max(map(len, text.splitlines())) <= 80, path
