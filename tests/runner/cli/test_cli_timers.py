"""sendense timers: the units of jobs and sets, and what is said of them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from runner.cli import main
from runner.hosts.secrets import FromFile, resolve

SITE = """\
version: 1
hosts: {store: {ssh: backup@store.example.com, identity: {file: ~/.ssh/backup}}, idle: {ssh: a@b, identity: {file: idle}}}
vcenters: {prod: {server: vc.example.com, username: backup, password: {file: vc-password}, tls: {ca: ca.pem}}}
repositories: {main: {host: store, path: /backup}, here: {host: local, path: /srv/backup}}
state: {in: repositories.main}
"""
JOB = "version: 1\ninclude: site.yaml\ntemplate: backup\n"
DUE = 'schedule: {cron: "30 1 * * *", timezone: Europe/Berlin}\n'


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A VM's job, a set, and a job without a schedule."""
    monkeypatch.setenv("HOME", str(tmp_path))
    files = {
        "site.yaml": SITE,
        "a.yaml": f"{JOB}vars: {{vm: a, vcenter: prod, repository: main}}\n{DUE}",
        "gold.yaml": f"{JOB}name: gold\nselect: {{from: vcenters.prod, any: [{{tag: backup/gold}}]}}\n"
        f"vars: {{repository: here}}\n{DUE}",
        "never.yaml": f"{JOB}vars: {{vm: b, vcenter: prod, repository: main}}\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "units").mkdir()
    return tmp_path


def timers(jobs: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(("timers", str(jobs / "units"), *(str(path) for path in sorted(jobs.glob("*.yaml"))), *arguments))
    return int(left.value.code or 0)


def units(jobs: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (jobs / "units").iterdir()}


def test_each_job_and_set_with_a_schedule_has_a_timer_and_a_service(
    jobs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert timers(jobs) == 0
    names = ["sendense-a-backup.service", "sendense-a-backup.timer", "sendense-gold.service", "sendense-gold.timer"]
    assert sorted(units(jobs)) == names
    told = capsys.readouterr()
    assert "systemctl enable --now sendense-a-backup.timer sendense-gold.timer" in told.out
    assert "never.yaml: skipped, b-backup has no schedule" in told.err
    subprocess.run(["systemd-analyze", "--man=no", "verify", *(jobs / "units").iterdir()], check=True)
    assert f"run --quiet {jobs / 'gold.yaml'}\n" in units(jobs)["sendense-gold.service"]
    assert timers(jobs) == 0
    assert "nothing to change: 2 timers as they should be" in capsys.readouterr().out


def test_files_of_secrets_become_credentials_that_the_run_finds(jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert timers(jobs, "--user=daemon") == 0
    handed_over = jobs / "credentials"
    handed_over.mkdir()
    loaded = re.findall(r"LoadCredential=([^:]+):(.+)", units(jobs)["sendense-a-backup.service"])
    for name, path in loaded:
        (handed_over / name).write_text(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed_over))
    # ~ is the home of the account that runs the job, not of the one that wrote the unit; `idle` no step names.
    assert {path for _, path in loaded} == {"/usr/sbin/.ssh/backup", str(jobs / "vc-password")}
    assert [resolve(FromFile(file=path)).reveal() for _, path in loaded] == [path for _, path in loaded]
    # The set writes into its repository on this machine, and logs in nowhere but at the vCenter.
    gold = units(jobs)["sendense-gold.service"]
    assert "-/srv/backup" in gold
    assert "vc-password" in gold


def test_where_limits_are_shared_is_written_into_and_what_is_not_there_is_told(
    jobs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below ProtectSystem=strict nothing can be made."""
    gold, there = jobs / "gold.yaml", jobs / "there"
    there.mkdir()
    gold.write_text(f"{gold.read_text()}slots: {{host: local, path: {there}}}\n")
    assert timers(jobs) == 0
    assert f"-{there}" in units(jobs)["sendense-gold.service"]
    told = capsys.readouterr().err
    assert f"{gold}: /srv/backup is not there, and the service may not make it" in told
    assert str(there) not in told


def test_a_secret_in_the_environment_is_told_with_what_to_write_instead(
    jobs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = jobs / "site.yaml"
    site.write_text(site.read_text().replace("{file: vc-password}", "{env: VC_PASSWORD}"))
    assert timers(jobs) == 0
    assert "the environment variable VC_PASSWORD is not there for a service: write it as {file: …}" in (
        capsys.readouterr().err
    )


def test_a_dry_run_shows_the_difference_and_writes_nothing(jobs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert timers(jobs) == 0
    before = units(jobs)
    (jobs / "gold.yaml").write_text((jobs / "gold.yaml").read_text().replace(DUE, ""))
    (jobs / "a.yaml").write_text((jobs / "a.yaml").read_text().replace("30 1", "45 1"))
    capsys.readouterr()
    assert timers(jobs, "--dry-run") == 0
    told = capsys.readouterr().out
    assert {"-OnCalendar=*-*-* 01:30:00 Europe/Berlin", "+OnCalendar=*-*-* 01:45:00 Europe/Berlin"} <= {
        *told.splitlines()
    }
    assert f"--- {jobs}/units/sendense-gold.timer\n+++ /dev/null" in told
    assert units(jobs) == before
    assert timers(jobs, "--json") == 0
    changed = {Path(one["path"]).name: one["what"] for one in json.loads(capsys.readouterr().out)["units"]}
    assert changed == {
        "sendense-a-backup.timer": "changed",
        "sendense-gold.service": "removed",
        "sendense-gold.timer": "removed",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--user=nobody-here",), "there is no account nobody-here here"), (("--set=vm=x",), "another job is called")],
    ids=["account", "one name twice"],
)
def test_bad_usage_is_a_sentence_and_nothing_is_written(
    jobs: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    (jobs / "gold.yaml").unlink()
    (jobs / "b.yaml").write_text((jobs / "a.yaml").read_text())
    assert timers(jobs, *arguments) == 2
    assert said in capsys.readouterr().err
    assert units(jobs) == {}


def test_validate_and_a_plan_say_when_a_job_is_due_next(jobs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (("validate",), ("plan", "--offline")):
        with pytest.raises(SystemExit) as left:
            main((*command, str(jobs / "a.yaml")))
        assert not left.value.code
        told = capsys.readouterr()
        assert re.search(
            r"due 30 1 \* \* \* Europe/Berlin, next: \w{3} \d{4}-\d\d-\d\d 01:30 CES?T \(in ", told.out + told.err
        )
